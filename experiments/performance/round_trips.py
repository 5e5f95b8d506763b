"""How far a box moves when a set is written in another layout and read again.

    python -m experiments.performance.round_trips --data D1 D2 --record

Photos, parts and the names of all boxes must be the same; a set that has no parts is one part, train, in YOLO.
"""

import tempfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate
from photos.data import Dataset, Photo, read
from photos.exif import as_shown
from photos.formats.writing import FORMATS, write
from runs.command import Parser, run, say


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Write and read each set in each layout, say how far boxes move, record the most."""
    p = Parser(prog="python -m experiments.performance.round_trips", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, nargs="+", required=True, help="data sets")
    p.add_argument("--record", action="store_true", help="write experiments/results/formats.json")
    args = p.parse_args(argv)
    moves, boxes = {}, 0
    for root in args.data:
        dataset = read(root)
        boxes += sum(len(photo.boxes) for photo in dataset.photos)
        for name in FORMATS:
            moves[name, root.name] = move = round_trip(dataset, name)
            say(f"{root.name}: {name}: {move:.1e} px")
    if args.record:
        records.write("formats", [figure(moves, boxes, argv)])


def figure(moves: dict[tuple[str, str], float], boxes: int, argv: Sequence[str] | None) -> dict:
    """The record of the largest move."""
    names, sets = (", ".join(dict.fromkeys(key[k] for key in moves)) for k in (0, 1))
    setting = f"the most that a corner of {boxes} boxes of {sets} moves, as {names}; a maximum, so no interval"
    estimate = Estimate(max(moves.values()), len(moves) * boxes)
    return records.figure("formats.round_trip_px", estimate, "px", setting, records.command("performance.round_trips", argv))


def round_trip(dataset: Dataset, name: str) -> float:
    """The largest move of a corner, pixels. Raises ValueError where a photo, a part, a size or the name of a box is another."""
    with tempfile.TemporaryDirectory() as folder:
        write(dataset, name, Path(folder) / "OUT")
        again = read(Path(folder) / "OUT")
    photos = {PurePosixPath(photo.name).name: photo for photo in again.photos}
    moves = [0.0]
    for photo in dataset.photos:
        key, part = PurePosixPath(photo.name).name, photo.part or ("train" if name == "yolo" else None)
        if key not in photos or photos[key].part != part:
            raise ValueError(f"{name}: {photo.name} of part {part} is not there, or in another part")
        moves.append(move(dataset, photo, again, photos[key], name == "yolo"))
    return max(moves)


def move(before: Dataset, photo: Photo, after: Dataset, other: Photo, is_shown: bool) -> float:
    """The largest move of a corner of one photo's boxes; `is_shown`: the layout turns photos by EXIF."""
    size, boxes = (photo.width, photo.height), photo.boxes
    if is_shown:
        boxes, *size, _ = as_shown(photo)
    if (other.width, other.height) != tuple(size):
        raise ValueError(f"{photo.name}: got {other.width}x{other.height} pixels, need {size[0]}x{size[1]}")
    names = [[dataset.categories[label].name for label in of.labels] for dataset, of in ((before, photo), (after, other))]
    if names[0] != names[1]:
        raise ValueError(f"{photo.name}: got the names {names[1]}, need {names[0]}")
    return float(np.abs(boxes.astype(np.float64) - other.boxes).max(initial=0.0))


if __name__ == "__main__":
    raise SystemExit(main())

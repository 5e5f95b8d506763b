"""Split the photos into train, valid and test so that no scene is in two parts: `hylle folds`.

A data set without parts is dealt into folds: fold 0 is test, fold 1 is valid, the rest are train. Parts that the set comes with
are kept, and a missing valid or test is one fold of train. RUN/folds.json records it; later commands read it with `load`.
"""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photos import exif, judge_ids, repairs
from photos.data import PARTS, DataError, Dataset, Photo, read
from photos.dealing import balanced, fold_count
from photos.fingerprint import of_file, of_photos
from photos.fit_folds import how_to_make, how_to_make_anew, is_in_a_fit
from photos.groups import find_scenes, groups_setting
from photos.photo_file import same_name
from runs import command, process, record
from runs.command import Parser
from runs.counted import counted
from runs.output_file import file_above
from runs.refusal import Refusal

NAME = "folds.json"
BYTES = "sha256"  # of a photo, in folds.json: the first 16 digits
AT_WORK = "is at work in it; deal into another folder, by --out"
HELD_OUT = ("test", "valid")  # in the order in which missing ones take the folds 0, 1


@dataclass(frozen=True)
class Settings:
    """What a folds.json was made from: the data set's folder name, how scenes were found (--groups), folds, seed.

    The folder may be renamed since: `load` compares the photos. `pooled`: the parts train and valid that the set came with were
    dealt anew, together (`fitting.cross_fit`).
    """

    data: str
    groups: str
    folds: int
    seed: int
    pooled: bool = False

    def differences(self, asked: "Settings") -> list[str]:
        """In words what else was asked for now, by its flag; the folder's name does not count.

        >>> Settings("shop", "auto", 5, 0).differences(Settings("shop-2026", "auto", 5, 1))
        ['--seed 0 (now asked: 1)']
        """
        old, new = asdict(self), asdict(asked)
        return [f"--{name} {old[name]} (now asked: {new[name]})" for name in new if name != "data" and old[name] != new[name]]

    def as_json(self) -> dict[str, Any]:
        """As the file holds it: `pooled` where it is so."""
        return {name: value for name, value in asdict(self).items() if name != "pooled" or value}


@dataclass(frozen=True, eq=False)
class Folds:
    """The part, the scene and the fold of each photo, by photo id; None is the fold of a photo that came with its part."""

    settings: Settings
    dataset: Dataset
    part: dict[int, str]
    scene: dict[int, int]
    fold: dict[int, int | None]

    def photos(self, part: str) -> tuple[Photo, ...]:
        """The photos of one part, in the data set's order. ValueError for an unknown part."""
        if part not in PARTS:
            raise ValueError(f"part: got {part!r}, need one of {', '.join(PARTS)}")
        return tuple(photo for photo in self.dataset.photos if self.part[photo.id] == part)

    def labelled(self, part: str) -> tuple[Photo, ...]:
        """The photos of one part, to score or to train on. DataError where none of them has a box."""
        photos = self.photos(part)
        if not any(len(photo.boxes) for photo in photos):
            remedy = "; hylle fit holds none out and told its score: others need a folder of hylle folds" * self.settings.pooled
            got = f"part {part} has {len(photos)} photos and 0 boxes"
            raise DataError(f"{self.dataset.root}: {got}, need at least 1 box{remedy}")
        return photos

    def labels(self, *parts: str) -> dict[str, dict[str, str]]:
        """The fingerprints of the photos, boxes and names of some parts, by part: what figures are of, to be kept with them."""
        return {part: of_photos(self.photos(part), self.dataset.categories) for part in parts}


def train_photos(data: Path, runs: Path | None) -> tuple[Photo, ...]:
    """The photos to train on: the part train of RUNS/folds.json, or of a data set that comes with train, valid and test.

    Raises ValueError where there is neither: a missing part would be taken from train, and no photo that a detector is scored
    on may be among those it is trained on.
    """
    dataset = read(data)
    if runs is not None:
        return load(runs / NAME, dataset).photos("train")
    missing = [part for part in PARTS if part not in {photo.part for photo in dataset.photos}]
    if missing:
        raise ValueError(f"--data: {data} has no part {missing[0]}; pass --runs R, whose folds.json says what is to train on")
    return tuple(photo for photo in dataset.photos if photo.part == "train")


def deal(dataset: Dataset, scene: np.ndarray, settings: Settings) -> Folds:
    """Fold and part of each photo, given its scene, int64 (n_photos,). DataError where there are too few photos or scenes."""
    given = {photo.part for photo in dataset.photos}
    free = np.array([photo.part in (None, "train") for photo in dataset.photos])  # (n,)
    if not free.any():
        raise DataError(f"folds: {dataset.root} has no part train, so there is nothing to train on")
    missing = [part for part in HELD_OUT if part not in given]
    boxes = np.array([len(photo.boxes) for photo in dataset.photos])[free]  # (F,)
    count = fold_count(boxes, scene[free], len(missing), settings.folds)
    dealt = balanced(boxes + 1, scene[free], count, np.random.default_rng(settings.seed), boxes > 0)  # (F,)
    fold: dict[int, int | None] = {photo.id: None for photo in dataset.photos}
    part = {photo.id: photo.part or "train" for photo in dataset.photos}
    for i, number in zip(np.flatnonzero(free), dealt.tolist(), strict=True):
        fold[dataset.photos[i].id] = number
        part[dataset.photos[i].id] = missing[number] if number < len(missing) else "train"
    scene_of = {photo.id: int(number) for photo, number in zip(dataset.photos, scene, strict=True)}
    return Folds(settings, dataset, part, scene_of, fold)


def leaks(folds: Folds) -> Iterator[str]:
    """One line for each two parts that share a scene. Parts that came with the data set may; parts made here cannot."""
    for part, other in (("valid", "train"), ("test", "train"), ("test", "valid")):
        other_scenes = {folds.scene[photo.id] for photo in folds.photos(other)}
        photos = folds.photos(part)
        shared = sum(folds.scene[photo.id] in other_scenes for photo in photos)
        if shared:
            show = "shows" if shared == 1 else "show"
            yield f"leak: {shared} of {counted(len(photos), f'{part} photo')} {show} a scene that is also in {other}"


def summary(folds: Folds) -> str:
    """Photos, boxes and scenes of the set and of each part, one line each."""
    rows = [("all", folds.dataset.photos), *((part, folds.photos(part)) for part in PARTS)]
    lines = [f"{'part':5} {'photos':>7} {'boxes':>7} {'scenes':>7}"]
    for name, photos in rows:
        boxes = sum(len(photo.boxes) for photo in photos)
        lines.append(f"{name:5} {len(photos):7} {boxes:7} {len({folds.scene[photo.id] for photo in photos}):7}")
    return "\n".join(lines)


# -- the file ------------------------------------------------------------------------------------------------------------


def save(path: Path, folds: Folds) -> None:
    """Write folds.json, whole or not at all."""
    looks = folds.settings.groups == "auto"  # whether the scenes were found by what the photos look like
    photos = [
        {"file": photo.name, "image_id": photo.id, "scene": folds.scene[photo.id],
         "fold": folds.fold[photo.id], "part": folds.part[photo.id]} | ({BYTES: of_file(photo.path)} if looks else {})
        for photo in folds.dataset.photos
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    record.write_json(path, {**folds.settings.as_json(), "photos": photos})


def refuse_file(runs: Path) -> None:
    """DataError where the run folder is a file, or below one."""
    if runs.is_file() or file_above(runs):
        raise DataError(f"run folder: got {runs}, which is {'below ' * (not runs.is_file())}a file, need a folder")


def load(path: Path, dataset: Dataset) -> Folds:
    """Read folds.json. FileNotFoundError where there is none, DataError where it is damaged or was made for other photos."""
    path = Path(path)
    refuse_file(path.parent)
    if not path.is_file():
        raise FileNotFoundError(f"folds: {path} not found: {how_to_make(path, dataset.root)}")
    try:
        content = json.loads(path.read_bytes())
        settings = Settings(**{"pooled": False} | {key: value for key, value in dict(content).items() if key != "photos"})
        listed = {same_name(row["file"]): row for row in content["photos"]}
        rows = {name: (row["image_id"], row["part"], int(row["scene"]), row["fold"]) for name, row in listed.items()}
        known_bytes = {name: row[BYTES] for name, row in listed.items() if BYTES in row}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"folds: {path} is damaged ({error!r}); {how_to_make_anew(path, dataset.root)}") from error
    _check(path, dataset, rows, settings.pooled)
    _check_bytes(path, dataset, known_bytes)
    by_id = ({image_id: row[k] for image_id, *row in rows.values()} for k in range(3))
    return Folds(settings, dataset, *by_id)


def _check(path: Path, dataset: Dataset, rows: dict[str, tuple[Any, ...]], pooled: bool) -> None:
    """DataError unless the rows are exactly the photos, with their ids and the parts they came with."""
    photos = {photo.name: photo for photo in dataset.photos}
    wrong = [name for name, photo in photos.items() if name not in rows or not _agrees(photo, rows[name], pooled)]
    wrong += [name for name in rows if name not in photos]
    if wrong:
        raise DataError(
            f"folds: {path} does not match {dataset.root} in {counted(len(wrong), 'photo')}, the first is {wrong[0]}; "
            f"pass the data set that it was made for, or {how_to_make_anew(path, dataset.root)}"
        )


def _check_bytes(path: Path, dataset: Dataset, known: dict[str, str]) -> None:
    """DataError where a photo has other bytes than when its scene was found: it may show another shelf now."""
    photos = {photo.name: photo for photo in dataset.photos}
    changed = [name for name, value in known.items() if of_file(photos[name].path) != value]
    if changed:
        raise DataError(
            f"folds: {counted(len(changed), 'photo')} changed since {path} was made, the first is {changed[0]}: its scenes may "
            f"be others now; {how_to_make_anew(path, dataset.root)}"
        )


def fingerprint(path: Path) -> str:
    """The fingerprint of a folds.json: its settings, and the photos' scenes, folds and parts; not their bytes."""
    content = json.loads(path.read_bytes())
    photos = [{key: value for key, value in row.items() if key != BYTES} for row in content["photos"]]
    return record.digest(content | {"photos": photos})


def _agrees(photo: Photo, row: tuple[Any, ...], pooled: bool) -> bool:
    """Whether a row may be of `photo`: one that is free to be dealt has a fold, else its part was given and is no more."""
    image_id, part, _, fold = row
    free = photo.part in (None, "train")
    allowed = PARTS if free else ("train", "valid") if pooled and photo.part == "valid" else (photo.part,)
    return image_id == photo.id and part in allowed and not (free and fold is None)


# -- the command ---------------------------------------------------------------------------------------------------------


def split(dataset: Dataset, runs: Path, groups: str = "auto", count: int = 5, seed: int = 0, force: bool = False) -> Folds:
    """Make or reuse RUNS/folds.json, and say what it and the set hold; arguments as the command's flags, `count` as --folds."""
    refuse_file(runs)
    settings = Settings(dataset.root.resolve().name, groups_setting(groups), count, seed)
    repairs.tell(dataset)
    folds, reused = make(dataset, runs / NAME, groups, settings, force)
    command.say(f"folds: {runs / NAME} {'reused, it was made with the same settings' if reused else 'written'}")
    sys.stdout.write(summary(folds) + "\n")
    for line in [*exif.summary(folds.dataset.photos), *judge_ids.compare(folds.dataset).lines(), *leaks(folds)]:
        command.say(line)
    return folds


def make(dataset: Dataset, path: Path, groups: str, settings: Settings, force: bool) -> tuple[Folds, bool]:
    """The folds in the file `path`, made now unless it exists or `force`; and whether they were reused.

    Raises ValueError where the file was made with other settings, is or would be that of a fit, or another process is at work
    in the run folder.
    """
    if not settings.pooled and is_in_a_fit(path):
        raise DataError(f"folds: {path} is of hylle fit, whose models are trained by it; deal into another folder, by --out")
    if not path.exists() or force:
        with process.claimed(path.parent, AT_WORK):  # scenes take minutes, in which a fit may be begun there
            folds = deal(dataset, find_scenes(dataset, groups), settings)
            save(path, folds)
        return folds, False
    folds = load(path, dataset)
    if differ := folds.settings.differences(settings):
        raise Refusal(f"folds: {path} was made with {', '.join(differ)}", "--force makes it again")
    return folds, True


def _parser(prog: str) -> Parser:
    parser = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of photos and labels (COCO, YOLO, VOC or CSV)")
    parser.add_argument("--out", type=Path, required=True, help="run folder; folds.json is written there")
    parser.add_argument("--groups", default="auto", help="auto (near-duplicates), photo (each alone), FILE.csv")
    parser.add_argument("--folds", type=int, default=5, help="folds to deal (default 5)")
    parser.add_argument("--seed", type=int, default=0, help="breaks ties (default 0)")
    parser.add_argument("--force", action="store_true", help="make folds.json again though it is there")
    parser.add_argument("--strict", action="store_true", help="refuse a set that would be repaired in reading")
    return parser


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and split. Raises ValueError for what the user can mend."""
    args = _parser(prog).parse_args(argv)
    refuse_file(args.out)
    if args.seed < 0:
        raise DataError(f"folds: got --seed {args.seed}, need 0 or more")
    dataset = read(args.data, args.strict, command.ticker("photos read"))
    parts = split(dataset, args.out, args.groups, args.folds, args.seed, args.force)
    command.note_result(file=args.out / NAME, photos={part: len(parts.photos(part)) for part in PARTS})


def main(argv: list[str] | None = None, prog: str = "python -m photos.folds") -> int:
    """Run the command; returns its exit code."""
    return command.run(body, argv, prog)


if __name__ == "__main__":
    raise SystemExit(main())

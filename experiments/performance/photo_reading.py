"""Is every photo read as its labels mean it, and does every copy of a photo join its scene?

    python -m experiments.performance.photo_reading --data D1 D2 --record

EXIF: a drawn photo with one marked product, in all eight orientations, square and not, with labels on the stored and on the
turned pixels; each reader must find the product in its box. Scenes, on real photos of the folders `--data` (none without it):
copies of a few photos are added, and photos of two parts count as different scenes, so a folder's parts must be from
different places.
"""

import itertools
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.performance.exif_photos import LABELS, SIZES, labelled, product_box
from experiments.performance.photo_copies import CHANGES, Change, copy_of
from fusion.reading import read_photo
from photos.data import Dataset, Photo, read, read_image
from photos.exif import convention
from photos.scenes import groups
from runs.command import Parser, run, say
from stage1_detector.torch_engine.canvases import Canvases
from stage1_detector.torch_engine.loop import LoopConfig
from stage1_detector.ultralytics_engine import photo_layout
from stage2_classifier.crops import shelf_regions

MAX_PX = 2.0  # chosen: a box that is found further off is somewhere else; JPEG and resizing move edges by a pixel
PER_PART = 8  # chosen: photos of each part of which copies are made


class Reading(NamedTuple):
    """A photo as one reader sees it, RGB uint8 (H, W, 3), and its box there, float (4,), pixels of that image."""

    reader: str
    image: np.ndarray
    box: np.ndarray

    def error(self) -> float:
        """How far the marked product's box is from the annotated one: the largest difference of a corner, pixels."""
        return float(np.abs(product_box(self.image) - self.box).max())


class SceneCounts(NamedTuple):
    """Photos, how many copies by each of CHANGES joined theirs, pairs of photos of different scenes and how many joined."""

    photos: int
    joined: tuple[int, ...]
    pairs: int
    false_joins: int


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Try all cases, print and record the counts. Raises ValueError where a box is found elsewhere."""
    p = Parser(prog="python -m experiments.performance.photo_reading", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, nargs="+", default=[], help="data sets whose photos are copied and joined to scenes")
    p.add_argument("--record", action="store_true", help="write experiments/results/photo_reading.json")
    args = p.parse_args(argv)
    errors = exif_errors()
    worst = max(errors, key=lambda case: errors[case])
    say(f"EXIF: {len(errors)} cases, the marked box is found {errors[worst]:.1f} px off at most ({worst})")
    scenes = {folder.name: scene_counts(read(folder)) for folder in args.data}
    for name, count in scenes.items():
        say(f"{name}: copies of {count.photos} photos that joined: {_by_change(count.joined)}")
        say(f"{name}: {count.false_joins} of {count.pairs} pairs of different parts joined")
    if args.record:
        figures = [*_exif_figures(errors), *(_scene_figures(scenes) if scenes else [])]
        command = records.command("performance.photo_reading", argv)
        records.write("photo_reading", [records.figure(*figure, command) for figure in figures])
    if errors[worst] > MAX_PX:
        raise ValueError(f"{worst}: the marked box is found {errors[worst]:.1f} px off, allowed: {MAX_PX}")


# -- EXIF ----------------------------------------------------------------------------------------------------------------


def exif_errors() -> dict[str, float]:
    """How far off each reader finds the box, pixels, by orientation, shape, convention and reader."""
    errors = {}
    for orientation, shape, labels in itertools.product(range(1, 9), SIZES, LABELS):
        with tempfile.TemporaryDirectory() as name:
            dataset = labelled(Path(name) / "data", [(orientation, shape, labels)])
            for reading in readings(dataset, Path(name) / "ultralytics"):
                errors[f"orientation {orientation}, {shape}, labels {labels}, {reading.reader}"] = reading.error()
    return errors


def readings(dataset: Dataset, folder: Path) -> Iterator[Reading]:
    """What each reader makes of the one photo of a data set; photos for ultralytics are laid out in FOLDER."""
    (photo,) = dataset.photos
    yield Reading("data", read_image(photo.path, photo.width, photo.height), photo.boxes[0])
    yield Reading("run.py", read_photo(photo.path, convention(dataset)), photo.boxes[0])
    yield _by_ultralytics(dataset, folder)
    canvases = Canvases(dataset.photos, (), LoopConfig("retinanet", size=64), agnostic=True)
    canvas, boxes, _ = canvases.sample(0, 64, plain=True, seed=0)
    yield Reading("canvases", canvas, boxes[0])
    (region,) = shelf_regions(dataset.photos, 96)
    yield Reading("crops", region.image, region.box)


def _by_ultralytics(dataset: Dataset, folder: Path) -> Reading:
    """The file and the label that ultralytics is given; it turns photos by EXIF, as OpenCV does."""
    (path,) = photo_layout.link_photos(dataset.photos, folder, agnostic=True).iterdir()
    image = cv2.cvtColor(cv2.imread(str(path), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    _, cx, cy, w, h = map(float, (folder / "labels" / f"{path.stem}.txt").read_text().split())
    box = np.array([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]) * np.tile(image.shape[1::-1], 2)
    return Reading("ultralytics", image, box)


# -- scenes --------------------------------------------------------------------------------------------------------------


def scene_counts(dataset: Dataset) -> SceneCounts:
    """Join the scenes of a few photos of each part and of their copies, and count."""
    chosen = _chosen(dataset.photos)
    with tempfile.TemporaryDirectory() as name:
        photos = [photo for original in chosen for photo in (original, *_copies(original, Path(name)))]
        scene = groups(replace(dataset, photos=tuple(photos))).reshape(len(chosen), -1)  # (originals, 1 + copies)
    joined = tuple((scene[:, 1:] == scene[:, :1]).sum(0).tolist())
    parts = np.repeat(np.array([photo.part or "" for photo in chosen]), scene.shape[1])  # (n,)
    flat = scene.ravel()  # (n,)
    different = np.triu(parts[:, None] != parts, 1)  # (n, n)
    return SceneCounts(len(chosen), joined, int(different.sum()), int((different & (flat[:, None] == flat)).sum()))


def _chosen(photos: Sequence[Photo]) -> list[Photo]:
    """PER_PART photos of each part, evenly spaced."""
    by_part: dict[str | None, list[Photo]] = {}
    for photo in photos:
        by_part.setdefault(photo.part, []).append(photo)
    spaced = [group[:: max(1, len(group) // PER_PART)][:PER_PART] for group in by_part.values()]
    return [photo for group in spaced for photo in group]


def _copies(photo: Photo, folder: Path) -> Iterator[Photo]:
    """A copy of each of CHANGES, saved in FOLDER."""
    for i, change in enumerate(CHANGES.values()):
        yield _copied(photo, change, folder / f"{photo.id}-{i}.jpg")


def _copied(photo: Photo, change: Change, path: Path) -> Photo:
    """A copy with the boxes whose centre it shows; their places stay those of the photo, which scenes do not look at."""
    image, window = copy_of(read_image(photo.path, photo.width, photo.height), change, np.random.default_rng(photo.id))
    cv2.imwrite(str(path), cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    centres = (photo.boxes[:, :2] + photo.boxes[:, 2:]) / 2  # (N, 2)
    shown = ((centres >= window[:2]) & (centres < window[2:])).all(1)  # (N,)
    height, width = image.shape[:2]
    boxes, labels, ids = photo.boxes[shown], photo.labels[shown], photo.annotation_ids[shown]
    return replace(photo, path=path, width=width, height=height, boxes=boxes, labels=labels, annotation_ids=ids)


# -- figures -------------------------------------------------------------------------------------------------------------


def _exif_figures(errors: dict[str, float]) -> list[Measured]:
    setting = (
        "8 orientations, square or not, labels on stored or turned pixels, 5 readers (data, run.py, ultralytics, canvas, crop)"
    )
    return [
        Measured("exif.cases", Estimate(len(errors), len(errors)), "count", f"{setting}; no interval"),
        Measured("exif.max_px", Estimate(max(errors.values()), len(errors)), "px", f"{setting}; the largest, no interval"),
    ]


def _scene_figures(scenes: dict[str, SceneCounts]) -> list[Measured]:
    counts = list(scenes.values())
    photos, pairs, false_joins = (sum(count[i] for count in counts) for i in (0, 2, 3))
    joined, copies = np.sum([count.joined for count in counts], axis=0), photos * len(CHANGES)
    taken = f"{PER_PART} photos of each part of {', '.join(scenes)}"
    copied = f"{taken}, joined of {photos} each: {_by_change(joined.tolist())}; counted, no interval"
    apart = f"pairs of {taken} and their copies, of different parts; counted, no interval"
    return [
        Measured("scenes.copies_joined", Estimate(float(joined.sum() / copies), copies), "share", copied),
        Measured("scenes.false_joins", Estimate(false_joins, pairs), "count", apart),
    ]


def _by_change(joined: Sequence[int]) -> str:
    return ", ".join(f"{change} {count}" for change, count in zip(CHANGES, joined, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())

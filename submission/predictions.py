"""The predictions file of run.py, a JSON array of {"image_id", "category_id", "bbox", "score"}: checked, and scored."""

import json
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from fusion.boxes import Detections, xywh_to_xyxy
from fusion.reading import find_photos
from photos import box_table
from photos.checks import is_ignored
from photos.photo_file import DataError, read_header
from photos.score import Scores, Truth, evaluate
from submission.rules import PIPELINE

KEYS = ("image_id", "category_id", "bbox", "score")
SMALLEST = 2  # chosen: pixels; where no box has such a side, they are not in pixels
SLACK = 0.01  # chosen: pixels; boxes are written with three decimals
Sizes = Mapping[int, tuple[int, int] | None]
NO_SIZES: Sizes = {}


def sizes_of(photos: Path | Mapping[int, Path], exif: str = "stored") -> dict[int, tuple[int, int] | None]:
    """Width and height in pixels of each photo of a folder, by image id, or of those that were found; None for no photo.

    They are read by the rule `exif` of the ensemble.
    """
    found = find_photos(photos) if isinstance(photos, Path) else photos
    return {image_id: _size(path, exif) for image_id, path in found.items()}


def without_predictions(rows: Sequence[Mapping[str, Any]], photos: Mapping[int, Path]) -> list[str]:
    """The names of the photos, by image id, that no prediction is of.

    >>> without_predictions([{"image_id": 2}], {1: Path("a/img_1.jpeg"), 2: Path("a/img_2.jpg")})
    ['img_1.jpeg']
    """
    covered = {row["image_id"] for row in rows}
    return [path.name for image_id, path in photos.items() if image_id not in covered]


def doubts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """What looks wrong in predictions that are valid: boxes so small that they must be of another unit.

    >>> doubts([{"bbox": [0.1, 0.2, 0.3, 0.5]}])
    ['no box has a side of 2 pixels or more, the largest is of 0.3 x 0.5: are they fractions of the photo?']
    >>> doubts([]), doubts([{"bbox": [1, 1, 2, 1]}])
    ([], [])
    """
    largest = max((row["bbox"][2:] for row in rows), key=max, default=[SMALLEST])
    if max(largest) >= SMALLEST:
        return []
    size = " x ".join(f"{side:g}" for side in largest)
    return [f"no box has a side of {SMALLEST} pixels or more, the largest is of {size}: are they fractions of the photo?"]


def packed_ensemble(code: Path) -> dict[str, Any]:
    """ensemble.json in the folder CODE of a zip that is built on `fusion/`; empty where it is another one's, or is broken."""
    try:
        values = json.loads((code / "ensemble.json").read_text()) if (code / PIPELINE).is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def zipped_ensemble(archive: Path) -> dict[str, Any]:
    """`packed_ensemble` of a zip."""
    try:
        with zipfile.ZipFile(archive) as zipped:
            zipped.getinfo(PIPELINE)
            values = json.loads(zipped.read("ensemble.json"))
    except (OSError, ValueError, KeyError, RecursionError, zipfile.BadZipFile):
        return {}
    return values if isinstance(values, dict) else {}


def category_ids(archive: Path) -> list[int]:
    """The category ids in ensemble.json of the zip; none where it has no such file, or one of another method."""
    known = zipped_ensemble(archive).get("categories")
    return known if isinstance(known, list) else []


def exif_of(code: Path) -> str:
    """The rule by which the run.py in the folder CODE reads photos that EXIF turns; "stored" where CODE does not tell."""
    return str(packed_ensemble(code).get("exif", "stored"))


def _size(path: Path, exif: str) -> tuple[int, int] | None:
    try:
        header = read_header(path)
    except DataError:
        return None
    return header.turned() if exif == "turned" else (header.width, header.height)


def violations(text: str, sizes: Sizes, categories: frozenset[int] | None) -> list[str]:
    """Everything wrong with a predictions file, one line each.

    Args:
        text: its content.
        sizes: of the photos, by image id, as from `sizes_of`; None stands for unknown.
        categories: the ids that exist; None for unknown.
    """
    try:
        rows = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return [f"not JSON: {error}"]
    if not isinstance(rows, list):
        return [f"got a {type(rows).__name__} at the top, must be an array"]
    return [f"prediction {i}: {what}" for i, row in enumerate(rows) for what in _row_problems(row, sizes, categories)]


def _refuse(constant: str) -> float:
    raise ValueError(f"got {constant}, which JSON has no word for")


def _row_problems(row: Any, sizes: Sizes, categories: frozenset[int] | None) -> Iterator[str]:
    if not isinstance(row, dict) or set(row) != set(KEYS):
        yield f"got {row!r}, must be an object with {', '.join(KEYS)} and nothing else"
        return
    image, category, score = row["image_id"], row["category_id"], row["score"]
    if not _is_integer(image):
        yield f"image_id: got {image!r}, must be an integer"
    elif image not in sizes:
        yield f"image_id: got {image}, no photo has that number"
    if not _is_integer(category):
        yield f"category_id: got {category!r}, must be an integer"
    elif categories is not None and category not in categories:
        yield f"category_id: got {category}, no category has that id"
    elif categories is None and category < 0:
        yield f"category_id: got {category}, must be >= 0"
    if not _is_number(score) or not 0 <= score <= 1:
        yield f"score: got {score!r}, must be a number in [0, 1]"
    yield from _bbox_problems(row["bbox"], sizes.get(image) if _is_integer(image) else None)


def _bbox_problems(bbox: Any, size: tuple[int, int] | None) -> Iterator[str]:
    if not isinstance(bbox, list) or len(bbox) != 4 or not all(map(_is_number, bbox)):
        yield f"bbox: got {bbox!r}, must be four numbers x y width height"
        return
    x, y, box_width, box_height = bbox
    if box_width <= 0 or box_height <= 0:
        yield f"bbox: got {bbox}, width and height must be > 0"
    width, height = size or (float("inf"), float("inf"))
    if min(x, y) < -SLACK or x + box_width > width + SLACK or y + box_height > height + SLACK:
        yield f"bbox: got {bbox}, must lie inside the photo{f' of {width} x {height}' if size else ''}"


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    """Whether it is a finite number; an integer beyond the range of float64 is none."""
    try:
        return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
    except OverflowError:
        return False


def score(
    rows: list[dict[str, Any]], truth: dict[str, Any], photos: frozenset[int], taught: Sequence[int] = (), own: Sizes = NO_SIZES
) -> Scores:
    """The contest's score of predictions against a COCO JSON's truth on its images among `photos`; regions to ignore are none.

    As the reader of data sets has it, boxes are clipped to their photos, and those without area are no products. `taught` are
    ids that predictions may have besides the truth's: of products that were enrolled. `own` are the photos' own sizes, by image
    id, for images that do not tell theirs.

    Raises ValueError for a prediction on a photo that the truth lacks, or of a category that is in neither.
    """
    ids = sorted(category["id"] for category in truth["categories"])
    index = {i: k for k, i in enumerate(dict.fromkeys([*ids, *taught]))}  # enrolled: last
    records_of = _records_of(truth, photos)
    sizes = _sizes_of_images(truth, own)
    truths = [_truth(records, index, sizes[image]) for image, records in records_of.items()]
    return evaluate(truths, as_detections(rows, list(records_of), index), len(index))


def boxes_beyond(truth: dict[str, Any], photos: frozenset[int], own: Sizes = NO_SIZES) -> int:
    """How many boxes of `photos` reach more than a rounding out of their photos, which `score` clips; arguments as there."""
    sizes, records_of = _sizes_of_images(truth, own), _records_of(truth, photos)
    beyond = 0
    for image, records in records_of.items():
        written = xywh_to_xyxy(np.array([record["bbox"] for record in records], np.float64).reshape(-1, 4))
        beyond += int((np.abs(written - _inside(records, sizes[image])) > box_table.SLACK).any(1).sum())
    return beyond


def _records_of(truth: dict[str, Any], photos: frozenset[int]) -> dict[int, list[dict[str, Any]]]:
    """The annotations of each image among `photos`."""
    records_of: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"] if image["id"] in photos}
    for record in truth["annotations"]:
        if record["image_id"] in records_of:
            records_of[record["image_id"]].append(record)
    return records_of


def _sizes_of_images(truth: dict[str, Any], own: Sizes) -> dict[int, tuple[float, float]]:
    """Width and height of each image as it tells them, else the photo's own; infinite where neither is known."""
    endless = (float("inf"), float("inf"))
    told = {image["id"]: (image.get("width"), image.get("height")) for image in truth["images"]}
    return {i: size if all(map(_is_number, size)) else own.get(i) or endless for i, size in told.items()}


def _inside(records: list[dict[str, Any]], size: tuple[float, float]) -> np.ndarray[Any, Any]:
    """The boxes (N, 4) of annotations, clipped to a photo of this size."""
    return box_table.edges([record["bbox"] for record in records], *np.tile(size, (len(records), 1)).T)


def _truth(records: list[dict[str, Any]], index: dict[int, int], size: tuple[float, float]) -> Truth:
    """The truth of one photo, and its ignored regions."""
    boxes = _inside(records, size)
    kept = (boxes[:, 2:] > boxes[:, :2]).all(1)
    ignored = np.array([is_ignored(record) for record in records], bool)
    labels = [index[record["category_id"]] for record, own in zip(records, kept & ~ignored, strict=True) if own]
    return Truth(boxes[kept & ~ignored], np.array(labels, np.int64), boxes[kept & ignored])


def as_detections(rows: list[dict[str, Any]], photos: Sequence[int], index: dict[int, int]) -> list[Detections]:
    """Predictions in the contest's form -> one Detections for each of `photos`; `index` maps category ids to labels.

    Raises ValueError for a photo or a category that is not among them.
    """
    of_photo: dict[int, list[dict[str, Any]]] = {photo: [] for photo in photos}
    for row in rows:
        if row["image_id"] not in of_photo or row["category_id"] not in index:
            what = f"image {row['image_id']}, category {row['category_id']}"
            raise ValueError(f"predictions: got {what}, which the data set lacks; was the zip built for another one?")
        of_photo[row["image_id"]].append(row)
    return [
        Detections(_boxes(own), np.array([r["score"] for r in own], np.float32),
                   np.array([index[r["category_id"]] for r in own], np.int64))
        for own in of_photo.values()
    ]  # fmt: skip


def _boxes(rows: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
    return np.asarray(xywh_to_xyxy(np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)))

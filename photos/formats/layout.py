"""Which layout a folder holds, found by looking: COCO, YOLO, Pascal VOC or CSV, in this order."""

from pathlib import Path

from photos.formats import coco, csv_table, voc, yolo
from photos.formats.source import Layout
from photos.photo_file import DataError, Progress
from photos.photo_folder import PHOTO_SUFFIXES

KNOWN = (
    "annotations.json and images/; train.json, valid.json, test.json; train/_annotations.coco.json; "
    "annotations/instances_*.json; data.yaml; Annotations/*.xml; *.csv"
)


def find(root: Path, progress: Progress | None = None) -> Layout:
    """The layout of the set at `root`, its files read. DataError where there is none, or an incomplete one."""
    if not root.is_dir():
        raise DataError(f"{root}: {'a file, need a folder' if root.exists() else 'no such folder'}")
    layout = coco.find(root) or yolo.find(root, progress) or voc.find(root) or csv_table.find(root)
    if layout is None:
        raise DataError(f"{root}: {_without_labels(root)}; known are {KNOWN}")
    return layout


def _without_labels(root: Path) -> str:
    """What to say of a folder without annotations."""
    photos = sum(path.suffix.lower() in PHOTO_SUFFIXES for path in root.rglob("*"))
    if photos:
        return (
            f"{photos} photos and no annotations.json or other labels: `hylle predict` finds products on photos without labels"
        )
    return "no annotations.json and none of the other layouts" if any(root.iterdir()) else "an empty folder, need a data set"

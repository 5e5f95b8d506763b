"""Which layout a folder holds, found by looking: COCO, YOLO, Pascal VOC or CSV, in this order."""

from pathlib import Path

from photos.formats import coco, csv_table, voc, yolo
from photos.formats.source import Layout
from photos.photo_file import DataError, Progress
from photos.photo_folder import PHOTO_SUFFIXES, files_below
from runs.output_folder import is_output

KNOWN = (
    "annotations.json and images/; train.json, valid.json, test.json; train/_annotations.coco.json; "
    "annotations/instances_*.json; data.yaml; Annotations/*.xml; *.csv"
)
LOOKED_INTO = 10  # chosen: folders below one without labels that may hold the set


def find(root: Path, progress: Progress | None = None) -> Layout:
    """The layout of the set at `root`, its files read. DataError where there is none, or an incomplete one."""
    if not root.is_dir():
        raise DataError(f"{root}: {'a file, need a folder' if root.exists() else 'no such folder'}")
    layout = _found(root, progress)
    if layout is None:
        below = f"; {one} below it holds one: pass that" if (one := _set_below(root)) else ""
        raise DataError(f"{root}: {_without_labels(root)}{below}; known are {KNOWN}")
    return layout


def _found(root: Path, progress: Progress | None = None) -> Layout | None:
    return coco.find(root) or yolo.find(root, progress) or voc.find(root) or csv_table.find(root)


def _set_below(root: Path) -> Path | None:
    """The first folder in `root` that holds a data set, as unpacked exports have one; None where none of the first does."""
    for folder in sorted(path for path in root.iterdir() if path.is_dir() and not is_output(path))[:LOOKED_INTO]:
        try:
            if _found(folder) is not None:
                return folder
        except DataError:  # its labels are damaged or incomplete, which is told where it is passed
            return folder
    return None


def _without_labels(root: Path) -> str:
    """What to say of a folder without annotations."""
    photos = sum(path.suffix.lower() in PHOTO_SUFFIXES for path in files_below(root).files)
    if photos:
        return (
            f"{photos} photos and no annotations.json or other labels: `hylle predict` finds products on photos without labels"
        )
    return "no annotations.json and none of the other layouts" if any(root.iterdir()) else "an empty folder, need a data set"

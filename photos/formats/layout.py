"""Which layout a folder holds, found by looking: COCO, YOLO, Pascal VOC or CSV, in this order."""

from pathlib import Path

from photos.formats import coco, csv_table, voc, yolo
from photos.formats.source import Layout
from photos.photo_file import DataError, Progress
from photos.photo_folder import PHOTO_SUFFIXES, files_below
from photos.studio import STUDIO
from runs.output_folder import is_output

KNOWN = (
    "annotations.json and images/; train.json, valid.json, test.json; train/_annotations.coco.json; "
    "annotations/instances_*.json; data.yaml; Annotations/*.xml; *.csv"
)
LABELS = (".xml", ".json", ".ndjson", ".csv", ".txt")  # that tools write in layouts of their own, as CVAT's annotations.xml
LOOKED_INTO = 10  # chosen: folders below one without labels that may hold the set


def find(root: Path, progress: Progress | None = None) -> Layout:
    """The layout of the set at `root`, its files read. DataError where there is none, or an incomplete one."""
    if not root.is_dir():
        raise DataError(f"{root}: {'a file, need a folder' if root.exists() else 'no such folder'}")
    layout = _found(root, progress)
    if layout is None:
        one = _set_below(root)
        below = f"; {one} below it holds one: pass that" if one else ""
        raise DataError(f"{root}: {_without_labels(root, one is None)}{below}; known are {KNOWN}")
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


def _without_labels(root: Path, names_file: bool) -> str:
    """What to say of a folder without annotations that are read; with `names_file` which file may be some."""
    files = sorted(files_below(root, follow_links=True).files)
    photos = [path for path in files if path.suffix.lower() in PHOTO_SUFFIXES]
    unread = _unread_labels([path.relative_to(root) for path in files], {path.stem for path in photos})
    if unread and names_file:
        needs = " (YOLO's need data.yaml or classes.txt)" if unread.suffix.lower() == ".txt" else ""
        got = f"{len(photos)} photos, and {unread.as_posix()} is not in a layout that is read{needs}"
        return f"{got}; export as COCO, YOLO, VOC or CSV"
    if photos:
        return (
            f"{len(photos)} photos and no annotations.json or other labels: `hylle predict` finds products on photos without "
            "labels"
        )
    return "no annotations.json and none of the other layouts" if any(root.iterdir()) else "an empty folder, need a data set"


def _unread_labels(files: list[Path], stems: set[str]) -> Path | None:
    """The first file that may hold labels, by the order of LABELS; a text only where it is called as a photo is."""
    own = [path for path in files if STUDIO not in path.parts]
    may = [path for path in own if path.suffix.lower() != ".txt" or path.stem in stems]
    return next((path for suffix in LABELS for path in may if path.suffix.lower() == suffix), None)

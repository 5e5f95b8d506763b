"""Which layout a folder holds, found by looking: COCO, YOLO, Pascal VOC or CSV, in this order."""

import re
from pathlib import Path

from photos.formats import coco, csv_table, voc, yolo
from photos.formats.source import Layout, part_of
from photos.photo_file import DataError, Progress
from photos.photo_folder import PHOTO_SUFFIXES, files_below, visible
from photos.studio import STUDIO
from runs.counted import counted
from runs.output_folder import is_output

KNOWN = (
    "annotations.json and images/; train.json, valid.json, test.json; train/_annotations.coco.json; train/annotations.json; "
    "annotations/instances_*.json; data.yaml; Annotations/*.xml; *.csv; train/_annotations.csv"
)
LABELS = (".xml", ".json", ".ndjson", ".csv", ".txt")  # that tools write in layouts of their own, as CVAT's annotations.xml
KERAS = "_annotations.txt"  # taken: Roboflow's, a line for each photo
TOOLS_FOLDER = re.compile(r"annot|ann$|label", re.IGNORECASE)
LOOKED_INTO = 10  # chosen: folders below one without labels that may hold the set


def find(root: Path, progress: Progress | None = None) -> Layout:
    """The layout of the set at `root`, its files read. DataError where there is none, or an incomplete one."""
    if not root.is_dir():
        raise DataError(f"{root}: {'a file, need a folder' if root.exists() else 'no such folder'}")
    layout = _found(root, progress)
    if layout is None:
        raise DataError(f"{root}: {_instead(root, _sets_below(root))}; known are {KNOWN}")
    return layout


def _found(root: Path, progress: Progress | None = None) -> Layout | None:
    return coco.find(root) or yolo.find(root, progress) or voc.find(root) or csv_table.find(root)


def _sets_below(root: Path) -> list[Path]:
    """Those of the first folders in `root` that hold a data set, as unpacked exports have one."""
    folders = [path for path in visible(root, "*") if path.is_dir() and not is_output(path)]
    return [folder for folder in folders[:LOOKED_INTO] if _holds_set(folder)]


def _holds_set(folder: Path) -> bool:
    try:
        return _found(folder) is not None
    except DataError:  # its labels are damaged or incomplete, which is told where it is passed
        return True


def _instead(root: Path, below: list[Path]) -> str:
    """What to say that a folder without a data set holds instead; `below` are the folders in it that hold one."""
    files = sorted(files_below(root, follow_links=True).files)
    photos = [path for path in files if path.suffix.lower() in PHOTO_SUFFIXES]
    if below:
        return f"{_without_labels(root, len(photos))}; {_told_below(below)}"
    called = {name for path in photos for name in (path.stem, path.name)}
    unread = _unread_labels([path.relative_to(root) for path in files], called)
    return _unread(unread, len(photos)) if unread else _without_labels(root, len(photos))


def _told_below(below: list[Path]) -> str:
    if len(below) == 1:
        return f"{below[0]} below it holds one: pass that"
    names = ", ".join(path.name for path in below)
    return f"{len(below)} folders below it hold one each ({names}): pass one of them, or export all as one set, with its parts"


def _unread(file: Path, photos: int) -> str:
    """What to say of a folder with a file that may hold labels, in a layout that is not read."""
    may_be_yolos = file.suffix.lower() == ".txt" and file.name != KERAS
    needs = " (YOLO's need data.yaml or classes.txt)" * may_be_yolos
    got = f"{counted(photos, 'photo')}, and {file.as_posix()} is not in a layout that is read{needs}"
    return f"{got}; export as COCO, YOLO, VOC or CSV" + ("; without labels: `hylle predict`" if photos else "")


def _without_labels(root: Path, photos: int) -> str:
    if photos:
        got = f"{counted(photos, 'photo')} and no annotations.json or other labels"
        return f"{got}: `hylle predict` finds products on photos without labels"
    return "no annotations.json and none of the other layouts" if any(root.iterdir()) else "an empty folder, need a data set"


def _unread_labels(files: list[Path], called: set[str]) -> Path | None:
    """The first file that may hold labels, by the order of LABELS: one called as a photo is, or where tools write labels.

    A text only where it is called so, or as Keras' is.
    """
    own = [path for path in files if STUDIO not in path.parts]
    may = [path for path in own if path.stem in called or (path.suffix.lower() != ".txt" and _is_tools(path.parent))]
    may += [path for path in own if path.name == KERAS]
    return next((path for suffix in LABELS for path in may if path.suffix.lower() == suffix), None)


def _is_tools(folder: Path) -> bool:
    """Whether tools write labels in a folder: the set's own, those of its parts, and such as annotations/ and labels/.

    >>> [_is_tools(Path(name)) for name in (".", "train", "annotations/val", "labels_2", "notes", "site/test")]
    [True, True, True, True, False, False]
    """
    return all(part_of(name) or TOOLS_FOLDER.match(name) for name in folder.parts)

"""The file of YOLO's labels that belongs to a photo; and the label files that belong to none, or to two."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from photos.findings import Note, Problem
from photos.formats.class_names import NAMES
from photos.photo_file import find_photo
from photos.photo_folder import PHOTO_SUFFIXES, files_once

LABELS = {"images": ("labels",), "Images": ("Labels", "labels"), "IMAGES": ("LABELS", "labels")}
LINE = 5  # taken: a line has at least so many numbers


def label_file(root: Path, photo: Path) -> Path:
    """Where the labels of a photo lie: as ultralytics has it, its last folder `images` becomes `labels`; else beside it.

    They are taken beside it too where there is no such folder. Folders above `root` say nothing: a set may lie in one that is
    called so.

    >>> [label_file(Path("images"), Path("images", name)).as_posix() for name in ("images/train/a.jpg", "a.jpg")]
    ['images/labels/train/a.txt', 'images/a.txt']
    """
    folder, beside = label_folder(root, photo), _as_on_disk(root, photo.with_suffix(".txt"))
    if folder is None or (not folder.is_dir() and beside.is_file()):
        return beside
    inner = photo.relative_to(root).parts[len(folder.relative_to(root).parts) :]
    return _as_on_disk(root, folder.joinpath(*inner).with_suffix(".txt"))


def _as_on_disk(root: Path, path: Path) -> Path:
    """A path below `root`, its letters composed or decomposed as they are on disk: macOS decomposes the photo's alone."""
    name = path.relative_to(root).as_posix()
    return path if name.isascii() else find_photo(root, name)


def label_folder(root: Path, photo: Path) -> Path | None:
    """The folder `labels` that stands for the last folder `images` of a photo that has one beside it; None without `images`."""
    words = photo.relative_to(root).parts
    choices = [root.joinpath(*words[:k], name) for k in reversed(range(len(words) - 1)) for name in LABELS.get(words[k], ())]
    return next((choice for choice in choices if choice.is_dir()), choices[0] if choices else None)


def shared_labels(root: Path, photos: Iterable[Path]) -> Iterator[Problem]:
    """A problem for each label file that two photos of one folder would have, as 1.jpg and 1.png."""
    first: dict[Path, Path] = {}
    for photo in photos:
        path = label_file(root, photo)
        if first.setdefault(path, photo) != photo and path.is_file():
            got = f"{first[path].relative_to(root).as_posix()} and {photo.relative_to(root).as_posix()}"
            yield Problem(path.relative_to(root).as_posix(), got, "labels of two photos; rename one, or remove it")


def unused_labels(root: Path, photos: Iterable[Path]) -> Iterator[Note]:
    """A note for each label file, in the folders where labels lie, whose photo is not there."""
    photos = list(photos)
    used = {label_file(root, photo) for photo in photos}
    folders = {(folder if (folder := label_folder(root, photo)) and folder.is_dir() else photo.parent) for photo in photos}
    tops = [folder for folder in folders if folders.isdisjoint(folder.parents)]
    below = {path for top in tops for path in files_once(top) if path.suffix.lower() == ".txt"}
    unused = sorted(path for path in below - used if _is_label(path))
    others = {label_file(root, path) for path in files_once(root) if path.suffix.lower() in PHOTO_SUFFIXES} if unused else set()
    for path in unused:
        if path not in others:  # whose photo lies there, but in no part: that is told of the photo
            yield Note(path.relative_to(root).as_posix(), "label files without a photo, not read")


def _is_label(path: Path) -> bool:
    """Whether a text is one of labels: it begins with a line of numbers, or is empty; not a list, names or a note."""
    if path.name in NAMES or not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        words = next((line.split() for line in file if line.strip()), [])
    try:
        return not words or (len([float(word) for word in words]) >= LINE)
    except ValueError:
        return False

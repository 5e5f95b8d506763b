"""The photos that a YOLO set means by a folder or a list: where those lie in the data set, which may have been moved."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from photos.findings import Note
from photos.formats.class_names import Names
from photos.formats.label_file import label_file
from photos.formats.source import part_of
from photos.formats.text_file import lines_of
from photos.photo_file import begins_as_photo
from photos.photo_folder import PHOTO_SUFFIXES, bare_path, files_once

WITHOUT = "entries without photos where they say, left out"


def photos_of(root: Path, found: Names) -> tuple[dict[str | None, list[Path]], list[Note]]:
    """The photos of each part, each once, and a note for each entry that has none."""
    cut = _cut(root, found)
    photos: dict[str | None, list[Path]] = {}
    notes = []
    for part, entries in found.parts.items():
        for entry in entries:
            listed = list(_of_entry(root, entry, cut))
            photos.setdefault(part, []).extend(listed)
            notes += [] if listed else [Note(f"{part}: {entry}" if part else entry, WITHOUT, repaired=False)]
    return {part: list(dict.fromkeys(paths)) for part, paths in photos.items()}, notes


def _of_entry(root: Path, entry: str, cut: int) -> Iterator[Path]:
    if _is_list(entry):
        place = _file(root, entry)
        return _listed(root, place) if place is not None and place.is_file() else iter(())
    place = root.joinpath(*_words(entry)[cut:])
    return _below(root, place) if place.is_dir() else iter(())


def _is_list(entry: str) -> bool:
    return Path(bare_path(entry)).suffix == ".txt"


def _words(entry: str) -> list[str]:
    """The folders of a path; those that lead up say nothing, as Roboflow writes ../train/images for train/images."""
    return [word for word in Path(bare_path(entry)).parts if word not in ("..", "/", ".")]


def _cut(root: Path, found: Names) -> int:
    """How many words all folders begin with that are the set's own folder, elsewhere: the fewest that lead to one of them.

    Only `path` and words that all folders share can be that: where valid/images is not there, images is not meant.
    """
    of_parts = [[_words(entry) for entry in entries if not _is_list(entry)] for entries in found.parts.values()]
    folders = [words for part in of_parts for words in part]
    most = max(len(_words(found.above)), _shared(folders, sum(map(bool, of_parts)) > 1))
    return next((cut for cut in range(most + 1) if any(root.joinpath(*words[cut:]).is_dir() for words in folders)), 0)


def _shared(folders: list[list[str]], of_several_parts: bool) -> int:
    """How many words all begin with, each before its last one; up to the first that says the part, where all are of one."""
    columns = list(zip(*(words[:-1] for words in folders), strict=False))
    ends = (k for k, words in enumerate(columns) if len(set(words)) > 1 or (not of_several_parts and part_of(words[0])))
    return next(ends, len(columns))


def _file(root: Path, entry: str) -> Path | None:
    """The file that a path means: as it is, or what of its end lies in `root`."""
    words = _words(entry)
    return next((path for k in range(len(words)) if (path := root.joinpath(*words[k:])).exists()), None)


def _below(root: Path, place: Path) -> Iterator[Path]:
    """The photos below a folder: by their suffix, and whatever else has labels and begins as a photo does."""
    files = [path for path in files_once(place) if path.is_file()]
    usual = [path for path in files if path.suffix.lower() in PHOTO_SUFFIXES]
    others = [path for path in files if path.suffix.lower() not in (*PHOTO_SUFFIXES, ".txt")]
    yield from sorted([*usual, *_labelled(root, others, usual)])


def _labelled(root: Path, files: list[Path], photos: Iterable[Path]) -> Iterator[Path]:
    taken = {label_file(root, photo) for photo in photos} if files else set()
    labels = ((path, label_file(root, path)) for path in files)
    yield from (path for path, label in labels if label not in taken and label.is_file() and begins_as_photo(path))


def _listed(root: Path, place: Path) -> Iterator[Path]:
    for line in filter(None, map(str.strip, lines_of(place))):
        yield _file(root, line) or root / Path(bare_path(line)).name

"""The photos that a YOLO set means by a folder or a list: where those lie in the data set, which may have been moved."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from photos.findings import Note
from photos.formats.class_names import Names
from photos.formats.label_file import label_file
from photos.formats.source import part_of
from photos.formats.text_file import lines_of
from photos.photo_file import begins_as_photo, find_photo
from photos.photo_folder import PHOTO_SUFFIXES, bare_path, files_once, is_absolute

WITHOUT = "entries without photos where they say, left out"


def photos_of(root: Path, found: Names) -> tuple[dict[str | None, list[Path]], list[Note]]:
    """The photos of each part, each once, and a note for each entry that has none."""
    cuts = _cuts(root, found)
    photos: dict[str | None, list[Path]] = {}
    notes = []
    for part, entries in found.parts.items():
        for entry in entries:
            listed = list(_of_entry(root, entry, cuts.get(entry, 0)))
            photos.setdefault(part, []).extend(listed)
            notes += [] if listed else [Note(f"{part}: {entry}" if part else entry, WITHOUT, repaired=False)]
    return {part: list(dict.fromkeys(paths)) for part, paths in photos.items()}, notes


def _of_entry(root: Path, entry: str, cut: int) -> Iterator[Path]:
    if _is_list(entry):
        place = _file(root, entry)
        return _listed(root, place) if place is not None and place.is_file() else iter(())
    place = find_photo(root, "/".join(_words(entry)[cut:]))
    return _below(root, place) if place.is_dir() else iter(())


def _is_list(entry: str) -> bool:
    return Path(bare_path(entry)).suffix == ".txt"


def _words(entry: str) -> list[str]:
    """The folders of a path; those that lead up say nothing, as Roboflow writes ../train/images for train/images."""
    return [word for word in Path(bare_path(entry)).parts if word not in ("..", "/", "//", ".")]


def _cuts(root: Path, found: Names) -> dict[str, int]:
    """How many words of each folder's entry are those of the set's own folder, elsewhere: the fewest that lead to a folder.

    Only `path` and words that all entries share can be that: where valid/images is not there, images is not meant. Absolute
    entries and relative ones share nothing, as where a tool wrote train and val, and left Roboflow's ../test/images; nor do
    absolute ones of two drives, of which each is looked for alone.
    """
    folders = [(part, entry) for part, entries in found.parts.items() for entry in entries if not _is_list(entry)]
    cuts: dict[str, int] = {}
    for absolute in (True, False):
        group = [(part, entry) for part, entry in folders if is_absolute(entry) == absolute]
        words = {entry: _words(entry) for _, entry in group}
        most = _most(list(words.values()), _words(found.above), of_several_parts=len({part for part, _ in group}) > 1)
        cut = _cut(root, list(words.values()), most)
        alone = absolute and (cut is None or most == 0)
        cuts |= {entry: (_cut(root, [of_one], _up_to_part(of_one)) if alone else cut) or 0 for entry, of_one in words.items()}
    return cuts


def _cut(root: Path, folders: list[list[str]], most: int) -> int | None:
    """The fewest words, at most `most`, without which one of `folders` lies in `root`; None where none does."""
    return next(
        (cut for cut in range(most + 1) if any(find_photo(root, "/".join(words[cut:])).is_dir() for words in folders)), None
    )


def _most(folders: list[list[str]], above: list[str], of_several_parts: bool) -> int:
    """How many words all begin with that may be the set's own folder: `above`, or all that they share."""
    all_below = all(words[: len(above)] == above for words in folders)
    return max(len(above) if all_below else 0, _shared(folders, of_several_parts))


def _shared(folders: list[list[str]], of_several_parts: bool) -> int:
    """How many words all begin with, each before its last one; up to the first that says the part, where all are of one."""
    columns = list(zip(*(words[:-1] for words in folders), strict=False))
    ends = (k for k, words in enumerate(columns) if len(set(words)) > 1 or (not of_several_parts and part_of(words[0])))
    return next(ends, len(columns))


def _up_to_part(words: list[str]) -> int:
    """How many words stand before the last one that says a part; before the last of all where none does."""
    return next((k for k in reversed(range(len(words))) if part_of(words[k])), len(words) - 1)


def _file(root: Path, entry: str) -> Path | None:
    """The file that a path means: as it is, or what of its end lies in `root`."""
    words = _words(entry)
    return next((path for k in range(len(words)) if (path := find_photo(root, "/".join(words[k:]))).exists()), None)


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

"""Records as tools write them, brought into one form before they are checked, and each photo's file found.

Ids and sizes such as "3" or 3.0 become 3; missing sizes are read from the photo. Nothing else is changed here: what cannot be
brought into the form is left for `photos.checks` to tell.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from photos.checks import PATH, is_integer, where
from photos.findings import Note
from photos.formats.source import Source, whole
from photos.photo_file import DataError, Progress, read_header, read_headers, same_name
from photos.photo_folder import PhotoFolder
from photos.studio import STUDIO

NUMBERS = {"images": ("id", "width", "height"), "annotations": ("id", "image_id", "category_id"), "categories": ("id",)}
NAME = "hylle:name"  # key of an image record: the photo's name below `Source.base`
NO_SIZE = "hylle:no size"  # key of an image record that no size tells which pixels its labels mean, though EXIF swaps its sides
TAKEN = "photos without width and height in the labels, taken from the file"
UNDECIDED = "EXIF turns them, and nothing says that the boxes mean them so: read as stored; give the sizes, if they do"


def tidied(sources: list[Source], folders: dict[Path, PhotoFolder], progress: Progress | None) -> list[Source]:
    """The sources with their records in one form and the photos' files found; what was changed is among their notes."""
    for source in sources:
        for kind, keys in NUMBERS.items():
            source.lists[kind] = [_with_whole_numbers(kind, source, record, keys) for record in source.lists[kind]]
        source.lists["images"] = [_located(source, record, folders[source.base]) for record in source.lists["images"]]
    found = [record[PATH] for source in sources for record in source.lists["images"] if _is_found(record)]
    read_headers(found, progress)
    _add_sizes([(source, record) for source in sources for record in source.lists["images"] if _is_found(record)])
    sources[0].notes.extend(_unlisted(sources, folders))
    return sources


def _with_whole_numbers(kind: str, source: Source, record: Any, keys: tuple[str, ...]) -> Any:
    if not isinstance(record, dict):
        return record
    changed = whole_numbers(record, keys)
    if not changed:
        return record
    source.notes.append(Note(where(kind, source, record), f"{kind} with ids or sizes as text or fractions, read as integers"))
    return record | changed


def whole_numbers(record: dict[str, Any], keys: tuple[str, ...]) -> dict[str, int]:
    """Those values at `keys` that are integers in other clothes, as integers.

    >>> whole_numbers({"id": "3", "image_id": 4, "category_id": "tea"}, NUMBERS["annotations"])
    {'id': 3}
    """
    return {key: new for key in keys if key in record and not is_integer(record[key]) and is_integer(new := whole(record[key]))}


def _is_found(record: Any) -> bool:
    return isinstance(record, dict) and PATH in record


def _located(source: Source, record: Any, folder: PhotoFolder) -> Any:
    """The record with PATH and NAME, where its file is found."""
    if not isinstance(record, dict) or not isinstance(record.get("file_name"), str):
        return record
    try:
        located = folder.locate(record["file_name"], source.folders, source.is_beside)
    except ValueError:  # several could be meant: told by the checks
        return record
    if located is None:
        return record | {NAME: same_name(record["file_name"])}
    if not located.as_written:
        what = "photos whose file_name has another path, found by the end of it"
        source.notes.append(Note(f"{record['file_name']} is {located.name}", what))
    return record | {PATH: folder.paths[located.name], NAME: located.name}


def _add_sizes(found: list[tuple[Source, dict[str, Any]]]) -> None:
    """Take the size from the file where a record has none: of the pixels that the sizes of the other photos mean."""
    unsized = [(source, record) for source, record in found if not _has_size(record)]
    meant = {_means_turned(record) for _, record in found if _has_size(record)} - {None} if unsized else set()
    turned = meant.pop() if len(meant) == 1 else None
    for source, record in unsized:
        _add_size(source, record, turned)


def _has_size(record: dict[str, Any]) -> bool:
    return all(record.get(key) not in (None, "", 0) for key in ("width", "height"))


def _means_turned(record: dict[str, Any]) -> bool | None:
    """Whether the size of a record is that of the pixels as EXIF turns them; None where it does not tell."""
    try:
        header = read_header(record[PATH])
    except DataError:  # told by the checks
        return None
    stored, turned, size = (header.width, header.height), header.turned(), (record["width"], record["height"])
    return size == turned if stored != turned and size in (stored, turned) else None


def _add_size(source: Source, record: dict[str, Any], turned: bool | None) -> None:
    """Take the size of the pixels as EXIF turns them if `turned`, else of the stored ones; None: nothing says which."""
    try:
        header = read_header(record[PATH])
    except DataError:  # told by the checks
        record["width"] = record["height"] = None
        return
    stored, other = (header.width, header.height), header.turned()
    what = TAKEN
    if stored != other and turned is None:
        record[NO_SIZE] = True
        what = f"{TAKEN}; {UNDECIDED}"
    elif stored != other:
        what = (
            f"{TAKEN}; EXIF turns them, and they are read {'turned' if turned else 'as stored'}, as the others with a size are"
        )
    record["width"], record["height"] = other if turned else stored
    source.notes.append(Note(record[NAME], what, repaired=False))


def _unlisted(sources: list[Source], folders: dict[Path, PhotoFolder]) -> Iterator[Note]:
    """Photos in the folders that no record names; studio photos are not meant to be. And folders that were not gone into."""
    named = {record[PATH] for source in sources for record in source.lists["images"] if _is_found(record)}
    for folder in folders.values():
        for name in folder.photo_names():
            if folder.paths[name] not in named and STUDIO not in Path(name).parts:
                yield Note(name, "photos in the folder that the labels do not list, not read", repaired=False)
        for name in folder.outputs:
            yield Note(name, "folders of runs and predictions in the data set, not read", repaired=False)

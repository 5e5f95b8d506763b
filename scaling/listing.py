"""The photos of a run, by their URIs in order, and the parts that they are dealt into.

A URI is a local path or one that fsspec knows, as `s3://bucket/shelf` or `gs://...`, whose client has to be installed.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import fsspec

from recognition.file_kind import PHOTO_SUFFIXES


class Listing(NamedTuple):
    """URIs in order, each with its size in bytes (-1 where it was not asked for), and how many other files were passed over."""

    uris: tuple[str, ...]
    sizes: tuple[int, ...]
    others: int = 0

    @property
    def digest(self) -> str:
        """The sha256 of all URIs and sizes: another list, or a photo of another size, gives another one."""
        lines = "\n".join(json.dumps(pair) for pair in zip(self.uris, self.sizes, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()


class Part(NamedTuple):
    """The photos that are predicted, written and recorded together."""

    number: int
    uris: tuple[str, ...]

    @property
    def name(self) -> str:
        """As its folders are called.

        >>> Part(12, ()).name
        'part=000012'
        """
        return f"part={self.number:06d}"


def filesystem(uri: str) -> tuple[Any, str]:
    """The fsspec file system of a URI, and the path in it. Raises ValueError where its client is not installed."""
    try:
        files, path = fsspec.url_to_fs(uri)
    except ImportError as error:
        raise ValueError(f"{uri}: {error}; install its fsspec client") from None
    return files, str(path)


def absolute(uri: str) -> str:
    """The URI as workers in other folders know it: a local path from the root."""
    files, path = filesystem(uri)
    return _plain(files.unstrip_protocol(path))


def list_photos(uri: str) -> Listing:
    """The photos in the folder URI and below it, or those that the text file URI (.txt) names, one URI a line.

    Raises ValueError where there is none, or where a list names one twice.
    """
    files, path = filesystem(uri)
    if path.endswith(".txt"):
        return _listed(uri, files.cat_file(path).decode().splitlines())
    if not files.isdir(path):
        raise ValueError(f"--photos {uri}: not a folder; need a folder of photos, or a .txt file with a URI a line")
    sizes = {name: entry["size"] or 0 for name, entry in files.find(path, detail=True).items()}
    entries = sorted((files.unstrip_protocol(name), size) for name, size in sizes.items())
    photos = [(_plain(name), size) for name, size in entries if _is_photo(name)]
    if not photos:
        raise ValueError(f"--photos {uri}: {len(entries)} files, none of them a photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
    names, sizes = zip(*photos, strict=True)
    return Listing(names, sizes, len(entries) - len(photos))


def deal(uris: Sequence[str], size: int) -> list[Part]:
    """The parts: `size` photos each, in order, the last one what is left.

    >>> [part.uris for part in deal("abcde", 2)], deal("", 2)
    ([('a', 'b'), ('c', 'd'), ('e',)], [])
    """
    return [Part(number, tuple(uris[at : at + size])) for number, at in enumerate(range(0, len(uris), size))]


def _listed(uri: str, lines: Sequence[str]) -> Listing:
    names = [absolute(line.strip()) for line in lines if line.strip()]
    if len(set(names)) < len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"--photos {uri}: names {twice} twice; a photo is predicted once, remove the other line")
    if not names:
        raise ValueError(f"--photos {uri}: no line with a URI")
    return Listing(tuple(names), (-1,) * len(names))


def _plain(name: str) -> str:
    """A local file's path without `file://`, other URIs as they are."""
    return name.removeprefix("file://")


def _is_photo(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith(".") and "." + base.rpartition(".")[2].lower() in PHOTO_SUFFIXES

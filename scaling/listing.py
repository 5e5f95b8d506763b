"""The photos of a run, by their URIs in order, and the parts that they are dealt into.

A URI is a local path or one that fsspec knows, as `s3://bucket/shelf` or `gs://...`, whose client has to be installed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recognition.file_kind import PHOTO_SUFFIXES

MARKS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "created")  # of a file's bytes, by client


class Listing(NamedTuple):
    """URIs in order and each one's version, which is another one when the photo is written anew ("": it was not asked for).

    `others` counts the other files, and `linked_folders` the links to folders, that were passed over.
    """

    uris: tuple[str, ...]
    versions: tuple[str, ...]
    others: int = 0
    linked_folders: int = 0

    @property
    def digest(self) -> str:
        """The sha256 of all URIs and versions: another list, or a photo that was changed, gives another one."""
        lines = "\n".join(json.dumps(pair) for pair in zip(self.uris, self.versions, strict=True))
        return hashlib.sha256(lines.encode()).hexdigest()

    @property
    def unversioned(self) -> int:
        """How many photos could be changed without another digest."""
        return self.versions.count("")


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
    """The fsspec file system of a URI, and the path in it: a local one where there is no `://`.

    Raises ValueError where its client is not installed, or for `s3:/bucket`, which would be a local folder `s3:`.
    """
    if "://" not in uri:
        protocol = uri.partition(":/")[0]
        if protocol in fsspec.available_protocols():
            raise ValueError(f"{uri}: got {protocol}:/, a URI begins with {protocol}://")
        return LocalFileSystem(), str(LocalFileSystem._strip_protocol(uri))
    try:
        files, path = fsspec.url_to_fs(uri)
    except ImportError as error:
        raise ValueError(f"{uri}: {error}; install its fsspec client") from None
    return files, str(path)


@contextmanager
def client_errors(flag: str, uri: str) -> Iterator[None]:
    """What the client of a remote file system raises of its own becomes a ValueError that names the flag."""
    try:
        yield
    except (ValueError, OSError):
        raise
    except Exception as error:
        if "://" not in uri:
            raise
        raise ValueError(f"{flag} {uri}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def absolute(uri: str) -> str:
    """The URI as workers in other folders know it: a local path from the root."""
    files, path = filesystem(uri)
    return _plain(files.unstrip_protocol(path))


def list_photos(uri: str) -> Listing:
    """The photos in the folder URI and below it, or those that the text file URI (.txt) names, one URI a line.

    Links to folders are not entered. Raises ValueError where there is none, where a list names one twice, or for a name that no
    table holds; OSError for a local folder that cannot be read.
    """
    files, path = filesystem(uri)
    if path.endswith(".txt"):
        return _listed(uri, files.cat_file(path))
    if not files.isdir(path):
        raise ValueError(f"--photos {uri}: not a folder; need a folder of photos, or a .txt file with a URI a line")
    if isinstance(files, LocalFileSystem):
        names, linked_folders = local_files(path)
        versions = {name: local_version(name) for name in names if _is_photo(name)}
    else:
        entries, linked_folders = (
            {files.unstrip_protocol(name): entry for name, entry in files.find(path, detail=True).items()},
            0,
        )
        names, versions = list(entries), {name: version_of(entry) for name, entry in entries.items() if _is_photo(name)}
    if not versions:
        raise ValueError(f"--photos {uri}: {len(names)} files, none of them a photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
    _refuse_undecodable(uri, versions)
    uris = tuple(sorted(versions))
    return Listing(uris, tuple(versions[name] for name in uris), len(names) - len(uris), linked_folders)


def local_files(folder: str) -> tuple[list[str], int]:
    """The files in a local folder and below it, and how many links to folders, which are not entered, there are.

    Raises OSError for a folder that cannot be read, which fsspec would pass over.
    """

    def fail(error: OSError) -> None:
        raise error

    names, linked = [], 0
    for parent, folders, files in os.walk(folder, onerror=fail):
        names += [f"{parent.rstrip('/')}/{name}" for name in files]
        linked += sum(Path(parent, name).is_symlink() for name in folders)
    return names, linked


def local_version(path: str) -> str:
    """Size and time of change of the file at `path`, or that it links to; "unreadable" where there is none."""
    try:
        status = Path(path).stat()
    except OSError:
        return "unreadable"
    return f"{status.st_size} {status.st_mtime_ns}"


def version_of(entry: dict[str, Any]) -> str:
    """Size and the client's mark of a remote file's bytes.

    >>> version_of({"size": 3, "ETag": "ab", "LastModified": 5}), version_of({"size": None})
    ('3 ab', '0 ')
    """
    return f"{entry.get('size') or 0} {next((entry[mark] for mark in MARKS if mark in entry), '')}"


def deal(uris: Sequence[str], size: int) -> list[Part]:
    """The parts: `size` photos each, in order, the last one what is left.

    >>> [part.uris for part in deal("abcde", 2)], deal("", 2)
    ([('a', 'b'), ('c', 'd'), ('e',)], [])
    """
    return [Part(number, tuple(uris[at : at + size])) for number, at in enumerate(range(0, len(uris), size))]


def _listed(uri: str, data: bytes) -> Listing:
    """The photos that the lines of a list name; of local ones the version."""
    try:
        lines = data.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"--photos {uri}: not a text in UTF-8 ({error}); need a URI a line") from None
    names = tuple(absolute(line.strip()) for line in lines if line.strip())
    if (twice := first_twice(names)) is not None:
        raise ValueError(f"--photos {uri}: names {twice} twice; a photo is predicted once, remove the other line")
    if not names:
        raise ValueError(f"--photos {uri}: no line with a URI")
    return Listing(names, tuple("" if "://" in name else local_version(name) for name in names))


def first_twice(names: Iterable[str]) -> str | None:
    """The first name of which there was one before, also by another way to write a path; None where all differ.

    >>> first_twice(["/a/1.jpg", "/b/1.jpg", "/a//../a/1.jpg"]), first_twice(["s3://a/1.jpg", "s3://a//1.jpg"])
    ('/a//../a/1.jpg', None)
    """
    seen: set[str] = set()
    for name in names:
        key = name if "://" in name else os.path.normpath(name)
        if key in seen:
            return name
        seen.add(key)
    return None


def _refuse_undecodable(uri: str, names: Iterable[str]) -> None:
    """Raises ValueError for a file name that is no text: a table of strings could not hold it."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError:
            raise ValueError(f"--photos {uri}: the name of {name!a} is not UTF-8; rename it") from None


def _plain(name: str) -> str:
    """A local file's path without `file://`, other URIs as they are."""
    return name.removeprefix("file://")


def _is_photo(name: str) -> bool:
    base = name.rpartition("/")[2]
    return not base.startswith(".") and "." + base.rpartition(".")[2].lower() in PHOTO_SUFFIXES

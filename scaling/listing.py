"""The photos of a run, by their URIs in order, and the parts that they are dealt into.

A URI is a local path or one that fsspec knows, as `s3://bucket/shelf` or `gs://...`, whose client has to be installed.
"""

import hashlib
import heapq
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import fsspec
from fsspec.implementations.local import LocalFileSystem

from recognition.file_kind import PHOTO_SUFFIXES
from recognition.inputs import PICTURES, SHOWN, holds_predictions, is_hidden
from recognition.journal import NAME as JOURNAL
from runs import output_folder
from runs.output_folder import is_output
from scaling.photo_files import is_called_photo, is_local_photo

AMONG = "lies among the predictions of hylle predict, whose pictures are no photos of a shelf; name a folder of photos"
MARKS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "created")  # of a file's bytes, by client


class PassedOver(NamedTuple):
    """Folders that are not looked into: how many are links, are hidden, and are of our own output."""

    links: int = 0
    hidden: int = 0
    outputs: int = 0


class Listing(NamedTuple):
    """URIs in order and each one's version, which is another one when the photo is written anew ("": it was not asked for).

    `others` counts the other files in the folders that were looked into, `such_as` are some of them, by their paths from there.
    `undecodable` counts photos whose names are not UTF-8: their URIs have \\xff for such a byte, and cannot be read.
    """

    uris: tuple[str, ...]
    versions: tuple[str, ...]
    others: int = 0
    passed_over: PassedOver = PassedOver()
    such_as: tuple[str, ...] = ()
    undecodable: int = 0

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

    Links to folders, hidden folders and those of predictions are not entered. Raises ValueError where there is no photo, or two
    have one name; OSError for a local folder that cannot be read.
    """
    files, path = filesystem(uri)
    if not files.isdir(path):
        if path.endswith(".txt"):
            return _listed(uri, files.cat_file(path))
        raise ValueError(f"--photos {uri}: not a folder; need a folder of photos, or a .txt file with a URI a line")
    if isinstance(files, LocalFileSystem):
        path = plain_path(path)
        names, passed_over = local_files(path)
        versions = {name: local_version(name) for name in names if is_local_photo(name)}
    else:
        entries = files.find(path, detail=True)
        own, passed_over = remote_files(path, entries)
        path, names = files.unstrip_protocol(path), [files.unstrip_protocol(name) for name in own]
        versions = {name: version_of(entries[at]) for name, at in zip(names, own, strict=True) if is_called_photo(name)}
    if not versions:
        raise ValueError(f"--photos {uri}: {len(names)} files, none of them a photo ({', '.join(sorted(PHOTO_SUFFIXES))})")
    others = [name.removeprefix(path).lstrip("/") for name in names if name not in versions]
    such_as = heapq.nsmallest(SHOWN, others, key=lambda name: (is_hidden(name.rpartition("/")[2]), name))
    by_uri = {_as_text(name): versions[name] for name in sorted(versions, key=_as_text)}
    if len(by_uri) < len(versions):
        raise ValueError(
            f"--photos {uri}: two photos have one name where bytes that are not UTF-8 are written as \\xff; rename them"
        )
    undecodable = len(versions.keys() - by_uri.keys())
    return Listing(tuple(by_uri), tuple(by_uri.values()), len(others), passed_over, tuple(map(_as_text, such_as)), undecodable)


def plain_path(folder: str) -> str:
    """A local folder as its path is usually written, so that photos have one name however it is given; links stay.

    >>> plain_path("/tmp/..//tmp")
    '/tmp'
    """
    plain = os.path.normpath(folder)
    return plain if os.path.samefile(plain, folder) else folder  # noqa: PTH121  # .. behind a link leads elsewhere


def local_files(folder: str) -> tuple[list[str], PassedOver]:
    """The files in a local folder and below it, by the rule of `recognition.inputs`, and the folders that were passed over.

    Raises ValueError where it lies among predictions itself; OSError for a folder that cannot be read, which fsspec would pass
    over.
    """
    here = Path(folder).resolve()
    drawn = [above.parent for above in (here, *here.parents) if above.name == PICTURES]
    if any(map(holds_predictions, (here, *drawn))):
        raise ValueError(f"--photos {folder}: {AMONG}")

    def fail(error: OSError) -> None:
        raise error

    names, links, hidden, outputs = [], 0, 0, 0
    for parent, folders, files in os.walk(folder, onerror=fail):
        names += [f"{parent.rstrip('/')}/{name}" for name in files]
        seen = [name for name in folders if not is_hidden(name)]
        entered = [name for name in seen if not is_output(Path(parent, name))]
        hidden += len(folders) - len(seen)
        outputs += len(seen) - len(entered)
        links += sum(Path(parent, name).is_symlink() for name in entered)
        folders[:] = entered
    return names, PassedOver(links, hidden, outputs)


def remote_files(folder: str, names: Iterable[str]) -> tuple[list[str], PassedOver]:
    """Those of `names`, all files below a remote folder, that `local_files` would find, and the folders that were passed over.

    >>> remote_files("b/shelf", ["b/shelf/1.jpg", "b/shelf/.old/a/2.jpg", "b/shelf/out/journal.jsonl", "b/shelf/out/p/1.jpg"])
    (['b/shelf/1.jpg'], PassedOver(links=0, hidden=1, outputs=1))
    """
    names = list(names)
    if f"{folder.rstrip('/')}/{JOURNAL}" in names:
        raise ValueError(f"--photos {folder}: {AMONG}")
    of_output = {parent for parent, _, name in (path.rpartition("/") for path in names) if name in output_folder.MARKS}
    found, hidden, outputs = list[str](), set[str](), set[str]()
    for path in names:
        ends = [at for at, letter in enumerate(path) if letter == "/" and at > len(folder.rstrip("/"))]
        above = [path[:end] for end in ends]  # the folders below `folder` that it lies in, outermost first
        outermost = next((inner for inner in above if is_hidden(inner.rpartition("/")[2]) or inner in of_output), None)
        if outermost is None:
            found.append(path)
        else:
            (outputs if outermost in of_output else hidden).add(outermost)
    return found, PassedOver(0, len(hidden), len(outputs))


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
        lines = [line.removesuffix("\r") for line in data.decode("utf-8-sig").split("\n")]  # a name may hold other line ends
    except UnicodeDecodeError as error:
        raise ValueError(f"--photos {uri}: not a text in UTF-8 ({error}); need a URI a line") from None
    names = tuple(absolute(line) for line in lines if line.strip())
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


def _as_text(name: str) -> str:
    """A name that a table of strings holds: bytes that are no UTF-8 are written as \\xff."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _plain(name: str) -> str:
    """A local file's path without `file://`, other URIs as they are."""
    return name.removeprefix("file://")

"""The files below a folder of photos, listed once, and the one that a name in an annotation file means.

Tools write names of many forms: with `images/` in front, with backslashes, absolute paths of another machine, URLs. The file
that is meant is the one whose path ends like the name, the longer the better.
"""

import os
import re
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from photos.photo_file import SUFFIXES, same_name
from runs.output_folder import MARKS

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_LOCAL_FILES = "d"  # taken: Label Studio's parameter in /data/local-files/?d=PATH
PHOTO_SUFFIXES = frozenset({*SUFFIXES.values(), ".jpeg", ".tiff"})


class Located(NamedTuple):
    """The file that a name means: its own name in the folder, and whether the folder has it as written."""

    name: str
    as_written: bool


class Below(NamedTuple):
    """The files below a folder, and the folders there that are of runs and predictions, which were not gone into."""

    files: list[Path]
    outputs: list[Path]


class PhotoFolder:
    """All files below the folder `base`, links to folders followed, by their names: relative, with /, letters composed.

    `outputs` are the names of the folders of runs and predictions there: labels may name files in them, as those of what a
    review has confirmed, but `photo_names` leaves them out.
    """

    def __init__(self, base: Path) -> None:
        self.base = base
        files, outputs = files_below(base, follow_links=True)
        self.outputs = sorted(path.relative_to(base).as_posix() for path in outputs)
        self._read = {same_name(path.relative_to(base).as_posix()): path for path in sorted(files)}
        passed_over = [path for output in outputs for path in files_below(output, True, frozenset()).files]
        self.paths = {same_name(path.relative_to(base).as_posix()): path for path in sorted(passed_over)} | self._read
        self._by_last: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in self._read:
            last = PurePosixPath(name)
            self._by_last.setdefault(last.name, []).append(name)
            self._by_stem.setdefault(last.stem.lower(), []).append(name)

    def locate(self, written: str, folders: tuple[str, ...] = (), folders_first: bool = False) -> Located | None:
        """The file that `written` means, perhaps in one of `folders`, with `folders_first` before that of this very name.

        None: there is none. ValueError where several may be.
        """
        plain = same_name(written)
        for name in _places(plain, folders, folders_first):
            if name in self.paths:
                return Located(name, True)
        parts = [part for part in PurePosixPath(bare_path(written)).parts if part not in ("/", "..")]
        for start in range(len(parts)):
            for name in _places(same_name("/".join(parts[start:])), folders, folders_first):
                if name in self.paths:
                    return Located(name, False)
        return self._by_name_alone(parts[-1] if parts else "")

    def _by_name_alone(self, last: str) -> Located | None:
        names = self._by_last.get(same_name(last), []) if last else []
        if len(names) > 1:
            raise ValueError(f"{last} lies in {len(names)} folders ({names[0]}, {names[1]})")
        return Located(names[0], False) if names else None

    def near(self, written: str) -> list[str]:
        """Names that differ only in case or suffix: the usual slip where a photo is not found."""
        return [PurePosixPath(name).name for name in self._by_stem.get(PurePosixPath(bare_path(written)).stem.lower(), [])]

    def photo_names(self) -> list[str]:
        """The names of the files that have the suffix of a photo."""
        return [name for name in self._read if PurePosixPath(name).suffix.lower() in PHOTO_SUFFIXES]


def _places(name: str, folders: tuple[str, ...], folders_first: bool) -> tuple[str, ...]:
    """Where a file of this name may lie, in the order to look.

    >>> _places("a.jpg", ("train",), False), _places("a.jpg", ("train",), True)
    (('a.jpg', 'train/a.jpg'), ('train/a.jpg', 'a.jpg'))
    """
    inside = tuple(f"{folder}/{name}" for folder in folders)
    return (*inside, name) if folders_first else (name, *inside)


def bare_path(written: str) -> str:
    """A name without what makes it a URL or a Windows path.

    >>> bare_path("https://shop.no/a/b%20c.jpg?size=large"), bare_path("C:\\\\shop\\\\a.jpg")
    ('/a/b c.jpg', 'C:/shop/a.jpg')
    >>> bare_path("/data/local-files/?d=shop/a.jpg")
    'shop/a.jpg'
    """
    if not _SCHEME.match(written) and "/local-files/?" not in written:
        return written.replace("\\", "/")
    url = urlsplit(written)
    return parse_qs(url.query).get(_LOCAL_FILES, [unquote(url.path)])[0]


def is_absolute(written: str) -> bool:
    """Whether a name begins at a root or a drive, of whatever system.

    >>> [is_absolute(name) for name in ("/shop/a.jpg", "D:\\\\shop", "https://shop.no/a.jpg", "../shop/a.jpg")]
    [True, True, True, False]
    """
    return bool(PureWindowsPath(bare_path(written)).anchor)


def files_below(base: Path, follow_links: bool = False, marks: frozenset[str] = MARKS) -> Below:
    """What lies below `base`, but for hidden files, and folders that hold one of `marks`.

    A link that leads back to a folder it lies in is never followed.
    """
    below = Below([], [])
    for folder, inner, names in os.walk(base, followlinks=follow_links):
        if Path(folder) != base and not marks.isdisjoint(names):
            below.outputs.append(Path(folder))
            inner.clear()
            continue
        below.files.extend(Path(folder, name) for name in names if not name.startswith("."))
        inner[:] = [name for name in inner if not name.startswith(".") and not _leads_back(Path(folder, name), base)]
    return below


def visible(folder: Path, pattern: str) -> list[Path]:
    """What `folder.glob(pattern)` finds, in order, but for what is hidden, as macOS leaves ._data.yaml beside data.yaml."""
    found = sorted(folder.glob(pattern))
    return [path for path in found if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def files_once(base: Path) -> list[Path]:
    """The files below `base`, links to folders followed, in order; a folder that is reached twice is taken without a link.

    As readers need them that take each file for a photo's labels; `PhotoFolder` has a file by every name that it has.
    """
    files = files_below(base, follow_links=True).files
    real = {folder: folder.resolve() for folder in {path.parent for path in files}}
    home = base.resolve()
    once: dict[tuple[Path, str], Path] = {}
    for path in sorted(files, key=lambda path: (real[path.parent] != home / path.parent.relative_to(base), path)):
        once.setdefault((real[path.parent], path.name), path)
    return sorted(once.values())


def _leads_back(folder: Path, base: Path) -> bool:
    return folder.is_symlink() and any(place.resolve().is_relative_to(folder.resolve()) for place in (base, folder.parent))

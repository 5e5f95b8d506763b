"""The photos and videos that a command line means: files, folders with all that is in them, and patterns.

Each has a name that no other has: its path from the folder that all of them have in common. Nothing is left out in silence:
`Inputs.notes` tells what was named twice, which files are neither photo nor video, and what is no file.
"""

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from recognition import jpeg_stream
from recognition.file_kind import file_kind
from recognition.journal import NAME as JOURNAL
from runs.counted import counted
from runs.output_folder import is_output

SHOWN = 3  # chosen: names of files that a note lists
PATTERN = set("*?[")
PICTURES = "pictures"  # in a folder that holds predictions: photos with what was found drawn on them


class Input(NamedTuple):
    """A photo or a video: its file, and its name in all tables, with / between folders."""

    path: Path
    name: str
    is_video: bool


class Inputs(NamedTuple):
    """All inputs in the order of their names, the folder that the names begin at, and a line for each kind of file left out."""

    items: list[Input]
    root: Path
    notes: list[str]


def find_inputs(words: Sequence[str], out: Path) -> Inputs:
    """The inputs that `words` mean: paths of files and folders, or patterns.

    What lies in OUT or in a folder that holds predictions is left out, and so are folders below that hold a run: their pictures
    are no photos of a shelf. What else is neither photo nor video is told.

    Raises ValueError for a word that means nothing, and where there is no photo or video at all.
    """
    meant = [path for word in words for path in _paths(word)]
    left_out = [path for path in meant if _is_of_predictions(path, out.resolve())]
    named = [path for path in meant if path not in left_out]
    if not named:
        raise ValueError(
            f"{', '.join(words)}: lies in --out {out} or among other predictions; name photos, and an --out beside them"
        )
    again: list[Path] = []
    found = [file for path in named for file in _files(path, out.resolve(), left_out, again)]
    files = [file for file in found if file.is_file()]
    once = list(dict.fromkeys(files))
    kinds = {file: file_kind(file) for file in once}
    others = [file for file in once if kinds[file] == "other"]
    root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in named]))
    items = [Input(file, _name(file, root), kinds[file] == "video") for file in once if kinds[file] != "other"]
    if not items and others == named[:1]:
        raise ValueError(f"{named[0]}: neither a photo (JPEG, PNG, WebP, BMP, TIFF) nor a video")
    if not items:
        raise ValueError(f"{', '.join(words)}: no photo and no video in it; {len(others)} other files")
    notes = [f"{counted(len(files) - len(once), 'file')} named twice, taken once"] if len(files) > len(once) else []
    if left_out:
        notes.append(f"files and folders of predictions and runs, left out: {len(left_out)}, the first is {left_out[0]}")
    if again:
        notes.append(f"folders that are in it already by another name, taken once: {len(again)}, the first is {again[0]}")
    notes += _of_no_files([path for path in dict.fromkeys(found) if path not in kinds], root)
    if others:
        names = ", ".join(_name(file, root) for file in others[:SHOWN])
        notes.append(f"{counted(len(others), 'file')} neither photo nor video, such as {names}")
    if timeless := sum(item.is_video and item.path.suffix.lower() in jpeg_stream.SUFFIXES for item in items):
        notes.append(f"videos that are JPEGs without times, taken for 25 a second: {timeless}")
    return Inputs(sorted(items, key=lambda item: item.name), root, notes)


def _of_no_files(paths: Sequence[Path], root: Path) -> list[str]:
    """A line for links that lead nowhere, and one for what else is no file, where there are such `paths`."""
    nowhere = [path for path in paths if not path.exists()]
    special = [path for path in paths if path.exists()]
    kinds = (("links that lead nowhere", nowhere), ("pipes, sockets and devices", special))
    return [f"{what}, left out: {len(some)}, the first is {_name(some[0], root)}" for what, some in kinds if some]


def _paths(word: str) -> list[Path]:
    """The absolute paths that one word of the command line means. Raises ValueError where there are none."""
    path = Path(word)
    if path.is_file() or path.is_dir():
        return [_absolute(path)]
    if path.exists():
        raise ValueError(f"{word}: neither a file nor a folder")
    pattern = bool(PATTERN & set(word))
    globbed = sorted(glob.glob(word, recursive=True)) if pattern else []  # noqa: PTH207  # Path.glob refuses absolute patterns
    matches = [Path(match) for match in globbed]
    if all(match.exists() and not match.is_file() and not match.is_dir() for match in matches):  # pipes and devices
        raise ValueError(f"{word}: {'the pattern matches nothing' if pattern else 'no such file or folder'}")
    return [_absolute(match) for match in matches]


def _absolute(path: Path) -> Path:
    """`path` from the root of the file system; a link to a file keeps its own name."""
    return path.resolve() if path.is_dir() else path.parent.resolve() / path.name


def _name(file: Path, root: Path) -> str:
    """The name of `file` in all tables; bytes that are no UTF-8 are written as \\xff."""
    return os.fsencode(file.relative_to(root).as_posix()).decode("utf-8", "backslashreplace")


def is_hidden(name: str) -> bool:
    """Whether a file or a folder of this name is passed over, as .thumbnails is."""
    return name.startswith(".")


def holds_predictions(folder: Path) -> bool:
    """Whether FOLDER is one that predictions are in, whose pictures are no photos of a shelf."""
    return (folder / JOURNAL).is_file()


def is_among_predictions(path: Path) -> bool:
    """Whether `path`, from the root of the file system, lies in a folder that holds predictions, or is one."""
    return any(map(holds_predictions, (path, *path.parents)))


def _is_of_predictions(path: Path, out: Path) -> bool:
    return path.is_relative_to(out) or is_among_predictions(path)


def _refuse(error: OSError) -> None:
    raise error


def _files(path: Path, out: Path, left_out: list[Path], again: list[Path]) -> Iterator[Path]:
    """`path` itself, or all files in it and its folders, without hidden ones and those of OUT; links that lead nowhere too.

    Folders below `path` that hold other predictions, or a run, are passed over and join `left_out`. Links to folders are
    followed, after all real ones, but those to a folder that is in it already, or that `path` lies in: these join `again`.
    OSError for a folder that cannot be listed.
    """
    if not path.is_dir():
        yield path
        return
    been, links = {*path.resolve().parents}, [path]
    while links:
        top = links.pop(0)
        if top.resolve() in been:
            again.append(top)
            continue
        for folder, folders, names in os.walk(top, onerror=_refuse):
            been.add(Path(folder).resolve())
            seen = [Path(folder, name) for name in sorted(folders) if not is_hidden(name) and Path(folder, name) != out]
            taken = [inner for inner in seen if not is_output(inner)]
            left_out += [inner for inner in seen if inner not in taken]
            links += [inner for inner in taken if inner.is_symlink()]
            real = [inner for inner in taken if not inner.is_symlink()]
            folders[:] = [inner.name for inner in real if inner.resolve() not in been]
            again += [inner for inner in real if inner.name not in folders]  # a link led there before
            yield from (Path(folder, name) for name in sorted(names) if not is_hidden(name))

"""Where a command is to write: whether a file can be there is known before the work, not after it."""

from pathlib import Path


def file_above(path: Path) -> Path | None:
    """The file that lies where PATH needs a folder above it; None where there is none."""
    return next((above for above in path.parents if above.is_file()), None)


def refuse_no_file(flag: str, path: Path, example: str) -> None:
    """Raises ValueError where PATH, which `flag` names, is a folder or below a file; `example` is a file's name."""
    if path.is_dir():
        raise ValueError(f"{flag} {path}: got a folder, need a file name, such as {path / example}")
    if above := file_above(path):
        raise ValueError(f"{flag} {path}: {above} is a file, need a folder")

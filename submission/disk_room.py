"""Room on the disk for what a zip is run on: where there is none, the zip is not to blame, and the folder is named."""

import errno
import os
import shutil
import tempfile
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT)


class DiskFullError(ValueError):
    """The disk here is full: nothing of the zip is known."""


def full_disk(folder: Path) -> str:
    """That the disk of FOLDER is full, and the remedy, in words; the temporary folder is known by its name."""
    temporary = Path(tempfile.gettempdir())
    if folder.resolve().is_relative_to(temporary.resolve()):
        return f"the temporary folder {temporary} is full; make room there, or name another folder by the variable TMPDIR"
    return f"the disk of {folder.parent} is full; make room there"


def copy_folder(source: Path, folder: Path) -> None:
    """Copy a folder. DiskFullError where it does not fit."""
    try:
        shutil.copytree(source, folder)
    except shutil.Error as error:  # of each file its own, in words
        if any(os.strerror(number) in str(error) for number in FULL):
            raise DiskFullError(f"{source}: cannot be copied: {full_disk(folder)}") from None
        raise

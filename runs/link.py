"""Links to photos and folders, or copies of them where the file system has no symbolic links."""

import shutil
from functools import cache
from pathlib import Path

from runs.command import say


def link_or_copy(source: Path, place: Path) -> None:
    """PLACE becomes a symbolic link to SOURCE, a file or a folder, or a copy of it; FileExistsError where PLACE is there."""
    try:
        place.symlink_to(source.resolve())
    except FileExistsError:
        raise
    except OSError as error:  # which number it has differs between file systems
        _tell(place.parent, str(error.strerror))
        if source.is_dir():
            shutil.copytree(source, place)
        else:
            shutil.copyfile(source, place)


@cache
def _tell(folder: Path, reason: str) -> None:
    """Say it once for each folder."""
    say(f"{folder}: no symbolic links here ({reason}); photos are copied instead")

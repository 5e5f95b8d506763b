"""Unpack a zip within bounds: no more than the judge allows, and block by block."""

import zipfile
import zlib
from pathlib import Path

from submission.disk_room import FULL, DiskFullError, full_disk
from submission.entries import MAX_BYTES, MB
from submission.rules import MAX_FILES


class CannotUnpackError(ValueError):
    """The zip is damaged, larger than the judge allows, or of names that no file system takes: the judge would fail too."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack ARCHIVE into FOLDER. Raises CannotUnpackError where that fails, or would take more than the judge allows.

    DiskFullError where FOLDER cannot hold it.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            infos = zipped.infolist()
            size = sum(info.file_size for info in infos)
            if size > MAX_BYTES or len(infos) > 2 * MAX_FILES:
                what = f"{len(infos)} files of {size / MB:.1f} MB unpacked, at most {MAX_FILES} files of {MAX_BYTES // MB} MB"
                raise CannotUnpackError(f"{archive}: {what}")
            if any(info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for info in infos):
                what = "packed in another way than by deflate, of which the size cannot be bounded"
                raise CannotUnpackError(f"{archive}: {what}")
            folder.mkdir()
            for info in infos:
                zipped.extract(info, folder)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, IndexError) as error:
        # RuntimeError: encrypted; IndexError: a name of no characters
        if getattr(error, "errno", None) in FULL:
            raise DiskFullError(f"{archive}: cannot be unpacked: {full_disk(folder)}") from None
        raise CannotUnpackError(f"{archive}: cannot be unpacked: {error}") from None

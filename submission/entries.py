"""The files of a zip, read with bounds: sizes before contents, and never more in memory than the limits below.

A zip of half a megabyte may hold gigabytes; what it says of its sizes is read first, and decides what is looked into.
"""

import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath

MB = 10**6  # bytes; the page says "420 MB": the smaller of the two readings
MAX_BYTES = 420 * MB  # of all files, uncompressed; taken: the contest's page
MAX_ENTRIES = 10_000  # chosen: above ten times what the judge allows, nothing is looked into
MAX_NAME = 400  # chosen: characters of a path
MAX_PART = 255  # bytes of a folder's or file's name, in UTF-8; taken: Linux's file systems
HEAD = 4096  # bytes of each file that are searched for a magic number: more than the header of any .npy of one array
MAX_TEXT = {".py": MB // 5, ".json": 4 * MB}  # chosen: files up to this size are read; a syntax tree takes 200 times as much
MAX_ALL_TEXT = 16 * MB  # chosen: of all such files of one suffix together
MAX_RATIO = 100  # chosen: weights shrink by a tenth; what shrinks to less than 1 / MAX_RATIO holds next to nothing
MIN_BOMB = 50 * MB  # chosen: files below this size may shrink as they like
BLOCK = 1 << 20  # bytes read at a time


@dataclass(frozen=True)
class Entry:
    """One file or folder of a zip. `text` is all of a .py or .json file; None for all others and where it is too large."""

    name: str  # as stored, slashes and all
    size: int  # bytes, uncompressed
    mode: int  # unix mode, 0 when the zip was made elsewhere
    head: bytes  # the first HEAD bytes
    text: bytes | None
    packed: int = 0  # bytes that it takes in the zip
    damage: str = ""  # why it cannot be unpacked

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")

    @property
    def is_bomb(self) -> bool:
        """Whether it is large and holds next to nothing."""
        return self.size > MIN_BOMB and self.size > MAX_RATIO * self.packed

    @property
    def is_text(self) -> bool:
        return self.suffix in MAX_TEXT and not stat.S_ISLNK(self.mode)


def read_entries(archive: zipfile.ZipFile) -> list[Entry]:
    """The files and folders of a zip, at most MAX_ENTRIES + 1.

    Every file is read through to its end, as only that shows damage, unless all together are larger than MAX_BYTES. A damaged
    or encrypted one says so in `damage`.
    """
    infos = archive.infolist()[: MAX_ENTRIES + 1]
    to_the_end = sum(info.file_size for info in infos) <= MAX_BYTES
    entries, text_left = [], dict.fromkeys(MAX_TEXT, MAX_ALL_TEXT)  # so that no .json keeps a .py from being read
    for info in infos:
        suffix = PurePosixPath(info.filename[-MAX_NAME:]).suffix
        with_text = info.file_size <= min(MAX_TEXT.get(suffix, -1), text_left.get(suffix, -1))
        entry = _read_entry(archive, info, with_text, to_the_end)
        if entry.text is not None:
            text_left[suffix] -= len(entry.text)
        entries.append(entry)
    return entries


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo, with_text: bool, to_the_end: bool) -> Entry:
    head, text, damage = b"", None, ""
    try:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # these alone are unpacked within bounds
            raise RuntimeError("packed in another way than by deflate")
        with archive.open(info) as stream:
            head = stream.read(HEAD)
            if with_text:
                text = head + stream.read()
            while to_the_end and stream.read(BLOCK):
                pass
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError, EOFError, ValueError) as error:  # RuntimeError: encrypted
        damage, text = str(error) or type(error).__name__, None
    mode = info.external_attr >> 16
    return Entry(info.filename, info.file_size, mode, head, text, info.compress_size, damage)

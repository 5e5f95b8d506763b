"""Whether the compressed pixels of a JPEG run out before the photo does, though the file has an end marker."""

import io
import mmap
import re
import warnings

import numpy as np
import numpy.typing as npt
from PIL import Image

_SCAN, _END = 0xDA, b"\xff\xd9"  # taken: the markers SOS and EOI
_ENDS_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")  # any marker but those of restarts, which stand inside a scan
_RESTART = re.compile(rb"\xff+[\xd0-\xd7]")
_FILLER = b"\x5a\xa5\x3c\x96" * 64  # chosen: bits that no Huffman table decodes to grey blocks only
_GREY = 128  # taken: what decoders make of blocks for which no bytes are left, in all channels
_SHRINK = 8  # a block becomes one pixel, which is decoded fastest


def scan_at(data: bytes | mmap.mmap) -> int:
    """Where the marker of a JPEG's first scan stands, or where its segments end without one."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != _SCAN:
        at += 1 if data[at + 1] == 0xFF else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return at


def runs_out(data: bytes, image: npt.NDArray[np.uint8]) -> bool:
    """Whether bytes of a JPEG, decoded to `image` (H, W, 3), are missing or so damaged that its last blocks have none.

    Decoders make those blocks grey and go on. Only a photo with a corner of just that grey is looked at: its first scan is
    decoded again with more bytes at each place where its own end. A decoder that has all blocks passes over these, so a whole
    photo stays as it is, also one that is grey there; one that lacks blocks takes them for these. Damage after which blocks
    are decoded wrongly, but to the last one, is not found, nor a lack in the finer scans of a progressive JPEG.
    """
    corners = image[:: max(1, image.shape[0] - 1), :: max(1, image.shape[1] - 1)]  # (2, 2, 3): the last block may be turned
    start = scan_at(data)
    if not data.startswith(b"\xff\xd8") or not (corners == _GREY).all(2).any() or data[start + 1 : start + 2] != bytes([_SCAN]):
        return False
    start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    end = _ENDS_SCAN.search(data, start)
    header, scan = data[:start], data[start : end.start() if end else len(data)]
    more = _RESTART.sub(lambda marker: _FILLER + marker[0], scan) + _FILLER
    try:
        return _blocks(header + scan + _END) != _blocks(header + more + _END)
    except Exception:  # Pillow raises nearly anything; OpenCV has decoded it
        return False


def _blocks(data: bytes) -> bytes:
    """The pixels of a JPEG at one _SHRINK-th of its size, by Pillow: OpenCV tells the terminal of bytes too many."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of large photos
        with Image.open(io.BytesIO(data)) as image:
            image.draft(None, (image.width // _SHRINK, image.height // _SHRINK))  # None keeps the mode
            return image.tobytes()

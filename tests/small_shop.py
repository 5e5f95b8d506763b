"""A drawn shop small enough for a test, and the bytes of what a folder holds."""

import hashlib
from dataclasses import replace
from pathlib import Path

from stage1_detector.synthesis import make_photos

SMALL = replace(
    make_photos.RECIPES["demo"], count=5, categories=9, families=3, sizes=((160, 120), (120, 160)), rows=(2, 3), side=0.2
)


def digests(out: Path) -> dict[str, str]:
    """Every file below `out` and a hash of its bytes."""
    files = sorted(p for p in out.rglob("*") if p.is_file())
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}

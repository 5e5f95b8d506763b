"""A zip whose run.py does what a test says, and its run in the sandbox."""

import subprocess
import sys
import zipfile
from pathlib import Path

from submission.judge_machine import Limits, Machine
from submission.outcome import Outcome
from submission.sandbox import execute

PYTHON = Path(sys.executable)
NAMESPACES = subprocess.run(["unshare", "-rmn", "true"], capture_output=True, check=False).returncode == 0
GOOD = '[{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4], "score": 0.5}]'
HEAD = f"""
import json, pathlib, sys, time
photos, output = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[4])
def write(text={GOOD!r}):
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(text)
"""


def script(tmp_path: Path, body: str) -> Path:
    """A zip whose run.py does `body`; the rules have no say here."""
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("run.py", HEAD + body)
    return tmp_path / "a.zip"


def run(tmp_path: Path, photos: Path, body: str, unprotected: bool = not NAMESPACES, **limits: float) -> Outcome:
    machine = Machine(PYTHON, Limits(**limits), unprotected=unprotected)
    return execute(script(tmp_path, body), photos, tmp_path / "out.json", machine)

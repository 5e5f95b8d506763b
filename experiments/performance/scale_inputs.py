"""What runs of `hylle scale` are measured on: photos under many names, six broken ones, and a model that run.py has too."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from recognition.recogniser import unpacked
from runs.record import ROOT

CANVAS, NAMED_ABOVE = 64, 0.5  # chosen: pixels and score of --fast; 10 ms a photo, few crops for the classifier
DAYS = 1e6  # seconds: run.py leaves nothing out for want of time, as `hylle scale` has no limit
FASTER = f"of each detector the first view alone, at {CANVAS} px, names for boxes above {NAMED_ABOVE}"
WITHOUT_OVERRIDE = "-dac_override,-dac_read_search"  # what lets root read files that nobody may


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is removed in the end, with all that processes started meanwhile leave behind: kill -9 tidies nothing."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory() as name:
        os.environ["TMPDIR"] = name  # Ray's sessions and the workers' copies of the model, too
        try:
            yield Path(name)
        finally:
            os.environ.pop("TMPDIR") if before is None else os.environ.update(TMPDIR=before)


def photo_files(folder: Path) -> list[Path]:
    """The JPEGs in a folder and below it, in order. Raises ValueError where there is none."""
    files = sorted(path.resolve() for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
    if not files:
        raise ValueError(f"--photos {folder}: got no .jpg in it, need one at least")
    return files


def linked(photos: Sequence[Path], folder: Path, count: int | None = None) -> Path:
    """A new folder of links to the photos, in turns, under `count` names with a number each; each once by default."""
    folder.mkdir(parents=True)
    for i in range(len(photos) if count is None else count):
        (folder / f"img_{i + 1:06d}.jpg").symlink_to(photos[i % len(photos)].resolve())
    return folder


def model_for_both(archive: Path, folder: Path, threads: int, fast: bool = False) -> Path:
    """The models of a submission zip in FOLDER/zip, as a run folder and, beside run.py and fusion/ of here, as a submission.

    What `hylle scale` has not, run.py has not either: further names and a limit of time. `fast` makes the work
    on a photo that of FASTER. Raises ValueError for what is no submission zip.
    """
    code = unpacked(archive, folder)
    ensemble = json.loads((code / "ensemble.json").read_text())
    ensemble |= {"threads": threads, "time_budget_s": DAYS, "gate": ensemble.get("gate", {}) | {"further": 0}}
    if fast:
        ensemble |= {"naming_floor": NAMED_ABOVE, "detectors": [_smaller(member) for member in ensemble["detectors"]]}
    (code / "ensemble.json").write_text(json.dumps(ensemble))
    shutil.copytree(ROOT / "fusion", code / "fusion", dirs_exist_ok=True)
    shutil.copy(ROOT / "submission" / "run.py", code / "run.py")
    return code


def _smaller(member: dict[str, Any]) -> dict[str, Any]:
    return member | {"views": [(member.get("views") or [{}])[0] | {"size": CANVAS}]}


def break_six(photos: Path) -> dict[str, str]:
    """Put a broken photo of each kind in the place of one, spread over the folder; the reason for each, by its path.

    Raises ValueError where there are fewer than six.
    """
    paths = sorted(photos.iterdir())
    if len(paths) < 6:
        raise ValueError(f"got {len(paths)} photos, need 6 at least to break")
    chosen = paths[len(paths) // 12 :: len(paths) // 6][:6]
    whole = chosen[0].read_bytes()
    contents = {
        "truncated": whole[: len(whole) * 2 // 3],
        "a JPEG without a picture": whole[:2] + b"\xff\xd9",
        "text": b"no photo",
        "0 bytes": b"",
        "200 megapixels": huge(),
        "not readable": whole,
    }
    reasons = ("truncated", "not a photo", "not a photo", "empty", "too large", "unreadable")
    for path, data in zip(chosen, contents.values(), strict=True):
        path.unlink()  # a link: its photo stays as it is
        path.write_bytes(data)
    chosen[-1].chmod(0)
    return dict(zip(map(str, chosen), reasons, strict=True))


def huge() -> bytes:
    """A grey JPEG of 20,000 x 10,000 pixels."""
    return cv2.imencode(".jpg", np.full((10_000, 20_000), 127, np.uint8))[1].tobytes()


def bound_by_permissions() -> list[str]:
    """What a command is started with so that it cannot read what nobody may: nothing, or for root `setpriv` of util-linux.

    Raises ValueError where root has no setpriv.
    """
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        raise ValueError("root reads every file, and setpriv (util-linux), which would take that from a process, is not there")
    return ["setpriv", f"--bounding-set={WITHOUT_OVERRIDE}"]

"""The photos, broken ones and models that runs of `hylle scale` are measured on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.performance import bad_photos, scale_inputs
from submission import build


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"no \.jpg in it"):
        scale_inputs.photo_files(tmp_path)


def test_photos_are_repeated_in_turns_and_stay_as_they_are(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    photos = scale_inputs.photo_files(tmp_path)
    links = sorted(scale_inputs.linked(photos, tmp_path / "many", 5).iterdir())
    assert [link.read_bytes() for link in links] == [b"a", b"b", b"a", b"b", b"a"]
    assert len(list(scale_inputs.linked(links, tmp_path / "each").iterdir())) == 5


@pytest.mark.parametrize("count", [6, 11, 12, 40])
def test_six_are_broken_each_in_its_way_and_the_originals_are_not(
    tmp_path: Path, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scale_inputs, "huge", lambda: b"huge")
    bad_photos.jpeg(tmp_path / "a.jpg")
    whole = (tmp_path / "a.jpg").read_bytes()
    photos = scale_inputs.linked([tmp_path / "a.jpg"], tmp_path / "many", count)
    expected = scale_inputs.break_six(photos)
    assert sorted(expected.values()) == ["empty", "not a photo", "not a photo", "too large", "truncated", "unreadable"]
    assert (tmp_path / "a.jpg").read_bytes() == whole and len(list(photos.iterdir())) == count
    good = [path for path in photos.iterdir() if str(path) not in expected]
    assert len(good) == count - 6 and all(path.read_bytes() == whole for path in good)


def test_fewer_than_six_cannot_be_broken(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match="got 0 photos, need 6"):
        scale_inputs.break_six(tmp_path / "photos")


@pytest.mark.slow
def test_the_huge_one_is_a_photo_of_200_megapixels() -> None:
    pixels = cv2.imdecode(np.frombuffer(scale_inputs.huge(), np.uint8), cv2.IMREAD_GRAYSCALE | cv2.IMREAD_REDUCED_GRAYSCALE_8)
    assert pixels.shape == (1250, 2500)


@pytest.mark.skipif(os.geteuid() == 0 and shutil.which("setpriv") is None, reason="root without setpriv (util-linux)")
def test_a_process_that_is_bound_cannot_read_what_nobody_may(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    read = [*scale_inputs.bound_by_permissions(), sys.executable, "-c", f"open({str(tmp_path / 'a.jpg')!r}).read()"]
    assert subprocess.run(read, check=False).returncode == 0
    (tmp_path / "a.jpg").chmod(0)
    done = subprocess.run(read, check=False, capture_output=True, text=True)
    assert done.returncode == 1 and "PermissionError" in done.stderr


def test_what_is_left_behind_goes_with_the_scratch_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    leave = [sys.executable, "-c", "import tempfile; print(tempfile.mkdtemp())"]
    with scale_inputs.scratch_folder() as folder:
        left = Path(subprocess.run(leave, check=True, capture_output=True, text=True).stdout.strip())
        assert left.parent == folder and left.is_dir()
    assert not left.exists() and os.environ["TMPDIR"] == str(tmp_path)


@pytest.mark.parametrize("fast", [False, True])
def test_the_model_is_that_of_the_zip_without_limits(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fast: bool
) -> None:
    monkeypatch.setattr(scale_inputs, "CANVAS", 32)
    build.build(runs, tmp_path / "a.zip")
    code = scale_inputs.model_for_both(tmp_path / "a.zip", tmp_path / "model", 3, fast)
    ensemble = json.loads((code / "ensemble.json").read_text())
    assert (ensemble["threads"], ensemble["gate"]["further"], ensemble["gate"]["policy"]) == (3, 0, "raw")
    assert {view["size"] for member in ensemble["detectors"] for view in member["views"]} == {32 if fast else 64}
    assert ensemble.get("naming_floor", 0.0) == (scale_inputs.NAMED_ABOVE if fast else 0.0)
    assert (code / "run.py").is_file() and (code / "fusion" / "gate.py").is_file()

"""Whatever lies in the folder, run.py ends well: exit code 0 and valid JSON, and good photos beside bad ones keep theirs."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.performance import bad_photos, endurance
from experiments.performance.bad_photos import CASES, SLOW, jpeg, mutated, write_mutated
from runs.record import ROOT
from submission import run
from submission.predictions import sizes_of, violations

JUDGE = ROOT / ".judge" / "bin" / "python"
# What run.py makes of a case, where that is not "predictions for photo 1, and nothing else".
NOTHING = {
    "empty folder", "missing folder", "empty file", "GIF named .jpg", "text file", "folder named as a photo",
    "pipe named as a photo", "names without digits", "a file in place of the folder", "truncated at 0 of 20",
}  # fmt: skip
OTHER = {
    "names with spaces": {1, 2}, "unicode names": {1, 2, 4}, "upper-case suffix": {1, 2, 3},
    "a number too long for 64 bits": {int("9" * 40)},
}  # fmt: skip
ANY = {"unreadable file", "1 x 5000", *(f"truncated at {k} of 20" for k in range(1, 20))}  # as far as it can be read


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """run.py beside constant models."""
    return endurance.code(tmp_path_factory.mktemp("here") / "code")


def ids_of(output: Path, photos: Path) -> set[int]:
    """The image ids of a predictions file, which must be valid."""
    text = output.read_text()
    assert violations(text, sizes_of(photos), frozenset(endurance.CATEGORIES)) == []
    return {row["image_id"] for row in json.loads(text)}


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CASES])
def test_bad_photos(name: str, code: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    CASES[name](photos)
    monkeypatch.setattr(run, "__file__", str(code / "run.py"))
    monkeypatch.setattr(sys, "argv", ["run.py", "--input", str(photos), "--output", str(tmp_path / "out.json")])
    run.main()
    found = ids_of(tmp_path / "out.json", photos)
    assert found <= {1} if name in ANY else found == (set() if name in NOTHING else OTHER.get(name, {1}))


@pytest.mark.slow
def test_all_of_them_in_one_folder_at_the_judge(code: Path, tmp_path: Path) -> None:
    if not JUDGE.exists():
        pytest.skip("no .judge environment here; make test sets it up")
    photos = tmp_path / "photos"
    photos.mkdir()
    for k, name in enumerate(name for name in CASES if name not in SLOW):
        (tmp_path / "one").mkdir()
        CASES[name](tmp_path / "one")
        for path in sorted((tmp_path / "one").iterdir()) if (tmp_path / "one").is_dir() else ():
            path.rename(photos / path.name.replace(path.stem, f"{path.stem}_{k}"))
        shutil.rmtree(tmp_path / "one", ignore_errors=True) if (tmp_path / "one").is_dir() else (tmp_path / "one").unlink(True)
    write_mutated(tmp_path / "photos", 1000)
    jpeg(photos / "img_99999.jpg")
    command = [str(JUDGE), str(code / "run.py"), "--input", str(photos), "--output", str(tmp_path / "out.json")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace", check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = ids_of(tmp_path / "out.json", photos)
    assert 99999 in found and len(found) > 300


def test_a_mutated_photo_differs_and_repeats_with_its_seed(tmp_path: Path) -> None:
    jpeg(tmp_path / "1.jpg")
    data = (tmp_path / "1.jpg").read_bytes()
    first, again = ([mutated(rng, data) for _ in range(20)] for rng in (np.random.default_rng(1), np.random.default_rng(1)))
    assert first == again
    assert sum(one != data for one in first) >= 19 and len({len(one) for one in first}) > 1


def test_the_unreadable_file_is_that_for_everybody(tmp_path: Path) -> None:
    bad_photos.unreadable(tmp_path)
    assert not (tmp_path / "img_00002.jpg").exists()
    assert os.geteuid() == 0 or not os.access(tmp_path / "img_00001.jpg", os.R_OK)

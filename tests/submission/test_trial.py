"""A zip run on two drawn photos: what its outcome is told as."""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from functools import partial
from pathlib import Path

import pytest

from submission import check, trial
from submission.disk_room import DiskFullError, copy_folder
from submission.judge_machine import Machine
from submission.outcome import Outcome

NAMESPACES = subprocess.run(["unshare", "-rmn", "true"], capture_output=True, check=False).returncode == 0
HEAD = """
import json, pathlib, re, sys
photos, output = pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[4])
def number(path):
    return int(re.findall("[0-9]+", path.stem)[-1])
def write(ids):
    rows = [{"image_id": i, "category_id": 0, "bbox": [1, 1, 50, 50], "score": 0.9} for i in ids]
    output.write_text(json.dumps(rows))
"""


def tried_here(monkeypatch: pytest.MonkeyPatch, path: Path, files: dict[str, str]) -> trial.Trial:
    """What comes of a zip of those files, run by the Python of the tests."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            info = zipfile.ZipInfo("x")
            info.filename = name  # which may be empty
            archive.writestr(info, text)
    monkeypatch.setattr(trial, "is_set_up", lambda: True)
    monkeypatch.setattr(trial, "judge_python", lambda: Path(sys.executable))
    monkeypatch.setattr(trial, "Machine", partial(Machine, unprotected=not NAMESPACES))
    return trial.try_zip(path)


@pytest.mark.parametrize(
    ("outcome", "told", "is_warning"),
    [
        pytest.param(Outcome(photos=2, predictions=30), None, False, id="finds something"),
        pytest.param(
            Outcome(photos=2, predictions=0, without=["a.jpg", "b.jpeg"]),
            "finds nothing on two drawn photos",
            True,
            id="finds nothing",
        ),
        pytest.param(Outcome(problems=["exit code 1", "slow"]), "exit code 1, and 1 problem more", False, id="dies"),
    ],
)
def test_what_comes_of_the_run_is_told(
    monkeypatch: pytest.MonkeyPatch, outcome: Outcome, told: str | None, is_warning: bool
) -> None:
    photos: list[str] = []

    def execute(archive: Path, images: Path, output: Path, machine: object) -> Outcome:
        photos.extend(sorted(path.name for path in images.iterdir()))
        return outcome

    monkeypatch.setattr(trial, "execute", execute)
    monkeypatch.setattr(trial, "is_set_up", lambda: True)
    monkeypatch.setattr(trial, "judge_python", lambda: Path("python"))
    tried = trial.try_zip(Path("submission.zip"))
    assert (photos, tried.not_run) == (["img_00007.jpeg", "img_00042.jpg"], "")
    assert [(told in str(v), v.warning) for v in tried.violations] == ([] if told is None else [(True, is_warning)])


@pytest.mark.parametrize(
    ("body", "violation", "not_run"),
    [
        pytest.param("write(map(number, photos.iterdir()))", "", "", id="every photo under its number"),
        pytest.param(
            "write(map(number, photos.glob('*.jpg')))",
            "warning: run.py: finds nothing on one of two drawn photos, img_00007.jpeg",
            "",
            id="one suffix only",
        ),
        pytest.param(
            "write(i for i, path in enumerate(sorted(photos.iterdir()), 1))",
            "run.py: on two drawn photos: predictions.json: prediction 0: image_id: got 1, no photo has that number",
            "",
            id="photos counted",
        ),
        pytest.param(
            "raise ModuleNotFoundError(\"No module named 'torch'\")",
            "",
            "the environment here lacks torch, which the judge has; ",
            id="a package of the judge's that is not here",
        ),
        pytest.param(
            "print(\"failed: No module named 'torch'\"); raise SystemExit(1)",
            "",
            "the environment here lacks torch, which the judge has; ",
            id="the same, told by run.py itself",
        ),
        pytest.param(
            "write(map(number, photos.iterdir())); print('error: no GPU, going on by the CPU')",
            "warning: run.py: on two drawn photos: run.py says: error: no GPU",
            "",
            id="an error said by another method",
        ),
        pytest.param(
            "import packed_nowhere",
            "run.py: on two drawn photos: exit code 1, need 0: ModuleNotFoundError: No module named 'packed_nowhere'",
            "",
            id="a module that nobody has",
        ),
    ],
)
def test_what_kills_a_zip_at_the_judge_shows_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, violation: str, not_run: str
) -> None:
    tried = tried_here(monkeypatch, tmp_path / "a.zip", {"run.py": HEAD + body})
    assert [str(v)[: len(violation)] for v in tried.violations] == ([violation] if violation else [])
    assert tried.not_run.startswith(not_run) and bool(tried.not_run) == bool(not_run)


@pytest.mark.parametrize(
    ("names", "what"),
    [
        pytest.param(["a" * 300 + ".json"], "the zip: cannot be unpacked: [Errno 36] File name too long", id="a long name"),
        pytest.param(["a.json", "a.json/b.json"], "the zip: cannot be unpacked: ", id="a file that is a folder too"),
        pytest.param([f"{i}/" for i in range(2001)], "the zip: 2002 files of 0.0 MB unpacked, at most 1000", id="folders"),
        pytest.param([""], "the zip: cannot be unpacked: ", id="a file without a name"),
    ],
)
def test_a_zip_that_cannot_be_unpacked_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str], what: str
) -> None:
    tried = tried_here(monkeypatch, tmp_path / "a.zip", {"run.py": ""} | dict.fromkeys(names, ""))
    assert [str(v)[: len(what)] for v in tried.violations] == [what] and not tried.violations[0].warning


def test_a_full_disk_is_no_fault_of_the_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "extract", full)
    tried = tried_here(monkeypatch, tmp_path / "a.zip", {"run.py": ""})
    assert tried.violations == [] and tried.is_full
    assert tried.not_run.endswith(f"the temporary folder {tempfile.gettempdir()} is full; make room there, or name another "
                                  "folder by the variable TMPDIR")  # fmt: skip
    with pytest.raises(DiskFullError):  # neither accepted nor refused
        check.run_on_drawn_photos(tmp_path / "a.zip")


def test_photos_that_do_not_fit_are_told_with_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: str, target: str, **more: object) -> None:
        raise OSError(28, "No space left on device", target)

    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    monkeypatch.setattr("shutil.copy2", full)
    monkeypatch.setattr("shutil.copytree", partial(shutil.copytree, copy_function=full))
    with pytest.raises(DiskFullError, match=r"photos: cannot be copied: the disk of .* is full; make room there"):
        copy_folder(tmp_path / "photos", tmp_path / "copy")

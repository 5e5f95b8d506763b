"""An output below a file is refused in one line before the work; one in a folder that is not there yet is written."""

from pathlib import Path

import pytest
from place import Place

from hylle.verbs import main
from runs.atomic_write import replacing
from runs.new_folder import whole_folder
from runs.output_file import file_above, refuse_no_file

# A call of each command that writes where the user says, {o}; {d}, {r} and {z} are the data set, run folder and zip.
CALLS = {
    "report": "report {r} --data {d} --out {o}.html",
    "predict": "predict {d}/images --model {r} --out {o}",
    "labels": "labels --data {d} --runs {r} --out {o}",
    "data": "data {d} --to yolo {o}",
    "folds": "folds --data {d} --groups photo --out {o}",
    "synth": "synth --count 1 --out {o}",
    "build": "build --runs {r} --out {o}.zip",
    "sandbox": "sandbox {z} --images {d}/images --output {o}.json",
    "log": "log add {z} --log {o}.jsonl",
    "scale": "scale --photos {d}/images --model {r} --workers 1 --out {o}",
    "fit": "fit {d} --minutes 9 --plan --out {o}",
    "demo": "demo --quick --out {o}",
    "train-detector": "train-detector --data {d} --quick --out {o}",
    "train-classifier": "train-classifier --data {d} --quick --out {o}",
    "distill": "distill --data {d} --teacher {r}/one --out {o}",
}
WRITTEN_ANEW = ("report", "predict", "labels", "build")  # those that tests elsewhere do not let write into a new folder


def words(name: str, place: Place, out: Path) -> list[str]:
    """The call of CALLS with the places filled in."""
    names = {"d": place.data, "r": place.runs, "z": place.root / "a.zip", "o": out}
    return [word.format(**names) for word in CALLS[name].split()]


def test_a_file_in_the_way_is_found_however_far_above(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert file_above(tmp_path / "file") is None and file_above(tmp_path / "new" / "deep") is None
    assert file_above(tmp_path / "file" / "x") == file_above(tmp_path / "file" / "deep" / "x") == tmp_path / "file"
    with pytest.raises(ValueError, match=r"got a folder, need a file name, such as .*/p.html"):
        refuse_no_file("--out", tmp_path, "p.html")


@pytest.mark.parametrize("below", ["file/x", "file/deep/x"])
@pytest.mark.parametrize("name", CALLS)
def test_an_output_below_a_file_is_refused_before_the_work(
    place: Place, name: str, below: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if name == "scale":
        pytest.importorskip("ray", reason="the extra [scale] is not installed")
    (place.root / "file").touch()
    refuse_work(monkeypatch)
    assert main(words(name, place, place.root / below)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and ".part" not in error
    assert str(place.root / "file") in error


def refuse_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let everything that takes long fail the test."""
    from reporting import held_out
    from stage2_classifier.label_review import review
    from submission import build, sandbox

    def work(*given: object, **more: object) -> None:
        pytest.fail("it was at work before it looked where to write")

    for module, call in ((held_out, "gather_held_out"), (review, "default_ensemble"), (build, "collect"), (sandbox, "execute")):
        monkeypatch.setattr(module, call, work)


@pytest.mark.parametrize("name", WRITTEN_ANEW)
def test_an_output_in_a_folder_that_is_not_there_yet_is_written(place: Place, name: str) -> None:
    assert main(words(name, place, place.root / "new" / "deep" / "x")) == 0
    assert list((place.root / "new" / "deep").iterdir())


def test_what_cannot_be_written_is_told_by_its_own_name(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, replacing(tmp_path / "a", tmp_path / "none" / "b") as (a, b):
        a.touch()
        b.touch()
    assert raised.value.filename == str(tmp_path / "none" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as raised, whole_folder(tmp_path / "file" / "copy"):
        pytest.fail("there is no such folder")
    assert raised.value.filename == str(tmp_path / "file" / "copy")

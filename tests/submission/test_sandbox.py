"""The sandbox holds run.py to the judge's limits, and sees what the judge would see."""

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
from PIL import Image
from place import Place
from scripted_zip import GOOD, NAMESPACES, PYTHON, run, script

from runs.record import ROOT
from submission import isolation, sandbox
from submission.judge_machine import Machine
from submission.outcome import Outcome, read_statements
from submission.sandbox import execute

JUDGE = ROOT / ".judge" / "bin" / "python"


def test_a_run_that_does_well_has_no_problems(tmp_path: Path, photos: Path) -> None:
    outcome = run(tmp_path, photos, "write()")
    assert outcome.problems == []
    assert json.loads((tmp_path / "out.json").read_text()) == json.loads(GOOD)
    assert 0 < outcome.seconds < 60 and 5 < outcome.peak_mb < 500 and len(outcome.notes) == 1


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        pytest.param("pass", "no predictions.json was written", id="writes nothing"),
        pytest.param("write(); sys.exit(3)", "exit code 3, need 0", id="fails"),
        pytest.param("write(); raise KeyError('shelf')", "exit code 1, need 0: KeyError: 'shelf'", id="raises"),
        pytest.param("import os; write(); os.kill(os.getpid(), 11)", "exit code 139, need 0: a crash", id="crashes"),
        pytest.param("write('[')", "predictions.json: not JSON", id="half a file"),
        pytest.param(f"write({GOOD.replace('1,', '5,', 1)!r})", "image_id: got 5, no photo has that", id="no such photo"),
        pytest.param("write(); time.sleep(30)", "took longer than 1 s", id="too slow"),
        pytest.param("x = bytearray(3 * 10**9); write()", "exit code 1, need 0: MemoryError", id="too much memory"),
        pytest.param("import socket; socket.create_connection(('127.0.0.1', 9)); write()", "exit code 1", id="a network"),
        pytest.param("(photos / 'img_00002.jpg').write_text('x'); write()", "exit code 1", id="writes to the photos"),
    ],
)  # fmt: skip
def test_what_the_judge_would_see_is_a_problem(tmp_path: Path, photos: Path, body: str, problem: str) -> None:
    if "write_text" in body and not NAMESPACES:
        pytest.skip("this system allows no namespaces, and root may write everywhere")
    outcome = run(tmp_path, photos, body, seconds=1.0 if "sleep" in body else 30.0, memory=2 * 10**9)
    assert any(problem in one for one in outcome.problems), outcome.problems
    assert [path.name for path in photos.iterdir()] == ["img_00001.jpg"]


@pytest.mark.parametrize(
    ("covered", "told"),
    [
        pytest.param([1, 2, 3], "predictions: 3 on 3 photos: ", id="all"),
        pytest.param([1, 3], "predictions: 2 on 2 of 3 photos, none on img_00002.jpeg: ", id="one without"),
        pytest.param([], "predictions: 0 on 0 of 3 photos, none on img_00001.jpg, img_00002.jpeg, img_00003.jpg: ", id="none"),
    ],
)
def test_photos_without_predictions_are_told_and_no_problem(
    tmp_path: Path, photos: Path, covered: list[int], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("img_00002.jpeg", "img_00003.jpg"):
        Image.new("RGB", (40, 24)).save(photos / name)
    rows = [json.loads(GOOD)[0] | {"image_id": i} for i in covered]
    outcome = run(tmp_path, photos, f"write({json.dumps(rows)!r})")
    sandbox.report(outcome, tmp_path / "out.json")
    printed = capsys.readouterr().out
    assert told in printed and printed.endswith("\nok\n") and outcome.problems == []


def test_a_package_of_the_judges_that_is_not_here_is_said_to_be_there(tmp_path: Path, photos: Path) -> None:
    outcome = run(tmp_path, photos, "raise ModuleNotFoundError(\"No module named 'torch'\")")
    assert "the judge has torch, the environment here has not: this run says nothing of the zip" in outcome.problems[0]


def test_without_namespaces_sockets_are_refused(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.shutil, "which", lambda name: None)
    assert run(tmp_path, photos, "import asyncio, ssl; write()", unprotected=True).problems == []
    outcome = run(tmp_path, photos, "import socket; socket.create_connection(('127.0.0.1', 9)); write()", True)
    assert "exit code 1, need 0: OSError: no network here" in outcome.problems
    assert "your files are not protected" in outcome.notes[0]


def test_a_photo_that_is_deleted_is_seen(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation.shutil, "which", lambda name: None)  # where the system cannot forbid it
    body = "import os; os.chmod(photos, 0o700); (photos / 'img_00001.jpg').unlink(); write()"
    assert "the photos' folder was written to: img_00001.jpg" in run(tmp_path, photos, body, unprotected=True).problems


def test_a_zip_that_cannot_be_unpacked_is_a_mistake(tmp_path: Path, photos: Path) -> None:
    archive = script(tmp_path, "write()")
    data = bytearray(archive.read_bytes())
    data[60:80] = b"x" * 20
    archive.write_bytes(bytes(data))
    with pytest.raises(ValueError, match=r"a\.zip: cannot be unpacked"):
        execute(archive, photos, tmp_path / "out.json", Machine(PYTHON))


@pytest.mark.parametrize(
    ("images", "score", "problems"),
    [
        pytest.param([{"id": 1}], 1.0, [], id="all annotated"),
        pytest.param([], None, [], id="none annotated: nothing to find"),
        pytest.param([{}], None, ["cannot be scored: KeyError('id')"], id="an image without an id"),
    ],
)
def test_a_truth_that_lacks_photos_costs_no_report(
    tmp_path: Path, photos: Path, images: list[dict[str, int]], score: float | None, problems: list[str]
) -> None:
    (tmp_path / "out.json").write_text(GOOD)
    truth = {
        "images": images,
        "categories": [{"id": 7}],
        "annotations": [{"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]}],
    }
    outcome = Outcome()
    sandbox.add_score(outcome, tmp_path / "out.json", truth, photos, script(tmp_path, ""))
    assert outcome.problems == problems
    assert score is None or outcome.scores.score == pytest.approx(score)
    assert bool(outcome.notes) == (images == [])
    assert bool(outcome.scores) == ("is not known: the zip does not tell" in outcome.seen)


@pytest.mark.parametrize(
    ("known", "score", "told"),
    [
        pytest.param([3, 7], 1.0, "1 category of the zip that the annotations lack, such as 7", id="enrolled"),
        pytest.param([7], None, "cannot be scored", id="of another data set"),
    ],
)
def test_a_zip_that_was_taught_more_than_the_truth_tells_is_scored(
    tmp_path: Path, photos: Path, known: list[int], score: float | None, told: str
) -> None:
    (tmp_path / "out.json").write_text(GOOD)
    archive = script(tmp_path, "")
    with zipfile.ZipFile(archive, "a") as zipped:
        zipped.writestr("fusion/pipeline.py", "")
        zipped.writestr("ensemble.json", json.dumps({"categories": known}))
    boxes = [{"image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4]}]
    truth, outcome = {"images": [{"id": 1}], "categories": [{"id": 3}], "annotations": boxes}, Outcome()
    sandbox.add_score(outcome, tmp_path / "out.json", truth, photos, archive)
    assert told in " ".join(outcome.problems + outcome.notes) and bool(outcome.problems) == (score is None)
    assert score is None or outcome.scores.det_map50 == pytest.approx(score)


def test_boxes_that_reach_out_of_their_photos_are_clipped_and_told(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "out.json").write_text(GOOD)
    boxes = [
        {"image_id": 1, "category_id": 7, "bbox": [1, 2, 3, 4]},
        {"image_id": 1, "category_id": 7, "bbox": [-40, -5, 40, 9]},
    ]
    truth, outcome = {"images": [{"id": 1}], "categories": [{"id": 7}], "annotations": boxes}, Outcome()
    sandbox.add_score(outcome, tmp_path / "out.json", truth, photos, script(tmp_path, ""))
    assert outcome.scores.score == pytest.approx(1.0)
    assert outcome.notes == ["1 box of the annotations reached out of their photos, clipped"]


def test_a_system_that_is_too_busy_to_tell_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(command: list[str], **options: object) -> object:
        if "timeout" in options:
            raise subprocess.TimeoutExpired(command, isolation.PROBE_SECONDS)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(isolation.shutil, "which", lambda name: name)
    monkeypatch.setattr(isolation.subprocess, "run", late)
    with pytest.raises(ValueError, match="took more than 60 s"):
        isolation.isolated(isolation.Place(tmp_path), PYTHON, gpus=False)


def test_at_most_four_processors(tmp_path: Path, photos: Path) -> None:
    outcome = run(tmp_path, photos, "import os; write(); print(len(os.sched_getaffinity(0)))", threads=1)
    assert (outcome.problems, outcome.log.strip()) == ([], "1")


def test_what_is_in_the_surroundings_stays_there(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("SECRET", "1")
    outcome = run(
        tmp_path, photos, "import os; write(); print('SECRET' in os.environ, 'PYTHONPATH' in os.environ, os.listdir())"
    )
    assert outcome.log.strip() == "False False []" or not NAMESPACES


def test_a_former_output_is_not_taken_for_this_ones(tmp_path: Path, photos: Path) -> None:
    (tmp_path / "out.json").write_text(GOOD)
    assert "no predictions.json was written" in run(tmp_path, photos, "pass").problems
    assert not (tmp_path / "out.json").exists()


def test_without_an_output_named_a_list_of_predictions_that_lies_here_stays(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sandbox, "judge_python", lambda gpus: PYTHON)
    monkeypatch.setattr(sandbox, "shortfalls", lambda python, limits: [])
    Path("predictions.json").write_text("of hylle predict")
    assert sandbox.main([str(script(tmp_path, "write()")), "--images", str(photos), "--unprotected"]) == 0
    assert Path("predictions.json").read_text() == "of hylle predict"
    assert json.loads(Path("sandbox_predictions.json").read_text()) == json.loads(GOOD)
    with pytest.raises(SystemExit):
        sandbox.main(["--help"])
    assert "sandbox_predictions.json" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("said", "problems"),
    [
        pytest.param(["CUDAExecutionProvider"], 0, id="on the GPU"),
        pytest.param(["CPUExecutionProvider"], 1, id="fell back"),
        pytest.param(["CPUExecutionProvider", "CUDAExecutionProvider"], 1, id="one model fell back"),
        pytest.param([], 1, id="not output"),
    ],
)
def test_falling_back_to_the_cpu_is_a_problem_with_gpus_only(said: list[str], problems: int) -> None:
    for gpus in (True, False):
        outcome = Outcome(log="\n".join(f"provider: {name}" for name in said))
        read_statements(outcome, gpus, is_ours=True)
        assert len(outcome.problems) == problems * gpus
        foreign = Outcome(log=outcome.log)
        read_statements(foreign, gpus, is_ours=False)
        assert (len(foreign.problems), len(foreign.warnings)) == ((0, gpus) if not said else (problems * gpus, 0))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param([], "got no ZIP or no --images", id="nothing"),
        pytest.param(["nowhere.zip", "--images", "{photos}"], "nowhere.zip: no such file", id="no zip"),
        pytest.param(["{photos}", "--images", "{photos}"], "not a zip", id="a folder for a zip"),
        pytest.param(["{zip}", "--images", "{photos}/none"], "no such folder, need the folder of photos", id="no photos"),
        pytest.param(["{zip}", "--images", "{zip}"], "a file, need the folder of photos", id="photos a file"),
        pytest.param(["{zip}", "--images", "{photos}", "--annotations", "none.json"], "none.json: no such file", id="no truth"),
        pytest.param(["{zip}", "--images", "{photos}", "--annotations", "{zip}"], "not a COCO JSON", id="truth no JSON"),
        pytest.param(["{zip}", "--images", "{photos}", "--output", "{photos}"], "got a folder, need a file", id="no file"),
        pytest.param(["{zip}", "--images", "{photos}", "--output", "{zip}/p"], "a.zip is a file, need", id="no folder"),
        pytest.param(["{zip}", "--images", "{photos}", "--seconds", "0"], "--seconds: got 0, must be above 0", id="no time"),
        pytest.param(["{zip}", "--images", "{photos}", "--seconds", "nan"], "got nan, need a finite", id="no number"),
        pytest.param(["{zip}", "--images", "{photos}", "--gpus"], "--gpus: no NVIDIA GPU here", id="no GPU"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, photos: Path, flags: list[str], message: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(sandbox, "judge_python", lambda gpus: pytest.fail("set up before the flags were looked at"))
    if "--gpus" in flags and shutil.which("nvidia-smi"):
        pytest.skip("there is a GPU here")
    names = {"zip": str(script(tmp_path, "write()")), "photos": str(photos)}
    assert sandbox.main([flag.format(**names) for flag in flags]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


@pytest.mark.slow
def test_the_real_zip_in_the_judges_environment(place: Place, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not JUDGE.exists():
        pytest.skip("no .judge environment here; make test sets it up")
    arguments = [str(place.root / "a.zip"), "--images", str(place.data / "images"), "--output", str(tmp_path / "out.json")]
    assert sandbox.main([*arguments, "--annotations", str(place.data / "annotations.json")]) == 0
    output = capsys.readouterr().out
    for part in ("provider: CPUExecutionProvider", "one.onnx view 1", "classifier_shelf.onnx view 1", "score: 0.", "\nok\n"):
        assert part in output, output

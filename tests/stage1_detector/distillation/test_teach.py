"""The command that trains a student: its flags, its teachers, what it leaves; by one process and by two."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from place import IDS, Place, draw_shop
from processes import free_port, main_in_processes, torchrun_environment
from tiny_nets import CONFIGS, run_of

from fusion.models import Model
from photos import folds
from photos.data import read
from runs import distributed
from runs.distributed import Distributed
from runs.record import weights_of
from stage1_detector import detector_run, recipes
from stage1_detector.detector_run import DetectorRun
from stage1_detector.distillation import student_run, teach
from stage1_detector.distillation.config import StudentConfig
from stage1_detector.distillation.student_run import train_student
from stage1_detector.families import FAMILIES
from stage1_detector.torch_engine import training_log

ROOT = Path(__file__).resolve().parents[3]
TINY = ["--size=64", "--batch=2", "--min-steps=0", "--device=cpu", "--lr=0.0001", "--teacher-warmup=0", "--floor=0"]
SMALL = [*TINY, "--student", "rtdetr-small", "--queries", "20", "--decoder-layers", "1", "--epochs", "2"]
YOLO = [*TINY, "--student", "yolov8n", "--match", "cost", "--epochs", "1"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Photos, folds of them, and teachers that know one class and three; the third photo of those to learn from is empty."""
    made = Place(tmp_path_factory.mktemp("shop"))
    draw_shop(made.data)
    assert folds.main(made.words("folds")) == 0
    dealt = folds.load(made.runs / folds.NAME, read(made.data))
    empty = dealt.photos("train")[2].id
    made.change(lambda told: told.update(annotations=[one for one in told["annotations"] if one["image_id"] != empty]))
    assert folds.main([*made.words("folds"), "--force"]) == 0
    run_of(made.root / "t1", None)
    run_of(made.root / "t3", IDS)
    return made


@pytest.fixture
def runs(shop: Place, tmp_path: Path) -> Path:
    """A run folder with the folds."""
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / folds.NAME).write_bytes((shop.runs / folds.NAME).read_bytes())
    return tmp_path / "runs"


def given(shop: Place, runs: Path, taught_by: str, *more: str) -> list[str]:
    return ["--data", str(shop.data), "--out", str(runs), "--teacher", taught_by, *more]


def losses(run: Path) -> list[tuple[int, str, float]]:
    """What the log says of each epoch's losses, in training and on valid."""
    every = training_log.rows(run / training_log.LOG)
    return [(epoch, name, value) for _, epoch, name, value in every if name.startswith("epoch/") or name.endswith("_loss")]


def network(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(weights_of(run), weights_only=True)["network"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


# --- flags


@pytest.mark.parametrize("name", teach.STUDENTS)
def test_every_student_says_what_it_costs(name: str) -> None:
    assert isinstance(teach.STUDENTS[name](), StudentConfig) and len(teach.STUDENTS[name].__doc__) > 60


def asked_for(flags: str) -> StudentConfig:
    return teach.config_of(*teach.read_arguments(["--data", "D", "--out", "R", "--teacher", "T", *flags.split()], "teach"))


def test_what_is_said_overrides_the_student() -> None:
    said = "--class-weight 0.5 --box-weight 0.25 --feature-weight 2 --classes all --match index --queries 44"
    config = asked_for(said)
    wanted = {"class_weight": 0.5, "box_weight": 0.25, "feature_weight": 2.0, "match": "index", "queries": 44}
    assert config == replace(teach.STUDENTS["rtdetr-l"](), **wanted)
    longer = asked_for("--schedule 1x")
    assert (longer.epochs, longer.min_steps) == (12, 0)
    both = asked_for("--schedule 1x --min-steps 5000")
    assert (both.epochs, both.min_steps) == (12, 5000)


@pytest.mark.parametrize(
    ("teacher", "more", "message"),
    [
        pytest.param("t3", [], "knows 3 classes, the student is to know 1; train it with --classes one", id="three for one"),
        pytest.param(
            "t1", ["--classes", "all"], "knows 1 classes, the student is to know 3; train it with --classes all", id="one"
        ),
        pytest.param("nobody", [], "nobody, must be a finished run, none, or a recipe: small", id="no such run"),
        pytest.param("shop", [], "must be a finished run (with run.json)", id="no run"),
        pytest.param("none", ["--size", "100"], "--size: got 100, must be a multiple of 32", id="size"),
        pytest.param("none", ["--floor", "2"], "--floor: got 2.0, allowed 0.0 to 1.0", id="floor"),
        pytest.param("none", ["--device", "warp"], "--device: got 'warp'", id="device"),
        pytest.param("none", ["--resume"], "holds no stopped run", id="nothing to go on with"),
    ],
)
def test_mistakes_are_one_line(
    shop: Place, runs: Path, capsys: pytest.CaptureFixture[str], teacher: str, more: list[str], message: str
) -> None:
    where = teacher if teacher == "none" else str(shop.root / teacher)
    assert teach.main(given(shop, runs, where, *SMALL, *more)) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1
    assert sorted(path.name for path in runs.iterdir()) == [folds.NAME]


@pytest.mark.parametrize("more", [[], ["--force"], ["--resume"]])
@pytest.mark.parametrize("file", ["", "weights/last.pt"])
def test_a_teacher_that_the_student_would_replace_is_refused(
    shop: Place, runs: Path, capsys: pytest.CaptureFixture[str], file: str, more: list[str]
) -> None:
    run_of(runs / "one", None)
    before = {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()}
    assert teach.main(given(shop, runs, str(runs / "one" / file), *SMALL, *more)) == 2
    error = capsys.readouterr().err
    assert f"--teacher: got {runs / 'one' / file}, which {runs / 'one'} would replace" in error and "--force" not in error
    assert {path: path.read_bytes() for path in runs.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", ["best.pt", "epoch-1.pt"])
def test_weights_of_another_epoch_are_not_taken_for_those_of_their_run(
    shop: Place, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    weights = run_of(tmp_path / "taught", None) / "weights"
    (weights / name).write_bytes(b"of another epoch")
    assert teach.main(given(shop, runs, str(weights / name), *SMALL)) == 2
    error = capsys.readouterr().err
    assert f"got {weights / name}, must be what its run came to, last.pt: pass the run, {tmp_path / 'taught'}\n" in error
    assert student_run.finished_run_of(weights / "last.pt") == tmp_path / "taught"


def test_fewer_photos_than_processes_are_refused(shop: Place, runs: Path) -> None:
    config = replace(teach.STUDENTS["rtdetr-small"](), batch=2)
    with pytest.raises(ValueError, match="--batch: got 2 photos for 3 processes, need one for each"):
        train_student(DetectorRun(data=shop.data, runs=runs), config, "none", Distributed(0, 3))


# --- runs


@pytest.mark.slow
def test_a_stopped_run_goes_on_as_if_it_never_had(shop: Place, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, with a teacher, warm-up, averaged weights; and what is finished is a run like any other."""
    asked = given(shop, runs, str(shop.root / "t3"), "--classes", "all", *SMALL, "--teacher-warmup", "1.5", "--epochs", "3")
    asked += ["--queries", "84"]  # every cell: of fewer, rounding would say which, so soon
    assert teach.main(asked) == 0
    whole, log = network(runs / "all"), losses(runs / "all")
    (runs / "all").rename(runs / "whole")
    say = detector_run.say_progress

    def stop(line: str) -> None:
        say(line)
        if "epoch 2/3" in line:
            raise KeyboardInterrupt

    monkeypatch.setattr(detector_run, "say_progress", stop)
    assert teach.main(asked) == 130
    monkeypatch.setattr(detector_run, "say_progress", say)
    torch.manual_seed(99)
    assert teach.main(asked) == 2  # it is stopped: --resume or --force
    assert teach.main([*asked, "--resume"]) == 0
    assert same(whole, network(runs / "all")) and log == losses(runs / "all")
    told = json.loads((runs / "all" / "run.json").read_text())
    assert told["metrics"]["parity"]["boxes_px"] < 0.1 and told["metrics"]["parity"]["missing"] < 0.02
    assert told["settings"]["teacher"] and told["settings"]["class_weight"] == 1.0
    config, blank = replace(CONFIGS["rtdetr"], size=64), torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    net = FAMILIES["rtdetr"].for_export(FAMILIES["rtdetr"].load(weights_of(runs / "all")), config)
    assert Model(runs / "all" / "model.onnx")(blank.numpy()).shape == net(blank.permute(0, 3, 1, 2).float()).shape == (1, 7, 84)
    assert teach.main(asked) == 0  # reused
    other = [*asked, "--class-weight", "0.5"]
    assert teach.main(other) == 2


@pytest.mark.slow
def test_without_a_teacher_it_learns_alone(shop: Place, runs: Path) -> None:
    """The same, bit for bit, as with one of whom it takes nothing."""
    assert teach.main(given(shop, runs, "none", *YOLO)) == 0
    (runs / "one").rename(runs / "alone")
    silent = ["--feature-weight", "0", "--class-weight", "0", "--box-weight", "0"]
    assert teach.main(given(shop, runs, str(shop.root / "t1"), *YOLO, *silent)) == 0
    assert same(network(runs / "alone"), network(runs / "one"))
    assert {name for _, name, _ in losses(runs / "alone")} == {"epoch/detection", "valid/detection_loss"}
    assert json.loads((runs / "alone" / "run.json").read_text())["settings"]["teacher"] == ""


def tiny() -> object:
    return replace(CONFIGS["retinanet"], size=64, batch=2, device="cpu")


@pytest.mark.slow
def test_a_recipe_is_trained_first_and_once(shop: Place, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(recipes.RECIPES, "tiny", tiny)
    asked = given(shop, runs, "tiny", *YOLO)
    assert teach.main(asked) == 0
    told = json.loads((runs / "teacher" / "one" / "run.json").read_text())["settings"]
    assert told["family"] == "retinanet"
    assert json.loads((runs / "one" / "run.json").read_text())["settings"]["teacher"]
    stamp = (runs / "teacher" / "one" / "model.onnx").stat().st_mtime_ns
    assert teach.main([*asked, "--force"]) == 0
    assert (runs / "teacher" / "one" / "model.onnx").stat().st_mtime_ns == stamp


# --- two processes


def start(asked: list[str], rank: int, port: str) -> subprocess.Popen:
    """One process of two, as torchrun would start it."""
    command = [sys.executable, "-m", "stage1_detector.distillation", *asked]
    env = os.environ | torchrun_environment(rank, 2, port)
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_the_command_in_two_processes_logs_what_it_does_in_one(shop: Place, runs: Path) -> None:
    """Three epochs of one step each, of three photos and two, one of them empty, and looks at valid. By torchrun itself:
    `docs/guide/distillation.md`, whose commands are run.
    """
    n = len(folds.load(runs / folds.NAME, read(shop.data)).photos("train"))
    asked = given(shop, runs, str(shop.root / "t1"), *SMALL, "--epochs", "3", "--batch", str(n))
    (code, said), (other_code, other_said) = main_in_processes(teach.main, asked)
    assert code == other_code == 0
    (runs / "one").rename(runs / "two")
    assert said.count("epoch 3/3") == 1 and not other_said  # one of them speaks
    assert teach.main(asked) == 0
    one, two = losses(runs / "one"), losses(runs / "two")
    assert len(one) == len(two) == 3 * 4 + 3 * 4
    for (epoch, name, value), other in zip(one, two, strict=True):
        assert other[:2] == (epoch, name)
        assert other[2] == pytest.approx(value, rel=1e-4, abs=1e-4), (epoch, name)
    torch.testing.assert_close(network(runs / "two"), network(runs / "one"), atol=5e-4, rtol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_where_one_process_is_killed_the_other_says_so_and_ends(shop: Place, runs: Path, killed: int) -> None:
    asked, port = given(shop, runs, str(shop.root / "t1"), *SMALL, "--epochs", "500"), free_port()
    both = [start(asked, rank, port) for rank in (0, 1)]
    try:
        log, began = runs / "one" / training_log.LOG, time.monotonic()
        while not any(epoch >= 2 for _, epoch, _, _ in training_log.rows(log)):
            assert time.monotonic() - began < 120 and all(one.poll() is None for one in both), both[0].communicate(timeout=5)
            time.sleep(0.2)
        both[killed].send_signal(signal.SIGKILL)
        _, error = both[1 - killed].communicate(timeout=60)
    finally:
        for one in both:
            one.kill()
            one.communicate()
    assert both[1 - killed].returncode == 2, error
    lines = [line for line in error.splitlines() if line]
    assert lines[-1].startswith(f"error: process {1 - killed} of 2: another process of this training is gone")
    assert "Traceback" not in error and len(lines) == 1, error


def test_several_processes_are_given_no_recipe(shop: Place, runs: Path) -> None:
    """ultralytics would make one of its own distributed trainings of what it finds in the environment."""
    config = replace(teach.STUDENTS["rtdetr-small"](), batch=2)
    with pytest.raises(ValueError, match=r"got the recipe small in 2 processes, .* train it first .*--recipe small"):
        train_student(DetectorRun(data=shop.data, runs=runs), config, "small", Distributed(0, 2))


def test_a_teacher_of_other_folds_is_refused(shop: Place, runs: Path, tmp_path: Path) -> None:
    """It may have learnt from what is held out here."""
    run_of(tmp_path / "other", None)
    told = json.loads((tmp_path / "other" / "run.json").read_text())
    told["settings"]["folds"] = "0" * 16
    (tmp_path / "other" / "run.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match=r"--teacher: .*other was trained with other folds than .*: it may know what is held"):
        config = replace(teach.STUDENTS["rtdetr-small"](), size=64, epochs=1, min_steps=0)
        train_student(DetectorRun(data=shop.data, runs=runs), config, str(tmp_path / "other"))


def test_a_grid_is_not_matched_by_index_with_queries(shop: Place, runs: Path) -> None:
    config = replace(teach.STUDENTS["yolov8n"](), match="index")
    with pytest.raises(ValueError, match="--match: got index for a yolo of a conditional_detr, which match by --match cost"):
        train_student(DetectorRun(data=shop.data, runs=runs), config, str(shop.root / "t1"))


def test_a_defect_is_no_lost_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is raised in several processes only a lost connection is the user's to mend."""
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(RuntimeError, match="shapes differ"), distributed.distributed_training("cpu") as one:
        assert one == distributed.SINGLE_PROCESS
        raise RuntimeError("shapes differ")


@pytest.mark.parametrize("force", [False, True])
def test_a_stale_teacher_of_a_recipe_is_trained_anew_where_that_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    (tmp_path / folds.NAME).write_text("{}")
    asked = []

    def train(request: DetectorRun, config: object) -> None:
        asked.append(request.force)
        if not request.force:
            raise ValueError("holds a finished run with boxes of the train photos that changed since; pass --force")

    monkeypatch.setattr(student_run, "train_detector", train)
    request = DetectorRun(data=tmp_path, runs=tmp_path, force=force)
    with nullcontext() if force else pytest.raises(ValueError, match="boxes of the train photos"):
        assert student_run.teacher_run("small", request, "cpu", distributed.SINGLE_PROCESS) == tmp_path / "teacher" / "one"
    assert asked == [False, True][: 1 + force]

"""Detectors side by side: who may be compared, what is counted and timed, who stands on the front, the whole road."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from place import IDS, Place, draw_shop

from experiments import benchmark
from experiments.figures import records, report
from experiments.performance import compared_runs, cost, detector_table
from experiments.performance.coco_metrics import coco_scores
from experiments.performance.detector_table import Run, ends, pareto, resamples
from fusion.decode import run_detector
from fusion.models import Model
from photos import folds
from photos.data import read, read_image
from runs.command import run
from stage1_detector import validation
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import recipe
from stage1_detector.ultralytics_engine import yolo

SETTINGS = {
    "family": "yolo",
    "model": "yolov8n.yaml",
    "size": 64,
    "epochs": 3,
    "min_steps": 0,
    "patience": 0,
    "pretrained": None,
}


def slow_pareto(points: list[tuple[float, float]]) -> list[int]:
    def beats(a: tuple[float, float], b: tuple[float, float]) -> bool:
        return a[0] <= b[0] and a[1] >= b[1] and a != b

    return [i for i, one in enumerate(points) if not any(beats(other, one) for other in points)]


@pytest.mark.parametrize(
    ("points", "want"),
    [
        pytest.param([], [], id="none"),
        pytest.param([(3.0, 0.1)], [0], id="alone"),
        pytest.param([(3.0, 0.1), (3.0, 0.1)], [0, 1], id="equal ones"),
        pytest.param([(3.0, 0.1), (3.0, 0.2)], [1], id="as fast and worse"),
        pytest.param([(4.0, 0.2), (3.0, 0.2)], [1], id="as good and slower"),
        pytest.param([(4.0, 0.3), (3.0, 0.2)], [1, 0], id="better and slower: the cheapest first"),
    ],
)
def test_the_front_by_hand(points: list[tuple[float, float]], want: list[int]) -> None:
    assert pareto(points) == want


def test_the_front_is_that_of_a_slow_loop() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        points = [(float(a), float(b)) for a, b in rng.integers(0, 6, (int(rng.integers(0, 12)), 2))]  # with ties
        assert sorted(pareto(points)) == slow_pareto(points), points


def test_operations_and_parameters_are_those_counted_by_hand() -> None:
    """A convolution: 2 x 3 x 3 x C x C' for each place; attention of T words of width D: four maps D x D, and T x T twice."""
    conv = torch.nn.Conv2d(4, 8, 3, padding=1).eval()
    counted = cost.counted(conv, torch.zeros(1, 4, 10, 12))
    assert counted == (pytest.approx((9 * 4 * 8 + 8) / 1e6), pytest.approx(2 * 9 * 4 * 8 * 120 / 1e9))

    class Attention(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.of = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, words: torch.Tensor) -> torch.Tensor:
            return self.of(words, words, words, need_weights=False)[0]

    by_hand = 2 * (4 * 10 * 8 * 8 + 2 * 10 * 10 * 8) / 1e9
    fast = torch.backends.mha.get_fastpath_enabled()
    assert cost.counted(Attention().eval(), torch.zeros(1, 10, 8)).gflops == pytest.approx(by_hand)
    assert torch.backends.mha.get_fastpath_enabled() is fast


def test_ways_take_turns_round_by_round() -> None:
    calls: list[str] = []
    ways: dict[tuple[str, str], Callable[[], object]] = {(name, "ms"): (lambda name=name: calls.append(name)) for name in "abc"}
    times = cost.milliseconds(ways, 5)
    assert {name: len(each) for name, each in times.items()} == dict.fromkeys(ways, 5)
    assert all(sorted(calls[i : i + 3]) == ["a", "b", "c"] for i in range(0, 18, 3)) and len(calls) == 18


@pytest.mark.slow
def test_the_memory_is_that_of_the_process_with_the_model(place: Place) -> None:
    small, large = (cost.peak_mb(place.runs / "one" / "model.onnx", np.zeros((1, s, s, 3), np.uint8)) for s in (64, 4096))
    assert 20 < small < 200 and large > small + 40  # a canvas of 50 MB; torch, which this process has loaded, takes more


def test_whole_scenes_are_resampled() -> None:
    rng = np.random.default_rng(0)
    assert list(resamples(np.zeros(0), rng)) == [] and list(resamples(np.array([3, 3]), rng)) == []
    drawn = list(resamples(np.array([3, 5, 3, 7]), rng, 50))
    assert len(drawn) == 50 and all(picked.count(0) == picked.count(2) for picked in drawn)
    assert {len(set(picked)) for picked in drawn} >= {1, 2, 4}


def test_an_interval_is_the_middle_of_what_was_drawn() -> None:
    drawn = np.linspace(0, 1, 9999).tolist()
    assert ends(0.5, drawn, 1000) == pytest.approx((0.025, 0.975), abs=0.002)
    assert ends(0.5, drawn, 6) == pytest.approx((0.0024, 0.9976), abs=0.0005)  # few scenes tell little
    assert ends(0.5, [], 1) == (None, None)


def finish(out: Path, **changed: object) -> None:
    """Let the folder look like that of a finished run."""
    settings = SETTINGS | {"folds": folds.fingerprint(out.parent / folds.NAME)} | changed
    (out / "run.json").write_text(json.dumps({"settings": settings}))


@pytest.fixture
def finished(place: Place) -> Place:
    """A place whose detectors are finished runs."""
    for classes in ("one", "all"):
        finish(place.runs / classes)
    return place


def test_a_detector_is_scored_as_coco_does(finished: Place) -> None:
    dataset = read(finished.data)
    photos = folds.load(finished.runs / folds.NAME, dataset).photos("train")
    scene = np.arange(len(photos))
    for classes in ("one", "all"):
        model = Model(finished.runs / classes / "model.onnx")
        row = detector_table.accuracy(compared_runs.run_of(str(finished.runs / classes)), model, photos, scene, len(IDS))
        truth = photos if classes == "all" else [replace(photo, labels=photo.labels * 0) for photo in photos]
        one = validation.member(model)
        found = [run_detector(model, one, read_image(p.path, p.width, p.height))[0] for p in photos]
        want = coco_scores(truth, found, 3 if classes == "all" else 1)
        assert {kind: value.value for kind, value in row.items()} == {k: want[k] for k in row}
        assert {"map", "map50", "recall"} <= set(row) and "map_large" not in row  # no box is large
        assert all(value.low <= value.value <= value.high and value.n == len(photos) for value in row.values())
        assert f"95 % of 200 resamples of {len(photos)} scenes" in row["map"].setting
    alone = detector_table.accuracy(Run("a", finished.runs / "one", SETTINGS), model, photos, scene * 0, len(IDS))
    assert alone["map"].low is None and "no interval" in alone["map"].setting


@pytest.mark.parametrize(
    ("text", "want"),
    [
        pytest.param("runs/a", ("", Path("runs/a")), id="a path"),
        pytest.param("yolov8n=/runs/a", ("yolov8n", Path("/runs/a")), id="a name"),
        pytest.param("a.b-c=/runs/x=y", ("a.b-c", Path("/runs/x=y")), id="a path with a sign of its own"),
        pytest.param("/runs/x=y", ("", Path("/runs/x=y")), id="a path with a sign and no name"),
    ],
)
def test_a_run_may_have_a_name(text: str, want: tuple[str, Path]) -> None:
    assert compared_runs.name_and_folder(text) == want


def test_a_run_is_its_one_or_its_all(finished: Place) -> None:
    runs = finished.runs
    assert compared_runs.run_of(str(runs))[:2] == ("yolov8n", runs / "one")
    assert compared_runs.run_of(f"x={runs / 'all'}")[:2] == ("x", runs / "all")
    finish(runs / "one", model="rtdetr-l.yaml")
    assert compared_runs.run_of(str(runs / "one")).name == "rtdetr-l"
    shutil.rmtree(runs / "one")
    assert compared_runs.run_of(str(runs)).out == runs / "all"


def other_folds(place: Place) -> None:
    """A second run folder, dealt by another seed."""
    shutil.copytree(place.runs, place.root / "other")
    words = ["--data", str(place.data), "--out", str(place.root / "other"), "--groups", "photo", "--seed", "1", "--force"]
    assert folds.main(words) == 0
    finish(place.root / "other" / "one")


def empty(place: Place) -> None:
    (place.root / "other").mkdir()


@pytest.mark.parametrize(
    ("change", "runs", "message"),
    [
        pytest.param(None, ["{runs}", "{root}/none"], "none, which is no folder", id="a missing folder"),
        pytest.param(empty, ["{root}/other"], "holds neither one/ nor all/", id="no run"),
        pytest.param(None, ["a b={runs}"], "got 'a b=", id="a name that would break the table"),
        pytest.param(None, ["a="], "need NAME=FOLDER", id="a name of nothing"),
        pytest.param(None, ["{runs}", "{runs}/one"], "2 are called yolov8n; tell them apart", id="one name twice"),
        pytest.param(None, ["{runs}", "b={runs}/all"], "b tells names apart and yolov8n does not", id="one and all"),
        pytest.param(other_folds, ["{runs}", "b={root}/other"], "b was dealt otherwise than yolov8n: ", id="other folds"),
        pytest.param(
            lambda p: (p.runs / "one" / "run.json").unlink(), ["{runs}"], "one is not finished", id="an unfinished run"
        ),
        pytest.param(
            lambda p: finish(p.runs / "one", folds="0"), ["{runs}"], "was made anew since yolov8n was trained", id="folds anew"
        ),
        pytest.param(lambda p: (p.runs / "folds.json").unlink(), ["{runs}"], "folds.json not found", id="no folds"),
        pytest.param(
            lambda p: p.change(lambda d: d["categories"].append({"id": 50, "name": "new"})), ["{runs}/all"],
            "yolov8n knows other categories than the 4", id="another set of names",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_compared_is_refused_in_a_line(
    finished: Place, capsys: pytest.CaptureFixture[str], change: Callable | None, runs: list[str], message: str
) -> None:
    if change is not None:
        change(finished)
    capsys.readouterr()
    named = [one.format(runs=finished.runs, root=finished.root) for one in runs]
    words = ["detectors", "--runs", *named, "--data", str(finished.data), "--out", str(finished.root / "X")]
    assert benchmark.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1, error
    assert not (finished.root / "X").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(["detectors", "--runs", "R"], "needs --runs, --data and --out", id="no data"),
        pytest.param(["detectors", "--runs", "R", "--data", "D", "--out", "X", "--rounds", "0"], "--rounds: got 0", id="none"),
        pytest.param(["memory", "--runs", "R", "S", "--photos", "P"], "a folder each", id="two runs where one is meant"),
    ],
)
def test_flags_that_are_missing_are_told(capsys: pytest.CaptureFixture[str], words: list[str], message: str) -> None:
    assert benchmark.main(words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_model_without_large_things_has_a_dash() -> None:
    told = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 7, "unit": "share", "setting": "s", "command": "c"}
    lines = report.benchmark({"benchmark.a.b.map": told, "benchmark.a.b.ms_onnx": told}).splitlines()
    assert lines[2].startswith("| a.b | 0.500 [0.400, 0.600] | - |") and lines[2].endswith("| 7 | s; `c` |")
    assert len({line.count("|") for line in lines}) == 1
    assert len(report.benchmark({}).splitlines()) == 2


@pytest.mark.slow
def test_the_whole_road(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    draw_shop(tmp_path / "D")
    small = replace(recipe("retinanet-small", quick=True), backbone="test_resnet", width=16, size=96)
    for name, config in (("y", recipe("small", quick=True)), ("r", small)):
        assert folds.main(["--data", str(tmp_path / "D"), "--out", str(tmp_path / name), "--groups", "photo"]) == 0
        train_detector(DetectorRun(data=tmp_path / "D", runs=tmp_path / name), replace(config, device="cpu"))
    words = ["detectors", "--runs", str(tmp_path / "y"), f"mine={tmp_path / 'r' / 'one'}", "--data", str(tmp_path / "D")]
    assert run(benchmark.body, [*words, "--out", str(tmp_path / "X"), "--rounds", "3", "--record"]) == 0
    with (tmp_path / "X" / "table.csv").open(newline="") as file:
        table = {row["model"]: row for row in csv.DictReader(file)}
    known = records.load()
    assert list(table) == ["yolov8n", "mine"] and set(report.BENCHMARK) < set(table["mine"])
    network = yolo.load(tmp_path / "y" / "one" / "weights" / "last.pt")
    assert float(table["yolov8n"]["params_m"]) == pytest.approx(sum(p.numel() for p in network.parameters()) / 1e6)
    held_out = [len(folds.load(tmp_path / "y" / folds.NAME, read(tmp_path / "D")).photos(part)) for part in ("valid", "test")]
    for name, row in table.items():
        for kind in report.BENCHMARK:
            figure = known.get(f"benchmark.{name}.{kind}")
            assert (figure is None) == (row[kind] == "") and (figure is not None or kind in ("map_small", "map_large"))
            if figure is None:
                continue
            assert figure["value"] == pytest.approx(float(row[kind]), rel=1e-5)
            assert figure["low"] is None or figure["low"] <= figure["value"] <= figure["high"]
            assert figure["low"] is not None or "no interval" in figure["setting"]
            n = 3 if kind.startswith("ms_") else 1 if kind in ("params_m", "gflops", "rss_mb") else sum(held_out)
            assert figure["n"] == n, kind
        assert all(float(row[kind]) > 0 for kind in ("params_m", "gflops", "ms_torch", "ms_onnx", "rss_mb"))
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["benchmark.json", "benchmark.png"]
    assert (tmp_path / "X" / "benchmark.png").read_bytes() == (tmp_path / "results" / "benchmark.png").read_bytes()
    assert (tmp_path / "X" / "table.md").read_text().count("\n") == 4
    assert "mine" in capsys.readouterr().out

"""The variants of a distillation: what each is trained with, what is recorded, and that a teacher's cost is counted."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_shop import SMALL

from experiments.figures import report
from experiments.figures.over_seeds import over_seeds
from experiments.studies import distill
from experiments.studies.distill import HEADER, TERMS, VARIANTS, as_records, cells, config_of, gain
from stage1_detector.distillation.teach import STUDENTS
from stage1_detector.families import FAMILIES
from stage1_detector.synthesis import make_photos

WORDS = ["--set", "tiny", "--data", "D", "--out", "X"]
DONE = {
    "baseline": [{"map": 0.1, "map50": 0.2}, {"map": 0.2, "map50": 0.4}],
    "both": [{"map": 0.2, "map50": 0.5}, {"map": 0.3, "map50": 0.5}],
    "longer": [{"map": 0.1, "map50": 0.3}, {"map": 0.2, "map50": 0.5}],
}


def test_a_student_without_a_teacher_has_none_of_its_terms() -> None:
    args = distill.parser().parse_args([*WORDS, "--size", "96", "--queries", "50"])
    config = config_of(args, 3, 7)
    assert (config.feature_weight, config.class_weight, config.box_weight) == (0, 0, 0)
    assert (config.seed, config.epochs, config.size, config.queries, config.min_steps) == (3, 7, 96, 50, 0)
    assert replace(config, lr=1.0).lr != config.lr == STUDENTS["yolov8n"]().lr


def test_the_same_in_ultralytics_trainer_has_the_same_budget() -> None:
    config = config_of(distill.parser().parse_args(WORDS), 1, 5)
    theirs = distill.ultralytics_config(config)
    shared = ("size", "epochs", "batch", "lr", "lr_end", "optimizer", "weight_decay", "seed", "flip_lr", "scale", "translate")
    assert all(getattr(theirs, name) == getattr(config, name) for name in shared)


def test_differences_are_paired_by_seed() -> None:
    assert gain(DONE, "both", "map50", "baseline") == over_seeds([0.5 - 0.2, 0.5 - 0.4])
    assert gain(DONE, "both", "map50", "feature") is None and gain(DONE, "both", "map50", "both") is None


def test_the_table_has_a_row_for_each_variant() -> None:
    rows = cells(DONE)
    assert [row[0] for row in rows] == list(DONE) and {len(row) for row in rows} == {len(HEADER)}
    assert rows[0][3:5] == ["", ""] and rows[1][4] == str(over_seeds([0.2, 0.0]))


def test_what_is_recorded_names_its_set_and_budget_and_makes_the_table() -> None:
    args = distill.parser().parse_args([*WORDS, "--epochs", "6"])
    rows = {row["key"]: row for row in as_records(DONE, 4 / 3, args, "python")}
    assert rows["distill.tiny.both.map50"]["value"] == 0.5 and rows["distill.tiny.both.map50"]["n"] == 2
    equal = rows["distill.tiny.distilled_minus_baseline"]
    assert equal["value"] == pytest.approx(0.1) and "8 epochs for the longer baseline" in equal["setting"]
    assert "distill.tiny.baseline.map50_minus_longer" not in rows
    assert "weights 20.0 and 1.0" in rows["distill.tiny.both.map50"]["setting"]
    with_feature = as_records(DONE, 4 / 3, distill.parser().parse_args([*WORDS, "--feature", "1"]), "python")
    assert any("weights 1.0 and 1.0" in str(one["setting"]) for one in with_feature)
    one_seed = as_records({"baseline": DONE["baseline"][:1]}, 1.0, args, "python")
    assert all("no interval" in one["setting"] and one["low"] is None for one in one_seed)
    table = report.distill({row["key"]: row for row in as_records(DONE, 4 / 3, distill.parser().parse_args(WORDS), "python")})
    assert table.count("\n") == 2 + len(DONE) + 1 and "| tiny | both | 0.250 [" in table


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param(
            ["--student", "rtdetr-small", "--variants", "ultralytics"], "ultralytics distils YOLOs alone", id="no YOLO"
        ),
        pytest.param(["--epochs", "0"], "--epochs, --teacher-epochs: got 0, 40, need at least 1", id="no epochs"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert distill.main([*WORDS, *words]) == 2
    stderr = capsys.readouterr().err
    assert message in stderr and stderr.count("\n") == 1


@pytest.mark.slow
def test_every_variant_is_trained_scored_and_reused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_photos.draw(replace(SMALL, count=10), tmp_path / "data", workers=1)
    words = ["--set", "tiny", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--size", "64", "--seeds", "0"]
    words += ["--epochs", "1", "--teacher-epochs", "1", "--variants", *VARIANTS]
    assert distill.main(words) == 0
    teacher = tmp_path / "out" / "teacher" / "one"
    args = distill.parser().parse_args(words)
    # the same network taught by itself: a forward pass more beside three; batch norm folded, and queries are no YOLO's
    assert distill.step_cost(args, teacher) == pytest.approx(4 / 3, abs=0.01)
    for variant in VARIANTS:
        settings = json.loads((tmp_path / "out" / variant / "0" / "one" / "run.json").read_text())["settings"]
        if variant in TERMS:
            assert (settings["feature_weight"] > 0, settings["class_weight"] > 0) == TERMS[variant] and settings["teacher"]
        assert bool(settings.get("distill_model")) == (variant == "ultralytics")
    assert (tmp_path / "out" / "table.md").read_text().count("\n") == len(VARIANTS) + 2
    assert (tmp_path / "out" / "arms.png").stat().st_size > 5000
    at = {path: path.stat().st_mtime for path in (tmp_path / "out").rglob("*.onnx")}
    capsys.readouterr()
    assert distill.main(words) == 0
    assert at == {path: path.stat().st_mtime for path in (tmp_path / "out").rglob("*.onnx")}
    assert capsys.readouterr().out.count("reuses") == len(VARIANTS) + 1
    # what ultralytics distilled is the student alone, in a file that any command loads
    net = FAMILIES["yolo"].load(tmp_path / "out" / "ultralytics" / "0" / "one" / "weights" / "last.pt")
    assert net(torch.zeros(1, 3, 64, 64))[0].shape[1] == 5

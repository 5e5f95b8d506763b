"""A part that fails costs what it would have said: weights stay with their views, names with their crops."""

import json
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, CATEGORIES, save_model

from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member, parse
from fusion.merge import Merge
from fusion.models import Model
from fusion.pipeline import Pipeline, load, merge

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("done", "weight"), [pytest.param((0,), 0.8, id="the second fails"), pytest.param((1,), 0.2, id="the first fails")]
)
def test_a_view_that_was_not_done_takes_its_weight_along(done: tuple[int, ...], weight: float) -> None:
    """Under soft-NMS a score is weighed against the greatest weight of what is there, here that of another model."""
    box, far = np.array([[0.0, 0.0, 10.0, 10.0]], np.float32), np.array([[50.0, 0.0, 60.0, 10.0]], np.float32)
    view, other = (Detections(b, np.array([0.8], np.float32), np.zeros(1, np.int64)) for b in (box, far))
    members = [Member("a.onnx", views=[{"size": 64, "weight": 0.8}, {"size": 64, "weight": 0.2}]),
               Member("b.onnx", views=[{"size": 64}])]  # fmt: skip
    merged = merge([[view if k in done else None for k in range(2)], [other]], Ensemble([0], members, Merge("soft_nms")))
    assert dict(zip(merged.boxes[:, 0].tolist(), merged.scores.tolist(), strict=True)) == pytest.approx(
        {50: 0.8, 0: 0.8 * weight}
    )


def test_a_photo_goes_on_with_the_second_view_at_its_own_weight(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = json.loads((runs / "ensemble.json").read_text())
    values["detectors"][0]["views"] = [{"size": 64, "weight": 0.8}, {"size": 64, "flip": True, "weight": 0.2}]
    pipeline, plain, calls = Pipeline(parse(values), runs), Model.__call__, []

    def first_fails(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        calls.append(self)
        if self.path.parent.name == "one" and sum(call is self for call in calls) == 1:
            raise RuntimeError("no memory left")
        return plain(self, canvases, output)

    monkeypatch.setattr(Model, "__call__", first_fails)
    (first, second), _ = pipeline.detect(PHOTO, failed=lambda part, error: None)
    assert first is None and len(second) == 2


@pytest.mark.parametrize("number", [NAN, INF, -INF])
def test_a_crop_without_an_answer_costs_its_name_only(runs: Path, monkeypatch: pytest.MonkeyPatch, number: float) -> None:
    pipeline, plain = load(runs), Model.__call__

    def broken(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        result = plain(self, canvases, output)
        if self.path.parent.name == "shelf":
            result[0] = number
        return result

    monkeypatch.setattr(Model, "__call__", broken)
    rows = pipeline(PHOTO)
    assert [row["category_id"] for row in rows] == [7, 3]  # the first keeps the detector's name, the second the classifier's
    assert [row["score"] for row in rows] == pytest.approx([0.9, 0.6], abs=1e-6)


def two_classifiers(runs: Path) -> Path:
    """The run folder with two classifiers of weights 1 and 2: one that does not know, one that is sure of the second name."""
    values = json.loads((runs / "ensemble.json").read_text())
    for name, logits in (("a", [0, 0, 0]), ("b", [0, 50, 0])):
        save_model(runs / name, np.array(logits, np.float32), task="classifier", family="timm", categories=CATEGORIES)
    values["classifiers"] = [{"file": "a/model.onnx", "weight": 1}, {"file": "b/model.onnx", "weight": 2}]
    (runs / "ensemble.json").write_text(json.dumps(values))
    return runs


def test_a_crop_that_one_of_two_classifiers_has_no_answer_to_is_named_by_the_other(
    runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = load(two_classifiers(runs))
    plain = Model.__call__

    def broken(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        result = plain(self, canvases, output)
        if self.path.parent.name == "b":
            result[1:] = NAN
        return result

    monkeypatch.setattr(Model, "__call__", broken)
    got = pipeline.classify(PHOTO, np.array([[0, 0, 20, 20]] * 2, np.float32))
    np.testing.assert_allclose(got, [[1 / 9, 1 / 9 + 2 / 3, 1 / 9], [1 / 3] * 3], atol=1e-6)


@pytest.mark.parametrize("step", ["merge", "decide", "mean"])
def test_without_merging_or_the_gate_a_photo_keeps_its_boxes(runs: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fails(*_: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(f"fusion.pipeline.{step}", fails)
    failures: list[object] = []
    rows = load(runs)(PHOTO, failed=lambda part, error: failures.append(part))
    assert [row["score"] for row in rows] == pytest.approx([0.9, 0.6], abs=1e-6)
    assert failures == [{"merge": "merge", "decide": "gate", "mean": "classify"}[step]]


def test_numbers_that_are_not_finite_are_counted(runs: Path) -> None:
    spoilt = CANDIDATES.copy()
    spoilt[0, 1], spoilt[4, 1] = NAN, INF
    save_model(runs / "one", spoilt, task="detector")
    pipeline = load(runs)
    assert len(pipeline(PHOTO)) == 1
    assert pipeline.not_finite() == {"one/model.onnx": 2}


@pytest.mark.parametrize("rows", [0, 4, 6, 9])
def test_an_output_of_another_shape_fails(runs: Path, rows: int) -> None:
    save_model(runs / "all", np.ones((rows, 3)), task="detector", categories=CATEGORIES)
    failures: list[str] = []
    found = load(runs)(PHOTO, failed=lambda part, error: failures.append(str(error)))
    assert len(found) == 2 and len(failures) == 1 and "got an output of shape" in failures[0]


def test_two_boxes_that_merge_into_one_are_no_failed_merging(runs: Path) -> None:
    """An IoU of 0.6: above that of merging, below that of NMS."""
    save_model(runs / "one", np.array([[16, 20], [32, 32], [16, 16], [32, 32], [0.9, 0.6]]), task="detector")
    failures: list[object] = []
    rows = load(runs)(PHOTO, failed=lambda part, error: failures.append(part))
    assert len(rows) == 1 and not failures

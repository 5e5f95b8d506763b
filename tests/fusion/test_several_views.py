"""Several views of a photo and of its crops, joined by weight; batches of one size; what is cut and what is kept."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from constant_models import CATEGORIES, save_model

from fusion import pipeline as pipeline_module
from fusion.boxes import Detections
from fusion.decode import of_view
from fusion.ensemble import Ensemble, Member
from fusion.models import Model
from fusion.pipeline import load, merge
from fusion.views import make_views

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
BOX = np.array([[0, 0, 20, 20]], np.float32)


def with_classifiers(runs: Path, *members: dict[str, Any]) -> Path:
    """The run folder with these classifiers in place of its own."""
    values = json.loads((runs / "ensemble.json").read_text())
    (runs / "ensemble.json").write_text(json.dumps(values | {"classifiers": list(members)}))
    return runs


def detections(boxes: np.ndarray, scores: list[float], evidence: np.ndarray | None = None) -> Detections:
    return Detections(boxes, np.array(scores, np.float32), np.zeros(len(boxes), np.int64), evidence)


def test_a_views_weight_counts_for_its_evidence_too() -> None:
    views = [detections(BOX, [0.8], np.array([names], np.float32)) for names in ([1, 0], [0, 1])]
    member = Member("a.onnx", evidence_weight=1.0, views=[{"size": 64, "weight": 1.0}, {"size": 64, "weight": 3.0}])
    np.testing.assert_allclose(merge([views], Ensemble([7, 3], [member])).evidence, [[0.25, 0.75]])


def test_a_classifier_of_two_views_counts_no_more_than_one_of_one(runs: Path) -> None:
    for name, logits in (("a", [0, 0, 0]), ("b", [0, 50, 0])):
        save_model(runs / name, np.array(logits), task="classifier", family="timm", categories=CATEGORIES)
    two, one = {"file": "a/model.onnx", "views": [{}, {"flip": True}]}, {"file": "b/model.onnx"}
    got = load(with_classifiers(runs, two, one)).classify(PHOTO, BOX)
    np.testing.assert_allclose(got, [[1 / 6, 2 / 3, 1 / 6]], atol=1e-6)


def answering_to_pixels(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """From now on models answer to how bright each canvas is; collects how many canvases they get."""
    sizes, plain = list[int](), Model.__call__

    def answering(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        sizes.append(len(canvases))
        answer = plain(self, canvases, output)
        return answer + canvases.mean((1, 2, 3))[:, None] / 20 if answer.ndim == 2 else answer  # (N, C) or (N, 4 + C, A)

    monkeypatch.setattr(Model, "__call__", answering)
    return sizes


@pytest.mark.parametrize(
    ("n", "canvases"),
    [
        pytest.param(0, [], id="no boxes"),
        pytest.param(2, [2], id="a full batch"),
        pytest.param(3, [2, 2], id="the last batch is filled up"),
    ],
)
def test_batches_of_one_size_as_on_a_gpu_give_the_same_names(
    runs: Path, n: int, canvases: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, sizes = load(with_classifiers(runs, {"file": "shelf/model.onnx", "batch": 2})), answering_to_pixels(monkeypatch)
    boxes = np.repeat(BOX, n, 0) + np.arange(n, dtype=np.float32)[:, None] * 10
    expected = pipeline.classify(PHOTO, boxes)
    sizes.clear()
    for model in (*pipeline.detectors, *pipeline.classifiers):
        model.fixed = True
    got = pipeline.classify(PHOTO, boxes)
    assert sizes == canvases and got.shape == (n, 3)
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize(("fixed", "canvases"), [(True, [2, 1, 1]), (False, [])], ids=["on a GPU", "on the CPU"])
def test_what_is_slow_at_its_first_call_is_called_before_the_photos(
    runs: Path, fixed: bool, canvases: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline, sizes = load(with_classifiers(runs, {"file": "shelf/model.onnx", "batch": 2})), answering_to_pixels(monkeypatch)
    for model in (*pipeline.detectors, *pipeline.classifiers):
        model.fixed = fixed
    pipeline.warm_up()
    assert sizes == canvases


def test_boxes_beyond_the_photo_are_clipped_after_nms(runs: Path) -> None:
    """Clipped first, the two would be one box."""
    model, boxes = Model(runs / "one" / "model.onnx"), np.array([[-80, 0, 20, 40], [0, 0, 20, 40]], np.float32)
    view = make_views({"size": 64}, 64, 64)
    found = of_view(model, Member("one/model.onnx"), view, [lambda: (detections(boxes, [0.9, 0.8]), False)], 64, 64)
    assert found.boxes.tolist() == [[0, 0, 20, 40]] * 2 and found.scores.tolist() == np.float32([0.9, 0.8]).tolist()


def test_without_merging_the_best_boxes_of_the_first_view_are_kept(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    values = json.loads((runs / "ensemble.json").read_text())
    (runs / "ensemble.json").write_text(json.dumps(values | {"merge": {"method": "wbf", "max_det": 1}}))
    monkeypatch.setattr(pipeline_module, "merge", broken)
    (row,) = load(runs)(PHOTO, failed=lambda part, error: None)
    assert row["score"] == pytest.approx(0.9, abs=1e-6)

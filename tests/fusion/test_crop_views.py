"""Crops keep their proportions, stay inside the photo, and come in full batches."""

import json
from pathlib import Path

import numpy as np
import pytest

from fusion.models import Model
from fusion.pipeline import load
from fusion.views import PADDING, crop, crop_batches

PHOTO = np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8)


def test_no_boxes_give_no_batches() -> None:
    assert list(crop_batches(PHOTO, np.zeros((0, 4), np.float32), 32, 0.0, 8)) == []


def test_a_box_of_the_crops_size_is_cut_out_as_it_is() -> None:
    box = np.array([20, 10, 52, 42], np.float32)
    np.testing.assert_array_equal(crop(PHOTO, box, 32, 0.0), PHOTO[10:42, 20:52])


def test_a_wide_box_is_letterboxed_not_squashed() -> None:
    crops = crop(np.zeros((90, 160, 3), np.uint8), np.array([0, 0, 80, 40], np.float32), 32, 0.0)
    assert (crops[8:24] == 0).all()
    assert (crops[:8] == PADDING).all()
    assert (crops[24:] == PADDING).all()


@pytest.mark.parametrize(
    "box",
    [
        pytest.param([-20, -20, 10, 10], id="over the corner"),
        pytest.param([150, 80, 400, 300], id="over the far corner"),
        pytest.param([30.2, 30.7, 31.1, 31.2], id="smaller than a pixel"),
        pytest.param([0, 0, 160, 90], id="the whole photo"),
    ],
)
def test_any_box_gives_a_crop_of_the_size(box: list[float]) -> None:
    assert crop(PHOTO, np.array(box, np.float32), 24, 0.1).shape == (24, 24, 3)


@pytest.mark.parametrize(
    "box", [pytest.param([5, 5, 5, 20], id="no width"), pytest.param([300, 300, 320, 320], id="outside the photo")]
)
def test_nothing_under_the_box_gives_grey(box: list[float]) -> None:
    assert (crop(PHOTO, np.array(box, np.float32), 16, 0.0) == PADDING).all()


def test_margin_widens_by_a_fraction_of_each_side() -> None:
    box = np.array([40, 20, 60, 40], np.float32)
    np.testing.assert_array_equal(crop(PHOTO, box, 24, 0.1), PHOTO[18:42, 38:62])


def test_batches_are_full_and_say_how_many_count() -> None:
    boxes = np.tile(np.array([[10, 10, 40, 40]], np.float32), (5, 1))
    crops = list(crop_batches(PHOTO, boxes, 16, 0.0, 4))
    assert [(b.shape, n) for b, n in crops] == [((4, 16, 16, 3), 4), ((4, 16, 16, 3), 1)]
    assert (crops[1][0][1:] == PADDING).all()


def test_a_classifier_sees_each_view_of_a_crop(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = json.loads((runs / "ensemble.json").read_text())
    values["classifiers"][0]["views"] = [{}, {"flip": True}, {"margin": 0.5}]
    (runs / "ensemble.json").write_text(json.dumps(values))
    pipeline, seen, plain = load(runs), [], Model.__call__

    def watching(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        seen.append(canvases)
        return plain(self, canvases, output)

    monkeypatch.setattr(Model, "__call__", watching)
    box = np.array([[10.0, 20.0, 50.0, 40.0]], np.float32)
    probabilities = pipeline.classify(PHOTO, box)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-6)
    np.testing.assert_array_equal(seen[1], seen[0][:, :, ::-1])
    assert len(seen) == 3 and not np.array_equal(seen[2], seen[0])
    values["classifiers"][0]["views"] = [{"turn": 90}]
    (runs / "ensemble.json").write_text(json.dumps(values))
    with pytest.raises(ValueError, match="views: unknown field 'turn', known: flip, margin"):
        load(runs).classify(PHOTO, box)

"""Prototypes of names from studio and shelf crops, and a graph that compares with them: against the cosine by hand."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from cosine_models import BLUE, GREEN, RED, SIZE, flat, save_classifier

from fusion.ensemble import ClassifierMember
from fusion.models import Model, calibrated
from stage2_classifier import studio_prototypes as studio
from stage2_classifier.crops import Region
from stage2_classifier.gate.evidence import run_classifier
from stage2_classifier.prototype_blend import Blend
from stage2_classifier.studio_prototypes import Prototypes, at_most

IDS = [3, 7, 9]
BLEND = Blend(0.1, 0.6, 2.0)


def model_in(folder: Path, background: bool = False) -> Path:
    """A linear classifier in FOLDER that gives every crop the name 3."""
    weight = np.zeros((3, len(IDS) + background), np.float32)
    save_classifier(
        folder / "model.onnx", [weight], IDS, linear=True, background=background, bias=[4.0] + [0.0] * (2 + background)
    )
    return folder


def test_nothing_has_no_prototype() -> None:
    nothing = np.zeros((3, 2), np.float32)
    assert not studio.joined(nothing, nothing, np.zeros(3, np.int64)).any()
    assert studio.cosines_to(nothing, np.ones((4, 2), np.float32)).tolist() == [[studio.NONE] * 3] * 4


@pytest.mark.parametrize(
    ("studio_mean", "shelf_mean", "count", "expected"),
    [
        pytest.param([1, 0], [0, 0], 0, [1, 0], id="studio alone"),
        pytest.param([0, 0], [0, 1], 5, [0, 1], id="shelf alone"),
        pytest.param([1, 0], [0, 1], 10**9, [0, 1], id="many shelf crops count alone"),
    ],
)
def test_a_prototype_moves_to_the_shelf(studio_mean: list[int], shelf_mean: list[int], count: int, expected: list[int]) -> None:
    vectors = studio.joined(np.array([studio_mean], np.float32), np.array([shelf_mean], np.float32), np.array([count]))
    np.testing.assert_allclose(vectors[0], expected, atol=1e-6)


def test_a_name_of_studio_photos_alone_takes_the_step_of_the_others() -> None:
    studio_means, shelf_means = np.array([[1, 0], [1, 0]], np.float32), np.array([[0, 1], [0, 0]], np.float32)
    vectors = studio.joined(studio_means, shelf_means, np.array([3, 0]))
    np.testing.assert_allclose(vectors[1], [0, 1], atol=1e-6)  # (1, 0) + ((0, 1) - (1, 0))


def test_measured_from_regions(tmp_path: Path) -> None:
    box = np.array([0, 0, SIZE, SIZE], np.float32)
    studio_photos = [Region(flat(RED)[0], box, 0, studio=True), Region(flat(BLUE)[0], box, 2, studio=True)]
    shelf = [Region(flat(RED)[0], box, 0) for _ in range(20)] + [Region(flat(GREEN)[0], box, 3)]  # the last is background
    crops = np.concatenate([flat(RED), flat(BLUE)])
    measured = studio.measure(model_in(tmp_path, True), studio_photos + shelf, crops, 3, np.random.default_rng(0))
    assert measured.counts.tolist() == [20, 0, 0]
    assert measured.cosines.argmax(1).tolist() == [0, 2] and (measured.cosines[:, 1] == studio.NONE).all()
    studio.write(tmp_path, measured)
    for written, own in zip(studio.read(tmp_path), measured, strict=True):
        np.testing.assert_array_equal(written, own)


@pytest.mark.parametrize("background", [False, True], ids=["names only", "background last"])
def test_the_graph_adds_cosines_and_the_sidecar_blends_them(tmp_path: Path, background: bool) -> None:
    folder, crops = model_in(tmp_path, background), np.random.default_rng(0).integers(0, 256, (5, SIZE, SIZE, 3), np.uint8)
    crops = np.concatenate([crops, flat(BLUE)])
    before = Model(folder / "model.onnx")
    plain, embedding = calibrated(before(crops), before.sidecar), crops.mean((1, 2)) / 255 - 0.5
    vectors = np.stack([RED, np.zeros(3, np.float32), BLUE])
    studio.write(folder, Prototypes(vectors, np.array([99, 5, 0]), np.zeros((0, 3), np.float32)))
    studio.blend_in(folder, BLEND)
    after = Model(folder / "model.onnx")
    output = after(crops)
    cosines = embedding @ vectors.T / np.linalg.norm(embedding, axis=1, keepdims=True) + [0, studio.NONE, 0]
    np.testing.assert_allclose(output[:, 3 + background :], cosines, atol=1e-4)
    named = calibrated(output, after.sidecar)
    assert named.shape == plain.shape and named[-1].argmax() == 2 and plain[-1].argmax() == 0
    np.testing.assert_allclose(named.sum(1), 1, atol=1e-5)
    data = (folder / "model.onnx").read_bytes()
    studio.blend_in(folder, BLEND)
    assert (folder / "model.onnx").read_bytes() == data  # once
    studio.blend_in(folder, None)
    withdrawn = Model(folder / "model.onnx")
    np.testing.assert_allclose(calibrated(withdrawn(crops), withdrawn.sidecar), plain, atol=1e-6)


def test_without_a_blend_the_model_stays(tmp_path: Path) -> None:
    folder = model_in(tmp_path)
    data = (folder / "model.onnx").read_bytes()
    studio.blend_in(folder, None)
    assert (folder / "model.onnx").read_bytes() == data


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"prototypes\.npz: no such file; remove .* and train it again"):
        studio.blend_in(model_in(tmp_path), BLEND)
    graph = onnx.load(str(tmp_path / "model.onnx"))
    graph.graph.output.pop()
    with pytest.raises(ValueError, match="got outputs logits, need 'embedding'"):
        studio.with_cosines(graph, tmp_path / "model.onnx", np.eye(3, dtype=np.float32))


@pytest.mark.parametrize("boxes", [0, 3], ids=["no box", "three boxes"])
def test_the_pipeline_names_with_prototypes(tmp_path: Path, boxes: int) -> None:
    folder = model_in(tmp_path, background=True)
    vectors = np.stack([RED, np.zeros(3, np.float32), BLUE])
    studio.write(folder, Prototypes(vectors, np.array([99, 5, 0]), np.zeros((0, 3), np.float32)))
    studio.blend_in(folder, BLEND)
    photo, box = flat(BLUE, size=64)[0], np.array([[4, 4, 40, 40]] * boxes, np.float32).reshape(-1, 4)
    member = ClassifierMember("model.onnx")
    named = run_classifier(Model(folder / "model.onnx"), member, photo, box, len(IDS) + 1)  # one more was enrolled elsewhere
    assert named.shape == (boxes, len(IDS) + 1) and (named.argmax(1) == 2).all() and not named[:, 3].any()


def test_so_many_regions_of_each_label_are_kept_and_no_more() -> None:
    image, box = np.zeros((2, 2, 3), np.uint8), np.array([0, 0, 2, 2], np.float32)
    kept = at_most([Region(image, box, label) for label in (0, 0, 0, 0, 1, 1, 2)], 2, np.random.default_rng(0))
    assert sorted(region.label for region in kept) == [0, 0, 1, 1, 2]

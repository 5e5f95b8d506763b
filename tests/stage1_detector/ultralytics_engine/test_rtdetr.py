"""RT-DETR has as many queries as the photos need, keeps every query's class scores, and its file does what the network does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from place import Place
from ultralytics.nn.tasks import RTDETRDetectionModel

from fusion.decode import decode, run_detector
from fusion.ensemble import Member
from fusion.models import Model
from photos.data import Photo
from stage1_detector import config, export, training_plan
from stage1_detector import train as detector
from stage1_detector.engine import max_det
from stage1_detector.ultralytics_engine import rtdetr, yolo
from stage1_detector.ultralytics_engine.detection_trainer import TrainerOptions, trainer_class

SIDE = {
    "task": "detector", "family": "rtdetr", "categories": [3, 7, 40], "size": 160, "mean": [0.0] * 3, "std": [1.0] * 3,
    "shape": "stretch", "stride": 32,
}  # fmt: skip


def network(queries: int = 120, classes: int = 3) -> RTDETRDetectionModel:
    torch.manual_seed(0)
    return RTDETRDetectionModel(rtdetr.with_queries("rtdetr-l.yaml", queries), nc=classes, verbose=False).eval()


def test_queries_stand_in_the_models_own_description() -> None:
    whole = rtdetr.with_queries("rtdetr-l.yaml", 450)
    assert whole["head"][-1] == [[21, 24, 27], 1, "RTDETRDecoder", ["nc", 256, 450]]
    assert rtdetr.with_queries(whole, 500)["head"][-1][3] == ["nc", 256, 500]
    assert whole["head"][-1][3] == ["nc", 256, 450]  # left as it was


@pytest.mark.parametrize(
    ("fullest", "queries"), [(10, 300), (235, 403), (759, 1189)], ids=["few", "the contest's", "the fullest"]
)
def test_queries_follow_the_fullest_photo(tmp_path: Path, fullest: int, queries: int) -> None:
    photo = Photo(1, tmp_path, 60, 40, np.zeros((fullest, 4), np.float32), np.zeros(fullest), np.zeros(fullest), None)
    options = TrainerOptions({"train": tmp_path, "valid": tmp_path}, ["product"], max_det([photo]), 0, lambda network: {})
    assert trainer_class("rtdetr", options).queries == queries


def test_a_model_of_another_family_is_refused() -> None:
    for family, model in (("rtdetr", "yolov8n.yaml"), ("yolo", "rtdetr-l.yaml")):
        with pytest.raises(ValueError, match="--model: got"):
            yolo.refuse(replace(config.DetectorConfig(), family=family, model=model), None, None)


@pytest.mark.slow
def test_the_file_does_what_the_network_does_for_one_photo_and_eight(tmp_path: Path) -> None:
    dense = rtdetr.Dense(network(), 160).eval()
    export.export_detector(dense, tmp_path / "m.onnx", SIDE, ())
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 256, (n, 160, 160, 3), np.uint8) for n in (1, 8)]
    parity = export.detector_parity(dense, tmp_path / "m.onnx", SIDE, inputs)
    assert 0 < parity["boxes_px"] < 0.05 and 0 < parity["scores"] < 1e-4
    (rows,) = [out.type.tensor_type.shape.dim[1].dim_value for out in onnx.load(str(tmp_path / "m.onnx")).graph.output]
    assert rows == 4 + 3
    raw = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"images": inputs[1]})[0]
    assert raw.shape == (8, 4 + 3, 120)
    found = decode("rtdetr", raw[0], 0.0, agnostic=False)
    assert len(found) == 120 and found.evidence.shape == (120, 3)
    assert found.boxes.min() + 200 >= 0 and found.boxes.max() < 400  # pixels, not fractions
    with torch.no_grad():
        dense.model.model[-1].dec_bbox_head[-1].layers[-1].bias += 0.5
    assert export.detector_parity(dense, tmp_path / "m.onnx", SIDE, inputs)["boxes_px"] > 1


@pytest.mark.slow
def test_a_quick_training_makes_a_detector_that_run_py_can_use(place: Place) -> None:
    """Of a small network: what the large one's file does, the test above says."""
    words = [*place.words("detector"), "--classes", "all", "--recipe", "rtdetr-l", "--force", "--batch", "2"]
    assert detector.main([*words, "--model", "yolov8n-rtdetr.yaml", "--size", "96"]) == 0
    side = json.loads((place.runs / "all" / "model.json").read_text())
    assert (side["family"], side["shape"], side["size"]) == ("rtdetr", "stretch", 96)
    model = Model(place.runs / "all" / "model.onnx")
    photo = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    (found,) = run_detector(model, Member.of("model.onnx", model.sidecar, conf=0.0), photo)
    assert len(found) > 10 and found.evidence.shape[1] == 3
    assert found.boxes[:, 2].max() > 64  # the photo's own pixels: it is 96 wide


# -- more queries than cells -----------------------------------------------------------------------------------------------


def test_a_limit_is_told_only_where_a_photo_has_more_products(tmp_path: Path) -> None:
    small = config.DetectorConfig(family="rtdetr", model="yolov8n-rtdetr.yaml", size=64)
    photos = {n: Photo(1, tmp_path, 60, 40, np.zeros((n, 4), np.float32), np.zeros(n), np.zeros(n), None) for n in (0, 84, 85)}
    assert [len(training_plan.in_words(small, [photo])) for photo in photos.values()] == [1, 1, 2]
    told = "an RT-DETR at 64 px finds at most 84 products on a photo, the fullest has 85; a larger --size helps"
    assert training_plan.in_words(small, [photos[85]])[1] == told
    assert len(training_plan.in_words(replace(small, family="yolo"), [photos[85]])) == 1
    assert training_plan.in_words(small, [photos[85]], starts_random=True)[2] == rtdetr.RANDOM_START
    assert len(training_plan.in_words(replace(small, family="yolo"), [photos[85]], starts_random=True)) == 1
    rcnn = config.TorchvisionConfig(family="rcnn", proposals=177)
    assert len(training_plan.in_words(replace(rcnn, proposals=178), [photos[85]])) == 1
    told = "at most 177 places of a photo are looked at, the fullest has 85 boxes: --proposals 178"
    assert training_plan.in_words(rcnn, [photos[85]])[1] == told


@pytest.mark.slow
def test_all_cells_are_queries_where_there_are_fewer_from_the_losses_to_the_file(tmp_path: Path) -> None:
    """300 queries and 84 cells at 64 px: losses with more products than cells, then the exported graph."""
    net = yolo.build(rtdetr.with_queries("yolov8n-rtdetr.yaml", 300, 2), ["a", "b", "c"], "rtdetr")
    assert rtdetr.candidates(64) == 84
    net.nc, n = 3, 100
    batch = {
        "img": torch.rand(2, 3, 64, 64), "cls": torch.zeros(n, 1), "bboxes": torch.rand(n, 4) * 0.5 + 0.1,
        "batch_idx": torch.arange(n) // 90,
    }  # fmt: skip
    loss, _ = net.train().loss(batch)
    loss.sum().backward()
    assert torch.isfinite(loss).all()
    dense, side = rtdetr.Dense(net.eval(), 64).eval(), SIDE | {"size": 64}
    export.export_detector(dense, tmp_path / "m.onnx", side, ())
    photos = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    raw = onnxruntime.InferenceSession(str(tmp_path / "m.onnx")).run(None, {"images": photos})[0]
    assert raw.shape == (2, 4 + 3, 84)
    parity = export.detector_parity(dense, tmp_path / "m.onnx", side, [photos])
    assert parity["boxes_px"] < 0.05 and parity["scores"] < 1e-4
    model = Model(tmp_path / "m.onnx")
    (detections,) = run_detector(model, Member.of("m.onnx", model.sidecar, conf=0.0, nms_iou=1.0), photos[0])
    assert 10 < len(detections) <= 84


@pytest.mark.slow
def test_a_training_with_fewer_cells_than_queries_makes_a_detector(place: Place) -> None:
    words = [*place.words("detector"), "--classes", "one", "--recipe", "rtdetr-small", "--force", "--batch", "2"]
    assert detector.main([*words, "--size", "64"]) == 0
    model = Model(place.runs / "one" / "model.onnx")
    assert model(np.zeros((1, 64, 64, 3), np.uint8)).shape == (1, 5, 84)

"""A YOLO that runs at judgment, with one view and NMS, against ultralytics' own predict of the same network."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from ultralytics import YOLO
from ultralytics.nn.tasks import DetectionModel

from fusion.boxes import Detections
from fusion.decode import run_detector
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import Model, normalise
from fusion.pipeline import merge
from fusion.views import letterbox
from stage1_detector.config import DetectorConfig
from stage1_detector.export import export_detector
from stage1_detector.ultralytics_engine import yolo

SHARED = Path(__file__).resolve().parents[3].parent / "shared" / "data"


def photos_of_all_shapes() -> list[np.ndarray]:
    """20 real photos: square, wide and tall."""
    if not SHARED.is_dir():
        pytest.skip("../shared/data is absent: the comparison on real photos needs it")
    paths = [
        p for name, n in (("digits", 6), ("books", 8), ("snacks", 6)) for p in sorted((SHARED / name / "images").iterdir())[:n]
    ]
    return [np.asarray(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)) for path in paths]


def spread_yolo(photos: list[np.ndarray]) -> torch.nn.Module:
    """yolov8n for one class, random, normalised on `photos`, its head widened so that scores differ from anchor to anchor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = DetectionModel("yolov8n.yaml", nc=1, verbose=False)
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = None  # the statistics are the mean over the batches that follow
        batch = [normalise(letterbox(p.shape[1], p.shape[0], 320).warp(p)[None], [0] * 3, [1] * 3) for p in photos]
        with torch.no_grad():
            net.train()(torch.from_numpy(np.concatenate(batch)))
        for scores, boxes in zip(net.model[-1].cv3, net.model[-1].cv2, strict=True):
            torch.nn.init.normal_(scores[-1].weight, std=0.3)
            torch.nn.init.zeros_(scores[-1].bias)
            torch.nn.init.normal_(boxes[-1].weight, std=0.2)
    return net.eval()


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["square", "rectangle"])
def test_one_model_one_view_and_nms_equals_ultralytics_predict(tmp_path: Path, shape: str) -> None:
    """NMS at 0.99: of a random net's thousands of overlaps some lie within rounding of 0.5. nms itself has its own test."""
    photos, size, conf, overlap = photos_of_all_shapes(), 320, 0.6, 0.99
    net = spread_yolo(photos)
    reference = YOLO("yolov8n.yaml")
    reference.model = net
    theirs = [
        reference.predict(
            p[..., ::-1], imgsz=size, conf=conf, iou=overlap, max_det=5000, rect=shape == "rectangle", verbose=False
        )[0]
        for p in photos
    ]
    side = {"task": "detector", "family": "yolo", "categories": None, "size": size, "shape": shape, "stride": 32}
    side |= {"mean": [0.0] * 3, "std": [1.0] * 3}
    export_detector(yolo.for_export(net.fuse(), DetectorConfig()), tmp_path / "m.onnx", side, ())
    model = Model(tmp_path / "m.onnx")
    member = Member.of("m.onnx", model.sidecar, conf=conf, nms_iou=overlap, max_det=5000)
    ensemble = Ensemble([0], [member], Merge("nms", 1.0, max_det=5000))
    same = [same_boxes(merge([run_detector(model, member, p)], ensemble), t.boxes) for p, t in zip(photos, theirs, strict=True)]
    assert len(same) == 20
    assert np.concatenate(same).all()


def same_boxes(ours: Detections, theirs: Any) -> np.ndarray:
    """Which of their boxes are ours within 0.5 px and 1e-3 of score: bool, as long as the longer of the two lists."""
    boxes, scores = theirs.xyxy.numpy(), theirs.conf.numpy()
    not_empty = (boxes[:, 2:] > boxes[:, :2]).all(1)  # cut to the photo nothing is left of some, which we drop
    boxes, scores = boxes[not_empty], scores[not_empty]
    apart = np.abs(boxes[:, None] - ours.boxes).max(2) / 0.5 + np.abs(scores[:, None] - ours.scores) / 1e-3  # (N, M)
    rows, columns = linear_sum_assignment(np.minimum(apart, 10))
    close = (np.abs(boxes[rows] - ours.boxes[columns]).max(1) < 0.5) & (np.abs(scores[rows] - ours.scores[columns]) < 1e-3)
    return np.concatenate([close, np.zeros(abs(len(boxes) - len(ours)), bool)])

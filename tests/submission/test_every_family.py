"""One zip with a YOLO, a Faster R-CNN and a RetinaNet in one ensemble: built, checked, and run as the judge does."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision_nets import SMALL, built, decided

from stage1_detector import families
from stage1_detector.config import Config, DetectorConfig
from stage1_detector.export import export_detector
from stage1_detector.sidecar import sidecar
from stage1_detector.ultralytics_engine import yolo
from submission import build, check
from submission.judge_machine import Machine, judge_python
from submission.sandbox import execute

IDS = [3, 7, 40]
CONFIGS: dict[str, Config] = {
    "yolo": DetectorConfig(size=128),
    "rcnn": replace(SMALL, head="v2", neck="resfpn"),
    "retinanet": replace(SMALL, family="retinanet", head="freeanchor"),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An ensemble of networks of random weights, of each family one that forms boxes, the RetinaNet one that names them too."""
    root = tmp_path_factory.mktemp("runs")
    members = []
    for family, config in CONFIGS.items():
        aware = family == "retinanet"
        names = [str(i) for i in IDS] if aware else ["product"]
        net = yolo.build("yolov8n.yaml", names).eval() if family == "yolo" else decided(built(config, names))
        described = sidecar(config, IDS if aware else None, {"train": (), "valid": ()})
        (root / family).mkdir()
        network = families.FAMILIES[family].for_export(net, config)
        export_detector(network, root / family / "model.onnx", described, ())
        view = {"size": 128, "shape": "rectangle"}
        views = [view, view | {"flip": True}]
        members.append({"file": f"{family}/model.onnx", "evidence_weight": float(aware), "views": views})
    (root / "ensemble.json").write_text(json.dumps({"categories": IDS, "detectors": members, "gate": {"policy": "detector"}}))
    return root


@pytest.mark.slow
@pytest.mark.parametrize("join", [False, True], ids=["a file each", "one graph"])
def test_a_zip_of_every_family_passes_the_check_and_the_sandbox(runs: Path, tmp_path: Path, join: bool) -> None:
    build.build(runs, tmp_path / "a.zip", join)
    assert check.check(tmp_path / "a.zip") == []
    (tmp_path / "photos").mkdir()
    rng = np.random.default_rng(0)
    for i, size in enumerate([(90, 120), (120, 70), (64, 64)], 1):
        Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8)).save(tmp_path / "photos" / f"img_{i:05d}.jpg")
    outcome = execute(tmp_path / "a.zip", tmp_path / "photos", tmp_path / "out.json", Machine(judge_python()))
    assert outcome.problems == [], outcome.log
    rows = json.loads((tmp_path / "out.json").read_text())
    assert {row["image_id"] for row in rows} == {1, 2, 3} and {row["category_id"] for row in rows} <= set(IDS)


@pytest.mark.slow
def test_a_class_map_that_does_not_fit_the_graph_is_found(runs: Path, tmp_path: Path) -> None:
    side = json.loads((runs / "retinanet" / "model.json").read_text())
    (runs / "retinanet" / "model.json").write_text(json.dumps(side | {"categories": IDS[:2]}))
    try:
        with pytest.raises(build.Refused, match=r"retinanet\.onnx: puts out 3 classes, its sidecar lists 2"):
            build.build(runs, tmp_path / "a.zip")
    finally:
        (runs / "retinanet" / "model.json").write_text(json.dumps(side))

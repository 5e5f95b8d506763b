"""A detector's graph that hands back its best candidates alone: the same detections, and a word where it kept some back."""

from pathlib import Path

import numpy as np
import pytest
import torch

from fusion.decode import run_detector
from fusion.ensemble import Member
from fusion.models import Model
from stage1_detector import export
from stage1_detector.best_boxes import PER_DETECTION

SIDE = {"task": "detector", "family": "yolo", "categories": [7, 8, 9], "size": 256, "mean": [0.5] * 3, "std": [0.25] * 3}
ANCHORS = 32 * 32


class Cells(torch.nn.Module):
    """A box and three class scores for each cell of 8 x 8 pixels, as its colours say."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        cells = torch.nn.functional.avg_pool2d(images, 8)  # (B, 3, H / 8, W / 8)
        height, width = cells.shape[2:]
        y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        centres = torch.stack([x, y]).float()[None].expand(len(images), -1, -1, -1) * 8 + 4
        boxes = torch.cat([centres, torch.full_like(centres, 10.0)], 1)
        return torch.cat([boxes, torch.sigmoid(cells * 4)], 1).flatten(2)  # (B, 7, A)


@pytest.fixture
def photo() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (256, 256, 3)).astype(np.uint8)


def detector(folder: Path, max_det: int, whole: bool = False) -> Model:
    """The network exported, with so many detections for a photo; `whole`: as before there were best candidates."""
    if whole:
        path = folder / "whole.onnx"
        axes = {"images": {0: "batch", 2: "height", 3: "width"}, "predictions": {0: "batch", 2: "anchors"}}
        export.to_onnx(Cells(), torch.zeros(1, 3, 320, 256), path, axes, SIDE["mean"], SIDE["std"])
        export.write_sidecar(path, SIDE)
        return Model(path)
    export.export_detector(Cells(), folder / "m.onnx", SIDE | {"max_det": max_det}, ())
    return Model(folder / "m.onnx")


@pytest.mark.parametrize("max_det", [60, 300])
def test_the_detections_are_those_of_the_whole_output(max_det: int, photo: np.ndarray, tmp_path: Path) -> None:
    small, whole = detector(tmp_path, max_det), detector(tmp_path, max_det, whole=True)
    member = Member(file="m.onnx", views=[{"size": 256}], max_det=max_det)
    (few,), (all_,) = run_detector(small, member, photo), run_detector(whole, member, photo)
    assert np.abs(few.boxes - all_.boxes).max() < 1e-3 and np.abs(few.scores - all_.scores).max() < 1e-5
    assert few.evidence is not None and all_.evidence is not None
    assert np.array_equal(few.labels, all_.labels) and np.abs(few.evidence - all_.evidence).max() < 1e-5
    assert small(photo[None]).shape[2] == min(ANCHORS, PER_DETECTION * max_det) and whole(photo[None]).shape[2] == ANCHORS


@pytest.mark.parametrize(
    ("kept", "conf", "told"),
    [
        pytest.param(300, 0.001, 1, id="50 of 1024 candidates, all of which count"),
        pytest.param(20, 0.001, 0, id="as many boxes are left as are wanted"),
        pytest.param(300, 0.999, 0, id="the last of the 50 does not count"),
    ],
)
def test_a_list_whose_last_candidate_counts_is_counted(
    kept: int, conf: float, told: int, photo: np.ndarray, tmp_path: Path
) -> None:
    model = detector(tmp_path, 5)
    run_detector(model, Member(file="m.onnx", views=[{"size": 256}], conf=conf, max_det=kept), photo)
    assert model.full_answers == told

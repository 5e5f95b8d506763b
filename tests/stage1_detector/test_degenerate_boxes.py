"""Boxes that are very thin, tiny, whole or of no area: in every family of our own loop the losses stay finite."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from small_photos import photo
from tiny_nets import CONFIGS, network
from torchvision_nets import SMALL, built, noise
from training_jobs import job_of

from stage1_detector.distillation.config import StudentConfig
from stage1_detector.distillation.student import Student
from stage1_detector.distillation.teacher import Teacher
from stage1_detector.torch_engine import loop
from stage1_detector.torch_engine.canvases import IMAGENET_FORMAT, Canvases, EpochBatches, load_batches
from stage1_detector.ultralytics_engine.callbacks import TrainingCallbacks

PLAIN = replace(SMALL, size=64, batch=1, epochs=1, hsv_p=0.0, affine_p=0.0, device="cpu")
STUDENT = StudentConfig(
    family="yolo", model="yolov8n.yaml", size=64, queries=20, decoder_layers=1, floor=0.0, teacher_warmup=0.0, match="index",
    device="cpu",
)  # fmt: skip
RTDETR = replace(STUDENT, family="rtdetr", model="yolov8n-rtdetr.yaml", match="cost")
BOXES = {
    "thin": [[0, 20, 60, 20.02]],
    "of no height": [[0, 20, 60, 20]],
    "a point": [[5, 5, 5, 5]],
    "too narrow for float32": [[59, 5, 59 + 1e-9, 30]],
    "2 px high": [[0, 20, 60, 22]],
    "the whole photo": [[0, 0, 60, 40]],
    "twice the same": [[5, 5, 50, 35]] * 2,
    "thin among others": [[0, 20, 60, 20.02], [5, 5, 30, 35], [30, 5, 55, 35]],
}


def student(config: StudentConfig) -> Student:
    return Student(config, ["product"], 20, Teacher(network("retinanet", ["product"]), CONFIGS["retinanet"], None), 0)


NETS: dict[str, Callable[[], Any]] = {
    "rcnn v1": partial(built, SMALL, ["product"]),
    "rcnn v2": partial(built, replace(SMALL, head="v2"), ["product"]),
    **{
        f"retinanet {head}": partial(built, replace(SMALL, family="retinanet", head=head), ["product"])
        for head in ("plain", "freeanchor", "pisa")
    },
    "conditional_detr": partial(network, "conditional_detr", ["product"]),
    "yolo, a student": partial(student, STUDENT),
    "rtdetr, a student": partial(student, RTDETR),
}


@pytest.mark.parametrize("name", NETS)
def test_losses_and_gradients_are_finite(tmp_path: Path, name: str) -> None:
    photos = tuple(noise(photo(tmp_path, i, boxes)) for i, boxes in enumerate(BOXES.values()))
    photos = tuple(replace(one, labels=np.zeros(len(one.boxes), np.int64)) for one in photos)
    dataset = EpochBatches(Canvases(photos, (), PLAIN, True), [[i] for i in range(len(photos))], 0, True)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = NETS[name]().train()
        for (images, targets), case in zip(load_batches(dataset, torch.device("cpu"), 0), BOXES, strict=True):
            net.zero_grad()
            losses = net.losses(images.repeat(2, 1, 1, 1), targets * 2)  # batch norm wants more than one value
            assert all(torch.isfinite(loss) for loss in losses.values()), case
            sum(losses.values()).backward()
            assert all(p.grad is None or torch.isfinite(p.grad).all() for p in net.parameters()), case


class Broken(torch.nn.Module):
    """A learner whose loss is no number where a photo has two boxes."""

    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor, self.description = torch.nn.Linear(1, 1), {}

    def losses(self, images: torch.Tensor, targets: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        value = float("nan") if any(len(target["boxes"]) == 2 for target in targets) else 1.0
        return {"loss": value * self.feature_extractor.weight.sum() ** 0}


def test_a_loss_that_is_no_number_names_its_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "load_batches", partial(load_batches, workers=0))
    photos = tuple(photo(tmp_path, i, [[4, 4, 60, 40]] * (2 if i == 3 else 1)) for i in range(5))
    spec = loop.NetworkSpec(lambda *_: Broken(), IMAGENET_FORMAT)
    message = r"got nan, must be finite; lower --lr \(now .*\), or mend the boxes of this batch: img_00003.jpg$"
    with pytest.raises(FloatingPointError, match=message):
        loop.fit(job_of(PLAIN, {"train": photos, "valid": photos[:1]}, tmp_path / "run"), spec)


def test_ultralytics_names_the_users_photos(tmp_path: Path) -> None:
    user, link = tmp_path / "shelf 7.jpg", tmp_path / "00000007.jpg"
    user.touch()
    link.symlink_to(user)
    trainer = SimpleNamespace(loss=torch.tensor(float("nan")), epoch=2, args=SimpleNamespace(lr0=0.1), batch_files=(str(link),))
    with pytest.raises(FloatingPointError, match=r"loss of epoch 3: got nan, .* or mend the boxes of this batch: shelf 7.jpg$"):
        TrainingCallbacks(tmp_path, lambda _: None)._end_batch(trainer)

"""Under autocast ultralytics' anchors, boxes and losses are float32's: bf16 would have them pixels off beyond 1024 px."""

import io
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_nets import CONFIGS, network
from tiny_students import RTDETR, YOLO
from torchvision_nets import photos_of
from ultralytics.cfg import get_cfg
from ultralytics.nn.modules import RTDETRDecoder
from ultralytics.utils import loss as ultralytics_loss

from stage1_detector.distillation.config import StudentConfig
from stage1_detector.distillation.student import Student
from stage1_detector.distillation.teacher import Teacher
from stage1_detector.torch_engine.canvases import IMAGENET_FORMAT
from stage1_detector.ultralytics_engine import float32_boxes, rtdetr, yolo
from stage1_detector.ultralytics_engine.detection_trainer import TrainerOptions, trainer_class

HIGH, WIDE = 64, 1280
MODELS = ("yolov8n.yaml", "yolo26n.yaml", "yolov8n-rtdetr.yaml")
HALF = torch.bfloat16
Anchors = list[tuple[torch.Tensor, ...]]


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> Iterator[Anchors]:
    """The anchors that are laid, in the order of their making."""
    made: Anchors = []
    of_yolo, of_rtdetr = ultralytics_loss.make_anchors, RTDETRDecoder._generate_anchors

    def kept(anchors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        made.append(anchors)
        return anchors

    monkeypatch.setattr(ultralytics_loss, "make_anchors", lambda *given: kept(of_yolo(*given)))
    monkeypatch.setattr(RTDETRDecoder, "_generate_anchors", staticmethod(lambda *given: kept(of_rtdetr(*given))))
    yield made


def built(model: str) -> Any:
    """A network as a trainer has it, the same each time."""
    family = "rtdetr" if "rtdetr" in model else "yolo"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made: Any = yolo.build(rtdetr.with_queries(model, 30, 2) if family == "rtdetr" else model, ["product"], family)
    made.args, made.nc = get_cfg(), 1
    return made.train()


def trainer(net: Any, folder: Path) -> Any:
    """The family's trainer of `net`, of which only what readies a batch is there."""
    family = "rtdetr" if isinstance(net.model[-1], RTDETRDecoder) else "yolo"
    options = TrainerOptions({"train": folder, "valid": folder}, ["product"], 30, 0, None)
    kind: Any = trainer_class(family, options)
    made = object.__new__(kind)
    made.model, made.device, made.args = net, torch.device("cpu"), SimpleNamespace(multi_scale=0.0)
    return made


def batch() -> dict[str, Any]:
    """Two photos with a product each beyond 1024 px, as ultralytics loads them."""
    draw = torch.Generator().manual_seed(1)
    return {
        "img": torch.randint(0, 256, (2, 3, HIGH, WIDE), generator=draw, dtype=torch.uint8), "im_file": ("a.jpg", "b.jpg"),
        "cls": torch.zeros(2, 1), "bboxes": torch.tensor([[0.86, 0.5, 0.03, 0.6], [0.92, 0.4, 0.05, 0.5]]),
        "batch_idx": torch.tensor([0.0, 1.0]),
    }  # fmt: skip


def assert_exact(laid: Anchors, wanted: Anchors) -> None:
    assert len(laid) == len(wanted) > 0
    for anchors, exact in zip(laid, wanted, strict=True):
        assert anchors[0].dtype == torch.float32
        assert all(torch.equal(a, b) for a, b in zip(anchors, exact, strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_a_trainers_anchors_are_exact_in_half_precision(tmp_path: Path, laid: Anchors, model: str) -> None:
    plain = built(model)
    plain.loss(trainer(plain, tmp_path).preprocess_batch(batch()))
    wanted = laid[:]
    laid.clear()
    net = built(model)
    with torch.autocast("cpu", HALF):
        net.loss(trainer(net, tmp_path).preprocess_batch(batch()))
    assert_exact(laid, wanted)


@pytest.mark.parametrize("config", [YOLO, replace(YOLO, model="yolo26n.yaml"), RTDETR], ids=["yolo", "yolo26", "rtdetr"])
def test_a_students_anchors_are_exact_in_half_precision(laid: Anchors, config: StudentConfig) -> None:
    told = [{"boxes": torch.tensor([[1100.0, 10, 1140, 50]]), "labels": torch.tensor([0])}] * 2
    seen = []
    for half in (False, True):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            one = Student(config, ["product"], 20, None, 0)
        laid.clear()
        with torch.autocast("cpu", HALF, enabled=half):
            one.train().losses(photos_of(2, HIGH, WIDE), told)
        seen.append(laid[:])
    assert_exact(seen[1], seen[0])


@pytest.mark.parametrize("model", MODELS)
def test_the_loss_in_half_precision_is_that_of_the_same_outputs_in_float32(tmp_path: Path, model: str) -> None:
    net = built(model)
    given = trainer(net, tmp_path).preprocess_batch(batch())
    with torch.autocast("cpu", HALF):
        outputs = net.predict(given["img"])
        loss, items = net.loss(given, outputs)
    exact, exact_items = net.loss(given, in_float32(outputs))
    torch.testing.assert_close(loss, exact, rtol=1e-5, atol=1e-5)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(items, exact_items, rtol=1e-5, atol=1e-5)


def in_float32(outputs: Any) -> Any:
    """All tensors of `outputs` in float32."""
    if isinstance(outputs, torch.Tensor):
        return outputs.float()
    if isinstance(outputs, dict):
        return {name: in_float32(value) for name, value in outputs.items()}
    return type(outputs)(in_float32(value) for value in outputs) if isinstance(outputs, list | tuple) else outputs


def test_an_rtdetrs_boxes_are_not_rounded_to_bf16(tmp_path: Path) -> None:
    net = built("yolov8n-rtdetr.yaml")
    given = trainer(net, tmp_path).preprocess_batch(batch())
    with torch.autocast("cpu", HALF):
        boxes, _, first, _, _ = net.predict(given["img"])
    for one in (boxes, first):
        assert one.dtype == torch.float32 and (one != one.to(HALF)).float().mean() > 0.5


@pytest.mark.parametrize("model", MODELS)
def test_a_checkpoint_needs_none_of_our_code(tmp_path: Path, model: str) -> None:
    """ultralytics pickles a copy of the network, without its losses."""
    net = built(model)
    net.loss(trainer(net, tmp_path).preprocess_batch(batch()))
    saved, written = deepcopy(net), io.BytesIO()
    saved.criterion = None
    torch.save(saved, written)
    assert b"stage1_detector" not in written.getvalue()


@pytest.mark.parametrize("family", CONFIGS)
def test_a_teachers_boxes_are_not_rounded_to_bf16(family: str) -> None:
    one = Teacher(network(family, ["a", "b"]), CONFIGS[family], [0, 1])
    with torch.autocast("cpu", HALF):
        boxes = one(photos_of(1, HIGH, WIDE), IMAGENET_FORMAT).boxes
    assert boxes.dtype == torch.float32
    for values in (
        boxes,
        boxes * torch.tensor([WIDE, HIGH, WIDE, HIGH]),
    ):  # in fractions and in pixels, of which a family may round either
        off = (values - values.to(HALF)).abs() / values.abs().clamp(min=1e-3)
        assert (off > 1e-4).any(-1).float().mean() > 0.1


def test_maps_are_not_copied_to_give_anchors_their_type() -> None:
    maps = [torch.zeros(2, 64, 8, 160, dtype=HALF)]
    cast = float32_boxes.float32_outputs({"boxes": maps[0], "scores": maps[0], "feats": maps})["feats"][0]
    assert cast.shape == maps[0].shape and cast.dtype == torch.float32 and cast.untyped_storage().nbytes() == 4

"""A student: ultralytics' own losses, and the teacher's beside them; saved, copied."""

import math
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_photos import photo
from tiny_nets import CONFIGS, network
from tiny_students import RTDETR, YOLO
from torchvision_nets import photos_of

from runs.checkpoint import write
from runs.distributed import Distributed
from stage1_detector.distillation import student
from stage1_detector.distillation.config import MATCHES, StudentConfig
from stage1_detector.distillation.student import Student
from stage1_detector.distillation.teacher import Teacher
from stage1_detector.ultralytics_engine import yolo

YOLO26 = replace(YOLO, model="yolo26n.yaml")  # without NMS: it has two losses
FAMILIES = pytest.mark.parametrize("config", [YOLO, RTDETR], ids=["yolo", "rtdetr"])
MODES = pytest.mark.parametrize("training", [True, False], ids=["training", "judging"])
Targets = list[dict[str, torch.Tensor]]


def taught(family: str = "retinanet", names: tuple[str, ...] = ("a", "b")) -> Teacher:
    return Teacher(network(family, list(names)), CONFIGS[family], list(range(len(names))))


def built(config: StudentConfig, one: Teacher | None = None, names: tuple[str, ...] = ("a", "b"), warmup: int = 0) -> Student:
    """The same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Student(config, list(names), config.queries, one, warmup)


def targets(*counts: int, classes: int = 2) -> Targets:
    """So many boxes in each 64 x 64 photo."""
    draw, made = torch.Generator().manual_seed(5), []
    for n in counts:
        corner, side = torch.rand(n, 2, generator=draw) * 40, 6 + torch.rand(n, 2, generator=draw) * 16
        made.append({"boxes": torch.cat([corner, corner + side], 1), "labels": torch.arange(n) % classes})
    return made


def as_ultralytics_has_it(images: torch.Tensor, told: Targets) -> dict[str, torch.Tensor]:
    """The batch in its words."""
    boxes, batch = [], []
    for i, one in enumerate(told):
        x0, y0, x1, y1 = one["boxes"].T
        boxes.append(torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1) / 64)
        batch += [float(i)] * len(one["boxes"])
    labels = torch.cat([one["labels"] for one in told])[:, None].float()
    return {"img": images, "cls": labels, "bboxes": torch.cat(boxes), "batch_idx": torch.tensor(batch)}


# --- its own losses


@pytest.mark.parametrize("config", [YOLO, YOLO26, RTDETR], ids=["yolo", "yolo26", "rtdetr"])
@MODES
@pytest.mark.parametrize("counts", [(3, 5), (0, 4), (0, 0)], ids=["some", "one empty", "none"])
def test_without_a_teacher_the_losses_are_ultralytics_own(config: StudentConfig, training: bool, counts: tuple) -> None:
    """A YOLO's is a mean over photos there, times their number."""
    one, images, told = built(config).train(training), photos_of(2, 64, 64), targets(*counts)
    plain = yolo.build(one.network.yaml, ["a", "b"], config.family).train(training)
    plain.load_state_dict(one.network.state_dict())
    plain.args, plain.nc = one.network.args, 2
    torch.manual_seed(3)
    ours = one.losses(images, told)
    torch.manual_seed(3)
    theirs, _ = plain.loss(as_ultralytics_has_it(images, told))
    wanted = float(theirs.detach().sum()) / (len(images) if config.family == "yolo" else 1)
    assert set(ours) == {"detection"} and float(ours["detection"].detach()) == pytest.approx(wanted, rel=1e-5)


class Twice(Distributed):
    """Two processes that have the same photos."""

    def all_reduce_sums(self, values: dict[str, float]) -> dict[str, float]:
        return {name: 2 * value for name, value in values.items()}


@pytest.mark.parametrize("config", [YOLO, YOLO26], ids=["yolo", "yolo26"])
def test_of_two_processes_with_the_same_photos_each_has_half_the_loss(config: StudentConfig) -> None:
    """So many boxes that what is assigned weighs more than 1, the least divisor."""
    one, images, told = built(config), photos_of(2, 64, 64), targets(30, 40)
    whole = float(one.losses(images.repeat(2, 1, 1, 1), told * 2)["detection"].detach())
    one.distributed = Twice(0, 2)
    assert float(one.losses(images, told)["detection"].detach()) == pytest.approx(whole / 2, rel=1e-4)


@pytest.mark.parametrize("model", ["yolov8n.yaml", "yolov10n.yaml", "yolo26n.yaml", "yolov8n-rtdetr.yaml"])
def test_what_is_held_against_the_teachers_is_what_is_judged(model: str) -> None:
    """Also of a YOLO that needs no NMS, which would have its boxes as corners."""
    config = replace(RTDETR if "rtdetr" in model else YOLO, model=model)
    one, images = built(config).eval(), photos_of(2, 64, 64)
    boxes, labels = [torch.zeros(0, 4)] * 2, [torch.zeros(0, dtype=torch.long)] * 2
    with torch.no_grad():
        _, (found, logits) = student.DETECTION_LOSSES[config.family](one, images, boxes, labels)
        dense = yolo.for_export(deepcopy(one.network), config)(images)
    raw = dense.permute(0, 2, 1)  # (B, A, 4 + C)
    torch.testing.assert_close(found * 64, raw[..., :4], atol=1e-3, rtol=0)
    torch.testing.assert_close(logits.sigmoid(), raw[..., 4:])
    with torch.no_grad():
        _, (found, logits) = student.DETECTION_LOSSES[config.family](one.train(), images, boxes, labels)
    assert found.shape == (2, raw.shape[1], 4) and logits.shape == (2, raw.shape[1], 2)


# --- the teacher's


@FAMILIES
@MODES
@pytest.mark.parametrize("match", MATCHES)
def test_with_a_teacher_there_are_three_terms_more(config: StudentConfig, training: bool, match: str) -> None:
    one = built(replace(config, match=match), taught()).train(training)
    losses = one.losses(photos_of(2, 64, 64), targets(3, 0))
    assert set(losses) == {"detection", "feature", "class", "box"}
    assert all(torch.isfinite(value) and value > 0 for value in losses.values())


@FAMILIES
@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("family", CONFIGS)
@pytest.mark.slow
def test_every_family_teaches_one_class_or_three(config: StudentConfig, family: str, classes: int) -> None:
    names = tuple("abc"[:classes])
    one = built(config, taught(family, names), names)
    losses = one.losses(photos_of(2, 64, 64), targets(2, 1, classes=classes))
    sum(losses.values()).backward()
    assert losses["feature"] > 0 and losses["class"] > 0 and losses["box"] > 0
    assert all(adapter.weight.grad.abs().sum() > 0 for adapter in one.adapters) and len(one.adapters) == 3
    assert not any(p.requires_grad or p.grad is not None for p in one.teacher.net.parameters())


def test_a_weight_of_zero_is_a_term_less() -> None:
    for name in ("feature", "class", "box"):
        one = built(replace(RTDETR, **{f"{name}_weight": 0.0}), taught())
        assert name not in one.losses(photos_of(1, 64, 64), targets(2))
        assert len(one.adapters) == (0 if name == "feature" else 3)
    silent = built(replace(RTDETR, feature_weight=0.0, class_weight=0.0, box_weight=0.0), taught())
    assert set(silent.losses(photos_of(1, 64, 64), targets(2))) == {"detection"}


def test_weights_weigh() -> None:
    def losses(**weights: float) -> dict[str, torch.Tensor]:
        torch.manual_seed(1)
        return built(replace(RTDETR, **weights), taught()).losses(photos_of(2, 64, 64), targets(3, 1))

    plain, other = losses(), losses(feature_weight=2.0, class_weight=3.0, box_weight=0.5)
    for name, factor in {"detection": 1.0, "feature": 2.0, "class": 3.0, "box": 0.5}.items():
        assert float(other[name].detach()) == pytest.approx(factor * float(plain[name].detach()), rel=1e-5), name


def test_the_terms_grow_from_nothing_to_their_weights_over_the_warm_up() -> None:
    one, seen = built(YOLO, taught(), warmup=4).train(), []
    for part in one.network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0  # nothing else changes from one batch to the next
    for _ in range(6):
        one.eval().losses(photos_of(2, 64, 64), targets(2, 1))  # a look at valid is no step
        seen.append(float(one.train().losses(photos_of(2, 64, 64), targets(2, 1))["feature"].detach()))
    assert seen == pytest.approx([seen[-1] * share for share in (0, 0.25, 0.5, 0.75, 1, 1)], rel=1e-5) and seen[-1] > 0


def test_smaller_batches_do_not_shorten_the_warm_up() -> None:
    one = built(replace(YOLO, batch=4), taught(), warmup=4).train()
    for part in one.network.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 0.0
    one.batch, seen = 2, []  # as the loop sets it where memory runs out
    for _ in range(10):
        seen.append(float(one.losses(photos_of(2, 64, 64), targets(2, 1))["feature"].detach()))
    assert seen == pytest.approx([seen[-1] * share for share in (0, 0, 0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 1, 1)], rel=1e-5)


def test_the_warm_up_is_counted_in_batches_of_an_epoch(tmp_path: Path) -> None:
    shown = tuple(photo(tmp_path, i, [[0, 0, 9, 9]]) for i in range(5))
    with torch.random.fork_rng(devices=[]):
        assert student.build(replace(YOLO, teacher_warmup=2.0), shown, ["a"]).warmup == 2 * 3
        assert student.build(replace(RTDETR, queries=0), shown, ["a"]).network.model[-1].num_queries == 300


def test_predictions_are_those_of_the_last_layer_without_denoising() -> None:
    truth = targets(2, 1)
    boxes, labels = [one["boxes"] / 64 for one in truth], [one["labels"] for one in truth]
    _, (found, logits) = student.DETECTION_LOSSES["rtdetr"](built(RTDETR).train(), photos_of(2, 64, 64), boxes, labels)
    assert found.shape == (2, 20, 4) and logits.shape == (2, 20, 2)


# --- copies and files


@FAMILIES
def test_a_copy_after_a_step_sees_with_maps_of_its_own(config: StudentConfig) -> None:
    one = built(config, taught()).train()
    sum(one.losses(photos_of(2, 64, 64), targets(2, 1)).values()).backward()
    copied = deepcopy(one)
    assert copied.teacher is one.teacher and copied.maps is not one.maps
    copied.network.eval()(photos_of(1, 64, 64))
    assert len(copied.maps) == 3 and not one.maps
    copied.maps.clear()
    judged = one.inference_network.eval()
    judged(photos_of(1, 64, 64))
    assert not one.maps and not copied.maps


@pytest.mark.slow
@FAMILIES
@pytest.mark.parametrize("names", [("product",), ("a", "b", "c")], ids=["class-agnostic", "three classes"])
def test_its_file_is_plain_tensors_and_gives_the_trained_network(tmp_path: Path, config: StudentConfig, names: tuple) -> None:
    one = built(config, taught("retinanet", names), names)
    step = torch.optim.SGD(one.parameters(), 0.01)
    sum(one.losses(photos_of(2, 64, 64), targets(2, 1, classes=len(names))).values()).backward()
    step.step()
    write(tmp_path / "last.pt", one.description | {"network": one.inference_network.state_dict()})
    told = torch.load(tmp_path / "last.pt", weights_only=True)
    assert told["names"] == list(names) and told["config"]["family"] == config.family
    raw, folded = yolo.load_raw(tmp_path / "last.pt"), yolo.load(tmp_path / "last.pt")
    images = photos_of(2, 64, 64)
    with torch.no_grad():
        wanted = yolo.for_export(one.inference_network.eval(), config)(images)
        assert torch.equal(yolo.for_export(raw, config)(images), wanted)
        torch.testing.assert_close(yolo.for_export(folded, config)(images), wanted, atol=2e-3, rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"family": "rcnn"}, "--family: got 'rcnn', allowed: yolo, rtdetr", id="another engine"),
        pytest.param({"match": "luck"}, "--match: got 'luck', allowed: index, cost", id="match"),
        pytest.param({"floor": 1.5}, "--floor: got 1.5, allowed 0.0 to 1.0", id="floor"),
        pytest.param({"class_weight": -1.0}, "--class-weight: got -1.0, allowed", id="weight"),
        pytest.param({"feature_weight": math.nan}, "--feature-weight: got nan, allowed", id="no number"),
    ],
)
def test_settings_are_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(RTDETR, **values)

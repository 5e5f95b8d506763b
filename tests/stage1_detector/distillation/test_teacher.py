"""A teacher of any family knows what its export would say, in the student's words, and stays as it is."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tiny_nets import CONFIGS, network, run_of
from torchvision.ops import box_convert
from torchvision_nets import photos_of

from fusion.decode import decode
from stage1_detector.distillation import teacher
from stage1_detector.distillation.teacher import Teacher
from stage1_detector.families import FAMILIES
from stage1_detector.nets import conditional_detr
from stage1_detector.torch_engine.canvases import IMAGENET_FORMAT, InputFormat

PLAIN = InputFormat("stretch", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
STRIDES = {"yolo": [8, 16, 32], "rtdetr": [8, 16, 32], "conditional_detr": [32], "rcnn": [4, 8, 16, 32, 64]}
STRIDES["retinanet"] = [8, 16, 32, 64, 128]


@pytest.fixture(scope="module")
def teachers() -> Callable[[str], tuple[torch.nn.Module, Teacher]]:
    """For each family a network, and a teacher of its twin."""
    made: dict[str, tuple[torch.nn.Module, Teacher]] = {}

    def of(family: str) -> tuple[torch.nn.Module, Teacher]:
        if family not in made:
            made[family] = network(family, ["a", "b"]), Teacher(network(family, ["a", "b"]), CONFIGS[family], [0, 1])
        return made[family]

    return of


@pytest.mark.parametrize("family", CONFIGS)
def test_it_knows_what_fusion_reads_of_the_export(teachers: Callable, family: str) -> None:
    """Photos of 96 x 96, as each family's own normalisation has them; the student sees them as they are."""
    net, one = teachers(family)
    images = photos_of(2, 96, 96)
    kind, config = FAMILIES[family], CONFIGS[family]
    known = one(images, PLAIN)
    mean, std = (torch.tensor(value)[:, None, None] for value in kind.input_format.of(config).normalisation)
    with torch.no_grad():
        raw = kind.for_export(deepcopy(net), config)((images - mean) / std).numpy()
    for photo in range(2):
        found = decode(kind.layout or family, raw[photo], 0.0, agnostic=False)
        sure = known.probs[photo].amax(1) > 0
        boxes = box_convert(known.boxes[photo][sure], "cxcywh", "xyxy") * 96
        np.testing.assert_allclose(boxes, found.boxes, atol=2e-3)
        np.testing.assert_allclose(known.probs[photo][sure], found.evidence, atol=1e-5)
        assert len(found) > 5
    assert found.boxes.max() > 2  # pixels there


@pytest.mark.parametrize("family", CONFIGS)
def test_its_maps_are_those_of_its_strides(teachers: Callable, family: str) -> None:
    """Not a square: height and width are not mixed up."""
    high, wide = (96, 96) if family == "rtdetr" else (96, 128)
    known = teachers(family)[1](photos_of(1, high, wide), IMAGENET_FORMAT)
    assert [tuple(one.shape[2:]) for one in known.maps] == [(-(-high // s), -(-wide // s)) for s in STRIDES[family]]
    assert all(one.shape[0] == 1 and one.shape[1] >= 16 and torch.isfinite(one).all() for one in known.maps)
    assert known.boxes.shape == (1, known.probs.shape[1], 4) and known.probs.shape[2] == 2
    assert known.probs.min() >= 0 and known.probs.max() <= 1


@pytest.mark.parametrize("family", CONFIGS)
def test_however_the_student_sees_the_photos_it_sees_its_own(teachers: Callable, family: str) -> None:
    one, images = teachers(family)[1], photos_of(1, 96, 96)
    mean, std = (torch.tensor(value)[:, None, None] for value in (IMAGENET_FORMAT.mean, IMAGENET_FORMAT.std))
    plain, other = one(images, PLAIN), one((images - mean) / std, IMAGENET_FORMAT)
    torch.testing.assert_close(plain.boxes, other.boxes, atol=1e-3, rtol=0)
    torch.testing.assert_close(plain.probs, other.probs, atol=1e-3, rtol=0)


@pytest.mark.parametrize("family", CONFIGS)
def test_it_is_held_still(teachers: Callable, family: str) -> None:
    one = teachers(family)[1]
    before = {name: value.clone() for name, value in one.net.state_dict().items()}
    with torch.enable_grad():
        known = one(photos_of(1, 96, 96).requires_grad_(), PLAIN)
    assert not any(value.requires_grad for value in (known.boxes, known.probs, *known.maps))
    assert not any(value.requires_grad for value in one.net.parameters()) and not one.net.training
    assert all(torch.equal(value, one.net.state_dict()[name]) for name, value in before.items())


def test_it_is_no_part_of_a_module_that_holds_it(teachers: Callable) -> None:
    one, holder = teachers("rcnn")[1], torch.nn.Linear(1, 1)
    holder.teacher = one
    assert set(holder.state_dict()) == {"weight", "bias"} and deepcopy(holder).teacher is one
    assert len(list(holder.parameters())) == 2


# --- runs


@pytest.mark.parametrize(("categories", "classes"), [(None, 1), ([4, 5, 9], 3)], ids=["class-agnostic", "three classes"])
def test_a_finished_run_is_a_teacher(tmp_path: Path, categories: list[int] | None, classes: int) -> None:
    one = teacher.load(run_of(tmp_path, categories))
    assert (one.family, one.categories) == ("conditional_detr", categories)
    assert one(photos_of(1, 96, 96), IMAGENET_FORMAT).probs.shape == (1, 20, classes)
    teacher.refuse_other_classes(one, tmp_path, categories)
    with pytest.raises(ValueError, match=rf"--teacher: .* knows {classes} classes, the student is to know 7; train it with"):
        teacher.refuse_other_classes(one, tmp_path, list(range(7)))
    with pytest.raises(ValueError, match=rf"knows {classes} classes, the student is to know {classes} others; train it"):
        teacher.refuse_other_classes(one, tmp_path, list(range(classes)))


def test_what_is_no_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--teacher: got .*, must be a finished run \(with run.json\)"):
        teacher.load(tmp_path)


def test_a_file_of_weights_is_a_teacher_of_as_many_classes_as_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the paper's network; here of a small one in its place."""
    small = partial(replace, CONFIGS["conditional_detr"])
    monkeypatch.setattr(conditional_detr, "TransformerConfig", small)
    net = network("conditional_detr", ["a", "b", "c"])
    save_file(net.net.state_dict(), tmp_path / "weights.safetensors")
    one = teacher.load(tmp_path / "weights.safetensors")
    expected, seen = net.predictions(photos_of(1, 64, 64)), one(photos_of(1, 64, 64), IMAGENET_FORMAT)
    torch.testing.assert_close(seen.boxes, expected[1])
    teacher.refuse_other_classes(one, tmp_path / "weights.safetensors", [7, 8, 9])
    with pytest.raises(ValueError, match="knows 3 classes, the student is to know 1; train it with --classes one"):
        teacher.refuse_other_classes(one, tmp_path / "weights.safetensors", None)
    save_file({"other": torch.zeros(3)}, tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"--teacher: got .*other.safetensors, must be a finished run, or weights"):
        teacher.load(tmp_path / "other.safetensors")

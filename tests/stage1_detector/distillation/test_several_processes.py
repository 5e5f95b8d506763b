"""A student that several processes train learns what one does from the whole batch, on the processors and threads there are."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from processes import RUNTIMES, Runtime, run_in_processes
from tiny_nets import CONFIGS, network, shaken
from tiny_students import RTDETR, YOLO
from torchvision_nets import crowd
from training_jobs import job_of

from runs import checkpoint
from runs.distributed import SINGLE_PROCESS, Distributed
from stage1_detector import families
from stage1_detector.distillation import student
from stage1_detector.distillation.config import StudentConfig
from stage1_detector.distillation.student import Student
from stage1_detector.distillation.teacher import Teacher
from stage1_detector.torch_engine import loop, training_log

BOX_HEADS = ("enc_bbox_head", "dec_bbox_head")  # an RT-DETR's, in ultralytics' words
Trainings = dict[str, tuple[list[dict[str, float]], dict[str, torch.Tensor]]]  # by case the losses of its steps, the weights

CASES = {  # boxes in each photo of the one batch of an epoch
    "one process sees no box": (0, 3, 6), "three photos and two, one empty": (2, 5, 0, 1, 3), "no box at all": (0, 0),
    "more than are denoised, and than queries": (120, 40, 3),
}  # fmt: skip
# Which of them on which processor: rounding, in which processors differ, decides nothing where there is little to match.
CASES_ON = {
    RUNTIMES[0]: list(CASES),
    RUNTIMES[1]: ["three photos and two, one empty", "more than are denoised, and than queries"],
}


def decided() -> Teacher:
    """One of small boxes anywhere, and scores apart. Among ties it is rounding that matches: a new student's boxes are of one
    size on a grid, and the cost of two in a row is the same whichever has which of two large boxes around them.
    """
    net = shaken(network("conditional_detr", ["product"]))
    last = net.net.bbox_predictor.layers[-1]
    with torch.no_grad():
        net.net.class_labels_classifier.weight.mul_(4)
        last.weight.mul_(20)
        last.bias[2:] -= 2.5
    return Teacher(net, CONFIGS["conditional_detr"], None)


def with_varied_boxes(student: Student) -> Student:
    """The student with random weights where an RT-DETR's boxes come from, which start at zero: then all boxes have one size
    and lie on a grid, many matches cost exactly the same, and rounding chooses one. Boxes of a trained network differ.
    With this seed no other match costs less than 5e-4 more, and no query left out scores within 4e-4 of the last one taken.
    """
    heads = [part for name, part in student.network.model[-1].named_modules() if name.split(".")[0] in BOX_HEADS]
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(6)
        for linear in (part.layers[-1] for part in heads if hasattr(part, "layers")):
            for value in linear.parameters():
                value.add_(0.05 * torch.randn_like(value))
    return student


def trained(distributed: Distributed, folder: Path, config: StudentConfig, cases: list[str]) -> Trainings:
    """For each of `cases` the losses of five steps, one an epoch, and the weights after them.

    Nothing is looked at on valid, written or drawn, which would take most of the time: test_teach's two processes do all that.
    """
    answers, steps, plain_step = {}, [], loop.TrainingLog.step

    def step(log: loop.TrainingLog, losses: dict[str, float], lr: float) -> None:
        steps.append(dict(losses))
        plain_step(log, losses, lr)

    written: dict[str, Any] = {}
    place = folder / f"{config.family} {distributed.world_size}"
    photos = place / f"photos of {distributed.rank}"
    photos.mkdir(parents=True)
    without_workers = patch.object(loop, "load_batches", partial(loop.load_batches, workers=0))
    unwritten = patch.object(checkpoint, "write", lambda path, content: written.update(content))
    with without_workers, unwritten, patch.object(loop.TrainingLog, "step", step), patch.object(training_log, "draw"):
        for case in cases:
            counts, out, teacher = CASES[case], place / case, decided()
            shown = {part: crowd(photos, n, (40, 25), (4, 15)) for part, n in (("train", counts), ("valid", (2, 0)))}
            if distributed.is_main:
                out.mkdir(parents=True)
            distributed.all_gather(None)
            wanted = replace(config, batch=len(counts), epochs=5)

            def build(*given: Any, teacher: Teacher = teacher) -> Student:
                return with_varied_boxes(student.build(*given, teacher=teacher, distributed=distributed))

            spec = loop.NetworkSpec(build, families.FAMILIES[config.family].input_format)
            loop.fit(job_of(wanted, shown, out, distributed=distributed, score=None), spec)
            answers[case] = steps.copy(), written.get("network", {})
            steps.clear()
    return answers


def shared_and_alone(
    distributed: Distributed, folder: Path, configs: list[StudentConfig], cases: list[str]
) -> tuple[list[Trainings], Trainings]:
    """What the processes make of each of `configs`, and what this one then makes alone of the one of its rank.

    One start of processes for all: it takes seconds.
    """
    shared = [trained(distributed, folder, config, cases) for config in configs]
    return shared, trained(SINGLE_PROCESS, folder, configs[distributed.rank], cases)


@pytest.fixture(scope="module")
def by_two_and_by_one(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Runtime], dict[str, list[Trainings]]]:
    """For each family what two processes make of CASES_ON, and one, on the processors and numbers of threads on which they must
    agree: by SGD, as Adam's first steps are of one length however small the gradient is, and make rounding into weights. By
    AdamW: test_teach.
    """
    changed = {"optimizer": "SGD", "lr": 0.05, "clip": 0.1, "ema": 0.9, "affine_p": 0.5, "scale": 0.2, "decoder_layers": 1}
    configs = [replace(config, **changed) for config in (RTDETR, YOLO)]

    @cache  # an indirect parameter beside one of a test has a test's scope: each would train anew
    def on(runtime: Runtime) -> dict[str, list[Trainings]]:
        given = tmp_path_factory.mktemp("processes"), configs, CASES_ON[runtime]
        processes = run_in_processes(shared_and_alone, *given, world_size=2, runtime=runtime, seconds=1200.0)
        two = processes[0][0]
        return {config.family: [two[i], processes[i][1]] for i, config in enumerate(configs)}

    return on


@pytest.mark.slow
@pytest.mark.parametrize("family", ["rtdetr", "yolo"])
@pytest.mark.parametrize(
    ("runtime", "case"),
    [pytest.param(runtime, case, id=f"{runtime}-{case}") for runtime, cases in CASES_ON.items() for case in cases],
)
def test_two_processes_learn_what_one_does(
    by_two_and_by_one: Callable[[Runtime], dict[str, list[Trainings]]], family: str, runtime: Runtime, case: str
) -> None:
    """All terms within 1e-4 in each of five steps: an RT-DETR's denoising, batch norm, features, classes and boxes."""
    (two, shared), (one, alone) = (made[case] for made in by_two_and_by_one(runtime)[family])
    assert len(one) == len(two) == 5 and set(one[0]) == {"detection", "feature", "class", "box"}
    for mine, theirs in zip(one, two, strict=True):
        for name, value in mine.items():
            assert theirs[name] == pytest.approx(value, rel=1e-4, abs=1e-4), name
    for name, value in alone.items():
        torch.testing.assert_close(shared[name].float(), value.float(), atol=5e-4, rtol=1e-3, msg=lambda t, n=name: f"{n}: {t}")

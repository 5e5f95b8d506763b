"""Two processes that share every batch log the losses that one does, for every family of our own loop."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from processes import run_in_processes
from tiny_nets import CONFIGS, shaken
from torchvision_nets import SMALL, crowd, decided
from training_jobs import job_of

from photos.data import Photo
from runs import checkpoint
from runs.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.config import LoopConfig
from stage1_detector.families import FAMILIES
from stage1_detector.nets import conditional_detr, torchvision_net
from stage1_detector.torch_engine import loop, training_log

STEPS = 10
TINY: dict[str, Any] = {
    "size": 64, "batch": 5, "epochs": STEPS, "optimizer": "SGD", "lr": 0.01, "clip": 0.1, "hsv_p": 0.5, "affine_p": 0.5,
}  # fmt: skip
TORCHVISION = replace(SMALL, **TINY, proposals=30, rois=512)  # more than there are: of proposals none is left out by chance
CASES: dict[str, LoopConfig] = {
    "rcnn": TORCHVISION,
    "retinanet": replace(TORCHVISION, family="retinanet", head="plain"),
    "retinanet, freeanchor": replace(TORCHVISION, family="retinanet", head="freeanchor"),
    "retinanet, pisa": replace(TORCHVISION, family="retinanet", head="pisa"),
    "conditional_detr": replace(CONFIGS["conditional_detr"], **TINY),
}
COUNTS = (2, 5, 0, 1, 3)  # boxes of each photo of the one batch of an epoch: three photos and two, one of them empty
StepLosses = list[dict[str, float]]


def build(config: Any, *given: Any) -> Any:
    """The family's network with scores apart: among ties it is rounding that ranks and matches."""
    if config.family == "conditional_detr":
        return shaken(conditional_detr.build(config, *given)).train()
    return decided(torchvision_net.build(config, *given)).train()


def step_losses(distributed: Distributed, photos: tuple[Photo, ...], out: Path) -> list[StepLosses]:
    """For each of CASES the losses of its steps, as the main process logs them; none in another.

    Nothing is looked at on valid, written or drawn: that two processes do as one does, distillation's test_teach says.
    """
    noted: list[StepLosses] = []
    log_step, load_batches = loop.TrainingLog.step, loop.load_batches

    def note(log: Any, losses: dict[str, float], lr: float) -> None:
        noted[-1].append(dict(losses))
        log_step(log, losses, lr)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(loop.TrainingLog, "step", note)
        patched.setattr(loop, "load_batches", lambda dataset, device: load_batches(dataset, device, workers=0))
        patched.setattr(checkpoint, "write", lambda path, content: None)
        patched.setattr(training_log, "draw", lambda log, to: None)
        for number, config in enumerate(CASES.values()):
            noted.append([])
            parts = {"train": photos, "valid": photos[:1]}
            job = job_of(config, parts, out / str(number), names=list("abcde"), distributed=distributed, score=None)
            loop.fit(job, loop.NetworkSpec(build, FAMILIES[config.family].input_format))
    return noted


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[StepLosses], list[list[StepLosses]]]:
    """What one process logs, and what each of two does."""
    folder = tmp_path_factory.mktemp("processes")
    photos, threads = crowd(folder, COUNTS, (40, 20), (8, 20)), torch.get_num_threads()
    torch.set_num_threads(1)
    alone = step_losses(SINGLE_PROCESS, photos, folder / "one")
    torch.set_num_threads(threads)
    return alone, run_in_processes(step_losses, photos, folder / "two")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_log_what_one_does(one_and_two: tuple[list[StepLosses], list[list[StepLosses]]], case: str) -> None:
    number = list(CASES).index(case)
    alone, (first, second) = one_and_two[0][number], (process[number] for process in one_and_two[1])
    assert len(alone) == len(first) == STEPS and not second, "the main process logs"
    for mine, theirs in zip(alone, first, strict=True):
        assert theirs == pytest.approx(mine, rel=1e-4, abs=1e-4)
    assert sum(alone[-1].values()) != pytest.approx(sum(alone[0].values()), rel=1e-3), "it learns"

"""Two processes that share every step's crops learn what one does, also where they go on from a checkpoint."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from processes import run_in_processes
from timm.layers import BatchNormAct2d

from runs.distributed import SINGLE_PROCESS, Distributed
from stage2_classifier import fit as fitting
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.crops import Region
from stage2_classifier.fit import TrainingCrops
from stage2_classifier.heads import make_head
from stage2_classifier.model import Classifier

STEPS = 10
PLAIN = ClassifierConfig(size=24, epochs=STEPS, min_steps=0, batch=7, colour=0.3, lr=0.004, ema=0.5)
CASES = {
    "seven crops by two": PLAIN,
    "mixed": replace(PLAIN, mixup=0.4, cutmix=1.0),
    "margins, no product, behind studio crops shelves": replace(PLAIN, head="subcentre", background=0.2, bridge=1.0),
}
STOPPED_AFTER = 4  # epochs
Tensors = dict[str, torch.Tensor]


class Learnt(NamedTuple):
    """What one of CASES came to: the loss of each step, the averaged weights, and those of a run that was resumed."""

    losses: list[float]
    weights: Tensors
    resumed: Tensors


def regions(columns: Columns) -> list[Region]:
    """Seven things of three colours, one of them a studio photo, and two of no product where there is such an output."""
    box, colours = np.array([4, 4, 28, 28], np.float32), ((200, 20, 20), (20, 20, 200), (30, 180, 30))
    pictures = [np.full((32, 32, 3), colours[i % 3], np.uint8) for i in range(7)]
    products = [Region(picture, box, i % 3, studio=i == 5) for i, picture in enumerate(pictures)]
    return products + [Region(np.full((32, 32, 3), 120, np.uint8), box, columns.names)] * 2 * columns.background


def network(config: ClassifierConfig, columns: Columns) -> Classifier:
    """Small, with both kinds of batch norm that timm's backbones have; the same each time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [
            torch.nn.Conv2d(3, 8, 3, 2, bias=False), torch.nn.BatchNorm2d(8), torch.nn.ReLU(),
            torch.nn.Conv2d(8, 8, 3, 2, bias=False), BatchNormAct2d(8), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(),
        ]  # fmt: skip
        return Classifier(torch.nn.Sequential(*layers), make_head(config, columns, 8), columns)


def learnt(distributed: Distributed, folder: Path) -> list[Learnt]:
    """What the processes make of CASES together."""
    folder = folder / str(distributed.world_size)
    return [learnt_case(distributed, folder / str(i), config) for i, config in enumerate(CASES.values())]


def learnt_case(distributed: Distributed, folder: Path, config: ClassifierConfig) -> Learnt:
    columns = Columns(3, background=config.background > 0)
    crops, last, half = TrainingCrops(regions(columns), np.full(4, 0.02), distributed), folder / "last.pt", folder / "half.pt"
    losses: list[float] = []
    train_epoch = fitting.Training.train_epoch

    def noted(training: fitting.Training, *given: object) -> float:
        losses.append(train_epoch(training, *given))
        return losses[-1]

    def progress(line: str) -> None:
        if line.startswith(f"epoch {STOPPED_AFTER}/") and distributed.is_main:
            shutil.copy(last, half)

    if distributed.is_main:
        folder.mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting.Training, "train_epoch", noted)
        fitted = fitting.fit(network(config, columns), crops, config, last, progress)
    distributed.all_gather(None)  # the checkpoint is copied
    resumed = fitting.fit(network(config, columns), crops, config, half, lambda _: None, resume=True)
    distributed.all_gather(None)  # both have read it
    return Learnt(losses, fitted.model.state_dict(), resumed.model.state_dict())


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Learnt], list[list[Learnt]]]:
    """What one process makes of CASES, and what each of two does."""
    folder = tmp_path_factory.mktemp("processes")
    return learnt(SINGLE_PROCESS, folder), run_in_processes(learnt, folder)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_learn_what_one_does(one_and_two: tuple[list[Learnt], list[list[Learnt]]], case: str) -> None:
    number = list(CASES).index(case)
    alone, first, second = one_and_two[0][number], *(process[number] for process in one_and_two[1])
    assert len(alone.losses) == STEPS and alone.losses[-1] < alone.losses[0]
    assert first.losses == pytest.approx(alone.losses, rel=1e-4, abs=1e-4) and second.losses == first.losses
    for name, value in alone.weights.items():
        torch.testing.assert_close(first.weights[name], value, atol=2e-3, rtol=1e-2, msg=lambda told, n=name: f"{n}: {told}")
        assert torch.equal(first.weights[name], second.weights[name]), name


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_processes_resume_to_exactly_the_same_end(one_and_two: tuple[list[Learnt], list[list[Learnt]]], case: str) -> None:
    for process in one_and_two[1]:
        made = process[list(CASES).index(case)]
        assert all(torch.equal(made.resumed[name], value) for name, value in made.weights.items())

"""The rate rises in some of the steps of a training, never in all of them; every number of steps is gone through to its end."""

import warnings

import pytest
import torch

from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.fit import Training
from stage2_classifier.heads import make_head
from stage2_classifier.model import Classifier
from stage2_classifier.train import main


def rates(warmup: float, steps: int) -> list[float]:
    """The rate of each step of a training, as a share of the highest."""
    config, columns = ClassifierConfig(warmup=warmup, lr=1.0), Columns(2)
    trunk = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    training, found = Training(Classifier(trunk, make_head(config, columns, 3), columns), config, steps), []
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step", UserWarning)  # nothing is learnt here
        for _ in range(steps):
            found.append(training.scheduler.get_last_lr()[0])
            training.scheduler.step()
    return found


@pytest.mark.parametrize("warmup", [0.0, 0.1, 1 / 3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("steps", [*range(1, 12), 100])
def test_every_training_comes_to_its_end(warmup: float, steps: int) -> None:
    assert all(0 < rate <= 1 for rate in rates(warmup, steps))


def test_the_rate_rises_and_falls() -> None:
    found = rates(0.5, 100)
    assert found.index(max(found)) == 49 and found[0] == pytest.approx(1 / 25) and found[-1] < 1e-4


def test_a_warm_up_of_all_steps_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", "D", "--out", "R", "--warmup", "1.0"]) == 2
    assert capsys.readouterr().err == "error: --warmup: got 1.0, allowed 0.0 to 0.99\n"

"""The losses of several processes beside those of one: in 64 bits nothing but rounding is left, and that is next to nothing."""

from pathlib import Path

import pytest
import torch

from experiments.figures import records
from experiments.performance import ddp, ddp_steps


def test_no_steps_have_no_largest_difference() -> None:
    with pytest.raises(ValueError, match="empty"):
        ddp.largest_difference([], [])


def test_every_family_has_its_steps() -> None:
    assert set(ddp.FAMILIES) == {*ddp_steps.CLASSIFIERS, *ddp_steps.CONFIGS} and set(ddp.CLASSIFIERS) == set(
        ddp_steps.CLASSIFIERS
    )


def test_in_float64_new_tensors_and_what_asks_for_32_bits_have_64() -> None:
    with ddp_steps.in_float64():
        assert torch.zeros(1).dtype == torch.ones(1, dtype=torch.uint8).float().dtype == torch.float64
    assert torch.zeros(1).dtype == torch.ones(1, dtype=torch.uint8).float().dtype == torch.float32


@pytest.mark.slow
def test_in_float64_two_processes_learn_what_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    assert ddp.main(["--families", "classifier", "--float64", "--record"]) == 0
    [(key, figure)] = records.load().items()
    assert key == "ddp.classifier.loss_difference_float64" and figure["value"] < 1e-10

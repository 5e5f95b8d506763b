"""A block that seeds leaves torch's generators as they were, and takes no GPU but this process's."""

import warnings
from pathlib import Path

import pytest
import torch

from runs import random_state

ROOT = Path(__file__).resolve().parents[2]


def test_the_generators_are_as_they_were() -> None:
    with torch.random.fork_rng(devices=[]):
        before = torch.random.get_rng_state()
        with random_state.kept():
            torch.manual_seed(0)
            assert not torch.equal(torch.random.get_rng_state(), before)
        assert torch.equal(torch.random.get_rng_state(), before)


def test_of_several_gpus_only_its_own_is_kept_without_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: kept.append(device) or torch.zeros(1))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: kept.append(device))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with random_state.kept():
            pass
    assert kept == [1, 1]


def test_no_code_leaves_the_devices_to_torch() -> None:
    """It would begin to use every GPU of the machine."""
    files = [path for path in ROOT.glob("*/**/*.py") if not path.relative_to(ROOT).parts[0].startswith(".")]
    assert len(files) > 300
    assert [path.name for path in files if "fork_rng" + "()" in path.read_text(encoding="utf-8")] == []

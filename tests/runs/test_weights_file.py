"""A file of weights to start from: read as timm reads it, loaded only where enough of the network is filled."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import timm.models
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from runs import weights_file
from runs.weights_file import Match, load_matching, read_weights, write_half_precision

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.bias": torch.ones(2)}
OTHER = {name: value + 1 for name, value in STATE.items()}
CONTENTS: dict[str, dict[str, Any]] = {
    "a state dict": STATE,
    "training of timm": {"state_dict": OTHER, "state_dict_ema": STATE, "args": argparse.Namespace(lr=0.1), "epoch": 3},
    "model": {"model": STATE},
    "compiled on several GPUs": {"state_dict": {f"module._orig_mod.{name}": value for name, value in STATE.items()}},
    "on several GPUs, compiled": {"state_dict": {f"_orig_mod.module.{name}": value for name, value in STATE.items()}},
}


def network() -> nn.Module:
    """Five tensors, four of which are of floating point and one of these is the head's."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.ModuleDict({"a": nn.Linear(3, 2), "norm": nn.BatchNorm1d(2, affine=False)})


@pytest.mark.parametrize("content", CONTENTS.values(), ids=CONTENTS)
def test_it_is_read_as_timm_reads_it(content: dict[str, Any], tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    ours, theirs = read_weights(tmp_path / "w.pt"), timm.models.load_state_dict(str(tmp_path / "w.pt"))
    assert ours.keys() == STATE.keys() and all(torch.equal(ours[name], STATE[name]) for name in STATE)
    assert ours.keys() == theirs.keys()


def test_a_checkpoint_of_ours_holds_the_network_with_a_prefix(tmp_path: Path) -> None:
    content = {"config": {}, "names": ["a"], "network": {f"net.{name}": value for name, value in STATE.items()}}
    torch.save(content | {"state": {"epoch": 1}}, tmp_path / "w.pt")
    assert read_weights(tmp_path / "w.pt").keys() == STATE.keys()


@pytest.mark.parametrize("content", [[1, 2], {"state_dict": nn.Linear(1, 1)}], ids=["a list", "a pickled module"])
def test_what_holds_no_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=r"--pretrained: got .*w.pt, must be a file of tensors that torch reads"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("state", "share", "match"),
    [
        pytest.param({}, 0.0, Match(0, 4, False), id="no tensor"),
        pytest.param({"a.bias": torch.ones(3)}, 0.0, Match(0, 4, False), id="another shape"),
        pytest.param({"norm.num_batches_tracked": torch.tensor(5)}, 0.0, Match(0, 4, False), id="a counter alone"),
        pytest.param({"a.bias": torch.ones(2)}, 0.0, Match(1, 4, True), id="one is enough"),
        pytest.param(STATE, 0.5, Match(2, 4, True), id="just enough"),
        pytest.param(STATE, 0.51, Match(2, 4, False), id="too few"),
    ],
)
def test_it_is_loaded_where_enough_fits_and_else_nothing_is(state: dict[str, Any], share: float, match: Match) -> None:
    net, before = network(), network().state_dict()
    assert load_matching(net, state, share) == match
    for name, value in net.state_dict().items():
        expected = state[name] if match.loaded and name in state else before[name]
        assert torch.equal(value, expected)


def test_only_counted_tensors_count_but_all_that_fit_are_loaded() -> None:
    net = network()
    assert load_matching(net, STATE, 1.0, counts=lambda name: name == "a.bias") == Match(1, 1, True)
    assert torch.equal(net["a"].weight, STATE["a.weight"])


def test_half_precision_and_a_file_that_is_too_large(tmp_path: Path) -> None:
    write_half_precision(network(), tmp_path / "w.safetensors", 10_000)
    written = load_file(tmp_path / "w.safetensors")
    assert {value.dtype for value in written.values()} == {torch.float16} and "norm.num_batches_tracked" not in written
    with pytest.raises(ValueError, match=r"got \d+ bytes, allowed 10; choose a smaller model"):
        write_half_precision(network(), tmp_path / "w.safetensors", 10)
    assert load_file(tmp_path / "w.safetensors").keys() == written.keys()
    save_file({}, tmp_path / "empty.safetensors")
    assert weights_file.read_weights(tmp_path / "empty.safetensors") == {}

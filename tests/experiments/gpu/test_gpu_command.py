"""The command refuses what it cannot do, in one line; its rehearsal does every check that a GPU would be given."""

import json
from pathlib import Path

import pytest
import torch

from experiments.gpu import command
from experiments.gpu.scale import Check

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")


@no_gpu
def test_without_a_gpu_one_line_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--out", str(tmp_path / "G")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: torch ") and error.count("\n") == 1
    assert "sees no CUDA GPU" in error and "docs/guide/gpu.md" in error and "--rehearse" in error
    assert not (tmp_path / "G").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "--out", id="no folder"),
        pytest.param(["--out", "G", "--minutes", "0"], "--minutes: got 0, allowed 1 to 600", id="no minutes"),
        pytest.param(["--out", "G", "--rehearse", "--record"], "--record: got --rehearse too", id="a rehearsal recorded"),
        pytest.param(["--out", __file__, "--rehearse"], "is a file, need a folder", id="a file in place of the folder"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error and error.count("\n") == 1


def test_checks_are_chosen_by_name_in_their_own_order() -> None:
    checks = [Check(name, lambda work: iter(()), 1) for name in "abc"]
    assert command.named(checks, []) == checks
    assert [check.name for check in command.named(checks, ["c", "a"])] == ["a", "c"]
    with pytest.raises(ValueError, match="--only: got 'd', allowed: a, b, c"):
        command.named(checks, ["a", "d"])


@pytest.mark.slow
def test_the_rehearsal_does_every_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from experiments.gpu.checks import CHECKS

    assert sum(check.cost for check in CHECKS) <= 12 * 60  # the minutes that it has by default
    assert command.main(["--out", str(tmp_path / "G"), "--rehearse"]) == 0, capsys.readouterr().out
    assert f"{len(CHECKS)} passed, 0 failed, 0 skipped" in capsys.readouterr().out
    figures = {row["key"]: row for row in json.loads((tmp_path / "G" / "figures.json").read_text())}
    assert {".".join(key.split(".")[:2]) for key in figures} == {
        "gpu.nodes_on_gpu", "gpu.half", "gpu.run", "gpu.train", "gpu.memory", "gpu.fit", "gpu.search", "gpu.binding",
    }  # fmt: skip
    assert sum(key.startswith("gpu.half.") for key in figures) == 3 * 4 + 3
    assert figures["gpu.run.over_floor"]["value"] > 0
    assert all("rehearsal" in row["setting"] for key, row in figures.items() if key != "gpu.nodes_on_gpu")

"""The records of figures: one for each, written to experiments/results/NAME.json by the command that measured it."""

import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from runs import record

RESULTS = Path(__file__).parents[1] / "results"


class Estimate(NamedTuple):
    """A measured value from n samples (seeds, photos ...) and its 95 % interval; None and None where there is none."""

    value: float
    n: int
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        """As text: 0.512 [0.501, 0.523]."""
        return f"{self.value:.3f}" + ("" if self.low is None else f" [{self.low:.3f}, {self.high:.3f}]")


class Measured(NamedTuple):
    """A figure before it is recorded: `figure` takes these and the command."""

    key: str
    estimate: Estimate
    unit: str
    setting: str


def figure(key: str, estimate: Estimate, unit: str, setting: str, command: str) -> dict[str, Any]:
    """The record of one figure. Where the estimate has no interval, `setting` must say why."""
    return {
        "key": key,
        "value": _short(estimate.value),
        "low": _short(estimate.low),
        "high": _short(estimate.high),
        "n": estimate.n,
        "unit": unit,
        "setting": setting,
        "command": command,
        "commit": record.commit(),
        "machine": record.machine(),
        "date": time.strftime("%Y-%m-%d"),
    }


def command(module: str, argv: Sequence[str] | None) -> str:
    """The call that makes a figure, as recorded: absolute paths are cut to their last two names.

    >>> command("studies.gates", ["--set", "few", "--out", "/home/me/runs/few"])
    'python -m experiments.studies.gates --set few --out runs/few'
    >>> command("benchmark", ["detectors", "--runs", "a=/home/me/runs/a", "b=b"])
    'python -m experiments.benchmark detectors --runs a=runs/a b=b'
    """
    return shlex.join(["python", "-m", f"experiments.{module}", *map(_shown, argv or sys.argv[1:])])


def _shown(argument: str) -> str:
    """An argument of a call: an absolute path, alone or after NAME=, is cut to its last two names."""
    name, sign, path = argument.rpartition("=")
    return f"{name}{sign}{'/'.join(Path(path).parts[-2:])}" if Path(path).is_absolute() else argument


def write(name: str, records: list[dict[str, Any]]) -> Path:
    """Write RESULTS/NAME.json, keeping the records of other keys that the file holds already."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    keys = {row["key"] for row in records}
    kept = [row for row in json.loads(path.read_text()) if row["key"] not in keys] if path.is_file() else []
    record.write_json(path, sorted(kept + records, key=lambda row: row["key"]))
    return path


def load() -> dict[str, dict[str, Any]]:
    """The record of every figure, by its key."""
    return {row["key"]: row for path in sorted(RESULTS.glob("*.json")) for row in json.loads(path.read_text())}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")

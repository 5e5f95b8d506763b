"""Figures are data: a record for each, written by the command that measured it to experiments/results/NAME.json."""

import json
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from runs import record

RESULTS = Path(__file__).parents[1] / "results"


def figure(
    key: str, value: float, unit: str, n: int, setting: str, command: str, low: float | None = None, high: float | None = None
) -> dict[str, Any]:
    """One figure. `low` and `high` are its 95 % interval; where they are None, `setting` must say why."""
    return {
        "key": key,
        "value": _short(value),
        "low": _short(low),
        "high": _short(high),
        "n": n,
        "unit": unit,
        "setting": setting,
        "command": command,
        "commit": record.commit(),
        "machine": record.machine(),
        "date": time.strftime("%Y-%m-%d"),
    }


def command(module: str, argv: Sequence[str] | None) -> str:
    """The call that makes a figure, as recorded: whole paths are cut to their last two names.

    >>> command("studies.gates", ["--set", "few", "--out", "/home/me/runs/few"])
    'python -m experiments.studies.gates --set few --out runs/few'
    >>> command("benchmark", ["detectors", "--runs", "a=/home/me/runs/a", "b=b"])
    'python -m experiments.benchmark detectors --runs a=runs/a b=b'
    """
    return shlex.join(["python", "-m", f"experiments.{module}", *map(_shown, argv or sys.argv[1:])])


def _shown(word: str) -> str:
    """A word of a call, its path, alone or after NAME=, cut to its last two names if it is whole."""
    name, sign, path = word.rpartition("=")
    return f"{name}{sign}{'/'.join(Path(path).parts[-2:])}" if Path(path).is_absolute() else word


def write(name: str, figures: list[dict[str, Any]]) -> Path:
    """Write RESULTS/NAME.json, keeping the figures of other keys that the file holds already."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{name}.json"
    keys = {f["key"] for f in figures}
    old = [f for f in json.loads(path.read_text()) if f["key"] not in keys] if path.is_file() else []
    record.write_json(path, sorted(old + figures, key=lambda f: f["key"]))
    return path


def load() -> dict[str, dict[str, Any]]:
    """Every recorded figure, by its key."""
    return {f["key"]: f for path in sorted(RESULTS.glob("*.json")) for f in json.loads(path.read_text())}


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")

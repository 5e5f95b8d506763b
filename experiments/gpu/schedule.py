"""Checks one after the other within the minutes; what each has measured is on the disk before the next figure comes."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.figures import records
from experiments.figures.records import Measured
from experiments.gpu.one_process import Ended, measure
from experiments.gpu.scale import Check, Work
from fusion.models import read_object
from runs import record

FIGURES, STATE = "figures.json", "checks.json"
NAME = "gpu"  # of the figures in experiments/results
PASSED = "passed"
SKIPPED = "skipped"


class Kept:
    """What OUT holds: the figures so far, and how each check ended; both are written at every change."""

    def __init__(self, work: Work, command: str, to_results: bool) -> None:
        """Raises ValueError where OUT holds checks of other code, another machine, or a rehearsal where it is none."""
        self.out, self.command, self.to_results = work.out, command, to_results
        self.made_from = {"commit": record.commit(), "machine": record.machine(), "rehearsed": work.rehearsed}
        self.figures: dict[str, dict[str, Any]] = {}
        self.ended: dict[str, str] = {}
        if (path := self.out / STATE).is_file():
            values = read_object(path)
            if values.get("made_from") != self.made_from:
                raise ValueError(f"--out: {path} is of {values.get('made_from')}, not {self.made_from}; take another --out")
            self.ended = values["ended"]
        if (path := self.out / FIGURES).is_file():
            self.figures = {row["key"]: row for row in json.loads(path.read_text())}
        self.out.mkdir(parents=True, exist_ok=True)

    def add(self, measured: Measured) -> dict[str, Any]:
        """Keep a figure, in the place of one of the same key."""
        row = records.figure(*measured, self.command)
        self.figures[row["key"]] = row
        record.write_json(self.out / FIGURES, sorted(self.figures.values(), key=lambda kept: kept["key"]))
        if self.to_results:
            records.write(NAME, [row])
        return row

    def end(self, name: str, outcome: str) -> None:
        """Keep how a check ended."""
        self.ended[name] = outcome
        record.write_json(self.out / STATE, {"made_from": self.made_from, "ended": self.ended})


def run_all(checks: Sequence[Check], work: Work, seconds: float, kept: Kept, say: Callable[[str], object]) -> dict[str, str]:
    """Run the checks that have not passed in OUT before and begin those whose cost is left; returns how each ended.

    A check that fails, dies or is cut for want of time is told, and the next one begins.
    """
    end = time.monotonic() + seconds
    for i, check in enumerate(checks, 1):
        left = end - time.monotonic()
        if kept.ended.get(check.name) == PASSED:
            say(f"check {i}/{len(checks)} {check.name}: passed before, not repeated")
            continue
        if left < check.cost and not work.rehearsed:
            kept.end(check.name, f"{SKIPPED}: takes about {check.cost:.0f} s, {max(0.0, left):.0f} s are left")
        else:
            say(f"check {i}/{len(checks)} {check.name}: begins, {left:.0f} s left")
            run_one(check, work, left, kept, say)
        say(f"check {i}/{len(checks)} {check.name}: {kept.ended[check.name]}")
    return {check.name: kept.ended[check.name] for check in checks}


def run_one(check: Check, work: Work, seconds: float, kept: Kept, say: Callable[[str], object]) -> None:
    """Run one check, and keep and tell its figures as they come."""
    for message in measure(check, work, seconds):
        if isinstance(message, Ended):
            kept.end(check.name, f"failed after {message.seconds:.0f} s: {message.failure}" if message.failure else PASSED)
        else:
            row = kept.add(message)
            span = "" if row["low"] is None else f" [{row['low']:.4g}, {row['high']:.4g}]"
            say(f"{row['key']}: {row['value']:.4g}{span} {row['unit']}; {row['setting']}")


def log_of(out: Path, name: str) -> Path:
    """Where the libraries' words and the traceback of a check are."""
    return out / "logs" / f"{name}.log"

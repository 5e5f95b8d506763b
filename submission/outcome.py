"""What came out of running a zip: measured from outside, and, told apart, what run.py says of itself."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from photos.score import Scores

SHOWN = 10  # chosen: at most this many problems of one kind are listed
SHOWN_CHARACTERS = 300  # chosen: of each
SHOWN_PARTS = 40  # chosen: parts of the work whose time is listed


@dataclass
class Outcome:
    """The result of one run. `problems` would cost points at the judge; `notes` say how it was isolated.

    Everything but `providers` and `by_part` (seconds of each part of the work), which run.py says of itself, was measured from
    outside.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    photos: int = 0
    predictions: int | None = None
    providers: list[str] = field(default_factory=list)
    by_part: dict[str, float] = field(default_factory=dict)
    log: str = ""
    scores: Scores | None = None


def listed(title: str, problems: Sequence[str]) -> list[str]:
    problems = [problem[:SHOWN_CHARACTERS] for problem in problems]
    more = [f"{title}: ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [*(f"{title}: {problem}" for problem in problems[:SHOWN]), *more]


def read_statements(outcome: Outcome, gpus: bool) -> None:
    """Take the providers in use, the time of each part and the errors from what run.py says of itself, if it says so."""
    lines = outcome.log.splitlines()
    outcome.providers = [line.removeprefix("provider: ") for line in lines if line.startswith("provider: ")][:SHOWN]
    for line in lines:
        if line.startswith("report: "):
            outcome.by_part = _seconds_by_part(line.removeprefix("report: "))
    outcome.problems += listed("run.py says", [line for line in lines if line.startswith("error: ")])
    if gpus and "CPUExecutionProvider" in (outcome.providers or ["CPUExecutionProvider"]):
        outcome.problems.append(
            f"provider: got {outcome.providers or 'no word of any'}: fell back to the CPU on a machine with a GPU"
        )


def _seconds_by_part(text: str) -> dict[str, float]:
    """The seconds of each part of the work in a report of run.py; none where it is not of the form that ours has.

    >>> _seconds_by_part('{"by_part": {"one.onnx view 1": 2, "rest": "long"}}')
    {'one.onnx view 1': 2.0}
    >>> _seconds_by_part("5"), _seconds_by_part("[" * 9999)
    ({}, {})
    """
    try:
        parts = json.loads(text)["by_part"]
        pairs = list(parts.items())[:SHOWN_PARTS]
        return {name[:80]: float(s) for name, s in pairs if type(s) in (int, float) and isfinite(s)}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OverflowError):
        return {}

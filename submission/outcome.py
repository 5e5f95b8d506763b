"""What came out of running a zip: measured from outside, and, told apart, what run.py says of itself."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite

from photos.score import Scores
from runs.counted import counted, named
from submission.judge_machine import INSTALLED, PLANNED, REQUIRED

SHOWN = 10  # chosen: at most this many problems of one kind are listed
SHOWN_CHARACTERS = 300  # chosen: of each
SHOWN_PARTS = 40  # chosen: parts of the work whose time is listed
TRACEBACK = "Traceback (most recent call last)"
LACKING = re.compile(rf"No module named '({'|'.join(sorted(INSTALLED | REQUIRED))})'")
EXIT_CODES = {137: "killed: out of memory, or of time", 139: "a crash in native code: at the judge, mostly another version"}


@dataclass
class Outcome:
    """The result of one run. `problems` would cost points at the judge, `warnings` may; `notes` say how it was isolated.

    `without` are the photos, by name, that have no predictions: they may hold no product, or be lost. `lacking` is a package
    that the judge has and the environment here has not, where the log tells of it: what fails may fail for want of it. `seen`
    says whether the photos of `scores` are new to the zip. Everything but `providers` and `by_part` (seconds of each part of
    the work), which run.py says of itself, was measured from outside.
    """

    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    photos: int = 0
    predictions: int | None = None
    without: list[str] = field(default_factory=list)
    lacking: str = ""
    providers: list[str] = field(default_factory=list)
    by_part: dict[str, float] = field(default_factory=dict)
    log: str = ""
    scores: Scores | None = None
    seen: str = ""

    def told_predictions(self) -> str:
        """How many predictions there are, on how many photos, and which have none.

        >>> Outcome(photos=2, predictions=30).told_predictions()
        '30 on 2 photos'
        >>> Outcome(photos=3, predictions=30, without=["img_7.jpeg"]).told_predictions()
        '30 on 2 of 3 photos, none on img_7.jpeg'
        """
        covered = f"{self.photos - len(self.without)} of " if self.without else ""
        none = f", none on {named(self.without)}" if self.without else ""
        return f"{self.predictions} on {covered}{counted(self.photos, 'photo')}{none}"

    def told_of_planned(self) -> str:
        """How long as many photos as the judge may have would take, where these were fewer: all but the start, in proportion.

        >>> Outcome(seconds=12, photos=50, by_part={"start": 2.0}).told_of_planned()
        ' (250 such photos at this pace: about 52 s)'
        """
        if self.problems or not 0 < self.photos < PLANNED:
            return ""
        start = min(self.by_part.get("start", 0.0), self.seconds)
        return f" ({PLANNED} such photos at this pace: about {start + (self.seconds - start) * PLANNED / self.photos:.0f} s)"


def listed(title: str, problems: Sequence[str]) -> list[str]:
    problems = [problem[:SHOWN_CHARACTERS] for problem in problems]
    more = [f"{title}: ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [*(f"{title}: {problem}" for problem in problems[:SHOWN]), *more]


def read_exit_code(outcome: Outcome, code: int) -> None:
    """Add a problem for an exit code that is not 0, with its reason by the code, or else by the last line of the log.

    A package of the judge's that is not here is looked for in the whole log: run.py may go on to tell of it in its own words.
    Where there is a traceback, only from there on: another error has nothing to do with a package that it did without.
    """
    absent = LACKING.search(outcome.log, max(0, outcome.log.find(TRACEBACK)))
    outcome.lacking = absent[1] if absent else ""
    here = f"the judge has {outcome.lacking}, the environment here has not"
    if code:
        last = "".join(outcome.log.strip().splitlines()[-1:])[:SHOWN_CHARACTERS]
        more = f"; {here}: this run says nothing of the zip" if outcome.lacking else ""
        outcome.problems.append(f"exit code {code}, need 0: {EXIT_CODES.get(code, last)}{more}")
    elif outcome.lacking:
        outcome.warnings.append(f"{here}: what ran may not be what runs there")


def read_statements(outcome: Outcome, gpus: bool, is_ours: bool) -> None:
    """Take the providers in use, the time of each part and the errors from what run.py says of itself, if it says so.

    What an error or silence means is known of a run.py of this project alone (`is_ours`): of another one they are warnings.
    """
    lines = outcome.log.splitlines()
    outcome.providers = [line.removeprefix("provider: ") for line in lines if line.startswith("provider: ")][:SHOWN]
    for line in lines:
        if line.startswith("report: "):
            outcome.by_part = _seconds_by_part(line.removeprefix("report: "))
    told = outcome.problems if is_ours else outcome.warnings
    told += listed("run.py says", [line for line in lines if line.startswith("error: ")])
    if gpus and "CPUExecutionProvider" in (outcome.providers or ["CPUExecutionProvider"]):
        what = f"provider: got {outcome.providers or 'no word of any'}: fell back to the CPU on a machine with a GPU"
        (outcome.problems if outcome.providers else told).append(what)


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

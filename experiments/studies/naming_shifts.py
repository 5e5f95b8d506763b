"""Which boxes to name where the detector is less sure than on the photos that the naming floor was fitted on.

    python -m experiments.studies.naming_shifts --set NAME --data D --runs R [--record]

R/ensemble.json holds the floor, its margin and what is typical, fitted by `hylle fit` or `hylle gate`. The evidence on test is
shifted, no model is run again: scores are multiplied by 1 to 0.2, or raised to a power of 1.5 to 3, which lowers the faint ones
most; names are as sure as they are, or less (their probabilities to the power 0.6, normalised). Ways to choose the boxes:

    floor   those of the fitted floor and more
    margin  all down to a margin-th of it
    steps   below the floor while the classifiers are sure
    rule    as `steps`, with the floor lowered on photos less sure than is typical: what run.py does

Each is told by the crops of a photo without a shift, and by the greatest loss of the score against naming every box.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.records import Estimate
from fusion.ensemble import Ensemble
from photos import folds
from photos.data import read
from photos.score import evaluate
from runs.command import Parser, run, say
from stage2_classifier.gate.calibrate import n_categories, predictions
from stage2_classifier.gate.ensemble import gather, load_ensemble
from stage2_classifier.gate.evidence import Evidence, judged_by_size, withheld
from stage2_classifier.gate.naming_floor import n_named

FACTORS, POWERS = (1.0, 0.6, 0.4, 0.3, 0.2), (1.5, 2.0, 3.0)  # chosen: from no shift to one that no floor survives
LESS_SURE = 0.6  # chosen: power of the names' probabilities
Way = Callable[[Sequence[Evidence], Ensemble], list[Evidence]]


def _under(floor_of: Callable[[Ensemble], float], margin: bool, typical: bool) -> Way:
    def way(evidence: Sequence[Evidence], e: Ensemble) -> list[Evidence]:
        rest = e.naming_margin if margin else 1.0, e.naming_typical if typical else 0.0
        return withheld(evidence, [floor_of(e)] * len(evidence), *rest)

    return way


WAYS: dict[str, Way] = {
    "floor": _under(lambda e: e.naming_floor, False, False),
    "margin": _under(lambda e: e.naming_floor / e.naming_margin, False, False),
    "steps": _under(lambda e: e.naming_floor, True, False),
    "rule": _under(lambda e: e.naming_floor, True, True),
}


@dataclass(frozen=True)
class Shift:
    """Scores x `factor`, to the power `power`; names' probabilities to the power `names`."""

    factor: float = 1.0
    power: float = 1.0
    names: float = 1.0

    def __str__(self) -> str:
        """As text: "scores x 0.3, names ^ 0.6"."""
        return f"scores {f'^ {self.power:g}' if self.power != 1 else f'x {self.factor:g}'}, names ^ {self.names:g}"

    def of(self, e: Evidence) -> Evidence:
        """The evidence as if models were less sure; a name's share of background is changed alike."""
        scores = (self.factor * e.merged.scores.astype(np.float64) ** self.power).astype(np.float32)
        names = e.probabilities.astype(np.float64) ** self.names  # (N, C)
        rest = np.maximum(1 - e.probabilities.sum(1), 0) ** self.names  # (N,)
        probabilities = (names / np.maximum(names.sum(1) + rest, 1e-12)[:, None]).astype(np.float32)
        return replace(e, merged=replace(e.merged, scores=scores), probabilities=probabilities)


SHIFTS = [Shift(factor=f, names=n) for f in FACTORS for n in (1.0, LESS_SURE)]
SHIFTS += [Shift(power=p, names=n) for p in POWERS for n in (1.0, LESS_SURE)]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, print, record. Raises ValueError for an ensemble without a floor that has a margin."""
    p = Parser(prog="python -m experiments.studies.naming_shifts", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="what to call the photos in the figures")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="run folder with a fitted gate")
    p.add_argument("--record", action="store_true", help="write experiments/results/naming_shifts.json")
    args = p.parse_args(argv)
    parts, ensemble = folds.load(args.runs / folds.NAME, read(args.data)), load_ensemble(args.runs)
    if not 0 < ensemble.naming_floor <= 1 or ensemble.naming_margin == 1 or not ensemble.classifiers:
        raise ValueError(f"{args.runs}: its ensemble has no naming floor with a margin; hylle gate or hylle fit fits one")
    evidence = gather("test", ensemble, args.runs, parts)
    losses = {shift: losses_under(shift, evidence, ensemble) for shift in SHIFTS}
    show(losses)
    crops = {name: sum(map(n_named, way(evidence, ensemble))) / len(evidence) for name, way in WAYS.items()}
    rows = as_records(args.set, losses, crops, records.command("studies.naming_shifts", argv), len(evidence))
    if args.record:
        say(f"figures: {records.write('naming_shifts', rows)}")


def losses_under(shift: Shift, evidence: Sequence[Evidence], ensemble: Ensemble) -> dict[str, float]:
    """How much lower the score is by each way than with every box named, where models are less sure."""
    shifted = [shift.of(e) for e in evidence]
    everything = score(shifted, ensemble)
    return {name: everything - score(way(shifted, ensemble), ensemble) for name, way in WAYS.items()}


def score(evidence: Sequence[Evidence], ensemble: Ensemble) -> float:
    """The contest's score of what the gate of `ensemble` decides."""
    judged = judged_by_size(evidence, [ensemble.sizes] * len(evidence))
    decided = predictions(judged, [ensemble.gate] * len(judged))
    return evaluate([e.truth for e in judged], decided, n_categories(judged)).score


def show(losses: dict[Shift, dict[str, float]]) -> None:
    """Print the table."""
    table = Table()
    for column in ("score lost where", *WAYS):
        table.add_column(column, justify="left" if column not in WAYS else "right", no_wrap=True)
    for shift, own in losses.items():
        table.add_row(str(shift), *(f"{own[name]:+.4f}" for name in WAYS))
    Console(width=110).print(table)


def as_records(
    name: str, losses: dict[Shift, dict[str, float]], crops: dict[str, float], command: str, n: int
) -> list[dict[str, object]]:
    """naming_shift.SET.WAY: the greatest loss over the shifts, with the crops of a photo without one."""
    rows = []
    for way in WAYS:
        worst = max(losses, key=lambda shift: losses[shift][way])
        setting = (
            f"{n} photos of test, the greatest of {len(losses)} simulated shifts, at {worst}; {crops[way]:.0f} crops a photo "
            f"without one; a greatest value, so no interval"
        )
        say(f"{name}: {way}: {losses[worst][way]:.4f} lost at most, {setting}")
        rows.append(records.figure(f"naming_shift.{name}.{way}", Estimate(losses[worst][way], n), "score", setting, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

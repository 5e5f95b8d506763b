"""Where to cut: the precision that a fitted floor promises, and the one that it reaches on photos that nothing has seen.

    python -m experiments.studies.floors --set NAME --run D R [--run D R ...] [--deals N] [--groups photo] [--record]
    python -m experiments.studies.floors --set simulated [--scenes 3 5 8 20] [--record]

Each D R is a set and its run folder with a fitted gate (`hylle gate`); of drawn shelves one for each seed, as
`python -m experiments.studies.gates --set drawn` trains them. The floors are fitted on valid
(`stage2_classifier.gate.operating_points`) and measured on test. With `--deals` the scenes of valid and test are dealt N times
into one half to fit the gate and its floors on and one to measure on. `simulated` draws 1000 valid parts of so many scenes, of
30 boxes each, whose scores are the probability of a hit on an average scene, and measures on 2000 other scenes. Beside each
floor stands the lowest one whose *observed* precision on valid is the wanted one: what a bound over scenes is for.
"""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate
from fusion.gate import Gate
from photos import folds
from photos.data import read
from photos.intervals import Interval, exact_interval
from runs.command import Parser, run, say
from stage2_classifier.gate.calibrate import fit_policy
from stage2_classifier.gate.choose import LEAST, resampling_groups, turns
from stage2_classifier.gate.ensemble import gather, load_ensemble, scenes_of
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.operating_points import (
    BEST_F1,
    BOUND,
    PRECISIONS,
    OperatingPoint,
    RankedBoxes,
    cross_fitted_decisions,
    cut,
    first_names,
    fit_operating_points,
    point_at,
    purpose_of,
    ranked_boxes,
)  # fmt: skip

SIMULATED = "simulated"
DRAWS, BOXES, SPREAD = 1000, 30, 0.5  # chosen: valid parts, boxes of a scene, logits by which scenes differ
SCENES, PLAIN = (3, 5, 8, 20), 20  # chosen: scenes of valid parts; those whose figures have no number of scenes in their names
OTHER_SCENES = 2000  # chosen: to measure on
WANTED = {purpose_of(precision): precision for precision in PRECISIONS}
KEYS = {BEST_F1: "f1.", purpose_of(PRECISIONS[0]): "", purpose_of(PRECISIONS[1]): "at_95."}  # before the figure's name


class Measured(NamedTuple):
    """One floor of one run: what valid said of it, what test says, and what the floor by observed precision reaches there."""

    purpose: str
    fitted: OperatingPoint | None
    missing: str
    reached: OperatingPoint | None
    observed_reached: float | None


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table."""
    p = Parser(prog="python -m experiments.studies.floors", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="what to call the photos in the figures; `simulated` needs no run")
    p.add_argument("--run", type=Path, nargs=2, metavar=("D", "R"), action="append", default=[], help="set and run folder")
    p.add_argument("--deals", type=int, default=0, help="deal valid and test of each run so often into two halves")
    p.add_argument("--groups", choices=("scene", "photo"), default="scene", help="photo: for a set of one scene")
    p.add_argument("--scenes", type=int, nargs="+", help=f"of the simulated valid parts [default {' '.join(map(str, SCENES))}]")
    p.add_argument("--seed", type=int, default=0, help="of the turns of cross-fitting")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if (args.set == SIMULATED) == bool(args.run):
        raise ValueError(
            f"--set {args.set}: got {len(args.run)} --run, need {'none' if args.set == SIMULATED else '1 or more'}"
        )
    if args.scenes and (args.set != SIMULATED or min(args.scenes) < LEAST):
        raise ValueError(
            f"--scenes: got {args.scenes} with --set {args.set}, need --set {SIMULATED} and {LEAST} scenes or more"
        )
    command = records.command("studies.floors", argv)
    if args.set == SIMULATED:
        drawn = {scenes: simulate(np.random.default_rng(args.seed), scenes) for scenes in args.scenes or SCENES}
        rows = [row for scenes, made in drawn.items() for row in simulated_figures(made, scenes, command)]
    else:
        results = [rows for data, runs in args.run for rows in measure_run(open_run(data, runs), args)]
        show(results, args.set)
        rows = figures(results, args.set, args.groups, command)
    for row in rows:
        say(f"{row['key']}: {row['value']} [{row['low']}, {row['high']}]")
    if args.record:
        say(f"figures: {records.write(f'floor.{args.set}', rows)}")


# -- trained runs ----------------------------------------------------------------------------------------------------------


class Run(NamedTuple):
    """The photos of valid and test with the scene of each, and the gate fitted on valid."""

    valid: list[Evidence]
    test: list[Evidence]
    scenes: np.ndarray
    test_scenes: np.ndarray
    gate: Gate


def open_run(data: Path, runs: Path) -> Run:
    """A run folder with a fitted gate."""
    parts, ensemble = folds.load(runs / folds.NAME, read(data)), load_ensemble(runs)
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    return Run(valid, test, scenes_of(valid, parts), scenes_of(test, parts), ensemble.gate)


def dealt(whole: Run, rng: np.random.Generator) -> Run:
    """Valid and test of a run dealt anew by scenes, half and half, and a gate of the same policy fitted on the first half."""
    photos, scenes = whole.valid + whole.test, np.concatenate([whole.scenes, whole.test_scenes])
    first = turns(scenes, 2, rng) == 0
    halves = [[e for e, own in zip(photos, half, strict=True) if own] for half in (first, ~first)]
    return Run(*halves, scenes[first], scenes[~first], fit_policy(whole.gate.policy, halves[0]))


def measure_run(whole: Run, args: Namespace) -> list[list[Measured]]:
    """The floors of a run, or of each of its deals."""
    rng = np.random.default_rng(args.seed)
    runs = [dealt(whole, rng) for _ in range(args.deals)] or [whole]
    return [measure(one, args.groups, args.seed) for one in runs]


def measure(own: Run, groups: str, seed: int) -> list[Measured]:
    """The floors of a run's gate, fitted on valid and measured on test."""
    scenes = own.scenes if groups == "scene" else np.arange(len(own.valid))
    fitted = fit_operating_points(own.valid, own.gate, scenes, np.random.default_rng(seed))
    observed = {} if len(np.unique(scenes)) < LEAST else observed_floors(own, scenes, np.random.default_rng(seed))
    test_groups, _ = resampling_groups(own.test_scenes)
    new = ranked_boxes(own.test, first_names(own.test, [own.gate] * len(own.test)), test_groups)
    points = {point.purpose: point for point in fitted.points}
    rows = []
    for purpose in KEYS:
        point, floor, missing = points.get(purpose), observed.get(purpose), fitted.missing.get(purpose, "")
        reached = None if point is None else shown_at(new, purpose, point.min_score)
        by_observed = None if floor is None else shown_at(new, purpose, floor)
        rows.append(Measured(purpose, point, missing, reached, by_observed and by_observed.precision.value))
    return rows


def shown_at(ranked: RankedBoxes, purpose: str, floor: float) -> OperatingPoint | None:
    """What is shown of `ranked` at this floor; None where nothing is."""
    count = int((ranked.scores >= floor).sum())
    return point_at(ranked, purpose, count - 1) if count else None


def observed_floors(own: Run, scenes: np.ndarray, rng: np.random.Generator) -> dict[str, float | None]:
    """By what it is for, the lowest floor of the observed precision wanted, on the same cross-fitted decisions."""
    held_out = ranked_boxes(own.valid, cross_fitted_decisions(own.valid, own.gate, scenes, rng), scenes)
    return {purpose: observed_floor(held_out, precision) for purpose, precision in WANTED.items()}


def observed_floor(ranked: RankedBoxes, precision: float) -> float | None:
    """The lowest score at which so many of the boxes shown are right; None where there is none."""
    observed = np.cumsum(ranked.hits) / np.arange(1, len(ranked.hits) + 1)
    enough = np.flatnonzero(observed >= precision)
    return float(ranked.scores[enough[-1]]) if len(enough) else None


def show(results: Sequence[Sequence[Measured]], name: str) -> None:
    """Print each run's floors."""
    table = Table(title=f"{name}: floors fitted on valid, measured on test")
    for column in ("run", "floor for", "score", "precision on valid", "on test", "recall on test", "observed"):
        table.add_column(column)
    for i, rows in enumerate(results):
        for row in rows:
            floor, valid = "absent", row.missing
            if row.fitted:
                floor, valid = f"{row.fitted.min_score:.3f}", in_words(row.fitted.precision)
            test = ("-", "-") if row.reached is None else (in_words(row.reached.precision), in_words(row.reached.recall))
            observed = "-" if row.observed_reached is None else f"{row.observed_reached:.3f}"
            table.add_row(str(i), row.purpose, floor, valid, *test, observed)
    Console(width=150).print(table)


def in_words(own: Interval) -> str:
    """An interval as text."""
    return f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]"


def figures(results: Sequence[Sequence[Measured]], name: str, groups: str, command: str) -> list[dict[str, Any]]:
    """floor.SET.wanted_precision, .reached_precision and .recall for 0.9; with at_95. for 0.95, with f1. for the best F1."""
    rows = []
    for i, purpose in enumerate(KEYS):
        own = [run_rows[i] for run_rows in results]
        reached = [row.reached for row in own if row.reached]
        prefix, setting = f"floor.{name}.{KEYS[purpose]}", setting_of(own, purpose, groups)
        if purpose in WANTED:
            rows.append(wanted_figure(prefix, Estimate(WANTED[purpose], len(own)), setting, command))
        values = {"reached_precision": [p.precision for p in reached], "recall": [p.recall for p in reached]}
        values |= {"f1": [p.f1 for p in reached]} if purpose == BEST_F1 else {}
        for key, intervals in values.items():
            if intervals:
                rows.append(records.figure(f"{prefix}{key}", estimate_of(intervals), "share", setting, command))
    return rows


def wanted_figure(prefix: str, wanted: Estimate, setting: str, command: str) -> dict[str, Any]:
    """The figure of what was asked for."""
    return records.figure(f"{prefix}wanted_precision", wanted, "share", f"asked for, so no interval; {setting}", command)


def setting_of(own: Sequence[Measured], purpose: str, groups: str) -> str:
    """On what the figures of a floor were measured, in how many runs it is absent and why."""
    reached = [row.reached for row in own if row.reached]
    over = "t interval over runs or deals" if len(reached) > 1 else "over scenes of test, or photos if those are few"
    absent = [row.missing for row in own if row.fitted is None]
    observed = [row.observed_reached for row in own if row.observed_reached is not None]
    parts = [f"{purpose}; {len(own)} runs or deals", f"floors fitted on valid by {groups}, {BOUND:.0%} bound, measured on test"]
    parts += [over, f"by observed precision it would reach {np.mean(observed):.3f}"] if observed else [over]
    return "; ".join(parts + ([f"absent in {len(absent)}: {absent[0]}"] if absent else []))


def estimate_of(intervals: Sequence[Interval]) -> Estimate:
    """The mean over runs; of one run its own interval, over the scenes of test."""
    if len(intervals) > 1:
        return over_seeds([own.value for own in intervals])
    return Estimate(intervals[0].value, intervals[0].n_groups, intervals[0].low, intervals[0].high)


# -- simulated -------------------------------------------------------------------------------------------------------------


def simulated_boxes(rng: np.random.Generator, scenes: int, boxes: int) -> RankedBoxes:
    """Boxes of scenes that differ by SPREAD, whose score is the probability of a hit on an average scene."""
    scene = np.sort(rng.integers(scenes, size=boxes))
    logits = rng.normal(1.5, 2.0, boxes)  # chosen: three of four boxes are hits, and the scores tell them apart fairly well
    hits = rng.uniform(size=boxes) < 1 / (1 + np.exp(-logits - rng.normal(0, SPREAD, scenes)[scene]))
    order = np.argsort(-logits, kind="stable")
    products = np.bincount(scene, hits, scenes).astype(np.int64)
    return RankedBoxes(1 / (1 + np.exp(-logits[order])), hits[order], scene[order], products)


def simulate(rng: np.random.Generator, scenes: int) -> dict[str, np.ndarray]:
    """By "0.9 bound", "0.9 observed" and so on the precision and recall (DRAWS, 2) on other scenes; nan for an absent floor."""
    new = simulated_boxes(rng, OTHER_SCENES, OTHER_SCENES * BOXES)
    made: dict[str, np.ndarray] = {
        f"{p} {way}": np.full((DRAWS, 2), np.nan) for p in PRECISIONS for way in ("bound", "observed")
    }
    for i in range(DRAWS):
        valid = simulated_boxes(rng, scenes, scenes * BOXES)
        floors = cut(valid).min_scores
        for precision in PRECISIONS:
            for way, floor in (("bound", floors.get(purpose_of(precision))), ("observed", observed_floor(valid, precision))):
                point = None if floor is None else shown_at(new, "", floor)
                if point:
                    made[f"{precision} {way}"][i] = point.precision.value, point.recall.value
    return made


def simulated_figures(made: dict[str, np.ndarray], scenes: int, command: str) -> list[dict[str, Any]]:
    """As `figures`, and of the draws with a floor the share whose precision is reached, .kept (and .observed_kept).

    .broken is the share of all draws that have a floor of which it is not: what a bound promises to be seldom.
    """
    rows = []
    for precision in PRECISIONS:
        prefix = f"floor.{SIMULATED}.{'' if scenes == PLAIN else f'{scenes}_scenes.'}{KEYS[purpose_of(precision)]}"
        values, observed = made[f"{precision} bound"], made[f"{precision} observed"][:, 0]
        values, observed = values[~np.isnan(values[:, 0])], observed[~np.isnan(observed)]
        setting = (
            f"{DRAWS} simulated valid parts of {scenes} scenes and {scenes * BOXES} boxes, absent in {DRAWS - len(values)}, "
            f"{BOUND:.0%} bound, measured on {OTHER_SCENES} other scenes; t interval over draws, of shares of draws exact"
        )
        kept = values[:, 0] >= precision
        means = {"reached_precision": values[:, 0], "recall": values[:, 1]} if len(values) else {}
        estimates = {key: over_seeds(own.tolist()) for key, own in means.items()} | {"broken": share_of(~kept, DRAWS)}
        estimates |= {"kept": share_of(kept, len(kept)), "observed_kept": share_of(observed >= precision, len(observed))}
        rows.append(wanted_figure(prefix, Estimate(precision, DRAWS), setting, command))
        rows += [records.figure(f"{prefix}{key}", own, "share", setting, command) for key, own in estimates.items() if own.n]
    return rows


def share_of(which: np.ndarray, n: int) -> Estimate:
    """The share of `n` draws that these are."""
    return Estimate(float(which.sum() / max(n, 1)), n, *exact_interval(int(which.sum()), n))


if __name__ == "__main__":
    raise SystemExit(main())

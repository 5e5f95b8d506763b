"""How much each way of validating flatters: one recipe, split at random, by scene, and by scene with nested tuning.

    python -m experiments.studies.validation --random D R --grouped D R [--name SET] [--record]

Each pair is a set and its run folder, trained by the same commands; R's folds.json of `--random` was made with --groups photo,
that of `--grouped` by scene or with the parts that the set comes with. Three figures, each on its own test part:

    random   photos of one shelf on both sides, and the gate tuned on the photos that it is scored on: what everybody does
    grouped  no scene on both sides, the gate tuned on the photos that it is scored on
    nested   no scene on both sides, the gate tuned on valid, and chosen there by nested cross-validation

The figures of `random` and `nested` differ by what a contest's private score would take away.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from fusion.gate import Gate
from photos import folds
from photos.data import read
from photos.intervals import Interval, interval
from photos.score import match
from runs.command import Parser, run, say
from stage2_classifier.gate.calibrate import fit_policies, n_categories, predictions, score
from stage2_classifier.gate.choose import TRIED, choose_gate, resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, gather, scenes_of
from stage2_classifier.gate.evidence import Evidence

Parts = dict[str, list[Evidence]]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table."""
    p = Parser(prog="python -m experiments.studies.validation", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--random", type=Path, nargs=2, metavar=("D", "R"), required=True, help="set and runs split photo by photo")
    p.add_argument("--grouped", type=Path, nargs=2, metavar=("D", "R"), required=True, help="set and runs split by scene")
    p.add_argument("--classifier", default="classifier_shelf", help="its folder in both run folders")
    p.add_argument("--name", help="what to call the photos in the figures")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs --name")
    args = p.parse_args(argv)
    if args.record and not args.name:
        raise ValueError("--record: needs --name, what to call the photos in the figures")
    rows = measure(args.random, args.grouped, args.classifier, args.seed)
    show(rows)
    if args.record:
        figures = as_records(rows, args.name, records.command("studies.validation", argv))
        say(f"figures: {records.write(f'validation.{args.name}', figures)}")


def measure(random: list[Path], grouped: list[Path], classifier: str, seed: int) -> dict[str, tuple[Interval, str]]:
    """The three figures with intervals over what each test part resamples, and a text on what each was scored on."""
    by_photo, by_scene = open_runs(*random, classifier, "photo"), open_runs(*grouped, classifier, None)
    return {
        "random": scored(by_photo, best_on_itself(by_photo["test"])),
        "grouped": scored(by_scene, best_on_itself(by_scene["test"])),
        "nested": scored(by_scene, chosen(by_scene, seed)),
    }


def open_runs(data: Path, runs: Path, classifier: str, groups: str | None) -> dict[str, Any]:
    """Evidence of valid and test, and their scenes. Raises ValueError where folds.json was made with other groups."""
    dataset = read(data)
    parts = folds.load(runs / "folds.json", dataset)
    if groups == "photo" and None in parts.fold.values():
        raise ValueError(f"{data}: comes with its parts, so that no photo is dealt at random; need a set in one file")
    if (parts.settings.groups == "photo") != (groups == "photo"):
        need = "--groups photo" if groups else "scenes, not --groups photo"
        raise ValueError(f"{runs / 'folds.json'}: got --groups {parts.settings.groups}, this side needs {need}")
    ensemble = default_ensemble(runs, [classifier], dataset)
    evidence = {part: gather(part, ensemble, runs, parts) for part in ("valid", "test")}
    return evidence | {f"{part}_scenes": scenes_of(own, parts) for part, own in evidence.items()}


def best_on_itself(test: list[Evidence]) -> Gate:
    """The best policy and its best numbers on the very photos that are scored."""
    gates = list(fit_policies(TRIED, test).values())
    return max(gates, key=lambda gate: score(test, [gate] * len(test)))


def chosen(runs: dict[str, Any], seed: int) -> Gate:
    """The gate that valid's nested cross-validation adopts; without further names, which the others do not have either."""
    return replace(choose_gate(runs["valid"], runs["valid_scenes"], np.random.default_rng(seed)).gate, further=0)


def scored(runs: dict[str, Any], gate: Gate) -> tuple[Interval, str]:
    """The score of `gate` on the test part, with its interval, and a text on n and the policy."""
    test = runs["test"]
    matched = match([e.truth for e in test], predictions(test, [gate] * len(test)), n_categories(test))
    groups, resampled = resampling_groups(runs["test_scenes"])
    resampled = "photos" if len(np.unique(groups)) == len(test) else resampled
    own = interval(matched, groups).score
    return own, f"{len(test)} test photos, over {resampled}; gate: {gate.policy}"


def show(rows: dict[str, tuple[Interval, str]]) -> None:
    """Print the table."""
    table = Table(title="one recipe, three ways of validating")
    for column in ("validation", "score", "flatters by", "on"):
        table.add_column(column, no_wrap=True)
    honest = rows["nested"][0].value
    for name, (own, on) in rows.items():
        table.add_row(name, f"{own.value:.3f} [{own.low:.3f}, {own.high:.3f}]", f"{own.value - honest:+.3f}", on)
    Console(width=130).print(table)


def as_records(rows: dict[str, tuple[Interval, str]], name: str, command: str) -> list[dict[str, Any]]:
    """validation.SET.random, .grouped and .nested."""
    figures = []
    for way, (own, on) in rows.items():
        estimate = records.Estimate(own.value, int(on.split()[0]), own.low, own.high)
        figures.append(records.figure(f"validation.{name}.{way}", estimate, "score", on, command))
    return figures


if __name__ == "__main__":
    raise SystemExit(main())

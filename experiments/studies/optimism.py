"""By how much the score that `hylle fit` tells flatters: some of the method was chosen on the very photos it is told of.

    python -m experiments.studies.optimism --fits NAME=R [NAME=R ...] [--record]

R is a folder of `hylle fit` that merged boxes by a way of its choice. Models and gate did not see the photo that they are
judged on. The way of merging, the naming floor, whether the gate changes names and whether sizes count were chosen on all
photos. Here they are chosen again, once for each turn of the gate's, on the other turns' scenes alone: all of the selection,
with turns of its own. The told score less the score of that is the optimism, paired, over scenes, each turn ranked on its own
in both. It holds what the turns lose by choosing on fewer scenes, so it is too high rather than too low. The share of its start
that a detector keeps and the weight of prototypes are not chosen again.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.records import Estimate
from fitting import cross_fit, pooled
from fitting.run import RECORD
from fusion.ensemble import Ensemble, read_ensemble
from fusion.models import read_object
from photos import folds
from photos.data import read
from photos.intervals import Interval, gain_interval
from photos.score import scores
from runs.command import Parser, run, say
from stage2_classifier.gate.choose import Choice, choose_gate, with_further
from stage2_classifier.gate.ensemble import default_ensemble
from stage2_classifier.gate.evidence import DetectorOutputs, Evidence
from stage2_classifier.gate.merging_choice import WAYS, choose_merging, kept_views, merged_by
from stage2_classifier.gate.naming_floor import NamingChoice, fit_naming_floor, gates_of_turns, matched
from stage2_classifier.gate.sizes import Tables, choose_sizes


class Selection(NamedTuple):
    """What is chosen on some photos: the way of merging, the gate, the naming floor, the weight of sizes."""

    way: str
    choice: Choice
    naming: NamingChoice
    weight: float


class Optimism(NamedTuple):
    """Of one fit: the told score, that of choosing anew for each turn, their difference, what was chosen for all and each."""

    told: float
    nested: float
    difference: Interval
    chosen: Selection
    by_turn: list[Selection]


class Pool:
    """What the folds' detectors of a fit say of the photos they left out, to choose on any part of."""

    def __init__(self, runs: Path) -> None:
        told = read_object(runs / RECORD)
        dataset = read(Path(told["data"]))
        by_fold = cross_fit.turns(folds.load(runs / folds.NAME, dataset))
        namers = [str(Path(member.file).parent) for member in read_ensemble(runs).classifiers]
        self.ensemble: Ensemble = default_ensemble(cross_fit.folders(runs, by_fold)[0], namers, dataset)
        self.unmerged = pooled.unmerged(self.ensemble, runs, by_fold)
        self.tables: Tables = pooled.size_tables(by_fold, len(self.ensemble.categories))
        self.evidence = cache(self._evidence)

    @property
    def scenes(self) -> np.ndarray:
        """The scene (P,) of each photo."""
        return self.unmerged.scenes

    def _evidence(self, way: str) -> list[Evidence]:
        """Of all photos, merged in `way`."""
        return self.unmerged.named(merged_by(self.ensemble, way), kept_views(self.ensemble, way)).evidence

    def outputs(self, taken: np.ndarray) -> list[DetectorOutputs]:
        """What the detectors say of the photos that are `taken`, bool (P,)."""
        starts = np.cumsum([0, *(len(own.photos) for own in self.unmerged.by_fold)])
        return [part(own, taken[start:]) for own, start in zip(self.unmerged.by_fold, starts, strict=False)]

    def select(self, taken: np.ndarray, seed: int) -> Selection:
        """What a fit chooses on the photos that are `taken`, bool (P,), as `fitting.run.fit_gate` does."""
        scenes = self.scenes[taken]
        way = choose_merging(self.outputs(taken), self.ensemble, scenes, np.random.default_rng(seed)).way
        evidence = [e for e, own in zip(self.evidence(way), taken, strict=True) if own]
        choice = choose_gate(evidence, scenes, np.random.default_rng(seed))
        naming = fit_naming_floor(evidence, choice, scenes, np.random.default_rng(seed))
        sizes = choose_sizes(naming.withheld(evidence), self.tables, choice, scenes, np.random.default_rng(seed))
        return Selection(way, choice, naming, sizes.adopted.weight)

    def judged(self, selections: Sequence[Selection]) -> list[Evidence]:
        """The evidence as it is judged under one selection for each photo."""
        named = [own.naming.withheld([self.evidence(own.way)[i]])[0] for i, own in enumerate(selections)]
        return self.tables.under(named, [s.weight for s in selections])


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table, record."""
    p = Parser(prog="python -m experiments.studies.optimism", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--fits", nargs="+", required=True, metavar="NAME=R", help="folders of hylle fit, and what to call them")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if wrong := [fit for fit in args.fits if not all(fit.partition("="))]:
        raise ValueError(f"--fits: got {wrong[0]}, need NAME=R")
    measured = {name: optimism(Pool(Path(runs)), args.seed, name) for name, _, runs in (f.partition("=") for f in args.fits)}
    show(measured)
    if args.record:
        call = records.command("studies.optimism", argv)
        rows = [row for name, own in measured.items() for row in as_records(name, own, call)]
        say(f"figures: {records.write('optimism', rows)}")


def part(outputs: DetectorOutputs, taken: np.ndarray) -> DetectorOutputs:
    """`outputs` of the photos that are `taken`, bool (P,) or longer."""
    kept = [i for i in range(len(outputs.photos)) if taken[i]]
    return replace(outputs, photos=[outputs.photos[i] for i in kept], raw=[outputs.raw[i] for i in kept])


def optimism(pool: Pool, seed: int, name: str) -> Optimism:
    """The optimism of the score that a fit tells. ValueError where there are too few scenes to choose in turns."""
    everything = np.ones(len(pool.scenes), bool)
    chosen = pool.select(everything, seed)
    if len(chosen.choice.turns) < 2:
        raise ValueError(f"{name}: got photos of too few scenes to choose a gate in turns, need more")
    gates, turn = gates_of_turns(pool.evidence(chosen.way), chosen.choice)
    told = matched(pool.judged([chosen] * len(turn)), gates, turn)
    by_turn = {}
    for k in np.unique(turn):
        say(f"{name}: turn {len(by_turn) + 1} of {len(np.unique(turn))}")
        by_turn[int(k)] = pool.select(turn != k, seed)
    own = [by_turn[int(k)] for k in turn]
    nested = matched(pool.judged(own), [with_further(selection.choice.gate) for selection in own], turn)
    difference = gain_interval(told, nested, pool.scenes)
    return Optimism(scores(told).score, scores(nested).score, difference, chosen, list(by_turn.values()))


def in_words(selection: Selection) -> str:
    """What was chosen, as text."""
    sizes = f", sizes {selection.weight:g}" if selection.weight else ""
    return f"{selection.way}; {selection.choice.gate.policy}; floor {selection.naming.floor:.4f}{sizes}"


def show(measured: dict[str, Optimism]) -> None:
    """Print the table, and what was chosen."""
    table = Table()
    for column in ("fit", "told", "chosen anew in turns", "optimism", "scenes"):
        table.add_column(column, justify="left" if column == "fit" else "right", no_wrap=True)
    for name, own in measured.items():
        difference = Estimate(own.difference.value, own.difference.n_groups, own.difference.low, own.difference.high)
        table.add_row(name, f"{own.told:.3f}", f"{own.nested:.3f}", str(difference), str(difference.n))
    Console(width=110).print(table)
    for name, own in measured.items():
        say(f"{name}: on all photos {in_words(own.chosen)}")
        for selection in own.by_turn:
            say(f"{name}: in a turn {in_words(selection)}")


def as_records(name: str, own: Optimism, command: str) -> list[dict[str, object]]:
    """The figures of one fit."""
    alike = sum(in_words(selection) == in_words(own.chosen) for selection in own.by_turn)
    ways = sum(selection.way == own.chosen.way for selection in own.by_turn)
    setting = (
        f"the told score less that of choosing merging ({len(WAYS)} ways), gate, naming floor and sizes anew for each of "
        f"{len(own.by_turn)} turns; {own.told:.3f} told; the same way of merging in {ways} turns, all the same in {alike}; "
        "interval over scenes"
    )
    estimate = Estimate(own.difference.value, own.difference.n_groups, own.difference.low, own.difference.high)
    return [records.figure(f"optimism.{name}", estimate, "score", setting, command)]


if __name__ == "__main__":
    raise SystemExit(main())

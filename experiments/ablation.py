"""What each way of naming is worth, on photos no model and no threshold has seen.

    python -m experiments.ablation --data D --runs R [--crops shelf] [--name NAME]

Fits the gate on the valid part, writes it into R/ensemble.json, and scores detector, raw, agree, the adopted gate and the
label oracle on the test part. Raw outputs are kept in R/raw; a second run takes seconds.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments import figures
from experiments.pictures import write_worst
from fusion.boxes import Detections, iou
from fusion.gate import Gate, name
from fusion.models import read_sidecar
from fusion.pipeline import Ensemble, Member, Merge, Namer
from stage1_detector import folds, record
from stage1_detector.command import run, say
from stage1_detector.data import Dataset, read
from stage1_detector.score import Match, bootstrap, interval, match
from stage2_classifier.calibrate import Choice, choose_gate, fit_policy, n_categories, predictions, resampling_groups
from stage2_classifier.evidence import Evidence, collect

POLICIES = ("detector", "raw", "agree")


@dataclass(frozen=True)
class Row:
    """One line of the table: figures with 95 % intervals, the paired difference to `detector`, and labels counted."""

    policy: str
    det: tuple[float, float, float]
    cls: tuple[float, float, float]
    score: tuple[float, float, float]
    minus_detector: tuple[float, float, float]
    changed: int
    fixed: int
    broken: int


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(prog="python -m experiments.ablation", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="run folder with one/, all/ and classifier_CROPS/")
    p.add_argument("--crops", default="shelf", choices=("shelf", "studio", "both"), help="which classifier")
    p.add_argument("--name", help="write the figures to experiments/results under this name, such as real.snacks")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap and the cross-fitting")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table."""
    args = parser().parse_args(argv)
    command = f"python -m experiments.ablation --data {args.data.name} --runs {args.runs.name} --crops {args.crops}"
    ablation(args.data, args.runs, args.crops, args.name, args.seed, command)


def ablation(data: Path, runs: Path, crops: str, figure_name: str | None, seed: int, command: str) -> list[Row]:
    """Fit the gate on valid, measure on test; write RUNS/ensemble.json, RUNS/ablation_CROPS.json, pictures and figures."""
    dataset = read(data)
    parts = folds.load(runs / "folds.json", dataset)
    ensemble = default_ensemble(runs, crops, dataset)
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    choice = choose_gate(valid, scenes_of(valid, parts), np.random.default_rng(seed))
    say(f"gate: {choice.gate.policy}; gain over detector on valid {span(choice.gain)}, resampling {choice.resampled}")
    write_ensemble(runs, replace(ensemble, gate=choice.gate))
    groups, resampled = resampling_groups(scenes_of(test, parts))
    gates = {policy: fit_policy(policy, valid) for policy in POLICIES} | {"gate": choice.gate}
    rows = measure(test, gates, groups, np.random.default_rng(seed))
    show(rows, len(test), resampled)
    record.write_json(
        runs / f"ablation_{crops}.json",
        {"choice": choice.to_json(), "resampled": resampled, "rows": [asdict(row) for row in rows]},
    )
    names = [category.name for category in dataset.categories]
    pictures = write_worst([e.photo for e in test], predictions(test, [choice.gate] * len(test)), names, runs / "photos")
    say(f"worst photos: {pictures[0].parent}")
    if figure_name:
        n_boxes = sum(len(e.photo.boxes) for e in test)
        setting = f"{len(test)} test photos, {n_boxes} boxes, {crops} crops, over {resampled}, seed {seed}"
        say(f"figures: {figures.write(figure_name, as_figures(rows, choice, figure_name, setting, command, len(test)))}")
    return rows


def default_ensemble(runs: Path, crops: str, dataset: Dataset) -> Ensemble:
    """The class-agnostic detector finds, the class-aware one only gives evidence, the classifier names.

    Raises ValueError where one is not trained yet, or was trained on other categories than those of `dataset`.
    """
    files = {"one": "one/model.onnx", "all": "all/model.onnx", "classifier": f"classifier_{crops}/model.onnx"}
    for file in files.values():
        if not (runs / file).is_file():
            raise ValueError(
                f"{runs / file} not found: train it first, python -m stage1_detector.train or stage2_classifier.train"
            )
    side = {part: read_sidecar((runs / file).with_suffix(".json")) for part, file in files.items()}
    ids = [category.id for category in dataset.categories]
    for part, wanted in (("one", None), ("all", ids), ("classifier", ids)):
        if side[part].categories != wanted:
            raise ValueError(f"{runs / files[part]}: its class map is {_told(side[part].categories)}, must be {_told(wanted)}")
    one = Member.of(files["one"], side["one"], weight=1.0)
    aware = Member.of(files["all"], side["all"], weight=0.0, evidence_weight=1.0)
    views = [view | {"flip": flip} for view in one.views for flip in (False, True)]
    merge = Merge(max_det=side["one"].max_det)
    return Ensemble(ids, [replace(one, views=views), aware], merge, [Namer(files["classifier"])])


def _told(categories: list[int] | None) -> str:
    """A class map in words."""
    return "none (one class)" if categories is None else f"{len(categories)} categories, ids {str(categories[:5])[1:-1]}, ..."


def gather(part: str, ensemble: Ensemble, runs: Path, parts: folds.Folds) -> list[Evidence]:
    """Evidence for one part of the folds, kept in RUNS/raw. Raises ValueError for a part without boxes."""
    photos = parts.labelled(part)
    every = max(1, len(photos) // 4)
    return collect(
        ensemble, runs, photos, runs / "raw", lambda i, n: say(f"{part}: {i}/{n} photos") if i % every == 0 or i == n else None
    )


def scenes_of(evidence: Sequence[Evidence], parts: folds.Folds) -> np.ndarray:
    """The scene (N,) of each photo."""
    return np.array([parts.scene[e.photo.id] for e in evidence])


def write_ensemble(runs: Path, ensemble: Ensemble) -> None:
    """RUNS/ensemble.json, as run.py reads it."""
    record.write_json(runs / "ensemble.json", asdict(ensemble))


def measure(test: list[Evidence], gates: dict[str, Gate], groups: np.ndarray, rng: np.random.Generator) -> list[Row]:
    """One row for each gate, and one for the oracle that names every matched box rightly, all with the same resamples."""
    truths, n = [e.truth for e in test], n_categories(test)
    found = {policy: predictions(test, [gate] * len(test)) for policy, gate in gates.items()}
    found["oracle"] = [with_true_names(e, d) for e, d in zip(test, found["gate"], strict=True)]
    matches = {policy: match(truths, d, n) for policy, d in found.items()}
    seed = int(rng.integers(2**32))
    return [one_row(policy, matches, test, gates, groups, seed) for policy in found]


def one_row(
    policy: str, matches: dict[str, Match], test: list[Evidence], gates: dict[str, Gate], groups: np.ndarray, seed: int
) -> Row:
    """The row of one policy."""
    own = interval(matches[policy], groups, np.random.default_rng(seed))
    difference = bootstrap(matches[policy], matches["detector"], groups, np.random.default_rng(seed))
    counts = (
        count_labels(test, gates["detector"], gates[policy]) if policy in gates else count_labels(test, gates["detector"], None)
    )
    triple = [(i.value, i.low, i.high) for i in (own.det_map50, own.cls_map50, own.score, difference)]
    return Row(policy, *triple, *counts)


def true_names(evidence: Evidence, boxes: np.ndarray) -> np.ndarray:
    """The label (N,) of the true box that each of `boxes` overlaps by half or more, -1 where there is none."""
    if len(evidence.photo.boxes) == 0 or len(boxes) == 0:
        return np.full(len(boxes), -1)
    overlap = iou(boxes, evidence.photo.boxes)  # (N, T)
    return np.where(overlap.max(1) >= 0.5, evidence.photo.labels[overlap.argmax(1)], -1)


def with_true_names(evidence: Evidence, found: Detections) -> Detections:
    """`found` with the true name wherever there is one: what perfect naming would score."""
    truth = true_names(evidence, found.boxes)
    return Detections(found.boxes, found.scores, np.where(truth >= 0, truth, found.labels), found.evidence)


def count_labels(test: list[Evidence], detector: Gate, other: Gate | None) -> tuple[int, int, int]:
    """Of merged boxes on a true one: names changed from the detector's; of these, wrong ones put right, right ones broken.

    `other` None is the oracle.
    """
    changed = fixed = broken = 0
    for e in test:
        truth = true_names(e, e.merged.boxes)
        before, _ = name(e.merged, e.probabilities, detector)
        after = truth if other is None else name(e.merged, e.probabilities, other)[0]
        moved = (truth >= 0) & (before != after)
        changed, fixed, broken = (
            changed + int(moved.sum()),
            fixed + int((moved & (after == truth)).sum()),
            broken + int((moved & (before == truth)).sum()),
        )
    return changed, fixed, broken


def span(gain: Any) -> str:
    """An interval in words."""
    return "not measured" if gain is None else f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]"


def show(rows: list[Row], n: int, resampled: str) -> None:
    """Print the table."""
    table = Table(title=f"{n} test photos; 95 % intervals by bootstrap over {resampled}")
    for column in ("names from", "det mAP50", "cls mAP50", "score", "minus detector", "changed", "fixed", "broken"):
        table.add_column(column, justify="left" if column == "names from" else "right", no_wrap=True)
    for row in rows:
        figures3 = [f"{v:.3f} [{low:.3f}, {high:.3f}]" for v, low, high in (row.det, row.cls, row.score)]
        v, low, high = row.minus_detector
        table.add_row(
            row.policy, *figures3, f"{v:+.3f} [{low:+.3f}, {high:+.3f}]", str(row.changed), str(row.fixed), str(row.broken)
        )
    Console(width=150).print(table)


def as_figures(rows: list[Row], choice: Choice, prefix: str, setting: str, command: str, n: int) -> list[dict[str, Any]]:
    """The records of one ablation: PREFIX.det_map50, .cls_map50.POLICY, .score.POLICY, .score.POLICY_minus_detector."""
    made = []
    for row in rows:
        triples = {
            f"det_map50.{row.policy}": row.det,
            f"cls_map50.{row.policy}": row.cls,
            f"score.{row.policy}": row.score,
            f"score.{row.policy}_minus_detector": row.minus_detector,
        }
        if row.policy == "gate":
            triples = {"det_map50": row.det, **triples}
        for key, (value, low, high) in triples.items():
            made.append(
                figures.figure(
                    f"{prefix}.{key}", value, "mAP50", n, f"{setting}; gate adopted: {choice.gate.policy}", command, low, high
                )
            )
    return made


def read_rows(path: Path) -> list[Row]:
    """The rows of an ablation written earlier."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"]]


if __name__ == "__main__":
    raise SystemExit(main())

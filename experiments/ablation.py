"""What each way of naming is worth, on photos no model and no threshold has seen.

    python -m experiments.ablation --data D --runs R [--classifiers NAME ...] [--beside NAME ...] [--knn]

Fits the gate on the valid part, writes it into R/ensemble.json, and scores on the test part: every policy, the gate with and
without further names, the classifiers `--beside` in place of the first and together with it, kNN, calibration left out, and
two oracles, of names and of boxes. Raw outputs are kept in R/raw, so that a second run takes seconds; R/ablation.{json,md,png}
hold the table.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments import arms, figures, table
from experiments.pictures import write_worst
from fusion.ensemble import Ensemble, Member, Merge, Namer
from fusion.models import read_object, read_sidecar
from stage1_detector import folds, record
from stage1_detector.command import run, say
from stage1_detector.data import Dataset, read
from stage1_detector.score import Interval
from stage2_classifier.calibrate import n_categories
from stage2_classifier.choose import Choice, choose_gate, resampling_groups
from stage2_classifier.evidence import Evidence, collect


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(prog="python -m experiments.ablation", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="run folder with one/, all/ and classifiers")
    p.add_argument("--classifiers", nargs="+", default=["classifier_shelf"], help="folders in R; of several, the mean names")
    p.add_argument("--beside", nargs="+", default=[], help="folders in R of other classifiers to compare")
    p.add_argument("--knn", action="store_true", help="compare kNN on the first classifier's embeddings too")
    p.add_argument("--name", help="what to call the photos, such as snacks, in the figures")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs --name")
    p.add_argument("--seed", type=int, default=0, help="of the bootstrap and the cross-fitting")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table."""
    args = parser().parse_args(argv)
    if args.record and not args.name:
        raise ValueError("--record: needs --name, what to call the photos in the figures")
    found = ablation(args.data, args.runs, args.classifiers, args.beside, args.knn, args.seed)
    if args.record:
        made = as_figures(found, args.name, figures.command("ablation", argv))
        say(f"figures: {figures.write(f'gate.{args.name}', made)}")


@dataclass(frozen=True)
class Found:
    """What an ablation measured: the table, the choice of the gate, what further names gain, and on what, in words."""

    rows: list[table.Row]
    choice: Choice
    further: Interval
    setting: str


def ablation(data: Path, runs: Path, classifiers: Sequence[str], beside: Sequence[str], knn: bool, seed: int) -> Found:
    """Fit the gate on valid, measure on test; write RUNS/ensemble.json, the table and pictures."""
    dataset = read(data)
    parts = folds.load(runs / "folds.json", dataset)
    ensemble = default_ensemble(runs, classifiers, dataset)
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    say("gate: nested cross-validation on valid")
    choice = choose_gate(valid, scenes_of(valid, parts), np.random.default_rng(seed))
    say(f"gate: {told(choice)}")
    write_ensemble(runs, replace(ensemble, gate=choice.gate))

    def seen_by(*names: str) -> list[list[Evidence]]:
        return [gather(part, default_ensemble(runs, names, dataset), runs, parts) for part in ("valid", "test")]

    made = arms.policies(valid, test, choice)
    if len(classifiers) == 1:
        made += arms.uncalibrated(*seen_by(uncalibrated(runs, classifiers[0])))
    for names in [(name,) for name in beside] + [(classifiers[0], name) for name in beside]:
        made.append(arms.raw(f"raw: {' + '.join(name.removeprefix('classifier_') for name in names)}", *seen_by(*names)))
    if knn:
        made += arms.knn(runs, classifiers[0], dataset, parts, valid, test)
    made += arms.oracles(runs, ensemble, test)
    groups, resampled = resampling_groups(scenes_of(test, parts))
    n = n_categories([*valid, *test])
    truths, by_name = [e.truth for e in test], {arm.name: arm for arm in made}
    rows = table.measure(truths, [e.merged.boxes for e in test], made, n, groups, seed)
    further = table.paired(truths, by_name[arms.ADOPTED], by_name["gate"], n, groups, seed)
    setting = f"{len(test)} test photos, {sum(len(e.photo.boxes) for e in test)} boxes, over {resampled}, seed {seed}"
    report(rows, choice, runs, f"{setting}; gate: {choice.gate.policy}")
    adopted, names = by_name[arms.ADOPTED].found, names_of(ensemble, dataset)
    pictures = write_worst([e.photo for e in test], adopted, names, runs / "photos")
    say(f"worst photos: {pictures[0].parent}")
    return Found(rows, choice, further, setting)


def report(rows: list[table.Row], choice: Choice, runs: Path, title: str) -> None:
    """Print the table and keep it as JSON, markdown and PNG."""
    table.show(rows, title)
    record.write_json(runs / "ablation.json", {"choice": asdict(choice), "rows": [asdict(row) for row in rows]})
    (runs / "ablation.md").write_text(table.markdown(rows))
    table.draw(rows, runs / "ablation.png", title)
    say(f"table: {runs}/ablation.json, .md, .png")


def default_ensemble(runs: Path, classifiers: Sequence[str], dataset: Dataset) -> Ensemble:
    """The class-agnostic detector finds, the class-aware one only gives evidence, the classifiers name, by their mean.

    Raises ValueError where one is not trained yet, or was trained on other categories than those of `dataset`. Classifiers may
    have been taught more (`stage2_classifier.enroll`), all the same ones.
    """
    ids = [category.id for category in dataset.categories]
    side = {}
    for name in ("one", "all", *classifiers):
        if not (runs / name / "model.onnx").is_file():
            trained_by = "python -m stage1_detector.train or stage2_classifier.train"
            raise ValueError(f"{runs / name / 'model.onnx'} not found: train it first, {trained_by}")
        side[name] = read_sidecar(_sidecar(runs, name))
    taught = max([side[name].categories or [] for name in classifiers], key=len, default=ids)
    every = taught if taught[: len(ids)] == ids else ids
    for name in side:
        known, need = side[name].categories, None if name == "one" else ids if name == "all" else every
        fits = known == need if name in ("one", "all") else known == every[: max(len(ids), len(known or []))]
        if not fits:
            raise ValueError(f"{runs / name / 'model.onnx'}: its class map is {_told(known)}, must be {_told(need)}")
    one = Member.of("one/model.onnx", side["one"], weight=1.0)
    aware = Member.of("all/model.onnx", side["all"], weight=0.0, evidence_weight=1.0)
    views = [view | {"flip": flip} for view in one.views for flip in (False, True)]
    merge = Merge(max_det=side["one"].max_det)
    return Ensemble(every, [replace(one, views=views), aware], merge, [Namer(f"{name}/model.onnx") for name in classifiers])


def _sidecar(runs: Path, name: str) -> Path:
    return runs / name / "model.json"


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


def names_of(ensemble: Ensemble, dataset: Dataset) -> list[str]:
    """The name of each label; of one that was enrolled, which `dataset` lacks, its id in words."""
    known = {category.id: category.name for category in dataset.categories}
    return [known.get(i, f"id {i}") for i in ensemble.categories]


def uncalibrated(runs: Path, classifier: str) -> str:
    """A copy of RUNS/CLASSIFIER whose sidecar calibrates nothing; its folder, as seen from RUNS."""
    folder = runs / "raw" / f"{classifier}_uncalibrated"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / classifier / "model.onnx", folder / "model.onnx")
    values = read_object(_sidecar(runs, classifier)) | {"temperature": 1.0, "scale": None, "bias": None}
    record.write_json(folder / "model.json", values)
    return str(folder.relative_to(runs))


def write_ensemble(runs: Path, ensemble: Ensemble) -> None:
    """RUNS/ensemble.json, as run.py reads it."""
    record.write_json(runs / "ensemble.json", asdict(ensemble))


def told(choice: Choice) -> str:
    """The choice in words."""
    best = ", ".join(f"{policy} {value:.3f}" for policy, value in choice.scores.items())
    return (
        f"{choice.gate.policy} adopted; on offer {choice.offered.policy}, nested gain over detector on valid "
        f"{span(choice.gain)}; cross-fitted: {best or 'nothing'}"
    )


def span(gain: Interval | None) -> str:
    """An interval in words."""
    if gain is None:
        return "not measured, for too few scenes or no classifier"
    return f"{gain.value:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}], {gain.n_groups} scenes"


def as_figures(found: Found, name: str, command: str) -> list[dict[str, Any]]:
    """For each arm gate.SET.ARM.det_map50, .cls_map50, .score and gate.SET.ARM_minus_detector; second_names.SET.gain."""
    made, n = [], int(found.setting.split()[0])
    setting = f"{found.setting}; gate adopted: {found.choice.gate.policy}"
    for row in found.rows:
        arm = "further" if row.arm == arms.ADOPTED else re.sub(r"\W+", "_", row.arm).strip("_")
        triples = {f"{arm}.det_map50": row.det, f"{arm}.cls_map50": row.cls, f"{arm}.score": row.score,
                   f"{arm}_minus_detector": row.minus_detector}  # fmt: skip
        made += [figures.figure(f"gate.{name}.{key}", v, "mAP50", n, setting, command, low, high)
                 for key, (v, low, high) in triples.items()]  # fmt: skip
    gain = found.further
    return [*made, figures.figure(f"second_names.{name}.gain", gain.value, "score", n, setting, command, gain.low, gain.high)]


if __name__ == "__main__":
    raise SystemExit(main())

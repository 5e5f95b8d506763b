"""What each way of naming is worth, on photos no model and no threshold has seen.

    python -m experiments.ablation --data D --runs R [--beside NAME ...] [--knn]

Scores on the test part: the gate of R/ensemble.json with and without further names, every other policy fitted on the valid
part, the classifiers `--beside` in place of the first and together with it, kNN, calibration left out, and two oracles, of
names and of boxes. Raw outputs are kept in R/raw, so that a second run takes seconds; R/ablation.{json,md,png} hold the table.
"""

import argparse
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments import variants
from experiments.figures import ablation_table, records
from experiments.figures.pictures import write_worst
from fusion.ensemble import Ensemble
from fusion.gate import Gate
from fusion.models import read_object
from photos import folds
from photos.data import Dataset, read
from photos.score import Interval
from runs import record
from runs.command import run, say
from stage2_classifier.gate.calibrate import n_categories
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, gather, load_ensemble, scenes_of
from stage2_classifier.gate.evidence import Evidence


def parser() -> argparse.ArgumentParser:
    """The command's arguments."""
    p = argparse.ArgumentParser(prog="python -m experiments.ablation", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True, help="run folder with ensemble.json and the models it names")
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
    found = ablation(args.data, args.runs, args.beside, args.knn, args.seed)
    if args.record:
        made = as_figures(found, args.name, records.command("ablation", argv))
        say(f"figures: {records.write(f'gate.{args.name}', made)}")


@dataclass(frozen=True)
class Found:
    """What an ablation measured: the table, the gate adopted, what further names gain, and on what, in words."""

    rows: list[ablation_table.Row]
    gate: Gate
    further: Interval
    setting: str


def ablation(data: Path, runs: Path, beside: Sequence[str], knn: bool, seed: int) -> Found:
    """Measure RUNS/ensemble.json and its variants on test; write the table and pictures into RUNS."""
    dataset = read(data)
    parts, ensemble = folds.load(runs / folds.NAME, dataset), load_ensemble(runs)
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    classifiers = [Path(namer.file).parent.name for namer in ensemble.classifiers]

    def seen_by(*names: str) -> list[list[Evidence]]:
        others = replace(ensemble, classifiers=default_ensemble(runs, names, dataset).classifiers)
        return [gather(part, others, runs, parts) for part in ("valid", "test")]

    made = variants.policies(valid, test, ensemble.gate)
    if len(classifiers) == 1:
        made += variants.uncalibrated(*seen_by(uncalibrated(runs, classifiers[0])))
    for names in [(name,) for name in beside] + [(classifiers[0], name) for name in beside]:
        made.append(variants.raw(f"raw: {' + '.join(name.removeprefix('classifier_') for name in names)}", *seen_by(*names)))
    if knn:
        made += variants.knn(runs, classifiers[0], dataset, parts, valid, test)
    made += variants.oracles(runs, ensemble, test)
    groups, resampled = resampling_groups(scenes_of(test, parts))
    n = n_categories([*valid, *test])
    truths, by_name = [e.truth for e in test], {arm.name: arm for arm in made}
    rows = ablation_table.measure(truths, [e.merged.boxes for e in test], made, n, groups, seed)
    further = ablation_table.paired(truths, by_name[variants.ADOPTED], by_name["gate"], n, groups, seed)
    setting = f"{len(test)} test photos, {sum(len(e.photo.boxes) for e in test)} boxes, over {resampled}, seed {seed}"
    report(rows, ensemble.gate, runs, f"{setting}; gate: {ensemble.gate.policy}")
    adopted, names = by_name[variants.ADOPTED].found, names_of(ensemble, dataset)
    pictures = write_worst([e.photo for e in test], adopted, names, runs / "photos")
    say(f"worst photos: {pictures[0].parent}")
    return Found(rows, ensemble.gate, further, setting)


def report(rows: list[ablation_table.Row], gate: Gate, runs: Path, title: str) -> None:
    """Print the table and keep it as JSON, markdown and PNG."""
    ablation_table.show(rows, title)
    record.write_json(runs / "ablation.json", {"gate": asdict(gate), "rows": [asdict(row) for row in rows]})
    (runs / "ablation.md").write_text(ablation_table.markdown(rows))
    ablation_table.draw(rows, runs / "ablation.png", title)
    say(f"table: {runs}/ablation.json, .md, .png")


def names_of(ensemble: Ensemble, dataset: Dataset) -> list[str]:
    """The name of each label; of one that was enrolled, which `dataset` lacks, its id in words."""
    known = {category.id: category.name for category in dataset.categories}
    return [known.get(i, f"id {i}") for i in ensemble.categories]


def uncalibrated(runs: Path, classifier: str) -> str:
    """A copy of RUNS/CLASSIFIER whose sidecar calibrates nothing; its folder, as seen from RUNS."""
    folder = runs / "raw" / f"{classifier}_uncalibrated"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / classifier / "model.onnx", folder / "model.onnx")
    values = read_object(runs / classifier / "model.json") | {"temperature": 1.0, "scale": None, "bias": None}
    record.write_json(folder / "model.json", values)
    return str(folder.relative_to(runs))


def as_figures(found: Found, name: str, command: str) -> list[dict[str, Any]]:
    """For each arm gate.SET.ARM.det_map50, .cls_map50, .score and gate.SET.ARM_minus_detector; second_names.SET.gain."""
    made, n = [], int(found.setting.split()[0])
    setting = f"{found.setting}; gate adopted: {found.gate.policy}"
    for row in found.rows:
        arm = "further" if row.arm == variants.ADOPTED else re.sub(r"\W+", "_", row.arm).strip("_")
        triples = {f"{arm}.det_map50": row.det, f"{arm}.cls_map50": row.cls, f"{arm}.score": row.score,
                   f"{arm}_minus_detector": row.minus_detector}  # fmt: skip
        made += [records.figure(f"gate.{name}.{key}", v, "mAP50", n, setting, command, low, high)
                 for key, (v, low, high) in triples.items()]  # fmt: skip
    gain = found.further
    return [*made, records.figure(f"second_names.{name}.gain", gain.value, "score", n, setting, command, gain.low, gain.high)]


if __name__ == "__main__":
    raise SystemExit(main())

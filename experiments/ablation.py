"""What each way of naming is worth, on photos no model and no threshold has seen.

    python -m experiments.ablation --data D --runs R [--beside NAME ...] [--knn]

Scores on the test part: the gate of R/ensemble.json with and without further names, every other policy fitted on the valid
part, the classifiers `--beside` in place of the first and together with it, kNN, calibration left out, and two oracles, of
names and of boxes. Raw outputs are kept in R/raw, so that a second run takes seconds; R/ablation.{json,md,png} hold the table.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from experiments import ablation_variants
from experiments.figures import ablation_table, records
from experiments.figures.pictures import SHOWN, write_worst
from fusion.ensemble import Ensemble
from fusion.gate import Gate
from fusion.models import read_object
from photos import folds
from photos.intervals import Interval
from photos.repairs import read_and_tell
from reporting.held_out import names_of
from runs import record
from runs.command import Parser, run, say
from runs.model_files import measured_of
from stage2_classifier.gate.calibrate import n_categories
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, gather, load_ensemble, refuse_other_products, scenes_of
from stage2_classifier.gate.evidence import Evidence
from stage2_classifier.gate.operating_points import BEST_F1


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.ablation", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="the labelled set that R is of")
    p.add_argument("--runs", type=Path, required=True, help="run folder with ensemble.json and the models it names")
    p.add_argument("--beside", nargs="+", default=[], help="folders in R of other classifiers to compare")
    p.add_argument("--knn", action="store_true", help="compare kNN on the first classifier's embeddings too")
    p.add_argument("--name", help="what to call the photos, such as snacks, in the figures")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs --name")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table."""
    args = parser().parse_args(argv)
    if args.record and not args.name:
        raise ValueError("--record: needs --name, what to call the photos in the figures")
    result = ablation(args.data, args.runs, args.beside, args.knn)
    if args.record:
        rows = as_records(result, args.name, records.command("ablation", argv))
        say(f"figures: {records.write(f'gate.{args.name}', rows)}")


@dataclass(frozen=True)
class AblationResult:
    """What an ablation measured: the table, the gate adopted, what further names gain, and on how many test photos."""

    rows: list[ablation_table.Row]
    gate: Gate
    further: Interval
    setting: str
    n_photos: int


def ablation(data: Path, runs: Path, beside: Sequence[str], knn: bool) -> AblationResult:
    """Measure RUNS/ensemble.json and its variants on test; write the table and pictures into RUNS."""
    dataset = read_and_tell(data)
    parts, ensemble = folds.load(runs / folds.NAME, dataset), load_ensemble(runs)
    refuse_other_products(runs, ensemble, dataset)
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    classifiers = [Path(namer.file).parent.name for namer in ensemble.classifiers]

    def with_classifiers(*names: str) -> list[list[Evidence]]:
        others = replace(ensemble, classifiers=default_ensemble(runs, names, dataset).classifiers)
        return [gather(part, others, runs, parts) for part in ("valid", "test")]

    variants = ablation_variants.policies(valid, test, ensemble)
    if len(classifiers) == 1:
        variants += ablation_variants.uncalibrated(*with_classifiers(write_uncalibrated_copy(runs, classifiers[0])))
    for names in [(name,) for name in beside] + [(classifiers[0], name) for name in beside]:
        title = f"raw: {' + '.join(name.removeprefix('classifier_') for name in names)}"
        variants.append(ablation_variants.raw(title, *with_classifiers(*names)))
    if knn:
        variants += ablation_variants.knn(runs, classifiers[0], dataset, parts, valid, test)
    variants += ablation_variants.oracles(runs, ensemble, test)
    groups, resampled = resampling_groups(scenes_of(test, parts))
    n = n_categories([*valid, *test])
    truths, by_name = [e.truth for e in test], {variant.name: variant for variant in variants}
    rows = ablation_table.measure(truths, [e.merged.boxes for e in test], variants, n, groups)
    further = ablation_table.paired(truths, by_name[ablation_variants.ADOPTED], by_name["gate"], n, groups)
    setting = f"{len(test)} test photos, {sum(len(e.photo.boxes) for e in test)} boxes, over {resampled}"
    report(rows, ensemble, runs, f"{setting}; gate: {ensemble.gate.policy}", parts.labels("valid", "test"))
    adopted = by_name[ablation_variants.ADOPTED].predictions
    floor = ensemble.min_scores.get(BEST_F1, SHOWN)
    pictures = write_worst([e.photo for e in test], adopted, names_of(ensemble, dataset), runs / "photos", floor)
    say(f"worst photos: {pictures[0].parent}, drawn at scores of {floor:.2g} and more")
    return AblationResult(rows, ensemble.gate, further, setting, len(test))


def report(rows: list[ablation_table.Row], ensemble: Ensemble, runs: Path, title: str, labels: dict[str, Any]) -> None:
    """Print the table and keep it as JSON, with what it was measured of, as markdown and PNG."""
    ablation_table.show(rows, title)
    rows_told = [row.as_json() for row in rows]
    told = {"gate": asdict(ensemble.gate), "measured": measured_of(runs, ensemble), "labels": labels, "rows": rows_told}
    record.write_json(runs / "ablation.json", told)
    (runs / "ablation.md").write_text(ablation_table.markdown(rows))
    ablation_table.draw(rows, runs / "ablation.png", title)
    say(f"table: {runs}/ablation.json, .md, .png")


def write_uncalibrated_copy(runs: Path, classifier: str) -> str:
    """Copy RUNS/CLASSIFIER to a folder whose sidecar calibrates nothing; returns that folder, as seen from RUNS."""
    folder = runs / "raw" / f"{classifier}_uncalibrated"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / classifier / "model.onnx", folder / "model.onnx")
    values = read_object(runs / classifier / "model.json") | {"temperature": 1.0, "scale": None, "bias": None}
    record.write_json(folder / "model.json", values)
    return str(folder.relative_to(runs))


def as_records(result: AblationResult, name: str, command: str) -> list[dict[str, Any]]:
    """For each ARM (a variant) gate.SET.ARM.det_map50, .cls_map50, .score, _minus_detector; and second_names.SET.gain.

    Where no detector names it is _minus_raw.
    """
    rows, n = [], result.n_photos
    setting = f"{result.setting}; gate adopted: {result.gate.policy}"
    for row in result.rows:
        variant = "further" if row.variant == ablation_variants.ADOPTED else re.sub(r"\W+", "_", row.variant).strip("_")
        triples = {f"{variant}.det_map50": row.det, f"{variant}.cls_map50": row.cls, f"{variant}.score": row.score,
                   f"{variant}_minus_{result.rows[0].variant}": row.minus_detector}  # fmt: skip
        rows += [records.figure(f"gate.{name}.{key}", records.Estimate(value, n, low, high),
                                "mAP50" if key.endswith("_map50") else "score", setting, command)
                 for key, (value, low, high) in triples.items()]  # fmt: skip
    gain = records.Estimate(result.further.value, n, result.further.low, result.further.high)
    return [*rows, records.figure(f"second_names.{name}.gain", gain, "score", setting, command)]


if __name__ == "__main__":
    raise SystemExit(main())

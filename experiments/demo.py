"""The whole path on shelves that the project draws itself: photos in, judged zip out.

    python -m experiments.demo --out demo [--quick] [--record]

Draws shelves, splits them by scene, trains both detectors and the classifier (once on shelf crops, once on studio photos), fits
the gate, compares the ways of naming on held-out shelves, builds the zip, runs it in the judge's environment and scores what it
wrote. Finished steps are reused; a stopped demo resumes when it is started again.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.ablation import AblationResult, ablation
from experiments.ablation_variants import ADOPTED
from experiments.figures import ablation_table, records
from photos import folds
from photos.data import read
from photos.intervals import Interval, gain_interval
from photos.score import match
from runs.command import Parser, run, say
from runs.record import is_stopped, weights_of
from runs.refusal import Refusal
from stage1_detector import recipes as detector_recipes
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.synthesis import make_photos
from stage2_classifier import config as classifier_config
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.gate.calibrate import fit_policy, n_categories, predictions
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, gather, scenes_of
from stage2_classifier.gate.fit import fit_gate, interval_in_words
from stage2_classifier.training_request import ClassifierRun
from submission.build import build
from submission.judge import Judgement, judge

SEED = 0
AWARE_EPOCHS = 6  # chosen: the class-aware detector starts from the class-agnostic one's weights
# The variants of the ablation that are recorded, and what they are called in the figures' keys.
RECORDED = {
    "detector": "detector",
    "raw": "raw",
    "agree": "agree",
    "gate": "gate",
    ADOPTED: "further",
    "name oracle": "oracle",
}
COMMAND = "python -m experiments.demo --record"


def main(argv: list[str] | None = None, prog: str = "python -m experiments.demo") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and run the demo."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, default=Path("demo"), help="folder to write [default %(default)s]")
    p.add_argument(
        "--quick", action="store_true", help="a rehearsal: few shelves, 1 epoch each; runs every step and learns nothing"
    )
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs a new --out")
    args = p.parse_args(argv)
    if args.record and (args.quick or args.out.exists()):
        raise ValueError(f"--record: got --out {args.out}, must be new, and no --quick: figures are of one run from nothing")
    try:
        demo(args.out, args.quick, args.record)
    except Refusal as error:  # by a flag of a step's own command
        raise ValueError(error.told_by("pass another --out")) from error


def demo(out: Path, quick: bool = False, record: bool = False) -> None:
    """All steps in order; each says what it does, or that it reuses an earlier result."""
    folds.refuse_file(out)
    if (out / folds.NAME).is_file() and not (out / "data").is_dir():
        raise ValueError(
            f"--out {out}: holds {folds.NAME} of other photos, need a new folder or one of a demo; pass another --out"
        )
    started = time.time()
    data = draw(out / "data", quick)
    split(data, out)
    train_all(data, out, quick)
    fit_gate(data, out, ["classifier_shelf"], SEED)
    result = ablation(data, out, ["classifier_studio"], False)
    difference = studio_minus_shelf(data, out)
    say(f"naming by studio crops minus by shelf crops, raw: {interval_in_words(difference)}")
    sha = build(out, out / "submission.zip")
    say(f"built {out / 'submission.zip'}, sha256 {sha}")
    dataset = read(data)
    photos = folds.load(out / "folds.json", dataset).photos("test")
    judgement = judge(out / "submission.zip", photos, dataset.categories, out / "predictions.json")
    minutes = (time.time() - started) / 60
    if record:
        write_records(result, difference, minutes)
        records.write("parity", parity_records(judgement, len(photos)))
    ablation_table.show(result.rows, result.setting)
    say(f"done in {minutes:.1f} minutes: {out}/submission.zip, {out}/predictions.json, {out}/photos/*.png (worst first)")


def draw(data: Path, quick: bool) -> Path:
    """The drawn shelves."""
    config = make_photos.recipe("demo", 16 if quick else None)
    if not make_photos.draw(config, data, SEED, tell=lambda line: say(f"shelves: {line}")):
        say(f"shelves: reuses {data}")
    return data


def split(data: Path, out: Path) -> None:
    """Folds by the scenes as they were drawn."""
    folds.split(read(data), out, str(data / "scenes.csv"), seed=SEED)


def train_all(data: Path, out: Path, quick: bool) -> None:
    """Two detectors, the second from the first one's weights, and two classifiers."""
    agnostic = detector_recipes.recipe("demo", quick)
    aware = replace(agnostic, epochs=min(agnostic.epochs, AWARE_EPOCHS))
    train_detector(DetectorRun(data=data, runs=out, resume=is_stopped(out / "one")), agnostic)
    start = weights_of(out / "one")
    train_detector(DetectorRun(data=data, runs=out, classes="all", pretrained=start, resume=is_stopped(out / "all")), aware)
    for crops in ("shelf", "studio"):
        request = ClassifierRun(data=data, runs=out, crops=crops, resume=is_stopped(out / f"classifier_{crops}"))
        train_classifier(request, classifier_config.recipe("demo", quick))


def studio_minus_shelf(data: Path, out: Path) -> Interval:
    """The score of `raw` with the studio classifier minus that with the shelf classifier, on the test part, paired."""
    dataset = read(data)
    parts = folds.load(out / "folds.json", dataset)
    matches = []
    for crops in ("studio", "shelf"):
        ensemble = default_ensemble(out, [f"classifier_{crops}"], dataset)
        valid, test = (gather(part, ensemble, out, parts) for part in ("valid", "test"))
        gate = fit_policy("raw", valid)
        matches.append(match([e.truth for e in test], predictions(test, [gate] * len(test)), n_categories(test)))
    groups, _ = resampling_groups(scenes_of(test, parts))
    return gain_interval(matches[0], matches[1], groups)


def table_records(result: AblationResult) -> list[dict[str, Any]]:
    """demo.det_map50, and demo.cls_map50.NAME, demo.score.NAME and demo.score.NAME_minus_detector for those of RECORDED."""
    rows, setting = [], f"{result.setting}; gate adopted: {result.gate.policy}"
    for row in (row for row in result.rows if row.variant in RECORDED):
        name = RECORDED[row.variant]
        triples = {
            f"det_map50.{name}": row.det,
            f"cls_map50.{name}": row.cls,
            f"score.{name}": row.score,
            f"score.{name}_minus_detector": row.minus_detector,
        } | ({"det_map50": row.det} if name == "gate" else {})
        for key, (value, low, high) in triples.items():
            estimate, unit = records.Estimate(value, result.n_photos, low, high), "score" if "score" in key else "mAP50"
            rows.append(records.figure(f"demo.{key}", estimate, unit, setting, COMMAND))
    return rows


def write_records(result: AblationResult, difference: Interval, minutes: float) -> None:
    """Into experiments/results/demo.json."""
    n = result.n_photos
    paired = f"{n} test photos, raw, studio crops minus shelf crops, paired over scenes, seed {SEED}"
    gain = records.Estimate(difference.value, n, difference.low, difference.high)
    once = "one run from nothing, after the install; so no interval"
    rows = [
        *table_records(result),
        records.figure("demo.score.studio_minus_shelf", gain, "score", paired, COMMAND),
        records.figure("demo.minutes", records.Estimate(minutes, 1), "minutes", once, COMMAND),
    ]
    records.write("demo", rows)


def parity_records(judgement: Judgement, n: int) -> list[dict[str, Any]]:
    """How far run.py in the judge's environment and the pipeline here differ, on `n` photos."""
    count = judgement.predictions
    setting = f"{n} photos, {count} predictions; a largest difference, so no interval"
    differences = (("boxes_px", judgement.boxes_px, "px"), ("scores", judgement.score_difference, "score"))
    return [
        records.figure(f"parity.run_py_{name}", records.Estimate(value, count), unit, setting, COMMAND)
        for name, value, unit in differences
    ]


if __name__ == "__main__":
    raise SystemExit(main())

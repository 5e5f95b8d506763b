"""The whole path on shelves that the project draws itself: photos in, judged zip out.

    python -m experiments.demo --out demo [--quick] [--record]

Draws shelves, splits them by scene, trains both detectors and the classifier (once on shelf crops, once on studio photos), fits
the gate, compares the ways of naming on held-out shelves, builds the zip, runs it in the judge's environment and scores what it
wrote. What exists already is used again; a stopped demo goes on when started again.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.ablation import Found, ablation
from experiments.figures import ablation_table, records
from photos import folds
from photos.data import read
from photos.score import Interval, bootstrap, match
from runs.command import Parser, run, say
from runs.record import is_stopped, weights_of
from stage1_detector import recipes as detector_recipes
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.synthesis import make_photos
from stage2_classifier import config as classifier_config
from stage2_classifier.classifier_run import ClassifierRun, train_classifier
from stage2_classifier.gate.calibrate import fit_policy, n_categories, predictions
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, gather, scenes_of
from stage2_classifier.gate.fit import fit_gate, interval_in_words
from submission.build import build
from submission.judge import Judgement, judge

SEED = 0
AWARE_EPOCHS = 6  # chosen: the class-aware detector starts from the class-agnostic one's weights
# The table's arms by the names that the figures have.
ARMS = {"detector": "detector", "raw": "raw", "agree": "agree", "gate + further names": "gate", "name oracle": "oracle"}
COMMAND = "python -m experiments.demo --record"


def main(argv: list[str] | None = None, prog: str = "python -m experiments.demo") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and walk the path."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, default=Path("demo"))
    p.add_argument(
        "--quick", action="store_true", help="a rehearsal: few shelves, 1 epoch each; tests every joint and learns nothing"
    )
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs a new --out")
    args = p.parse_args(argv)
    if args.record and (args.quick or args.out.exists()):
        raise ValueError(f"--record: got --out {args.out}, must be new, and no --quick: figures are of one run from nothing")
    demo(args.out, args.quick, args.record)


def demo(out: Path, quick: bool = False, record: bool = False) -> None:
    """Everything, in order; each step says what it does, or that it reuses what is there."""
    folds.refuse_file(out)
    started = time.time()
    data = draw(out / "data", quick)
    split(data, out)
    train_all(data, out, quick)
    fit_gate(data, out, ["classifier_shelf"], SEED)
    found = ablation(data, out, ["classifier_studio"], False, SEED)
    difference = studio_minus_shelf(data, out)
    say(f"naming by studio crops minus by shelf crops, raw: {interval_in_words(difference)}")
    sha = build(out, out / "submission.zip")
    say(f"built {out / 'submission.zip'}, sha256 {sha}")
    dataset = read(data)
    photos = folds.load(out / "folds.json", dataset).photos("test")
    judgement = judge(out / "submission.zip", photos, dataset.categories, out / "predictions.json")
    minutes = (time.time() - started) / 60
    if record:
        write_figures(found, difference, minutes, len(photos))
        records.write("parity", parity_figures(judgement, len(photos)))
    ablation_table.show(found.rows, found.setting)
    say(f"done in {minutes:.1f} minutes: {out}/submission.zip, {out}/predictions.json, {out}/photos/*.png (worst first)")


def draw(data: Path, quick: bool) -> Path:
    """The drawn shelves."""
    config = make_photos.recipe("demo", 16 if quick else None)
    if not make_photos.draw(config, data, SEED, tell=lambda line: say(f"shelves: {line}")):
        say(f"shelves: reuses {data}")
    return data


def split(data: Path, out: Path) -> None:
    """Folds by the scenes as they were drawn."""
    folds.split(data, out, str(data / "scenes.csv"), seed=SEED)


def train_all(data: Path, out: Path, quick: bool) -> None:
    """Two detectors, the second from the first one's weights, and two classifiers."""
    one = detector_recipes.recipe("demo", quick)
    aware = replace(one, epochs=min(one.epochs, AWARE_EPOCHS))
    train_detector(DetectorRun(data=data, runs=out, resume=is_stopped(out / "one")), one)
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
    return bootstrap(matches[0], matches[1], groups, np.random.default_rng(SEED))


def table_figures(found: Found, n: int) -> list[dict[str, Any]]:
    """demo.det_map50, and demo.cls_map50.ARM, demo.score.ARM and demo.score.ARM_minus_detector for ARMS."""
    made, setting = [], f"{found.setting}; gate adopted: {found.gate.policy}"
    for row in (row for row in found.rows if row.arm in ARMS):
        arm = ARMS[row.arm]
        triples = {
            f"det_map50.{arm}": row.det,
            f"cls_map50.{arm}": row.cls,
            f"score.{arm}": row.score,
            f"score.{arm}_minus_detector": row.minus_detector,
        } | ({"det_map50": row.det} if arm == "gate" else {})
        made += [records.figure(f"demo.{key}", v, "mAP50", n, setting, COMMAND, low, high)
                 for key, (v, low, high) in triples.items()]  # fmt: skip
    return made


def write_figures(found: Found, difference: Interval, minutes: float, n: int) -> None:
    """Into experiments/results/demo.json."""
    made = table_figures(found, n)
    setting = f"{n} test photos, raw, studio crops minus shelf crops, paired over scenes, seed {SEED}"
    span = (difference.value, "mAP50", n, setting, COMMAND, difference.low, difference.high)
    once = "one run from nothing, after the install; so no interval"
    records.write("demo", [*made, records.figure("demo.score.studio_minus_shelf", *span),
                           records.figure("demo.minutes", minutes, "minutes", 1, once, COMMAND)])  # fmt: skip


def parity_figures(judgement: Judgement, n: int) -> list[dict[str, Any]]:
    """How far run.py in the judge's environment and the pipeline here differ, on `n` photos."""
    rows = judgement.predictions
    setting = f"{n} photos, {rows} predictions; a largest difference, so no interval"
    differences = (("boxes_px", judgement.boxes_px, "px"), ("scores", judgement.score_difference, "score"))
    return [records.figure(f"parity.run_py_{what}", value, unit, rows, setting, COMMAND) for what, value, unit in differences]


if __name__ == "__main__":
    raise SystemExit(main())

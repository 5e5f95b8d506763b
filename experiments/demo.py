"""The whole path on shelves that the project draws itself: photos in, judged zip out.

    python -m experiments.demo --out demo [--quick]

Draws shelves, splits them by scene, trains both detectors and the classifier (once on shelf crops, once on studio photos), fits
the gate, compares the ways of naming on held-out shelves, builds the zip, runs it in the judge's environment and scores what it
wrote. What exists already is used again; a stopped demo goes on when started again.
"""

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from experiments import figures
from experiments.ablation import Row, ablation, default_ensemble, gather, scenes_of, show, span
from experiments.judge import judge
from stage1_detector import config as detector_config
from stage1_detector import folds, synth
from stage1_detector import train as detector
from stage1_detector.command import run, say
from stage1_detector.data import read
from stage1_detector.score import Interval, bootstrap, match
from stage2_classifier import config as classifier_config
from stage2_classifier import train as classifier
from stage2_classifier.calibrate import fit_policy, n_categories, predictions, resampling_groups
from submission.build import build

SEED = 0
AWARE_EPOCHS = 10  # chosen: the class-aware detector starts from the class-agnostic one's weights
COMMAND = "make demo"


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments and walk the path."""
    p = argparse.ArgumentParser(prog="python -m experiments.demo", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, default=Path("demo"))
    p.add_argument(
        "--quick", action="store_true", help="a rehearsal: few shelves, 1 epoch each; tests every joint and learns nothing"
    )
    args = p.parse_args(argv)
    demo(args.out, args.quick)


def demo(out: Path, quick: bool = False) -> None:
    """Everything, in order; each step says what it does, or that it reuses what is there."""
    started, fresh = time.time(), not (out / "submission.zip").is_file()
    data = draw(out / "data", quick)
    split(data, out)
    train_all(data, out, quick)
    rows = ablation(data, out, "shelf", None, SEED, COMMAND)
    difference = studio_minus_shelf(data, out)
    say(f"naming by studio crops minus by shelf crops, raw: {span(difference)}")
    sha = build(out, out / "submission.zip")
    say(f"built {out / 'submission.zip'}, sha256 {sha}")
    dataset = read(data)
    photos = folds.load(out / "folds.json", dataset).photos("test")
    judge(out / "submission.zip", photos, dataset.categories, out / "predictions.json", None if quick else "parity", COMMAND)
    minutes = (time.time() - started) / 60
    if fresh and not quick:
        write_figures(rows, difference, minutes, len(photos))
    show(rows, len(photos), "scenes")
    say(f"done in {minutes:.1f} minutes: {out}/submission.zip, {out}/predictions.json, {out}/photos/*.png (worst first)")


def draw(data: Path, quick: bool) -> Path:
    """The drawn shelves."""
    config = synth.recipe("demo", 16 if quick else None)
    if not synth.draw(config, data, SEED, tell=lambda line: say(f"shelves: {line}")):
        say(f"shelves: reuses {data}")
    return data


def split(data: Path, out: Path) -> None:
    """Folds by the scenes as they were drawn."""
    code = folds.main(["--data", str(data), "--out", str(out), "--groups", str(data / "scenes.csv"), "--seed", str(SEED)])
    if code:
        raise ValueError(f"folds: ended with exit code {code}")


def train_all(data: Path, out: Path, quick: bool) -> None:
    """Two detectors, the second from the first one's weights, and two classifiers."""
    one = detector_config.recipe("demo", quick)
    aware = replace(one, epochs=min(one.epochs, AWARE_EPOCHS))
    detector.train(data, out, "one", one, resume=detector.is_stopped(out / "one"))
    detector.train(
        data, out, "all", aware, pretrained=detector.weights_of(out / "one"), resume=detector.is_stopped(out / "all")
    )
    for crops in ("shelf", "studio"):
        stopped = (out / f"classifier_{crops}" / "last.pt").is_file()
        classifier.train(data, out, crops, classifier_config.recipe("demo", quick), resume=stopped)


def studio_minus_shelf(data: Path, out: Path) -> Interval:
    """The score of `raw` with the studio classifier minus that with the shelf classifier, on the test part, paired."""
    dataset = read(data)
    parts = folds.load(out / "folds.json", dataset)
    matches = []
    for crops in ("studio", "shelf"):
        ensemble = default_ensemble(out, crops, dataset)
        valid, test = (gather(part, ensemble, out, parts) for part in ("valid", "test"))
        gate = fit_policy("raw", valid)
        matches.append(match([e.truth for e in test], predictions(test, [gate] * len(test)), n_categories(test)))
    groups, _ = resampling_groups(scenes_of(test, parts))
    return bootstrap(matches[0], matches[1], groups, np.random.default_rng(SEED))


def write_figures(rows: list[Row], difference: Interval, minutes: float, n: int) -> None:
    """experiments/results/demo.json, after a run from nothing."""
    setting = f"{n} held-out drawn shelves of scenes not trained on, interval over scenes"
    by_policy = {row.policy: row for row in rows}
    triples = {
        "det_map50": by_policy["gate"].det,
        "score.agree_minus_detector": by_policy["agree"].minus_detector,
        "score.studio_minus_shelf": (difference.value, difference.low, difference.high),
    }
    triples |= {f"score.{policy}": row.score for policy, row in by_policy.items()}
    made = [
        figures.figure(f"demo.{key}", v, "mAP50", n, setting, COMMAND, low, high) for key, (v, low, high) in triples.items()
    ]
    made.append(
        figures.figure(
            "demo.minutes", minutes, "minutes", 1, "one run from nothing, after the install; so no interval", COMMAND
        )
    )
    figures.write("demo", made)


if __name__ == "__main__":
    raise SystemExit(main())

"""What cross-fitting and refitting gain over holding two fifths of the photos back, on scenes that neither has seen.

    python -m experiments.studies.whole_fit --data D --out X [--seeds 0 1 2] [--size 416] [--epochs 10] [--name SET --record]

`{seed}` in D stands for each of --seeds. The outer test part is the one that D comes with, else a fifth of its scenes. Three
ways, with the same settings, starting weights, views, merging and test photos; no detector keeps a share of its start:

    held out   models trained on train, the gate fitted on valid, a quarter of what is not test: the step-by-step commands
    gate       models trained on all that is not test, under the gate, the naming floor and the sizes of `held out`
    whole      the same models under those that are cross-fitted: `fitting.run.run_procedure`

X/SEED/{data,held_out,whole} hold the split set and both run folders; what is finished there is reused, a stopped training
resumes.
"""

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fitting.procedure import Procedure
from fitting.run import run_procedure
from fusion.ensemble import Ensemble
from photos import folds
from photos.data import PARTS, read
from photos.groups import find_scenes
from photos.intervals import Interval, gain_interval
from photos.score import Match, match, scores
from runs import record
from runs.command import Parser, run, say
from runs.link import link_or_copy
from stage1_detector import recipes as detector_recipes
from stage1_detector.config import Config
from stage1_detector.config import override as override_detector
from stage1_detector.detector_run import DetectorRun, train_detector
from stage2_classifier import config as classifier_config
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.gate.calibrate import n_categories, predictions
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import NAME, gather, load_ensemble, scenes_of
from stage2_classifier.gate.evidence import Evidence, as_judged
from stage2_classifier.gate.fit import fit_gate
from stage2_classifier.training_request import ClassifierRun

HELD_OUT_FOLDS = 4  # chosen: of what is not test one quarter is valid, as in the five folds that hylle folds deals


class Gains(NamedTuple):
    """Score of `whole` minus `held out`, and of `whole` minus `gate`, on the outer test photos; and both scores."""

    refit: Interval
    cross_fit: Interval
    held_out: float
    whole: float


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train all ways with every seed, say the gains, record them."""
    p = Parser(prog="python -m experiments.studies.whole_fit", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", required=True, help="data set; {seed} stands for each of --seeds")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the outer split, the trainings and the gate")
    p.add_argument("--groups", default="auto", help="how scenes are found, as hylle folds takes it; {seed} as in --data")
    p.add_argument("--size", type=int, help="long side of a photo in pixels, for the detectors; default the recipe's")
    p.add_argument("--epochs", type=int, help="of each training; default the recipes'")
    p.add_argument("--steps", type=int, help="of each training at least, by more epochs; default the recipes'")
    p.add_argument("--aware", action="store_true", help="train class-aware detectors too")
    p.add_argument("--folds", type=int, default=3, help="of the cross-fitting")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 1 epoch each; learns nothing")
    p.add_argument("--name", help="what to call the photos in the figures")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs --name")
    args = p.parse_args(argv)
    if args.record and (args.quick or not args.name):
        raise ValueError("--record: needs --name, what to call the photos in the figures, and no --quick")
    gains = [one_seed(args, seed) for seed in dict.fromkeys(args.seeds)]
    if args.record:
        command = records.command("studies.whole_fit", argv)
        say(f"figures: {records.write(f'whole_fit.{args.name}', as_records(args, gains, command))}")


def one_seed(args: argparse.Namespace, seed: int) -> Gains:
    """Train what is not there yet, and compare on the outer test photos."""
    out, procedure = args.out / str(seed), procedure_of(args, seed)
    data = outer_split(Path(args.data.format(seed=seed)), out / "data", procedure.groups, seed)
    procedure = replace(procedure, groups=str(data / "scenes.csv"))
    train_held_out(data, out / "held_out", procedure)
    join_alike(out / "held_out", out / "whole")
    run_procedure(data, out / "whole", procedure, say)
    gains = compare(data, out, seed)
    refit, cross_fit = (f"{g.value:+.3f} [{g.low:+.3f}, {g.high:+.3f}]" for g in (gains.refit, gains.cross_fit))
    say(f"whole fit: seed {seed}: held out {gains.held_out:.3f}, whole {gains.whole:.3f}: {refit}; of it the gate {cross_fit}")
    return gains


def procedure_of(args: argparse.Namespace, seed: int) -> Procedure:
    """The settings of all ways. The step-by-step commands keep no share of the start, so the procedure keeps none either."""
    detector: Config = detector_recipes.recipe("small", args.quick)
    given = {"epochs": args.epochs, "min_steps": args.steps, "seed": seed}
    detector = override_detector(detector, given | {"size": args.size})
    classifier = classifier_config.override(classifier_config.recipe("small", args.quick), given)
    return Procedure(
        detector,
        classifier,
        detector if args.aware else None,
        start_share=0.0,
        folds=args.folds,
        seed=seed,
        groups=args.groups.format(seed=seed),
    )


def outer_split(data: Path, out: Path, groups: str, seed: int) -> Path:
    """A copy of the set in OUT as train.json and test.json, and its scenes in scenes.csv; made once."""
    if (out / "test.json").is_file():
        return out
    dataset = read(data)
    settings = folds.Settings(data.resolve().name, "", 5, seed)
    whole = folds.deal(dataset, find_scenes(dataset, groups), settings)
    out.mkdir(parents=True, exist_ok=True)
    link_or_copy((data / "images").resolve(), out / "images")
    names = "".join(f"{photo.name},{whole.scene[photo.id]}\n" for photo in dataset.photos)
    (out / "scenes.csv").write_text(f"file_name,scene\n{names}")
    sources = [json.loads(path.read_text()) for part in ("annotations", *PARTS) if (path := data / f"{part}.json").is_file()]
    if not sources:
        raise ValueError(f"--data: got {data}, must hold annotations.json or train.json ..., as hylle data --to coco writes it")
    joined = {key: [row for source in sources for row in source[key]] for key in ("images", "annotations")}
    joined["annotations"] = [row | {"id": number} for number, row in enumerate(joined["annotations"], 1)]  # unique in each file
    for part in ("train", "test"):
        own = {photo.id for photo in dataset.photos if (whole.part[photo.id] == "test") == (part == "test")}
        images = [row for row in joined["images"] if row["id"] in own]
        boxes = [row for row in joined["annotations"] if row["image_id"] in own]
        record.write_json(
            out / f"{part}.json", {"images": images, "annotations": boxes, "categories": sources[0]["categories"]}
        )
    return out


def train_held_out(data: Path, runs: Path, procedure: Procedure) -> None:
    """The step-by-step commands with the same settings."""
    folds.split(read(data), runs, procedure.groups, HELD_OUT_FOLDS, procedure.seed)
    for classes, config in (("one", procedure.detector), ("all", procedure.aware)):
        if config is not None:
            start = procedure.pretrained_path if classes == "one" else record.weights_of(runs / "one")
            stopped = record.is_stopped(runs / classes)
            train_detector(DetectorRun(data=data, runs=runs, classes=classes, pretrained=start, resume=stopped), config)
    stopped = record.is_stopped(runs / "classifier_shelf")
    request = ClassifierRun(data=data, runs=runs, pretrained=procedure.crop_pretrained_path, resume=stopped)
    train_classifier(request, procedure.classifier)
    fit_gate(data, runs, seed=procedure.seed)


def join_alike(held_out: Path, whole: Path) -> None:
    """Let WHOLE join its models as HELD_OUT does: beside a user's ensemble.json the procedure chooses no way of merging."""
    whole.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(held_out / NAME, whole / NAME)


def compare(data: Path, out: Path, seed: int) -> Gains:
    """The ways on the same test photos, as they are judged, paired, over scenes."""
    held_out, whole = (evidence_on_test(data, out / name) for name in ("held_out", "whole"))
    fitted = {name: load_ensemble(out / name) for name in ("held_out", "whole")}
    old, mixed, new = (
        matched(evidence, fitted[name]) for evidence, name in ((held_out, "held_out"), (whole, "held_out"), (whole, "whole"))
    )
    parts = folds.load(out / "whole" / folds.NAME, read(data))
    groups = resampling_groups(scenes_of(whole, parts))[0]
    refit, cross_fit = (gain_interval(new, other, groups) for other in (old, mixed))
    return Gains(refit, cross_fit, scores(old).score, scores(new).score)


def evidence_on_test(data: Path, runs: Path) -> list[Evidence]:
    """What the models of RUNS say of the test photos."""
    return gather("test", load_ensemble(runs), runs, folds.load(runs / folds.NAME, read(data)))


def matched(evidence: list[Evidence], ensemble: Ensemble) -> Match:
    """The decisions under the naming floor, the sizes and the gate of `ensemble`, matched to the truth."""
    judged = as_judged(evidence, ensemble)
    return match([e.truth for e in judged], predictions(judged, [ensemble.gate] * len(judged)), n_categories(judged))


def as_records(args: argparse.Namespace, gains: list[Gains], command: str) -> list[dict[str, Any]]:
    """refit.SET.gain and crossfit.SET.gain: over seeds where there are several, else over scenes."""
    scored = f"held out {np.mean([g.held_out for g in gains]):.3f}, whole {np.mean([g.whole for g in gains]):.3f}"
    same = "the same settings, views and merging, nothing kept of the start, as judged"
    setting = f"outer test scenes, {args.folds} folds against one quarter held out, {same}; {scored}; over "
    rows = []
    for key, by_seed in (("refit", [g.refit for g in gains]), ("crossfit", [g.cross_fit for g in gains])):
        first = by_seed[0]
        alone = records.Estimate(first.value, first.n_groups, first.low, first.high)
        estimate = alone if len(by_seed) == 1 else over_seeds([gain.value for gain in by_seed])
        over = "scenes, one seed" if len(by_seed) == 1 else "seeds"
        rows.append(records.figure(f"{key}.{args.name}.gain", estimate, "score", setting + over, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

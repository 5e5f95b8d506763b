"""Does a detector find more where photos are averaged as they shrink to its canvas, which linear interpolation does not do?

    python -m experiments.studies.shrinking --set NAME --data D --runs R --detector starter|FOLDER [--sizes 320 640] [--record]
    python -m experiments.studies.shrinking --set NAME --data D --runs R --train X --sizes 256 --epochs 6 [--seeds 0 1 2]

The first judges a class-agnostic detector on canvases made in each of --ways, by `experiments.studies.shrunk_photos`. The
second trains the recipe `small` from the starter on canvases of each of --ways, and judges each detector on canvases of its
own way and of `linear`. Both score photos of valid and test of R/folds.json (no epoch is chosen), paired with `linear`; without
R all photos, which only the starter has not seen. X holds the trainings; what is finished is reused.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate, Measured
from experiments.studies.shrunk_photos import BASE, WAYS, resized, shrunk, size_on_canvas, write_set
from fusion.boxes import Detections
from fusion.decode import run_detector
from fusion.ensemble import Member
from fusion.models import Model
from photos import folds
from photos.data import Dataset, Photo, read
from photos.intervals import gain_interval
from photos.score import Match, Truth, match, scores
from runs import record
from runs.command import Parser, run, say, ticker
from stage1_detector import starter, validation
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import small

STARTER = "starter"


class HeldOut(NamedTuple):
    """Photos to score, and the scene of each, int64 (P,)."""

    photos: tuple[Photo, ...]
    scenes: np.ndarray

    def in_words(self, grouped: bool) -> str:
        """How many there are, and what intervals are over."""
        over = f"{len(np.unique(self.scenes))} scenes" if grouped else "photos"
        return f"{len(self.photos)} photos, interval over {over}"


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Judge a detector, or train and judge; say the gains, record them. ValueError for arguments that do not go together."""
    p = Parser(prog="python -m experiments.studies.shrinking", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, help="run folder whose folds.json says which photos are held out, and their scenes")
    p.add_argument("--detector", help="starter, or the folder of a finished class-agnostic detector; judged only")
    p.add_argument("--train", type=Path, help="folder for trainings")
    p.add_argument("--ways", nargs="+", choices=tuple(WAYS), default=list(WAYS))
    p.add_argument("--sizes", type=int, nargs="+", required=True, help="long sides of canvases, pixels")
    p.add_argument("--epochs", type=int, default=6, help="of a training")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of trainings")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    refuse(args)
    figures = judged(args) if args.detector else trained(args)
    for figure in figures:
        say(f"{figure.key}: {figure.estimate}, {figure.setting}")
    if args.record:
        command = records.command("studies.shrinking", argv)
        records.write(f"shrinking.{args.set}", [records.figure(*figure, command) for figure in figures])


def refuse(args: argparse.Namespace) -> None:
    """ValueError for arguments that do not go together."""
    if (args.detector is None) == (args.train is None):
        raise ValueError("--detector, --train: need one of them")
    if args.train is not None and (args.runs is None or len(args.sizes) > 1):
        raise ValueError("--train: needs --runs, and one of --sizes")
    if args.runs is None and args.detector not in (None, STARTER):
        raise ValueError(f"--detector: {args.detector} needs --runs, which says what it was not trained on")
    if min(args.sizes) < 32 or min([args.epochs, *args.seeds, 1]) < 0:
        raise ValueError(f"--sizes, --epochs, --seeds: got {args.sizes}, {args.epochs}, {args.seeds}; sizes must be >= 32")


def held_out(args: argparse.Namespace, dataset: Dataset) -> HeldOut:
    """The photos of valid and test with their scenes; without --runs all of them, each a scene of its own."""
    if args.runs is None:
        return HeldOut(dataset.photos, np.arange(len(dataset.photos)))
    parts = folds.load(args.runs / folds.NAME, dataset)
    photos = (*parts.photos("valid"), *parts.photos("test"))
    return HeldOut(photos, np.array([parts.scene[photo.id] for photo in photos]))


# -- judging -------------------------------------------------------------------------------------------------------------


def judged(args: argparse.Namespace) -> list[Measured]:
    """What each way finds over `linear` with one detector, at each size."""
    photos, figures = held_out(args, read(args.data)), []
    name = STARTER if args.detector == STARTER else f"trained_{Path(args.detector).parent.name}"
    model = model_of(args.detector)
    for size in args.sizes:
        matches = {way: match_on(model, photos.photos, size, way) for way in dict.fromkeys([BASE, *args.ways])}
        key = f"shrinking.{args.set}.{name}.{size}px"
        shrinks = np.median([max(photo.width, photo.height) / size for photo in photos.photos])
        setting = f"{photos.in_words(args.runs is not None)}; photos are {shrinks:.2f} times the canvas"
        figures.append(
            Measured(f"{key}.{BASE}.map50", photos_estimate(matches[BASE], photos), "mAP50", f"{setting}; no interval")
        )
        for way in [way for way in args.ways if way != BASE]:
            gain = paired(matches[way], matches[BASE], photos.scenes)
            figures.append(Measured(f"{key}.{way}.gain", gain, "mAP50", f"minus {BASE}; {setting}"))
    return figures


def model_of(detector: str) -> Model:
    """The starter, exported, or the model in a folder."""
    if detector != STARTER:
        model = Model(Path(detector) / "model.onnx")
        if model.sidecar.shape == "stretch":
            raise ValueError(f"--detector: {detector} stretches photos to a square, which this study does not")
        return model
    with tempfile.TemporaryDirectory() as folder:
        return Model(starter.export(Path(folder)))


def match_on(model: Model, photos: Sequence[Photo], size: int, way: str) -> Match:
    """What `model` finds on canvases of `size` made in one way, matched to the true boxes without regard to names."""
    member, tell = validation.member(model), ticker(f"{way}, {size} px: photos")
    member = replace(member, views=[member.views[0] | {"size": size}])
    detections, truths = [], []
    for i, photo in enumerate(photos):
        detections.append(nameless(model, member, shrunk(photo, size, way)))
        truths.append(Truth.of(resized(photo, size_on_canvas(photo, size), photo.path)).nameless())
        tell(i + 1, len(photos))
    return match(truths, detections, 1)


def nameless(model: Model, member: Member, canvas: np.ndarray) -> Detections:
    """What is found on a photo, all of one name."""
    detections = run_detector(model, member, canvas)[0]
    return Detections(detections.boxes, detections.scores, np.zeros_like(detections.labels))


def photos_estimate(matched: Match, photos: HeldOut) -> Estimate:
    """det mAP50 on the photos."""
    return Estimate(scores(matched).det_map50, len(photos.photos))


def paired(better: Match, worse: Match, scenes: np.ndarray) -> Estimate:
    """det mAP50 of one minus the other's; as all names are one, the contest's score is det mAP50."""
    gain = gain_interval(better, worse, scenes)
    return Estimate(gain.value, better.n_photos, gain.low, gain.high)


# -- training ------------------------------------------------------------------------------------------------------------


def trained(args: argparse.Namespace) -> list[Measured]:
    """What detectors trained on canvases of each way find over those of `linear`, judged by their own way and by `linear`."""
    dataset, ways = read(args.data), list(dict.fromkeys([BASE, *args.ways]))
    photos = held_out(args, dataset)
    by_seed = {seed: matches_of(args, dataset, photos, ways, seed) for seed in args.seeds}
    alone = len(args.seeds) == 1
    setting = f"{args.epochs} epochs at {args.sizes[0]} px, {len(args.seeds)} seeds, {len(photos.photos)} photos"
    figures = []
    for way, judged_by in pairs_of(ways):
        key = f"shrinking.{args.set}.{way}" + (f".judged_{judged_by}" if judged_by != way else "")
        values = [scores(matches[way, judged_by]).det_map50 for matches in by_seed.values()]
        figures.append(Measured(f"{key}.map50", over_seeds(values), "mAP50", setting + "; one seed, so no interval" * alone))
        if way != BASE:
            gains = [paired(m[way, judged_by], m[BASE, BASE], photos.scenes) for m in by_seed.values()]
            say(f"{key}: gain by seed over scenes: {', '.join(map(str, gains))}")
            gain = gains[0] if alone else over_seeds([gain.value for gain in gains])
            over = f"one seed, interval over {len(np.unique(photos.scenes))} scenes" if alone else "paired by seed"
            figures.append(Measured(f"{key}.gain", gain, "mAP50", f"minus {BASE}, {over}; {setting}"))
    return figures


def pairs_of(ways: Sequence[str]) -> list[tuple[str, str]]:
    """Each way of training with each way of judging it.

    >>> pairs_of(["linear", "area"])
    [('linear', 'linear'), ('area', 'area'), ('area', 'linear')]
    """
    return [(way, judged_by) for way in ways for judged_by in dict.fromkeys([way, BASE])]


def matches_of(
    args: argparse.Namespace, dataset: Dataset, photos: HeldOut, ways: Sequence[str], seed: int
) -> dict[tuple[str, str], Match]:
    """What the detectors of one seed find, by the way of training and of judging."""
    matches = {}
    models = {way: Model(train(args, dataset, way, seed)) for way in ways}
    for way, judged_by in pairs_of(ways):
        matches[way, judged_by] = match_on(models[way], photos.photos, args.sizes[0], judged_by)
        score = scores(matches[way, judged_by]).det_map50
        say(f"{args.set}: trained {way}, judged {judged_by}, seed {seed}: det mAP50 {score:.4f}")
    return matches


def train(args: argparse.Namespace, dataset: Dataset, way: str, seed: int) -> Path:
    """The detector of one way and seed, trained unless it is there."""
    size, data = args.sizes[0], args.train / f"{way}_{args.sizes[0]}px"
    if not data.is_dir():
        parts = folds.load(args.runs / folds.NAME, dataset)
        write_set(dataset, {part: parts.photos(part) for part in folds.PARTS}, size, way, data)
    runs = args.train / "runs" / way / str(seed)
    runs.mkdir(parents=True, exist_ok=True)
    folds.split(read(data), runs, groups="photo")  # the parts are those of the copy
    config = replace(small(), size=size, epochs=args.epochs, min_steps=0, seed=seed)
    resume = record.is_stopped(runs / "one")
    return train_detector(DetectorRun(data=data, runs=runs, pretrained=Path(STARTER), resume=resume), config)


if __name__ == "__main__":
    raise SystemExit(main())

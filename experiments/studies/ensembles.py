"""What more views, a second family and other ways of merging add to one detector: det mAP50 on held-out photos, over seeds.

    python -m experiments.studies.ensembles --set NAME --data D --runs R --first A --second B [--seeds 0 1 2] [--record]

`{seed}` in D, R, A and B stands for the seed; A and B are folders of finished detectors, R holds folds.json. The detectors look
once; every variant is a merging of what they said. Nothing is chosen here, so the photos may be those that are scored.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import read_sidecar
from fusion.pipeline import merge
from photos import folds
from photos.data import Photo, read
from photos.score import Match, Truth, match, scores
from runs.command import Parser, run, say, ticker
from stage2_classifier.gate.evidence import raw_outputs

CONF = 0.01  # chosen: fainter boxes hardly count, and make merging several times slower
SCALES = {"small": 0.75, "large": 1.25}  # chosen: of the training size
TILES = {"tiles": [2, 2], "overlap": 0.25}
VIEWS = ("plain", "flip", *SCALES, "tiles")
# variant: views of the first detector, of the second, way of merging
VARIANTS: dict[str, tuple[Sequence[str], Sequence[str], Merge]] = {
    "single": (["plain"], [], Merge("nms", iou=0.7)),
    "flip": (["plain", "flip"], [], Merge()),
    "scales": (["plain", *SCALES], [], Merge()),
    "tiles": (["plain", "tiles"], [], Merge()),
    "second": ([], ["plain"], Merge("nms", iou=0.7)),
    "both": (["plain"], ["plain"], Merge()),
    "both_flip": (["plain", "flip"], ["plain", "flip"], Merge()),
    "both_flip_nms": (["plain", "flip"], ["plain", "flip"], Merge("nms", iou=0.55)),
    "both_flip_soft_nms": (["plain", "flip"], ["plain", "flip"], Merge("soft_nms")),
    "everything": (VIEWS, VIEWS, Merge()),
}
Raw = list[list[list[Detections]]]  # photos, members, views


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Score every variant with every seed, show the table, record the figures."""
    p = Parser(prog="python -m experiments.studies.ensembles", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    for name in ("data", "runs", "first", "second"):
        p.add_argument(f"--{name}", required=True)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--parts", nargs="+", default=["valid", "test"], choices=("valid", "test"))
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    each = [one_seed(args, seed) for seed in args.seeds]
    show(args.set, each)
    if args.record:
        records.write(f"ensemble.{args.set}", as_figures(args.set, each, records.command("studies.ensembles", argv)))


def one_seed(args: argparse.Namespace, seed: int) -> dict[str, float]:
    """det mAP50 of every variant."""
    data, runs, first, second = (Path(getattr(args, name).format(seed=seed)) for name in ("data", "runs", "first", "second"))
    dataset = read(data)
    parts = folds.load(runs / folds.NAME, dataset)
    photos = [photo for part in args.parts for photo in parts.photos(part)]
    ensemble = of_detectors([first / "model.onnx", second / "model.onnx"], photos)
    raw, _ = raw_outputs(ensemble, Path(), photos, runs / "raw", ticker(f"{args.set}, seed {seed}: photos"))
    found = {name: det_map50(photos, raw, weighted(ensemble, [a, b], way)) for name, (a, b, way) in VARIANTS.items()}
    say(f"{args.set}, seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in found.items()))
    return found


def of_detectors(models: Sequence[Path], photos: Sequence[Photo]) -> Ensemble:
    """An ensemble of class-agnostic detectors, each with all of VIEWS. ValueError for one that is not finished."""
    members = []
    for model in models:
        if not model.is_file():
            raise ValueError(f"{model} not found: train it first, python -m stage1_detector.train")
        side = read_sidecar(model.with_suffix(".json"))
        members.append(Member.of(str(model.resolve()), side, views=views_of(side.size, side.shape, side.stride), conf=CONF))
    return Ensemble([0], members, Merge(max_det=max(member.max_det for member in members)))


def views_of(size: int, shape: str, stride: int) -> list[dict[str, Any]]:
    """VIEWS as ensemble.json has them. A detector that takes one size only sees it in every view."""
    plain = {"size": size, "shape": shape, "stride": stride}
    scaled = {name: size if shape == "stretch" else stride * round(size * scale / stride) for name, scale in SCALES.items()}
    return [plain, plain | {"flip": True}, *[plain | {"size": side} for side in scaled.values()], plain | TILES]


def weighted(ensemble: Ensemble, picks: Sequence[Sequence[str] | dict[str, float]], way: Merge) -> Ensemble:
    """`ensemble` where each member's views count as its pick says by name, 1 for those only named; merged in this way."""
    members = []
    for member, pick in zip(ensemble.detectors, picks, strict=True):
        weights = pick if isinstance(pick, dict) else dict.fromkeys(pick, 1.0)
        views = [view | {"weight": weights.get(name, 0.0)} for name, view in zip(VIEWS, member.views, strict=True)]
        members.append(replace(member, views=views))
    return replace(ensemble, detectors=members, merge=replace(way, max_det=ensemble.merge.max_det))


def matched(photos: Sequence[Photo], raw: Raw, ensemble: Ensemble) -> Match:
    """What merging makes of raw outputs, matched to the truth without regard to category."""
    truths = [Truth(photo.boxes, np.zeros_like(photo.labels)) for photo in photos]
    return match(truths, [merge(one, ensemble) for one in raw], 1)


def det_map50(photos: Sequence[Photo], raw: Raw, ensemble: Ensemble) -> float:
    """det mAP50 of one way of merging."""
    return scores(matched(photos, raw, ensemble)).det_map50


def as_figures(of: str, each: list[dict[str, float]], command: str) -> list[dict[str, Any]]:
    """ensemble.SET.VARIANT.map50, and what each variant has over the single detector, paired by seed."""
    told = []
    setting = f"{len(each)} seeds, held-out photos, views {', '.join(VIEWS)}"
    for name in VARIANTS:
        own, less = over_seeds([one[name] for one in each]), over_seeds([one[name] - one["single"] for one in each])
        for key, mean, how in (("map50", own, setting), ("minus_single", less, f"{setting}; paired by seed")):
            whole = f"ensemble.{of}.{name}.{key}"
            told.append(records.figure(whole, mean.value, "mAP50", mean.n, how, command, mean.low, mean.high))
    return told


def show(of: str, each: list[dict[str, float]]) -> None:
    """Print the table."""
    table = Table("variant", "det mAP50", "minus single", title=f"{of}, {len(each)} seeds")
    for name in VARIANTS:
        less = over_seeds([one[name] - one["single"] for one in each])
        table.add_row(name, str(over_seeds([one[name] for one in each])), str(less))
    Console(width=110).print(table)


if __name__ == "__main__":
    raise SystemExit(main())

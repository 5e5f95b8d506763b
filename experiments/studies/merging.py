"""Which way of merging finds most, for one detector's view, its view and flip, and two detectors: det mAP50, paired over seeds.

    python -m experiments.studies.merging --set NAME --data D --runs R --first A [--second B] [--seeds 0 1 2] [--record]

`{seed}` in D, R, A and B stands for the seed; A and B are folders of finished detectors, R holds folds.json. The detectors run
once; every way merges the same raw outputs. Each is compared with the default of `hylle gate`: WBF at 0.55, view and flip.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.ensembles import arguments, read_outputs
from fusion.merge import Merge
from photos.data import Photo
from runs.command import run, say
from stage2_classifier.gate.weighted_views import det_map50, equal_weights

WAYS: dict[str, Merge] = {
    "nms 0.5": Merge("nms", iou=0.5),
    "nms 0.6": Merge("nms", iou=0.6),
    "nms 0.7": Merge("nms", iou=0.7),
    "soft-nms 0.25": Merge("soft_nms", sigma=0.25),
    "soft-nms 0.5": Merge("soft_nms", sigma=0.5),
    "soft-nms 0.8": Merge("soft_nms", sigma=0.8),
    "wbf 0.55": Merge("wbf", iou=0.55),
    "wbf 0.65": Merge("wbf", iou=0.65),
    "wbf 0.75": Merge("wbf", iou=0.75),
    "soft-wbf 0.55": Merge("soft_wbf", iou=0.55),
    "soft-wbf 0.65": Merge("soft_wbf", iou=0.65),
    "soft-wbf 0.75": Merge("soft_wbf", iou=0.75),
}
VIEWS: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "one view": (["plain"], []),
    "view and flip": (["plain", "flip"], []),
    "two detectors": (["plain"], ["plain"]),
    "two and flips": (["plain", "flip"], ["plain", "flip"]),
}
BASE = ("view and flip", "wbf 0.55")  # the default of `hylle gate`


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Score every way with every seed, show the table, record the figures."""
    p = arguments("python -m experiments.studies.merging", __doc__ or "")
    p.add_argument("--second", help="folder of a second finished detector")
    args = p.parse_args(argv)
    by_seed = [one_seed(args, seed) for seed in args.seeds]
    show(args.set, by_seed)
    if args.record:
        command = records.command("studies.merging", argv)
        records.write(f"merging.{args.set}", as_records(args.set, by_seed, command))


Scores = dict[tuple[str, str], float]  # det mAP50 by views and way


def one_seed(args: argparse.Namespace, seed: int) -> Scores:
    """det mAP50 of every way with every choice of views."""
    photos, ensemble, raw = read_outputs(args, seed)
    scores: Scores = {}
    for views, by_detector in VIEWS.items():
        if len(ensemble.detectors) == 1 and by_detector[1]:
            continue
        weighted = equal_weights(ensemble, by_detector[: len(ensemble.detectors)], Merge())
        for way, merge in WAYS.items():
            kept = replace(weighted, merge=replace(merge, max_det=ensemble.merge.max_det))
            scores[views, way] = det_map50(photos, raw, kept)
    say(f"{args.set}, seed {seed}: {len(photos)} photos, {boxes_per_photo(photos):.0f} boxes a photo")
    return scores


def boxes_per_photo(photos: Sequence[Photo]) -> float:
    """The mean number of true boxes."""
    return sum(len(photo.boxes) for photo in photos) / max(len(photos), 1)


def as_records(set_name: str, by_seed: list[Scores], command: str) -> list[dict[str, Any]]:
    """merging.SET.VIEWS.WAY.map50 and .minus_wbf_flip, paired by seed."""
    rows = []
    setting = f"{len(by_seed)} seeds, held-out photos" if len(by_seed) > 1 else "one seed, so no interval; held-out photos"
    for views, way in by_seed[0]:
        key = f"merging.{set_name}.{views}.{way}".replace(" ", "_").replace("-", "_")
        score, minus = over_seeds([scores[views, way] for scores in by_seed]), minus_base(by_seed, views, way)
        rows += [
            records.figure(f"{key}.map50", score, "mAP50", setting, command),
            records.figure(f"{key}.minus_wbf_flip", minus, "mAP50", f"{setting}; paired by seed", command),
        ]
    return rows


def minus_base(by_seed: list[Scores], views: str, way: str) -> records.Estimate:
    """What a way scores above BASE, paired by seed."""
    return over_seeds([scores[views, way] - scores[BASE] for scores in by_seed])


def show(set_name: str, by_seed: list[Scores]) -> None:
    """Print the table."""
    table = Table("views", "way", "det mAP50", "minus wbf 0.55 with flip", title=f"{set_name}, {len(by_seed)} seeds")
    for views, way in by_seed[0]:
        score = over_seeds([scores[views, way] for scores in by_seed])
        table.add_row(views, way, str(score), str(minus_base(by_seed, views, way)))
    Console(width=110).print(table)


if __name__ == "__main__":
    raise SystemExit(main())

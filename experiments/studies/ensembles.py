"""What more views, a second family and other ways of merging add to one detector: det mAP50 on held-out photos, over seeds.

    python -m experiments.studies.ensembles --set NAME --data D --runs R --first A --second B [--seeds 0 1 2] [--record]

`{seed}` in D, R, A and B stands for the seed; A and B are folders of finished detectors, R holds folds.json. The detectors run
once; every variant merges their raw outputs in another way. Nothing is chosen here, so the photos may be those that are scored.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fusion.ensemble import Ensemble
from fusion.merge import Merge
from photos import folds
from photos.data import Photo, read
from runs.command import Parser, run, say, ticker
from stage2_classifier.gate.evidence import RawOutputs, raw_outputs
from stage2_classifier.gate.weighted_views import SCALES, VIEWS, det_map50, ensemble_of, equal_weights, refuse_twice

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


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Score every variant with every seed, show the table, record the figures."""
    p = arguments("python -m experiments.studies.ensembles", __doc__ or "")
    p.add_argument("--second", required=True)
    args = p.parse_args(argv)
    by_seed = [one_seed(args, seed) for seed in args.seeds]
    show(args.set, by_seed)
    if args.record:
        command = records.command("studies.ensembles", argv)
        records.write(f"ensemble.{args.set}", as_records(args.set, by_seed, command))


def arguments(prog: str, about: str) -> Parser:
    """The arguments of a study that merges the raw outputs of finished detectors, over seeds; `about` is its docstring."""
    p = Parser(prog=prog, description=about.split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    for name in ("data", "runs", "first"):
        p.add_argument(f"--{name}", required=True)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    p.add_argument("--parts", nargs="+", default=["valid", "test"], choices=("valid", "test"))
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    return p


def read_outputs(args: argparse.Namespace, seed: int) -> tuple[list[Photo], Ensemble, RawOutputs]:
    """The held-out photos, an ensemble of the detectors in all their views, and what they say of the photos, cached in RUNS."""
    refuse_twice(args.parts)
    given = [getattr(args, name) for name in ("data", "runs", "first", "second")]
    data, runs, *detectors = (Path(path.format(seed=seed)) for path in given if path)
    parts = folds.load(runs / folds.NAME, read(data))
    photos = [photo for part in args.parts for photo in parts.photos(part)]
    ensemble = ensemble_of([detector / "model.onnx" for detector in detectors], photos)
    raw, _ = raw_outputs(ensemble, Path(), photos, runs / "raw", ticker(f"{args.set}, seed {seed}: photos"))
    return photos, ensemble, raw


def one_seed(args: argparse.Namespace, seed: int) -> dict[str, float]:
    """det mAP50 of every variant."""
    photos, ensemble, raw = read_outputs(args, seed)
    scores = {
        name: det_map50(photos, raw, equal_weights(ensemble, [first_views, second_views], method))
        for name, (first_views, second_views, method) in VARIANTS.items()
    }
    say(f"{args.set}, seed {seed}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return scores


def as_records(set_name: str, by_seed: list[dict[str, float]], command: str) -> list[dict[str, Any]]:
    """ensemble.SET.VARIANT.map50, and what each variant has over the single detector, paired by seed."""
    rows = []
    setting = f"{len(by_seed)} seeds, held-out photos, views {', '.join(VIEWS)}"
    for name in VARIANTS:
        score, minus_single = over_seeds([scores[name] for scores in by_seed]), minus(by_seed, name, "single")
        key = f"ensemble.{set_name}.{name}"
        rows += [
            records.figure(f"{key}.map50", score, "mAP50", setting, command),
            records.figure(f"{key}.minus_single", minus_single, "mAP50", f"{setting}; paired by seed", command),
        ]
    return rows


def minus(by_seed: list[dict[str, float]], name: str, base: str) -> records.Estimate:
    """What a variant scores above another, paired by seed."""
    return over_seeds([scores[name] - scores[base] for scores in by_seed])


def show(set_name: str, by_seed: list[dict[str, float]]) -> None:
    """Print the table."""
    table = Table("variant", "det mAP50", "minus single", title=f"{set_name}, {len(by_seed)} seeds")
    for name in VARIANTS:
        score = over_seeds([scores[name] for scores in by_seed])
        table.add_row(name, str(score), str(minus(by_seed, name, "single")))
    Console(width=110).print(table)


if __name__ == "__main__":
    raise SystemExit(main())

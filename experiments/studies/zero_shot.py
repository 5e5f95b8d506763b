"""How well the starter detector finds products on photos of a kind it never saw, untrained: det mAP50 over all photos of a set.

python -m experiments.studies.zero_shot --set NAME --data D [--sizes 320 640] [--weights FILE] [--record]
"""

import tempfile
from pathlib import Path

import numpy as np

from experiments.figures import records
from fusion.decode import run_detector
from fusion.models import Model
from photos import scenes
from photos.data import Photo, read, read_image
from photos.intervals import Interval, interval
from photos.score import Truth, match
from runs.command import Parser, run, say
from stage1_detector import starter, validation
from stage1_detector.config import STARTER


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Score the starter on every photo of the set, at each size, and record the figure of the first size."""
    p = Parser(prog="python -m experiments.studies.zero_shot", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figure's key")
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--sizes", type=int, nargs="+", default=[320, 640], help="long sides of the canvas, pixels")
    p.add_argument("--weights", type=Path, default=STARTER)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    dataset = read(args.data)
    photos, groups = dataset.photos, scenes.groups(dataset)
    rows = []
    for size in args.sizes:
        score = scored(photos, groups, args.weights, size)
        say(f"{args.set}: starter at {size} px, untrained: det mAP50 {score.value:.3f} [{score.low:.3f}, {score.high:.3f}]")
        key = f"starter.{args.set}.zero_shot.map50" + (f".{size}" if size != args.sizes[0] else "")
        setting = f"{len(photos)} photos, {size} px, one view, NMS, no training; over {score.n_groups} scenes"
        estimate = records.Estimate(score.value, len(photos), score.low, score.high)
        rows.append(records.figure(key, estimate, "mAP50", setting, records.command("studies.zero_shot", argv)))
    if args.record:
        records.write("starter", rows)


def scored(photos: tuple[Photo, ...], groups: np.ndarray, weights: Path, size: int) -> Interval:
    """det mAP50 on `photos` and its interval over `groups` (P,)."""
    with tempfile.TemporaryDirectory() as folder:
        starter.export(Path(folder), weights, size)
        model = Model(Path(folder) / "model.onnx")
        member = validation.member(model)
        detections = [run_detector(model, member, read_image(p.path, p.width, p.height))[0] for p in photos]
    truths = [Truth.of(photo).nameless() for photo in photos]
    return interval(match(truths, detections, 1), groups).det_map50


if __name__ == "__main__":
    raise SystemExit(main())

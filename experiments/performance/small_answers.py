"""Milliseconds outside the model of a class-aware detector, with every candidate handed back and with the best ones.

    python -m experiments.performance.small_answers [--names 356] [--size 1280] [--rounds 9] [--record]

One yolov8n with random weights, exported both ways, looks at one photo in turns: from the photo to the boxes after NMS, less
`session.run`. The graphs' own times are told beside, as their ratio. Figures runtime.outside_ms.356classes.before and .after.
"""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures import records
from fusion.ensemble import Member
from fusion.models import Model
from fusion.pipeline import run_detector
from runs.command import Parser, run, say


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, tell and record."""
    p = Parser(prog="python -m experiments.performance.small_answers", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--names", type=int, default=356)
    p.add_argument("--size", type=int, default=1280, help="of the canvas, pixels")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if min(args.names, args.rounds) < 1 or args.size < 32:
        raise ValueError(f"--names, --rounds, --size: got {args.names}, {args.rounds}, {args.size}, need 1, 1 and 32 or more")
    with tempfile.TemporaryDirectory() as folder:
        models = exported(Path(folder), args.names, args.size)
        outside, inside = in_turns(models, args.size, args.rounds)
    rows, call = [], records.command("performance.small_answers", argv)
    setting = f"yolov8n, random weights, {args.names} names, {args.size} px, one view of a photo; median and range of rounds"
    for name, key in (("whole", "before"), ("best", "after")):
        values = np.array(outside[name]) * 1000
        estimate = records.Estimate(float(np.median(values)), args.rounds, float(values.min()), float(values.max()))
        say(f"{key}: {estimate.value:.1f} ms outside the model")
        rows.append(records.figure(f"runtime.outside_ms.{args.names}classes.{key}", estimate, "ms", setting, call))
    ratio = np.median(np.array(inside["best"]) / np.array(inside["whole"]))
    say(f"the graph itself takes {ratio:.3f} times as long")
    if args.record:
        say(f"figures: {records.write('small_answers', rows)}")


def exported(folder: Path, names: int, size: int) -> dict[str, Model]:
    """The same network as a graph that hands back every candidate, and as one that hands back the best."""
    import torch
    from ultralytics.nn.tasks import DetectionModel

    from stage1_detector import export
    from stage1_detector.config import DetectorConfig
    from stage1_detector.ultralytics_engine import yolo

    torch.manual_seed(0)
    network = DetectionModel("yolov8n.yaml", nc=names, verbose=False).eval()
    network = yolo.for_export(network.fuse(verbose=False), DetectorConfig())
    side: dict[str, Any] = {"task": "detector", "family": "yolo", "categories": list(range(names)), "size": size}
    side |= {"mean": [0.0] * 3, "std": [1.0] * 3, "max_det": 540}
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "predictions": {0: "batch", 2: "anchors"}}
    export.to_onnx(network, torch.zeros(1, 3, 320, 256), folder / "whole.onnx", axes, side["mean"], side["std"])
    export.write_sidecar(folder / "whole.onnx", side)
    export.export_detector(network, folder / "best.onnx", side, ())
    return {name: Model(folder / f"{name}.onnx") for name in ("whole", "best")}


def in_turns(models: dict[str, Model], size: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds outside and inside `session.run` of each model, in each round, after one that does not count."""
    photo = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    outside: dict[str, list[float]] = {name: [] for name in models}
    inside: dict[str, list[float]] = {name: [] for name in models}
    for name, model in models.items():
        model.session = Timed(model.session)
        run_detector(model, Member(file=name, views=[{"size": size}], max_det=540), photo)
    for _ in range(rounds):
        for name, model in models.items():
            started, model.session.seconds = time.perf_counter(), 0.0
            run_detector(model, Member(file=name, views=[{"size": size}], max_det=540), photo)
            inside[name].append(model.session.seconds)
            outside[name].append(time.perf_counter() - started - model.session.seconds)
    return outside, inside


class Timed:
    """A session that counts the seconds of its calls."""

    def __init__(self, session: Any) -> None:
        self.session, self.seconds = session, 0.0

    def run(self, *arguments: Any) -> Any:
        """As the session's own."""
        started = time.perf_counter()
        try:
            return self.session.run(*arguments)
        finally:
            self.seconds += time.perf_counter() - started


if __name__ == "__main__":
    raise SystemExit(main())

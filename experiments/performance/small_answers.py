"""Milliseconds outside the model of a class-aware detector, with every candidate handed back and with the best ones.

    python -m experiments.performance.small_answers [--before CHECKOUT] [--names 356] [--size 1280] [--rounds 9] [--record]

One yolov8n with random weights, exported both ways, looks at one photo in turns: from the photo to the boxes after NMS, less
`session.run`. The graphs' own times are told beside, as their ratio. With --before every candidate goes to the code of another
checkout, such as one from before graphs handed back the best ones; without, to this one's. Figures
runtime.outside_ms.356classes.before and .after.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures import records
from runs.command import Parser, run, say

SCRIPT = Path(__file__).with_name("outside_model.py")
HERE = Path(__file__).resolve().parents[2]  # this checkout
TURNS = 3  # chosen: in so many parts each is measured, one after the other
MAX_DET = 540  # chosen: 1.5 times the names


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, tell and record."""
    p = Parser(prog="python -m experiments.performance.small_answers", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--before", type=Path, metavar="CHECKOUT", help="whose code takes every candidate; default: this one's")
    p.add_argument("--names", type=int, default=356)
    p.add_argument("--size", type=int, default=1280, help="of the canvas, pixels")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.names < 1 or args.rounds < TURNS or args.size < 32:
        raise ValueError(
            f"--names, --rounds, --size: got {args.names}, {args.rounds}, {args.size}, need 1, {TURNS}, 32 or more"
        )
    if args.before and not (args.before / "fusion").is_dir():
        raise ValueError(f"--before: got {args.before}, which has no folder fusion; need a checkout of this project")
    with tempfile.TemporaryDirectory() as folder:
        whole, best = exported(Path(folder), args.names, args.size)
        before, after = in_turns([(whole, (args.before or HERE).resolve()), (best, HERE)], args.size, args.rounds)
    rows, call = [], records.command("performance.small_answers", argv)
    setting = f"yolov8n, random weights, {args.names} names, {args.size} px, one view of a photo; median and range of rounds"
    whose = f"; by the code of {revision(args.before)}" if args.before else ""
    for key, values, of in (("before", before, whose), ("after", after, "")):
        outside = values[:, 0] * 1000
        estimate = records.Estimate(float(np.median(outside)), len(outside), float(outside.min()), float(outside.max()))
        say(f"{key}: {estimate.value:.1f} ms outside the model{of}")
        rows.append(records.figure(f"runtime.outside_ms.{args.names}classes.{key}", estimate, "ms", setting + of, call))
    say(f"the graph itself takes {np.median(after[:, 1]) / np.median(before[:, 1]):.3f} times as long")
    if args.record:
        say(f"figures: {records.write('small_answers', rows)}")


def revision(checkout: Path) -> str:
    """The commit of a checkout, shortened."""
    command = ["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def exported(folder: Path, names: int, size: int) -> tuple[Path, Path]:
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
    side |= {"mean": [0.0] * 3, "std": [1.0] * 3, "max_det": MAX_DET}
    axes = {"images": {0: "batch", 2: "height", 3: "width"}, "predictions": {0: "batch", 2: "anchors"}}
    export.to_onnx(network, torch.zeros(1, 3, 320, 256), folder / "whole.onnx", axes, side["mean"], side["std"])
    export.write_sidecar(folder / "whole.onnx", side)
    export.export_detector(network, folder / "best.onnx", side, ())
    return folder / "whole.onnx", folder / "best.onnx"


def in_turns(asked: Sequence[tuple[Path, Path]], size: int, rounds: int) -> list[np.ndarray]:
    """Seconds outside and inside `session.run`, (rounds, 2), for each (graph, checkout), each turn in a process of its own."""
    told: list[list[list[float]]] = [[] for _ in asked]
    for turn in range(TURNS):
        share = len(range(turn, rounds, TURNS))  # of the rounds
        for own, (graph, checkout) in zip(told, asked, strict=True):
            command = [sys.executable, SCRIPT, graph, size, MAX_DET, share]
            own += json.loads(subprocess.check_output([*map(str, command)], env=os.environ | {"PYTHONPATH": str(checkout)}))
    return [np.array(own) for own in told]


if __name__ == "__main__":
    raise SystemExit(main())

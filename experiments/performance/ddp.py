"""How far the losses of several processes that train together are from those of one, for every family of ours.

    python -m experiments.performance.ddp [--families rcnn retinanet ...] [--processes 2] [--float64] [--record]

torchrun starts one process, and then several, which share every batch of drawn photos (uneven parts): the first steps of each
family from the same random weights (`experiments.performance.ddp_steps`). Figure ddp.FAMILY.loss_difference: the largest
difference of a step's loss, as a share of it where it is above 1.

With --float64 it is ddp.FAMILY.loss_difference_float64. Rounding is some 5e8 times smaller there: a difference that shrinks as
much is rounding alone, and one of the method (another mean, other draws) would stay as it is.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.figures import records
from runs.command import Parser, run, say

CLASSIFIERS = ("classifier", "classifier_30_steps")
FAMILIES = (*CLASSIFIERS, "rcnn", "retinanet", "freeanchor", "pisa", "conditional_detr", "student_yolo", "student_rtdetr")
Losses = dict[str, list[float]]  # of each step, by family


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train by one process and by several, tell the differences and record them."""
    p = Parser(prog="python -m experiments.performance.ddp", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    p.add_argument("--processes", type=int, default=2)
    p.add_argument("--float64", action="store_true", help="compute in 64 bits, where rounding is next to nothing")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if not 2 <= args.processes <= 5:
        raise ValueError(f"--processes: got {args.processes}, allowed: 2 to 5, as a batch has 5 photos")
    with tempfile.TemporaryDirectory() as folder:
        photos = draw_photos(Path(folder) / "photos")
        flags = ["--families", *args.families, *(["--float64"] if args.float64 else [])]
        one, several = (losses_of(n, flags, photos, Path(folder) / f"{n}.json") for n in (1, args.processes))
    rows, bits = [], "_float64" if args.float64 else ""
    for family in args.families:
        difference, n_steps = largest_difference(one[family], several[family]), len(one[family])
        step = "24 crops" if family in CLASSIFIERS else "5 photos"
        processes = f"{args.processes} gloo processes of 1 thread against one, {n_steps} steps of {step}"
        setting = f"{processes}{', in 64 bits' if bits else ''}; no interval: the largest difference of a step"
        say(f"{family}: losses {one[family][0]:.4f} to {one[family][-1]:.4f}, largest difference {difference:.2g}")
        estimate, call = records.Estimate(difference, n_steps), records.command("performance.ddp", argv)
        rows.append(records.figure(f"ddp.{family}.loss_difference{bits}", estimate, "share of the loss", setting, call))
    if args.record:
        say(f"figures: {records.write('ddp', rows)}")


def draw_photos(folder: Path) -> Path:
    """FOLDER with five small drawn photos of nine products and their labels."""
    from dataclasses import replace

    from stage1_detector.synthesis import make_photos

    demo = make_photos.RECIPES["demo"]
    shelf = replace(demo, count=5, categories=9, families=3, sizes=((160, 120), (120, 160)), rows=(2, 3), side=0.2)
    make_photos.draw(shelf, folder, workers=1)
    return folder


def largest_difference(one: list[float], several: list[float]) -> float:
    """The largest difference of two losses of one step, as a share of the first where that is above 1.

    >>> round(largest_difference([0.5, 20.0], [0.501, 20.1]), 4)
    0.005
    """
    return max(abs(a - b) / max(1.0, abs(a)) for a, b in zip(one, several, strict=True))


def losses_of(n_processes: int, flags: list[str], photos: Path, out: Path) -> Losses:
    """The losses of each step of families by so many processes, which torchrun starts; they go through the file OUT.

    `flags` are those of `experiments.performance.ddp_steps`.
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    launch = ["-m", "torch.distributed.run", "--nproc-per-node", str(n_processes), "--master-port", port]
    steps = ["-m", "experiments.performance.ddp_steps", "--photos", str(photos), "--out", str(out), *flags]
    done = subprocess.run(
        [sys.executable, *launch, *steps], env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise RuntimeError(f"{n_processes} processes: exit code {done.returncode}\n{done.stderr}")
    return {str(family): losses for family, losses in json.loads(out.read_text()).items()}


if __name__ == "__main__":
    raise SystemExit(main())

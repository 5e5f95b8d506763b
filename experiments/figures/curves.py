"""Curves of validation while detectors trained: a picture for each set, a line for each variant and seed.

python -m experiments.figures.curves --sets X/books X/snacks ... --variants small starter [--to FILE]
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from experiments.figures.records import RESULTS
from runs.command import run, say

COLUMN = "valid/det_map50"


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read every run's curve and draw them. Raises ValueError where there is none."""
    p = argparse.ArgumentParser(prog="python -m experiments.figures.curves", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--sets", type=Path, nargs="+", required=True, help="what experiments.studies.detectors called --out")
    p.add_argument("--variants", "--arms", nargs="+", required=True)
    p.add_argument("--to", type=Path, default=RESULTS / "starter.curves.png", help="picture to write")
    args = p.parse_args(argv)
    figure = Figure(figsize=(2.6 * len(args.sets), 2.8), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(args.sets), sharey=True))
    for axis, folder in zip(axes, args.sets, strict=True):
        for i, variant in enumerate(args.variants):
            paths = sorted(folder.glob(f"{variant}/*/one/results.csv"))
            if not paths:
                raise ValueError(
                    f"--sets: {folder} has no {variant}/SEED/one/results.csv; experiments.studies.detectors writes them"
                )
            for j, path in enumerate(paths):
                axis.plot(*read(path).T, color=f"C{i}", alpha=0.8, label=variant if j == 0 else None)
        axis.set(title=folder.name, xlabel="share of the training", ylim=(0, 1.02))
    axes[0].set_ylabel("det mAP50 on valid")
    axes[0].legend()
    figure.savefig(args.to, dpi=100)
    say(f"wrote {args.to}")


def read(path: Path) -> np.ndarray:
    """One run's curve (E, 2): the share of the training that was done, and det mAP50 on valid."""
    with path.open() as lines:
        values = {int(row["epoch"]): float(row[COLUMN]) for row in csv.DictReader(lines)}  # the last of an epoch done again
    return np.array([(epoch / max(values), value) for epoch, value in sorted(values.items())]).reshape(-1, 2)


if __name__ == "__main__":
    raise SystemExit(main())

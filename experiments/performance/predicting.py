"""Photos per second of `hylle predict` over those of run.py, on the same photos, models and machine.

    python -m experiments.performance.predicting --zip ZIP --photos DIR [--rounds 5] [--record]

Each is a process of its own, from its start to its end, in turns, whose order is turned round from round to round, after a
round that does not count; `hylle predict` draws pictures and writes its tables, once more without pictures. The predictions of
both are compared.
"""

import json
import re
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Measured
from fusion.reading import find_photos
from runs.command import Parser, run, say
from runs.record import ROOT

KEY = "predict.photos_per_second_over_run_py"
JUDGE = "run.py"
ARMS: dict[str, list[str]] = {"": [], "_without_pictures": ["--no-pictures"]}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, print, record. Raises ValueError where one of the two fails, or their predictions differ."""
    p = Parser(prog="python -m experiments.performance.predicting", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--zip", type=Path, required=True, help="a submission zip")
    p.add_argument("--photos", type=Path, required=True, help="photos whose names have numbers, as run.py needs")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--record", action="store_true", help="write experiments/results/predict.json")
    args = p.parse_args(argv)
    count = len(find_photos(args.photos)) if args.photos.is_dir() else 0
    if not count or args.rounds < 1 or not zipfile.is_zipfile(args.zip):
        raise ValueError(
            f"--zip, --photos, --rounds: got {count} photos, {args.rounds} rounds; need a zip and 1 of each at least"
        )
    ratios, rates = measure(args.zip, args.photos, args.rounds)
    figures = []
    for arm, values in ratios.items():
        setting = (
            f"{count} photos of {args.photos.parent.name}, {args.rounds} rounds in alternating order "
            f"after one that does not count, whole processes with their start; "
            f"run.py {count / np.median(rates):.2f} photos/s; predict {'without' if arm else 'with'} pictures"
        )
        figures.append(Measured(f"{KEY}{arm}", over_seeds(values), "ratio", setting))
        say(f"{KEY}{arm}: {figures[-1].estimate}; {setting}")
    if args.record:
        command = records.command("performance.predicting", argv)
        say(f"figures: {records.write('predict', [records.figure(*figure, command) for figure in figures])}")


def measure(archive: Path, photos: Path, rounds: int) -> tuple[dict[str, list[float]], list[float]]:
    """The ratios of each of ARMS, one for each round, and the seconds of run.py."""
    ratios: dict[str, list[float]] = {arm: [] for arm in ARMS}
    theirs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder / "code")
        written = folder / "predictions.json"
        judge = [str(folder / "code" / "run.py"), "--input", str(photos), "--output", str(written)]
        for turn in range(rounds + 1):
            outs = {arm: folder / f"out{turn}{arm}" for arm in ARMS}
            predict = ["-m", "hylle", "predict", str(photos), "--model", str(archive), "--min-score", "0"]
            ways = {JUDGE: judge} | {arm: [*predict, "--out", str(outs[arm]), *flags] for arm, flags in ARMS.items()}
            spent = {way: seconds(ways[way]) for way in (list(ways) if turn % 2 else list(ways)[::-1])}
            for out in outs.values():
                refuse_difference(out / "predictions.json", written)
            if turn:
                theirs.append(spent[JUDGE])
                for arm in ARMS:
                    ratios[arm].append(spent[JUDGE] / spent[arm])
    return ratios, theirs


def seconds(words: Sequence[str]) -> float:
    """How long Python takes for `words`. Raises ValueError where it fails."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(words[:3])} ...: exit code {done.returncode}: {done.stderr.strip()[-300:]}")
    return time.perf_counter() - started


def refuse_difference(ours: Path, theirs: Path) -> None:
    """Raises ValueError where run.py lists other boxes, or has scores that differ by more than 1e-5; its second names apart."""
    coco, rows = json.loads(ours.read_text()), json.loads(theirs.read_text())
    names = {image["id"]: int(re.findall(r"[0-9]+", Path(image["file_name"]).stem)[-1]) for image in coco["images"]}
    mine = {(names[row["image_id"]], *row["bbox"]): row["score"] for row in coco["annotations"]}
    best: dict[tuple[float, ...], float] = {}
    for row in rows:
        key = (row["image_id"], *row["bbox"])
        best[key] = max(row["score"], best.get(key, 0.0))
    if mine.keys() != best.keys() or any(abs(mine[key] - best[key]) > 1e-5 for key in mine):
        raise ValueError(f"predictions differ: {len(mine)} boxes of hylle predict, {len(best)} of run.py")


if __name__ == "__main__":
    raise SystemExit(main())

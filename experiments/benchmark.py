"""What the judged run costs and survives, and what detectors score and cost.

    python -m experiments.benchmark runtime --runs R --photos DIR [--size 1280] [--rounds 7] [--record]
    python -m experiments.benchmark memory  --runs R --photos DIR [--rounds 1] [--record]
    python -m experiments.benchmark large [--count 1000] [--record]
    python -m experiments.benchmark wbf [--rounds 7] [--record]
    python -m experiments.benchmark badphotos [--mutated 10000] [--record]
    python -m experiments.benchmark kills [--count 50] [--record]
    python -m experiments.benchmark detectors --runs [NAME=]R ... --data D --out X [--rounds 9] [--record]

Timings are of ways that take turns in one process, all but those of detectors as ratios; see `experiments.performance.runtime`,
`experiments.performance.endurance` and `experiments.performance.detector_table`.
"""

import argparse
import json
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import ensemble_boxes
import numpy as np

from experiments.figures import records
from experiments.figures.records import Measured
from experiments.performance import detector_table, endurance, runtime, standin
from experiments.performance.runtime import ratio
from fusion.ensemble import parse
from fusion.merge import weighted_boxes_fusion
from fusion.reading import find_photos
from runs.command import Parser, run, say
from submission import build

EQUAL = 1e-6  # taken: the issue's
LARGE = (8160, 6120)  # chosen: width and height of a photo of 50 megapixels, as phones store them
COUNT = "a count, so no interval"
MODELS, BOXES, IOU = 3, 600, 0.55  # taken: the "3 models x 600 boxes"; the usual IoU


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="python -m experiments.benchmark", description=(__doc__ or "").split("\n")[0])
    p.add_argument("what", choices=list(BENCHMARKS))
    p.add_argument("--runs", nargs="+", default=[], help="folder of models with its ensemble.json; of detectors: several")
    p.add_argument("--photos", type=Path, help="folder of photos")
    p.add_argument("--size", type=int, default=1280, help="canvas of each detector in pixels")
    p.add_argument("--limit", type=int, default=20, help="at most so many photos are timed")
    p.add_argument("--data", type=Path, help="data set that the detectors were trained on")
    p.add_argument("--out", type=Path, help="folder of the detectors' table and picture")
    p.add_argument("--rounds", type=int, help="7, of detectors 9")
    p.add_argument("--mutated", type=int, default=10_000)
    p.add_argument("--count", type=int, help="kills (50), or photos of which a tenth is large (1,000)")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    return p


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print, and record with --record."""
    args = parser().parse_args(argv)
    args.count = {"large": 1000}.get(args.what, 50) if args.count is None else args.count
    args.rounds = {"detectors": 9}.get(args.what, 7) if args.rounds is None else args.rounds
    if args.what in ("runtime", "memory") and not (len(args.runs) == 1 and args.photos):
        raise ValueError(f"benchmark {args.what}: needs --runs and --photos, a folder each")
    if args.what == "detectors" and not (args.runs and args.data and args.out):
        raise ValueError("benchmark detectors: needs --runs, --data and --out")
    for name in ("rounds", "limit", "count", "mutated", "size"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: got {getattr(args, name)}, need at least 1")
    command = records.command("benchmark", argv)
    rows = [records.figure(*measured, command) for measured in BENCHMARKS[args.what](args)]
    for row in rows:
        span = "" if row["low"] is None else f" [{row['low']:.4g}, {row['high']:.4g}]"
        say(f"{row['key']}: {row['value']:.4g}{span} {row['unit']}")
    if args.record:
        say(f"{records.write('benchmark' if args.what == 'detectors' else 'runtime', rows)} written")


def photos_in(folder: Path, limit: int) -> list[Path]:
    """The first photos of a folder. Raises ValueError where there is none."""
    photos = list(find_photos(folder).values())[:limit]
    if not photos:
        raise ValueError(f"--photos {folder}: no photos there, need .jpg or .jpeg files with a number in their names")
    return photos


def of_runtime(args: argparse.Namespace) -> list[Measured]:
    """ours / floor and peer / ours."""
    runs, photos = Path(args.runs[0]), photos_in(args.photos, args.limit)
    seconds, boxes = runtime.measure(runs, photos, args.size, args.rounds)
    shapes = " and ".join(f"{w} x {h}" for w, h in sorted({cv2.imread(str(photo)).shape[1::-1] for photo in photos}))
    setting = (
        f"{runtime.models_of(runs)} at {args.size} px on {boxes['ours']:.0f} boxes a photo "
        f"(peer {boxes['peer']:.0f}), each named, "
        f"{len(photos)} photos of {shapes}; {_times(seconds, len(photos))}; {_spread(args.rounds)}"
    )
    suffix = "" if args.size == 1280 else f".{args.size}"
    return [
        _ratio(f"runtime.ours_over_floor{suffix}", seconds["ours"], seconds["floor"], setting),
        _ratio(f"runtime.in_turn_over_ours{suffix}", seconds["in turn"], seconds["ours"], setting),
        _ratio(f"runtime.peer_over_ours{suffix}", seconds["peer"], seconds["ours"], setting),
    ]


def _times(seconds: dict[str, list[float]], photos: int) -> str:
    return ", ".join(f"{name} {1000 * np.median(times) / photos:.1f} ms a photo" for name, times in seconds.items())


def _spread(rounds: int) -> str:
    level = 100 * (1 - 2 * 0.5**rounds)  # the chance that the true median lies between the smallest and the largest
    return f"median of {rounds} alternating rounds, in brackets the smallest and the largest (a {level:.0f} % interval)"


def _ratio(key: str, above: Sequence[float], below: Sequence[float], setting: str) -> Measured:
    value, low, high = ratio(above, below)
    return Measured(key, records.Estimate(value, len(above), low, high), "ratio of times", setting)


def of_memory(args: argparse.Namespace) -> list[Measured]:
    """Peak memory on 100 and on 1,000 photos, the whole zip in the judge's environment."""
    photos = photos_in(args.photos, args.limit)
    with tempfile.TemporaryDirectory() as name:
        build.build(Path(args.runs[0]), Path(name) / "a.zip")
        with zipfile.ZipFile(Path(name) / "a.zip") as archive:
            archive.extractall(Path(name) / "code")
        settings = Path(name) / "code" / "ensemble.json"
        ensemble = parse(json.loads(settings.read_text()) | {"time_budget_s": 1e9})
        settings.write_text(json.dumps(asdict(ensemble)))
        rows = []
        for count in (100, 1000):
            peaks = [endurance.peak_mb(Path(name) / "code", photos, count) for _ in range(args.rounds)]
            say(f"{count} photos: {', '.join(f'{peak:.0f} MB' for peak in peaks)}")
            setting = (
                f"peak resident memory of run.py on {count} photos, {len(ensemble.detectors)} detectors and "
                f"{len(ensemble.classifiers)} classifier; the largest of {args.rounds} runs, so no interval"
            )
            rows.append(Measured(f"runtime.rss_mb.{count}", records.Estimate(max(peaks), len(peaks)), "MB", setting))
    return rows


def of_large(args: argparse.Namespace) -> list[Measured]:
    """Peak memory on a tenth of `--count` photos and on all, a tenth of each of LARGE pixels; constant models."""
    with tempfile.TemporaryDirectory() as name:
        sizes = [LARGE, *[standin.PHOTOS["2mpx"]] * 9]
        photos = [standin.jpeg(Path(name) / f"{i}.jpg", *size) for i, size in enumerate(sizes)]
        folder, rows = endurance.code(Path(name) / "code"), []
        for count in (max(len(photos), args.count // 10), args.count):
            peak = endurance.peak_mb(folder, photos, count)
            photos_told = f"peak resident memory of run.py on {count} photos, a tenth of them 8160 x 6120"
            setting = f"{photos_told}, constant models; one run, so no interval"
            rows.append(Measured(f"runtime.large_rss_mb.{count}", records.Estimate(peak, 1), "MB", setting))
        return rows


def of_wbf(args: argparse.Namespace) -> list[Measured]:
    """ensemble-boxes over ours, on shelves of 600 products seen by three models."""
    rows = []
    for classes, name in ((1, "1class"), (300, "300class")):
        seconds: dict[str, list[float]] = {"ours": [], "peer": []}
        for k in range(args.rounds + 1):
            arrays = seen_shelf(np.random.default_rng(k), classes)
            lists = [[part.tolist() for part in parts] for parts in arrays]  # as its documentation has it
            started = time.perf_counter()
            ours = weighted_boxes_fusion(*arrays, [1.0] * MODELS, IOU)
            middle = time.perf_counter()
            peer = ensemble_boxes.weighted_boxes_fusion(*lists, weights=[1.0] * MODELS, iou_thr=IOU)
            ended = time.perf_counter()
            if any(a.shape != b.shape or np.abs(a - b).max() > EQUAL for a, b in zip(ours, peer, strict=True)):
                raise ValueError(f"weighted_boxes_fusion differs from ensemble-boxes by more than {EQUAL}, shelf {k}")
            if k:
                seconds["ours"].append(middle - started)
                seconds["peer"].append(ended - middle)
        setting = (
            f"{MODELS} models x {BOXES} boxes in rows of 30, {classes} classes, IoU {IOU}; {_times(seconds, 1)}; "
            f"results equal to {EQUAL}; ensemble-boxes is given lists, as documented; {_spread(args.rounds)}"
        )
        rows.append(_ratio(f"wbf.peer_over_ours.{name}", seconds["peer"], seconds["ours"], setting))
    return rows


def seen_shelf(rng: np.random.Generator, classes: int) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Boxes, scores and labels by three models of a shelf of 600 products, neighbours overlapping a little, in [0, 1]."""
    corner = np.stack([np.arange(BOXES) % 30, np.arange(BOXES) // 30], 1) * [1.0, 1.2]
    shelf = np.concatenate([corner, corner + np.array([1.07, 1.0])], 1) / 36  # (600, 4)
    labels = rng.integers(0, classes, BOXES)
    boxes = [np.clip(shelf + rng.normal(0, 0.05 / 36, shelf.shape), 0, 1).astype(np.float32) for _ in range(MODELS)]
    return boxes, [rng.uniform(0.01, 1, BOXES).astype(np.float32) for _ in range(MODELS)], [labels] * MODELS


def of_badphotos(args: argparse.Namespace) -> list[Measured]:
    """How many bad folders and photos were tried, and how many made run.py fail."""
    tried, failed = 0, 0
    for case, count, problem in endurance.bad_photos(args.mutated):
        tried, failed = tried + count, failed + (count if problem else 0)
        if problem:
            say(f"{case}: {problem}")
    setting = f"{tried - args.mutated} folders and {args.mutated} mutated JPEGs, run.py in the judge's environment; {COUNT}"
    return [_count("badphotos.tried", tried, setting), _count("badphotos.failed", failed, setting)]


def of_kills(args: argparse.Namespace) -> list[Measured]:
    """How often run.py was killed, and how often invalid JSON was left."""
    results = list(endurance.kills(args.count))
    for moment, _, problem in results:
        if problem:
            say(f"killed after {moment:.2f} s: {problem}")
    finished = sum(written for _, written, _ in results)
    setting = f"kill -9 at random moments of a run on 400 photos; {finished} times predictions were there already; {COUNT}"
    failed = sum(problem is not None for _, _, problem in results)
    return [_count("kills.tried", len(results), setting), _count("kills.failed", failed, setting)]


def _count(key: str, value: int, setting: str) -> Measured:
    return Measured(key, records.Estimate(value, value if key.endswith("tried") else 1), "count", setting)


BENCHMARKS: dict[str, Callable[[argparse.Namespace], list[Measured]]] = {
    "runtime": of_runtime, "memory": of_memory, "large": of_large, "wbf": of_wbf, "badphotos": of_badphotos, "kills": of_kills,
    "detectors": detector_table.detectors,
}  # fmt: skip

if __name__ == "__main__":
    raise SystemExit(main())

"""How busy run.py keeps the models, with a GPU stood in for by models that sleep.

    python -m experiments.performance.standin [--photos 40] [--rounds 5] [--record]

Three detectors of two views each and one classifier, each with its session replaced by one that sleeps without holding the
interpreter, and then answers the same for every photo: MODEL_MS for a view, CROPS_MS for a batch of crops. All else is run.py's
loop on JPEGs of 12 and 2 megapixels, from the file on the disk to the JSON on the disk. Two ways take turns: as run.py works,
reading photos and preparing canvases and crops beside the models, and one thing after the other; of each the whole time over
that of the models alone.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from experiments.figures import records
from experiments.figures.records import Measured
from experiments.performance import endurance
from experiments.performance.runtime import Ours, ratio
from fusion.ensemble import read_ensemble
from fusion.reading import threads_beside
from runs.command import Parser, run, say
from stage1_detector.best_boxes import how_many

MODEL_MS, CROPS_MS = 25.0, 8.0  # taken: the issue's
THREADS = 4  # taken: the judge's machine has 4 processors
SIZE = 1280  # a detector's canvas in pixels
ROWS, COLUMNS = 8, 15  # of products on a photo
PER_PRODUCT = 14  # measured: the most candidates above 0.001 for a product (stage1_detector.best_boxes)
CANDIDATES = how_many(int(1.5 * ROWS * COLUMNS), [PER_PRODUCT * ROWS * COLUMNS])  # that an exported YOLO hands back of 33,600
PHOTOS = {"12mpx": (4032, 3024), "2mpx": (1600, 1200)}


class Asleep:
    """A session that sleeps for `seconds`, then gives `answer` for each canvas; `spent` adds up how long it took."""

    def __init__(self, session: Any, seconds: float, answer: np.ndarray) -> None:
        self.session, self.seconds, self.answer, self.spent = session, seconds, answer, 0.0

    def run(self, names: list[str], feed: dict[str, np.ndarray]) -> list[np.ndarray]:
        """As onnxruntime's, of any one output."""
        started = time.perf_counter()
        time.sleep(self.seconds)
        answer = np.repeat(self.answer[None], len(next(iter(feed.values()))), 0)
        self.spent += time.perf_counter() - started
        return [answer]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure both sizes of photos, say and record the figures."""
    p = Parser(prog="python -m experiments.performance.standin", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--photos", type=int, default=40, help="photos in each round; default: %(default)s")
    p.add_argument("--rounds", type=int, default=5, help="of both ways in turn; default: %(default)s")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    for name in ("photos", "rounds"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: got {getattr(args, name)}, need at least 1")
    command, rows = records.command("performance.standin", argv), []
    for name, size in PHOTOS.items():
        for measured in figures(name, measure(size, args.photos, args.rounds), args.photos):
            rows.append(records.figure(*measured, command))
            say(f"{measured.key}: {measured.estimate} ({measured.setting})")
    if args.record:
        say(f"{records.write('runtime', rows)} written")


def figures(name: str, seconds: dict[str, list[tuple[float, float]]], photos: int) -> list[Measured]:
    """The ratio of each way, from its seconds in all and in the models, by round."""
    width, height = PHOTOS[name]
    per_photo = {way: np.median(np.array(rounds), 0) / photos * 1000 for way, rounds in seconds.items()}
    told = ", ".join(f"{way} {whole:.0f} ms, models {models:.0f} ms" for way, (whole, models) in per_photo.items())
    setting = (
        f"{photos} photos of {width} x {height}, {cv2.getNumberOfCPUs()} processors; 6 views of {MODEL_MS:.0f} ms, "
        f"{ROWS * COLUMNS} boxes, {CROPS_MS:.0f} ms a batch of crops; a photo: {told}; median of rounds, in brackets the "
        "smallest and the largest"
    )
    keys = {"ahead": f"runtime.ours_over_floor.standin.{name}", "in turn": f"runtime.ours_over_floor.standin.{name}.in_turn"}
    return [
        Measured(keys[way], records.Estimate(value, len(rounds), low, high), "ratio of times", setting)
        for way, rounds in seconds.items()
        for value, low, high in [ratio(*zip(*rounds, strict=True))]
    ]


def measure(size: tuple[int, int], photos: int, rounds: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds in all and in the models, of each round, with photos read ahead and in their turn; the first does not count."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (file,) = [jpeg(place / "1.jpg", *size)]
        files = [file] * photos
        ours = asleep(place)
        ours.threads = threads_beside(set())
        ways: dict[str, Callable[[Sequence[Path]], None]] = {"ahead": ours, "in turn": ours.in_turn}
        seconds: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
        for k in range(rounds + 1):
            for way, work in ways.items():
                took = timed(ours, work, files[: photos if k else 1])
                seconds[way] += [took] if k else []
        ours.output.close()
        return seconds


def timed(ours: Ours, work: Callable[[Sequence[Path]], None], files: Sequence[Path]) -> tuple[float, float]:
    """Seconds of `work` on `files` in all and in the models."""
    sessions = [model.session for model in (*ours.pipeline.detectors, *ours.pipeline.classifiers)]
    before, started = sum(session.spent for session in sessions), time.perf_counter()
    work(files)
    return time.perf_counter() - started, sum(session.spent for session in sessions) - before


def asleep(place: Path) -> Ours:
    """run.py's loop over models that sleep."""
    code = endurance.code(place / "code")
    values = json.loads((code / "ensemble.json").read_text())
    values["detectors"] = [{"file": "one.onnx", "views": [{"size": SIZE}, {"size": SIZE, "flip": True}]}] * 3
    values["classifiers"] = [{"file": "shelf.onnx", "batch": 16}]
    (code / "ensemble.json").write_text(json.dumps(values | {"threads": THREADS, "time_budget_s": 1e9}))
    ours = Ours(code, read_ensemble(code), place)
    for model in ours.pipeline.detectors:
        model.session = Asleep(model.session, MODEL_MS / 1000, shelf_output())
    for model in ours.pipeline.classifiers:
        model.session = Asleep(model.session, CROPS_MS / 1000, np.array([0, 3], np.float32))
    cv2.setNumThreads(THREADS)
    return ours


def shelf_output() -> np.ndarray:
    """A detector's raw output (5, CANDIDATES): a grid of products, three candidates on each, all others of score 0."""
    column, row, copy = (axis.ravel() for axis in np.meshgrid(np.arange(COLUMNS), np.arange(ROWS), np.arange(3)))
    width, height = SIZE / COLUMNS, 0.75 * SIZE / ROWS
    output = np.zeros((5, CANDIDATES), np.float32)
    boxes = [
        (column + 0.5) * width + copy,
        (row + 0.5) * height + SIZE / 8 + copy,
        width * 0.9 + 0 * copy,
        height * 0.9 + 0 * copy,
    ]
    output[:, : len(column)] = [*boxes, 0.9 - 0.2 * copy]
    return output


def jpeg(path: Path, width: int, height: int) -> Path:
    """A photo with structure at all scales, about 0.35 bytes a pixel, as phones store them."""
    rng, image = np.random.default_rng(0), np.zeros((height, width, 3), np.float32)
    for scale, strength in ((1, 4), (4, 12), (32, 30), (256, 40)):
        noise = rng.normal(0, strength, (height // scale + 1, width // scale + 1, 3)).astype(np.float32)
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_LINEAR)
    path.write_bytes(
        cv2.imencode(".jpg", np.clip(image + 128, 0, 255).astype(np.uint8), [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    )
    return path


if __name__ == "__main__":
    raise SystemExit(main())

"""What `hylle build --int8` costs in score and saves in time, and what OpenVINO saves, where the package openvino is there.

    python -m experiments.performance.int8 --runs R --data D [--name SET] [--photos 8] [--rounds 5] [--record]

Scores are those of the whole pipeline on the test photos of R/folds.json, or, where there are none with boxes, on its valid
ones, on which 8 bits were adopted, so that their fall is told too small; paired over scenes. Times are of the whole pipeline,
the photo's decoding left out, on one thread: float32, what --int8 packs, and OpenVINO take turns photo by photo, after a round
that does not count, in which OpenVINO compiles for each shape of a canvas. The processor must be free for them.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.performance.runtime import ratio, turns
from fusion.pipeline import Pipeline
from photos import folds
from photos.data import Photo, read, read_image
from photos.intervals import Interval, Intervals, bootstrap, interval, widened
from recognition import openvino_session
from runs.command import Parser, run, say, ticker
from submission import build
from submission.int8_choice import Held, held, matched, on_cpu

OPENVINO = {"openvino": None, "openvino in float32": "f32"}  # the precision of each; None: bfloat16 where the processor has it


class Scored(NamedTuple):
    """The figures of float32 and of what --int8 packs, and how much better the latter scores, paired over scenes."""

    before: Intervals
    after: Intervals
    difference: Interval


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run(body, argv)


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.performance.int8", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--runs", type=Path, required=True, help="a run folder with its ensemble.json")
    p.add_argument("--data", type=Path, required=True, help="the labelled set that it was trained on")
    p.add_argument("--name", default="", help="of the set, in the keys of the figures")
    p.add_argument("--photos", type=int, default=8, help="valid photos that are timed")
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    return p


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print, and record with --record."""
    args = parser().parse_args(argv)
    for name in ("photos", "rounds"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: got {getattr(args, name)}, need at least 1")
    command = records.command("performance.int8", argv)
    rows = [records.figure(*measured, command) for measured in measure(args)]
    for row in rows:
        say(f"{row['key']}: {row['value']:.4f} [{row['low']:.4f}, {row['high']:.4f}] {row['unit']}; {row['setting']}")
    if args.record:
        say(f"{records.write('int8', rows)} written")


def measure(args: argparse.Namespace) -> list[Measured]:
    """All figures of one run folder."""
    photos, lines = held(args.runs, args.data), list[str]()
    with tempfile.TemporaryDirectory() as name:
        before, after = Path(name) / "float32", Path(name) / "int8"

        def tell(line: str) -> None:
            lines.append(line)
            say(line)

        int8 = build.Int8(args.data, tell, ticker("photos predicted"))
        files = build.collect(args.runs, int8=int8)
        packed = json.loads(files["manifest.json"]).get("int8", [])
        write(build.collect(args.runs), before)
        write(files, after)
        timed_photos = photos.valid[: args.photos]
        seconds = timed(ways(before, after), timed_photos, args.rounds)
        judged, part = judged_photos(args.runs, args.data, photos)
        scored = compared(before, after, judged)
    setting = f"{', '.join(packed) or 'no model'} in 8 bits of {len(lines)}"
    suffix = f".{args.name}" if args.name else ""
    return [
        *_figures_of_score(scored, suffix, f"{part}; {setting}"),
        *_figures_of_time(seconds, suffix, setting, len(timed_photos)),
    ]


def judged_photos(runs: Path, data: Path, photos: Held) -> tuple[Held, str]:
    """The photos to score, and which they are: test, or valid where test has no box."""
    parts = folds.load(runs / folds.NAME, read(data))
    test = parts.photos("test")
    if not any(len(photo.boxes) for photo in test):
        return photos, "valid photos, on which 8 bits were adopted, over scenes"
    scenes = np.array([parts.scene[photo.id] for photo in test], np.int64)  # (T,)
    return replace(photos, valid=test, scenes=scenes), "test photos, over scenes"


def write(files: dict[str, bytes], folder: Path) -> None:
    """The models of a zip as a folder whose pipeline runs on one thread."""
    folder.mkdir()
    for name, data in files.items():
        if name.endswith((".json", ".onnx")):
            (folder / name).write_bytes(data)
    ensemble = json.loads(files["ensemble.json"])
    (folder / "ensemble.json").write_text(json.dumps(ensemble | {"threads": 1}))


def ways(before: Path, after: Path) -> dict[str, Pipeline]:
    """The pipelines to be timed, by name."""
    pipelines = {"float32": on_cpu(before), "int8": on_cpu(after)}
    for name, precision in OPENVINO.items() if openvino_session.is_installed() else ():
        pipelines[name] = on_cpu(before)
        openvino_session.replace_sessions(pipelines[name], precision)
    return pipelines


def timed(pipelines: dict[str, Pipeline], photos: Sequence[Photo], rounds: int) -> dict[str, list[float]]:
    """Seconds of each pipeline on all photos, in each round."""
    images = {photo.path: read_image(photo.path, photo.width, photo.height) for photo in photos}

    def on_path(pipeline: Pipeline) -> Callable[[Sequence[Path]], None]:
        def predict(paths: Sequence[Path]) -> None:
            for path in paths:
                pipeline(images[path])

        return predict

    return turns({name: on_path(pipeline) for name, pipeline in pipelines.items()}, list(images), rounds)


def compared(before: Path, after: Path, photos: Held) -> Scored:
    """The scores of both folders on the photos that are scored."""
    plain, smaller = (matched(folder, photos, ticker("photos predicted")) for folder in (before, after))
    drawn = bootstrap(smaller, plain, photos.scenes, np.random.default_rng(0))
    each = [interval(match, photos.scenes) for match in (plain, smaller)]
    return Scored(each[0], each[1], widened(drawn, smaller, plain, photos.scenes))


def _figures_of_score(scored: Scored, suffix: str, setting: str) -> list[Measured]:
    def figure(key: str, value: Interval, unit: str) -> Measured:
        estimate = Estimate(value.value, value.n_groups, value.low, value.high)
        return Measured(f"int8.{key}{suffix}", estimate, unit, setting)

    rows = [figure("score_difference", scored.difference, "score, INT8 minus float32")]
    for part in ("det_map50", "cls_map50"):
        values: dict[str, Any] = {"before": getattr(scored.before, part), "after": getattr(scored.after, part)}
        rows += [figure(f"{part}.{when}", value, "mAP50") for when, value in values.items()]
    return rows


def _figures_of_time(seconds: dict[str, list[float]], suffix: str, packed: str, photos: int) -> list[Measured]:
    keys = {"int8": "int8.float_over_int8", "openvino": "openvino.onnx_over_openvino"}
    keys["openvino in float32"] = "openvino.onnx_over_openvino.float32"
    times = ", ".join(f"{name} {1000 * np.median(spent) / photos:.0f} ms a photo" for name, spent in seconds.items())
    rounds = len(seconds["float32"])
    spread = f"median of {rounds} alternating rounds, in brackets the smallest and the largest"
    setting = f"{photos} photos, 1 thread: {times}; {spread}; {packed}"
    rows = []
    for name, spent in seconds.items():
        if name in keys:
            value, low, high = ratio(seconds["float32"], spent)
            rows.append(Measured(f"{keys[name]}{suffix}", Estimate(value, rounds, low, high), "ratio of times", setting))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

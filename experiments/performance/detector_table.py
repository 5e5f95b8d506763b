"""Trained detectors side by side: what each scores on the photos held out, and what a photo costs it on this machine.

    python -m experiments.benchmark detectors --runs [NAME=]R ... --data D --out X [--rounds 9] [--record]

R is a run folder, of which R/one counts if it exists and else R/all, or one of these two. All have the same folds; held out are
valid and test. Class-aware detectors are scored with their names. X/table.{csv,md} and X/benchmark.png (with
--record also experiments/results/benchmark.png) are written. No detector is trained here.
"""

import argparse
import csv
import io
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.figures import figure_text, records, report
from experiments.figures.records import Estimate, Measured
from experiments.figures.report import BENCHMARK as COLUMNS
from experiments.performance import cost
from experiments.performance.coco_metrics import coco_scores
from experiments.performance.compared_runs import Run, refuse_mixed, refuse_same_names, run_of, shared_folds
from fusion.boxes import Detections
from fusion.decode import run_detector
from fusion.models import Model, normalise
from photos.data import Photo, read, read_image
from photos.intervals import tail
from runs.command import say
from runs.record import weights_of
from stage1_detector import validation
from stage1_detector.config import from_settings
from stage1_detector.families import FAMILIES, Network

SCORES = ("map", "map50", "map_small", "map_medium", "map_large", "recall")
UNITS = dict.fromkeys(SCORES, "share") | {
    "params_m": "M", "gflops": "GFLOP", "ms_torch": "ms", "ms_onnx": "ms", "rss_mb": "MB",
}  # fmt: skip
SPREAD = (*SCORES, "ms_torch", "ms_onnx")  # those that have a low and a high
RESAMPLES = 200  # chosen: 5 to 15 s a detector of 30 photos
PICTURE = "benchmark.png"


class Value(NamedTuple):
    """One figure of one detector, with the fields of its record."""

    value: float
    unit: str
    n: int
    setting: str
    low: float | None = None
    high: float | None = None

    def measured(self, key: str) -> Measured:
        """The figure under this key."""
        return Measured(key, Estimate(self.value, self.n, self.low, self.high), self.unit, self.setting)


Row = dict[str, Value]  # by kind; a kind that could not be measured is left out
Rows = dict[str, Row]  # by the detector's name


def detectors(args: argparse.Namespace) -> list[Measured]:
    """Measure the detectors of `args`, write the tables and the picture, and return the figures benchmark.*."""
    runs = [run_of(text) for text in args.runs]
    refuse_same_names(runs)
    dataset = read(args.data)
    parts = shared_folds(runs, dataset)
    models = {run.name: Model(run.out / "model.onnx") for run in runs}
    refuse_mixed(models, dataset)
    photos = (*parts.photos("valid"), *parts.photos("test"))
    if not any(len(photo.boxes) for photo in photos):
        raise ValueError(f"--data: {args.data} has {len(photos)} photos held out and no box on them, need at least 1 box")
    scene = np.array([parts.scene[photo.id] for photo in photos])
    args.out.mkdir(parents=True, exist_ok=True)
    rows: Rows = {}
    for run in runs:
        rows[run.name] = accuracy(run, models[run.name], photos, scene, len(dataset.categories))
        say(f"{run.name}: " + ", ".join(f"{kind} {value.value:.3f}" for kind, value in rows[run.name].items()))
    for name, row in costs(runs, models, photos, args.rounds).items():
        rows[name] |= row
    write(rows, args.out)
    show(rows)
    if args.record:
        records.RESULTS.mkdir(parents=True, exist_ok=True)
        shutil.copy(args.out / PICTURE, records.RESULTS / PICTURE)
    return [value.measured(f"benchmark.{name}.{kind}") for name, row in rows.items() for kind, value in row.items()]


# -- what is measured ----------------------------------------------------------------------------------------------------


def accuracy(run: Run, model: Model, photos: Sequence[Photo], scene: np.ndarray, n_categories: int) -> Row:
    """COCO's figures of a detector, one view and NMS, on `photos`, each of its `scene` (P,): 95 % of resampled scenes.

    A class-agnostic one is scored as if there were one category in place of `n_categories`.
    """
    member, aware, min_steps = validation.member(model), model.sidecar.categories is not None, run.settings["min_steps"]
    detections = [run_detector(model, member, read_image(photo.path, photo.width, photo.height))[0] for photo in photos]
    truth = photos if aware else [replace(photo, labels=np.zeros_like(photo.labels)) for photo in photos]
    score = partial(scored, truth, detections, n_categories if aware else 1, model.sidecar.max_det)
    whole, drawn = score(range(len(photos))), [score(picked) for picked in resamples(scene, np.random.default_rng(0))]
    setting = (
        f"{run.settings['epochs']} epochs{(' or ' + str(min_steps) + ' steps') if min_steps else ''} "
        f"at {run.settings['size']} px, {'with' if aware else 'without regard to'} names, {len(photos)} photos held out, "
        f"{'weights given' if run.settings['pretrained'] else 'from random weights'}, one seed"
        f"{', taught' if run.settings.get('teacher') or run.settings.get('distill_model') else ''}"
        f"{', epoch chosen on valid' if run.settings['patience'] else ''}; "
    )
    setting += f"95 % of {len(drawn)} resamples of {len(np.unique(scene))} scenes" if drawn else "one scene, so no interval"
    return {
        kind: Value(
            whole[kind],
            UNITS[kind],
            len(photos),
            setting,
            *ends(whole[kind], [scores[kind] for scores in drawn], len(np.unique(scene))),
        )
        for kind in SCORES
        if not np.isnan(whole[kind])
    }


def ends(value: float, drawn: Sequence[float], scenes: int) -> tuple[float, float] | tuple[None, None]:
    """The 95 % interval of `drawn` over so many scenes (`intervals.tail`), widened to hold `value`; None without any drawn.

    >>> ends(0.5, [0.25, float("nan"), 0.25], 40), ends(0.5, [], 1)
    ((0.25, 0.5), (None, None))
    """
    if len(drawn) == 0:
        return None, None
    low, high = np.nanquantile([value, *drawn], [tail(scenes), 1 - tail(scenes)])
    return min(float(low), value), max(float(high), value)


def scored(
    photos: Sequence[Photo], detections: Sequence[Detections], n_categories: int, max_det: int, picked: Sequence[int]
) -> dict[str, float]:
    """`coco_scores` of the photos at the places `picked`, of which one may come twice."""
    return coco_scores([photos[i] for i in picked], [detections[i] for i in picked], n_categories, max_det)


def resamples(scene: np.ndarray, rng: np.random.Generator, n: int = RESAMPLES) -> Iterator[list[int]]:
    """`n` times the positions of photos of scenes drawn with replacement, as many as `scene` (P,) has; none for one scene.

    >>> list(resamples(np.array([7, 7]), np.random.default_rng(0)))
    []
    """
    places = [np.flatnonzero(scene == number).tolist() for number in np.unique(scene)]
    for _ in range(n if len(places) > 1 else 0):
        yield [place for k in rng.integers(len(places), size=len(places)) for place in places[k]]


def costs(runs: Sequence[Run], models: dict[str, Model], photos: Sequence[Photo], rounds: int) -> Rows:
    """What the first photo of the commonest shape costs each detector; all take turns, by torch and by ONNX Runtime."""
    ((shape, _),) = Counter((photo.width, photo.height) for photo in photos).most_common(1)
    photo = next(photo for photo in photos if (photo.width, photo.height) == shape)
    image, rows = read_image(photo.path, *shape), Rows()
    to_time: dict[tuple[str, str], Callable[[], object]] = {}
    for run in runs:
        canvas = cost.canvas_of(models[run.name], image)  # (1, H, W, 3)
        rows[run.name], calls = counts(run, models[run.name], canvas)
        to_time |= {(run.name, kind): call for kind, call in calls.items()}
    on = {name: row["gflops"].setting.split(";")[0] for name, row in rows.items()}
    for (name, kind), times in cost.milliseconds(to_time, rounds).items():
        setting = f"{on[name]}, the network alone, {torch.get_num_threads()} threads of torch, of ONNX Runtime one a core; "
        setting += f"median, smallest and largest of {rounds} rounds in which all detectors take turns"
        rows[name][kind] = Value(float(np.median(times)), UNITS[kind], rounds, setting, min(times), max(times))
    return rows


def counts(run: Run, model: Model, canvas: np.ndarray) -> tuple[Row, dict[str, Callable[[], object]]]:
    """What can be counted of a detector on a canvas (1, H, W, 3), and what is to be timed: its network and its ONNX file."""
    config = from_settings(run.settings)
    network = Network(FAMILIES[config.family].load(weights_of(run.out)), config, model.sidecar).network
    images = torch.from_numpy(normalise(canvas, model.sidecar.mean, model.sidecar.std))  # (1, 3, H, W)
    counted, on = cost.counted(network, images), f"a canvas of {canvas.shape[2]} x {canvas.shape[1]} px"
    exact = f"{on}; counted, so no interval"
    row = {kind: Value(value, UNITS[kind], 1, exact) for kind, value in counted._asdict().items()}
    alone = f"{on}; ONNX Runtime in one process of its own, so no interval"
    row["rss_mb"] = Value(cost.peak_mb(model.path, canvas), UNITS["rss_mb"], 1, alone)
    return row, {"ms_torch": partial(forward, network, images), "ms_onnx": partial(model, canvas)}


@torch.no_grad()
def forward(network: torch.nn.Module, images: torch.Tensor) -> None:
    """One call of the network."""
    network(images)


# -- what is written -----------------------------------------------------------------------------------------------------


def pareto(points: Sequence[tuple[float, float]]) -> list[int]:
    """Positions of the (cost, gain) on the Pareto front, the cheapest first; equal ones stay all.

    >>> pareto([(2.0, 0.5), (1.0, 0.5), (3.0, 0.7)])
    [1, 2]
    """
    front: list[int] = []
    for i in sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1])):
        if not front or points[i][1] > points[front[-1]][1] or points[i] == points[front[-1]]:
            front.append(i)
    return front


def write(rows: Rows, out: Path) -> None:
    """Write OUT/table.csv (figures, low and high), OUT/table.md (the same as text) and the picture."""
    text = io.StringIO()
    columns = [(kind, end) for kind in COLUMNS for end in ("value", "low", "high") if end == "value" or kind in SPREAD]
    titles = [kind if end == "value" else f"{kind}_{end}" for kind, end in columns]
    table = [[name, *(getattr(row.get(kind), end, None) for kind, end in columns)] for name, row in rows.items()]
    csv.writer(text).writerows([["model", *titles], *table])
    (out / "table.csv").write_text(text.getvalue())
    by_key = {f"benchmark.{name}.{kind}": value._asdict() for name, row in rows.items() for kind, value in row.items()}
    (out / "table.md").write_text(report.benchmark(by_key))
    draw(rows, out / PICTURE)


def show(rows: Rows) -> None:
    """Print the table, without its intervals."""
    table = Table("model", *COLUMNS.values())
    for name, row in rows.items():
        cells = [figure_text.span(row[kind]._replace(low=None)._asdict()) if kind in row else "-" for kind in COLUMNS]
        table.add_row(name, *cells)
    Console(width=150).print(table)


def draw(rows: Rows, path: Path) -> None:
    """Draw mAP50-95 against the milliseconds of ONNX Runtime, with their intervals and the Pareto front, to PATH."""
    points = [(row["ms_onnx"].value, row["map"].value) for row in rows.values()]
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    front = [points[i] for i in pareto(points)]
    steps = [*front, (max(points)[0], front[-1][1])]  # slower ones than its last gain nothing
    axes.step(*zip(*steps, strict=True), where="post", color="tab:green", label="Pareto front")
    for (name, row), point in zip(rows.items(), points, strict=True):
        axes.hlines(point[1], row["ms_onnx"].low, row["ms_onnx"].high, color="tab:grey", linewidth=0.8)
        if row["map"].low is not None:
            axes.vlines(point[0], row["map"].low, row["map"].high, color="tab:grey", linewidth=0.8)
        axes.plot(*point, "o", color="tab:green" if point in front else "tab:grey")
        axes.annotate(name, point, (4, 5), textcoords="offset points", fontsize=8)
    axes.margins(x=0.2)
    axes.set(xscale="log", xlabel="ms a photo, ONNX Runtime on this machine", ylabel="mAP50-95 on photos held out")
    axes.legend(loc="lower right", bbox_to_anchor=(1, 1), frameon=False)
    figure.savefig(path, dpi=110)

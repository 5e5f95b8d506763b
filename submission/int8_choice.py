"""Which models of a zip are packed in 8 bits: those with which the score on the valid photos falls by at most MAX_FALL.

Models are tried one after the other, each together with those adopted before it, against all in float32: so the fall of the
whole zip keeps to the limit, too.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fusion.ensemble import read_ensemble
from fusion.models import Model, read_object, read_sidecar, start_session
from fusion.pipeline import Pipeline
from photos import folds, trained_on
from photos.data import Category, Photo, read_image
from photos.folds import Folds
from photos.intervals import Interval, bootstrap, widened
from photos.repairs import read_and_tell
from photos.score import Match, Truth, match, scores
from runs.model_files import files_of
from submission.int8_graph import Feed, quantised
from submission.predictions import as_detections

MAX_FALL = 0.005  # taken: issue 20
CALIBRATED = 24  # chosen: train photos whose values set the ranges
PER_PHOTO = 4  # chosen: inputs of each model that are kept of a photo, views or batches of crops
TIMED, ROUNDS = 4, 5  # chosen: inputs on which both graphs are timed, and how often
Progress = Callable[[int, int], None]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Held:
    """The photos that decide: `train` to calibrate on, `valid` to score, with the scene of each of these, int64 (V,)."""

    categories: tuple[Category, ...]
    train: tuple[Photo, ...]
    valid: tuple[Photo, ...]
    scenes: NDArray[np.int64]

    @classmethod
    def of(cls, parts: Folds) -> "Held":
        """The photos of a folds.json. DataError where valid has no box."""
        valid = parts.labelled("valid")
        scenes = np.array([parts.scene[photo.id] for photo in valid], np.int64)  # (V,)
        return cls(parts.dataset.categories, parts.photos("train"), valid, scenes)


class Trial(NamedTuple):
    """What 8 bits did to one model: whether it is adopted, its bytes, how far the score fell, how many times as fast it is."""

    name: str
    adopted: bool
    smaller: bytes
    fall: Interval
    speedup: float

    def __str__(self) -> str:
        """As one line."""
        what = "INT8" if self.adopted else "stays float32"
        if self.fall.n_groups < 2:
            return f"{self.name}: {what}: valid has {self.fall.n_groups} scene, need 2 or more for an interval"
        limit = "at most" if self.adopted else "more than"
        fall = f"{self.fall.value:.4f} [{self.fall.low:.4f}, {self.fall.high:.4f}] over {self.fall.n_groups} scenes"
        unsure = ", though the interval reaches beyond" if self.adopted and self.fall.high > MAX_FALL else ""
        return (
            f"{self.name}: {what}: score on valid, float32 minus INT8: {fall}, {limit} {MAX_FALL}{unsure}; "
            f"{self.speedup:.2f} times as fast here"
        )


def held(runs: Path, data: Path) -> Held:
    """The photos of the set at `data` as RUNS/folds.json parts them.

    DataError where they are not, or valid has no box; ValueError where a model of RUNS/ensemble.json has seen photos of valid.
    """
    parts = folds.load(runs / folds.NAME, read_and_tell(data))
    trained_on.refuse_judging([runs / file for file in files_of(read_ensemble(runs))], "valid", parts)
    return Held.of(parts)


def adopt(files: dict[str, bytes], names: Sequence[str], photos: Held, tell: Tell, progress: Progress) -> list[Trial]:
    """Try each model of `names` in 8 bits and replace its graph in `files` where that is adopted; `tell` gets a line of each.

    A model that cannot be quantised stays as it is, with a line. `progress` is told of the photos of each pass.
    """
    trials = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, data in files.items():
            if file.endswith((".json", ".onnx")):
                (folder / file).write_bytes(data)
        feeds = recorded(on_cpu(folder), photos.train, progress)
        plain = matched(folder, photos, progress)
        for model in names:
            try:
                smaller = quantised(files[model], read_object((folder / model).with_suffix(".json"))["task"], feeds[model])
            except ValueError as error:
                tell(f"{model}: stays float32: {error}")
                continue
            trial = _trial(folder, model, smaller, feeds[model], lambda: fall_of(plain, folder, photos, progress))
            tell(str(trial))
            trials.append(trial)
            files[model] = smaller if trial.adopted else files[model]
    return trials


def on_cpu(folder: Path) -> Pipeline:
    """The pipeline in FOLDER on the CPU, also where there is a GPU: 8 bits are for judging without one."""
    ensemble = read_ensemble(folder)
    sidecars = {file: read_sidecar((folder / file).with_suffix(".json")) for file in files_of(ensemble)}
    graphs = {(folder / file).with_name(side.graph or Path(file).name) for file, side in sidecars.items()}
    return Pipeline(ensemble, folder, {graph: start_session(graph, ensemble.threads, cpu=True) for graph in graphs})


def _trial(folder: Path, model: str, smaller: bytes, feeds: Sequence[Feed], fall: Callable[[], Interval]) -> Trial:
    """One model in 8 bits, left in `folder` where it is adopted."""
    path, plain = folder / model, (folder / model).read_bytes()
    before = path.with_suffix(".float32")
    before.write_bytes(plain)
    path.write_bytes(smaller)
    speedup = float(np.median(time_ratios(before, path, feeds[:TIMED], ROUNDS)))
    lost = fall()
    adopted = bool(lost.value <= MAX_FALL and lost.n_groups > 1)
    if not adopted:
        path.write_bytes(plain)
    return Trial(model, adopted, smaller, lost, speedup)


def recorded(pipeline: Pipeline, photos: Sequence[Photo], progress: Progress) -> dict[str, list[Feed]]:
    """What each model is given, by its file, when `pipeline` runs on CALIBRATED of the photos, evenly spread over them.

    These are its views, tiles, mirror images and crops of its own detections: what it sees at judgment.
    """
    models = {model.path.name: model for model in (*pipeline.detectors, *pipeline.classifiers)}
    feeds: dict[str, list[Feed]] = {name: [] for name in models}
    chosen = _spread(photos, CALIBRATED)
    for done, photo in enumerate(chosen, 1):
        sessions = {name: Recorder.on(model) for name, model in models.items()}
        pipeline(read_image(photo.path, photo.width, photo.height))
        for name, session in sessions.items():
            feeds[name] += _spread(session.feeds, PER_PHOTO)
            models[name].session = session.session
        progress(done, len(chosen))
    return feeds


class Recorder:
    """A session that keeps what it is given."""

    def __init__(self, session: Any) -> None:
        self.session, self.feeds = session, list[Feed]()

    @classmethod
    def on(cls, model: Model) -> "Recorder":
        """Put in the place of the model's session."""
        model.session = recorder = cls(model.session)
        return recorder

    def run(self, names: list[str], feed: Feed) -> Any:
        """As the session's own."""
        self.feeds.append({name: array.copy() for name, array in feed.items()})
        return self.session.run(names, feed)


def _spread(items: Sequence[Any], n: int) -> list[Any]:
    """At most `n` of the items, evenly spread.

    >>> _spread(range(10), 3), _spread("ab", 3), _spread([], 3)
    ([0, 4, 9], ['a', 'b'], [])
    """
    chosen = np.linspace(0, len(items) - 1, min(n, len(items))).astype(int)
    return [items[i] for i in chosen]


def matched(folder: Path, photos: Held, progress: Progress) -> Match:
    """The predictions of the pipeline in `folder` on the valid photos, matched to the truth."""
    pipeline, rows = on_cpu(folder), []
    for done, photo in enumerate(photos.valid, 1):
        image = read_image(photo.path, photo.width, photo.height)
        rows += [{"image_id": photo.id} | row for row in pipeline(image, len(photos.valid))]
        progress(done, len(photos.valid))
    own = [category.id for category in photos.categories]
    index = {i: k for k, i in enumerate(dict.fromkeys([*own, *pipeline.ensemble.categories]))}  # enrolled: last
    detections = as_detections(rows, [photo.id for photo in photos.valid], index)
    return match([Truth.of(photo) for photo in photos.valid], detections, len(index))


def fall_of(plain: Match, folder: Path, photos: Held, progress: Progress) -> Interval:
    """How far the score of the pipeline in `folder` lies below that of `plain`, paired over scenes."""
    other = matched(folder, photos, progress)
    if len(np.unique(photos.scenes)) < 2:
        return Interval(scores(plain).score - scores(other).score, -np.inf, np.inf, len(np.unique(photos.scenes)))
    return widened(bootstrap(plain, other, photos.scenes, np.random.default_rng(0)), plain, other, photos.scenes)


def time_ratios(graph: Path, other: Path, feeds: Sequence[Feed], rounds: int, threads: int = 0) -> NDArray[np.float64]:
    """Seconds of `graph` over those of `other` on all feeds, in each of the rounds, float64 (rounds,); they take turns."""
    sessions = [start_session(path, threads, cpu=True) for path in (graph, other)]
    seconds = np.zeros((rounds + 1, 2))
    for k in range(rounds + 1):  # the first warms up
        for feed in feeds:
            for i in (0, 1) if k % 2 else (1, 0):
                started = time.perf_counter()
                sessions[i].run(None, dict(feed))
                seconds[k, i] += time.perf_counter() - started
    return np.asarray(seconds[1:, 0] / seconds[1:, 1])

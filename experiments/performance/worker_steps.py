"""What the photos cost one worker of `hylle scale`, step by step, in a process without Ray."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from recognition.recogniser import load_recogniser
from scaling.destination import SCHEMAS, Destination
from scaling.listing import Part, deal
from scaling.photo_rows import Predictor, Rows, pixels, rows_of
from scaling.worker import read_bytes

STEPS = ("reading", "decoding", "models", "rest", "writing")


class Steps(NamedTuple):
    """Processor seconds of each photo, with its share of writing, and the share of each of STEPS in all, by the clock."""

    cpu: list[float]
    shares: dict[str, float]


def worker_steps(photos: Sequence[Path], model: Path, scratch: Path, part: int) -> Steps:
    """Predict the photos as a worker does that was dealt them in parts; its tables go below SCRATCH.

    Raises ValueError where the model does not load, DeadLetter where a photo is broken.
    """
    (scratch / "passing").mkdir()
    predictor = Predictor(load_recogniser(model), "", scratch / "passing")
    rows_of(str(photos[0]), photos[0].read_bytes(), predictor)  # the first call is slow
    seconds, cpu, out = Counter[str](), list[float](), Destination(str(scratch / "out"))
    for dealt in deal([str(photo) for photo in photos], part):
        cpu += _part(dealt, predictor, out, seconds)
    seconds["rest"] = seconds.pop("predicting") - seconds["decoding"] - seconds["models"]
    return Steps(cpu, {step: seconds[step] / seconds.total() for step in STEPS})


def _part(part: Part, predictor: Predictor, out: Destination, seconds: Counter[str]) -> list[float]:
    """Predict and write one part, adding to the `seconds` of each step; the processor seconds of each photo."""
    tables: Rows = {table: [] for table in SCHEMAS}
    each = []
    for uri in part.uris:
        began = time.process_time()
        with _adding(seconds, "reading"):
            data = read_bytes(uri)
        with _adding(seconds, "predicting"):
            rows = rows_of(uri, data, predictor)
        each.append(time.process_time() - began)
        seconds["models"] += sum(predictor.model.pipeline.spent.values())
        with _adding(seconds, "decoding"):  # once more, to know its share of predicting
            pixels(data, predictor.model.pipeline.ensemble.exif, predictor.scratch)
        for table, new in rows.items():
            tables[table] += new
    began = time.process_time()
    with _adding(seconds, "writing"):
        out.finish(part, tables)
    writing = (time.process_time() - began) / len(each)
    return [photo + writing for photo in each]


@contextmanager
def _adding(seconds: Counter[str], step: str) -> Iterator[None]:
    """Add how long the block takes to `step`."""
    began = time.perf_counter()
    yield
    seconds[step] += time.perf_counter() - began

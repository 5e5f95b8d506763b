"""The judge's entry: `python run.py --input FOLDER --output FILE` finds and names every product on every photo of a folder.

It runs beside `fusion/` and the models, offline. A broken photo costs that photo only. Where time is short
(`time_budget_s` of ensemble.json) it leaves out parts of the work on each photo, not whole photos. From the first photo on FILE
is valid JSON, whenever the run is killed.
"""

import time

STARTED = time.monotonic()  # before the imports, which take seconds of the time budget

import argparse  # noqa: E402
import contextlib  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import re  # noqa: E402
from collections import Counter  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from functools import partial  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any, cast  # noqa: E402

# torch first: onnxruntime finds CUDA and cuDNN through its libraries
with contextlib.suppress(ImportError, OSError, TypeError):
    import torch  # noqa: F401

import cv2  # noqa: E402

from fusion.ensemble import Part, Plan, plans_of  # noqa: E402
from fusion.pipeline import Pipeline, attempt, load, load_usable  # noqa: E402
from fusion.reading import Aside, ReadAhead, file_bytes, find_photos, threads_beside  # noqa: E402

MAX_FAILURES, RETRY = 3, 10  # chosen: a part that failed so often in a row is tried on each 10th photo; the first on all
OTHER_WORK = "rest"  # the name of all work on a photo but its parts: merging, the gate, writing, reading it in its turn
WAITING, READING = "waiting", "reading"  # for a photo that is read beside the work on those before, and that photo
PUBLISH_SHARE = 0.01  # chosen: the share of the time spent on copying the predictions to FILE
MARGIN = 1.1  # chosen: factor on the time expected for the photos left; one photo's time is reserved on top
UNTRIED_FACTOR = 10.0  # chosen: a part not tried yet may take this many times as long as the slowest known part
END = b"]\n"  # of the JSON array
DECAY = 0.9  # chosen: factor on the expected time of a part at each photo it is left out of, so that it is tried again


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True, help="folder of photos, .jpg or .jpeg in any case")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        process(find_photos(args.input), args.output)
    except Exception as error:  # no model loads, or the output cannot be written
        parser.exit(2, f"error: {error}\n")


def process(photos: dict[int, Path], path: Path) -> None:
    """Predict all photos, the largest file first, so that later photos are seldom slower than those measured."""
    pipeline = start(Path(__file__).resolve().parent) if photos else None
    output, total = Output(path), {}
    if pipeline:
        deadline = Deadline(pipeline, len(photos))
        order = sorted(photos, key=lambda image_id: -file_bytes(photos[image_id]))
        threads = threads_beside({model.provider for model in [*pipeline.detectors, *pipeline.classifiers]})
        reader = ReadAhead([photos[image_id] for image_id in order], pipeline.ensemble.exif, threads, pipeline.prepare)
        predict_all(pipeline, order, reader, deadline, output)
        reader.close()
        total = deadline.total
        logging.info("parts done: %s", json.dumps(deadline.counts))
        if deadline.skipped:
            logging.error("error: out of time: %d photos have no predictions", deadline.skipped)
        if deadline.less_named:
            logging.warning("short of time: on %d photos only the best boxes were named", deadline.less_named)
        for file, count in pipeline.not_finite().items():
            logging.error("error: %s: left out %d numbers that are not finite", file, count)
        for file, count in pipeline.full_answers().items():
            logging.warning("%s: handed back as many boxes as it may on %d canvases, and may have kept faint ones", file, count)
    output.close()
    report = {"photos": len(photos), "predictions": output.lines, "seconds": time.monotonic() - STARTED, "peak_mb": peak_mb()}
    logging.info("report: %s", json.dumps(report | {"by_part": total}))


def start(folder: Path) -> Pipeline:
    """The pipeline in FOLDER, without models that do not load. Raises ValueError where no detector is left."""
    try:
        pipeline = load(folder)
    except Exception as error:
        try:
            pipeline = load_usable(folder)
        except Exception:
            raise error from None
        logging.error("error: left out: %s", error)
    for provider in sorted({model.provider for model in [*pipeline.detectors, *pipeline.classifiers]}):
        logging.info("provider: %s", provider)
    cv2.setNumThreads(pipeline.ensemble.threads or cv2.getNumberOfCPUs())
    try:
        pipeline.warm_up()
    except Exception as error:  # it will occur again at the first photo, and be logged as an error
        logging.warning("warming up: %r", error)
    return pipeline


class Deadline:
    """Decides which parts of the work on a photo the time left allows, from how long each part took so far.

    A part is expected to take as long as it took last, or half its last expected time if that is more. A part not tried yet is
    expected to take as long as the slowest of the others. Of `plans_of` the first is followed that fits all photos left.
    """

    def __init__(self, pipeline: Pipeline, photos: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.pipeline, self.photos_left, self.clock = pipeline, photos, clock
        self.end = STARTED + pipeline.ensemble.time_budget_s
        self.expected: dict[Part | str, float] = {}  # seconds
        self.last: dict[Part | str, float] = {}  # seconds that each part took when it was last done, in full
        self.total: dict[str, float] = {"start": clock() - STARTED}  # seconds
        self.counts, self.failures = Counter[str](), Counter[Part | str]()  # how often each part was done, and failed in a row
        self.quickest = 0.0  # seconds that the indispensable parts took on the quickest photo
        self.plans, self.skipped, self.less_named, self.failed_now = plans_of(pipeline.ensemble), 0, 0, set[Part | str]()
        self.allowed, self.begun, self.reading, self.waited = 0, 0.0, 0.0, 0.0  # see `photo_read`

    def next_photo(self) -> bool:
        """Begin a photo; False where the time left is not even enough for the quickest one."""
        self.begun, self.waited, self.pipeline.spent, self.failed_now = self.clock(), 0.0, {}, set()
        self.plan = next((plan for plan in self.plans if self.fits(plan)), self.plans[-1])
        self.allowed, self.pipeline.naming_share = self.plan
        time_left, untypical = self.end - self.begun, self.counts[OTHER_WORK] == 1  # the only photo may have been a slow one
        enough = time_left > 0 and (self.quickest <= time_left or untypical)
        self.photos_left, self.skipped = self.photos_left - (not enough), self.skipped + (not enough)
        return enough

    def fits(self, plan: Plan) -> bool:
        """Whether the time left when this photo was there is enough for `plan` on all photos left, with MARGIN.

        It must also be enough for the indispensable parts on the other photos if this photo turns out slow: parts then take as
        long as last time, or UNTRIED_FACTOR times as long as the slowest of the others where they were never tried.
        """
        time_left = self.end - self.begun - self.waited
        least = self.cost(plan._replace(parts=self.pipeline.needed), self.expected)
        slow = self.cost(plan, self.last, UNTRIED_FACTOR) + MARGIN * self.photos_left * least
        return (MARGIN * self.photos_left + 1) * self.cost(plan, self.expected) <= time_left and slow <= time_left

    def cost(self, plan: Plan, seconds: dict[Part | str, float], unknown: float = 1.0) -> float:
        """Seconds of a photo by `plan`, from `seconds` of each whole part; those not in it take `unknown` x the slowest."""
        known = {part: s / plan.share(part) for part, s in self.pipeline.spent.items()} | seconds
        otherwise = unknown * max(known.values(), default=0.0)
        parts = sum(known.get(part, otherwise) * plan.share(part) for part in self.pipeline.parts[: plan.parts])
        return max(parts + known.get(OTHER_WORK, 0.0), known.get(READING, 0.0))

    def photo_read(self, seconds: float) -> None:
        """Record that the photo is there, read in `seconds` beside other work, or 0: if so, waiting is no cost of its own."""
        self.reading, self.waited = seconds, self.clock() - self.begun if seconds else 0.0

    def allows(self, part: Part) -> bool:
        """Whether to do `part` on this photo. A part never tried is decided on when the parts before it have been measured."""
        place = self.pipeline.parts.index(part)
        untried = part not in self.expected and self.pipeline.needed <= place < self.allowed
        if untried and not self.fits(self.plan._replace(parts=place + 1)):
            self.allowed = place
        tried = self.failures[part] < MAX_FAILURES or place == 0 or self.photos_left % RETRY == 0
        return place < self.allowed and tried

    def failed(self, part: Part | str, error: Exception) -> None:
        """Record that `part` failed on this photo, which goes on without it; after MAX_FAILURES in a row most photos do."""
        self.failures[part] += isinstance(part, Part)  # not merging and the gate, which every photo needs
        self.failed_now.add(part)
        often = f", {MAX_FAILURES} times in a row" if self.failures[part] == MAX_FAILURES else ""
        logging.error("error: %s: %r%s", self.pipeline.ensemble.name(part), error, often)

    def photo_done(self) -> None:
        """Update the expected times with those of this photo."""
        parts, needed = self.pipeline.parts, self.pipeline.needed
        spent: dict[Part | str, float] = {part: s for part, s in self.pipeline.spent.items() if part in parts}
        spent[OTHER_WORK] = self.clock() - self.begun - self.waited - sum(spent.values())
        if parts[0] in spent:  # a photo that could be read
            least = max(self.reading, spent[OTHER_WORK] + sum(spent.get(part, 0.0) for part in parts[:needed]))
            self.quickest = min(least, self.quickest or least)
            for shed in (part for part in parts[needed:] if part in self.expected and part not in spent):
                self.expected[shed] *= DECAY
        for part, seconds in spent.items():
            name = self.pipeline.ensemble.name(part)
            self.total[name], self.counts[name] = self.total.get(name, 0.0) + seconds, self.counts[name] + 1
            self.last[part] = seconds / self.plan.share(part)
            self.failures[part] *= part in self.failed_now
        self.total[WAITING], self.last[READING] = self.total.get(WAITING, 0.0) + self.waited, self.reading
        for part in [*spent, READING]:
            self.expected[part] = max(self.last[part], self.expected.get(part, 0.0) / 2)
        self.photos_left, self.less_named = self.photos_left - 1, self.less_named + (self.plan.naming_share < 1)


def predict(pipeline: Any, image_id: int, reader: ReadAhead, deadline: Any, then: Callable[[], Any] = str) -> Callable[[], str]:
    """Take the next photo, begin `then`, run the models without parts that fail; what is returned makes its `lines`, or ""."""
    read = reader.take()
    then()
    deadline.photo_read(read.seconds)
    if read.photo is None:
        logging.warning("%s: no predictions: %r", read.path.name, read.error)
        return str
    begin = partial(pipeline.begin, read.photo, reader.total, deadline.allows, deadline.failed)
    decided = attempt(read.path.name, no_predictions, begin, lambda: list)
    return partial(attempt, read.path.name, no_predictions, lambda: lines(image_id, decided()), str)


def lines(image_id: int, rows: list[dict[str, Any]]) -> str:
    """The predictions of a photo, one JSON object per line."""
    return ",\n".join(json.dumps({"image_id": image_id, **row}, allow_nan=False) for row in rows)


def no_predictions(name: Part | str, error: Exception) -> None:
    """Tell which photo goes without, and why."""
    logging.error("error: %s: no predictions: %r", name, error)


class Output:
    """A JSON array at `path`, one prediction per line, valid at every moment: lines go to a file beside it, which is copied.

    Copying takes at most PUBLISH_SHARE of the time, so a run that is killed may lose the predictions of its last seconds.
    Predictions that cannot be written, for want of space on the disk, say, are left out and told.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError where `path` cannot be written. Where nothing can be written beside it, lines go to `path` itself."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.lines, self.due, self.end = path, 0, 0.0, 0
        self.gathering = path.with_name(path.name + ".partial")
        try:
            self.file = self.gathering.open("wb", buffering=0)
        except Exception:
            self.gathering, self.file = path, path.open("wb", buffering=0)

    def append(self, data: bytes) -> None:
        """Put `data`, and END after it, in place of END. Raises OSError where not all can be written; then nothing is."""
        try:
            self.file.seek(self.end)
            if self.file.write(data + END) < len(data + END):
                raise OSError("no space left")
            self.end += len(data)
        except Exception:
            self.file.seek(self.end)
            self.file.write(END if self.end else b"[" + END)
            self.file.truncate()
            raise

    def add(self, make: Callable[[], str]) -> None:
        """Add what `make` returns: the predictions of one photo, one JSON object per line."""
        lines, begun = make(), time.monotonic()
        try:
            if lines or not self.end:
                self.append((("" if self.end else "[") + (",\n" if self.lines else "") + lines).encode())
                self.lines += lines.count("\n") + bool(lines)
            if begun >= self.due and self.gathering != self.path:
                self.publish()
        except Exception as error:
            logging.error("error: %s: %r", self.path.name, error)
        if begun >= self.due:
            self.due = time.monotonic() + (time.monotonic() - begun) / PUBLISH_SHARE

    def publish(self) -> None:
        """Copy what has been added so far to `path`."""
        copy = self.path.with_name(self.path.name + ".copy")
        try:
            copy.write_bytes(self.gathering.read_bytes())
            self.replace_path(copy)
        finally:
            copy.unlink(missing_ok=True)

    def close(self) -> None:
        """Move everything to `path` and leave nothing beside it."""
        if not self.end:
            self.append(b"[")
        self.file.close()
        if self.gathering != self.path:
            self.replace_path(self.gathering)

    def replace_path(self, file: Path) -> None:
        """Replace `path` by `file`, atomically unless `path` cannot be replaced (it may be a mount point)."""
        try:
            file.replace(self.path)
        except Exception:
            self.path.write_bytes(file.read_bytes())
            file.unlink(missing_ok=True)


def predict_all(pipeline: Pipeline, ids: Sequence[int], reader: ReadAhead, deadline: Deadline, output: Output) -> None:
    """Add the predictions of the photos in `reader`, whose ids are `ids`, to `output`, each beside the models of the next."""
    made, coming = cast(Callable[[], str], str), iter(ids)  # a photo that is left out takes no id: the reader hands it out next
    with Aside() as writer:
        for _ in ids:
            if deadline.next_photo():
                made = predict(pipeline, next(coming), reader, deadline, partial(writer, output.add, made))
                deadline.photo_done()
        writer(output.add, made)


def peak_mb() -> float | None:
    """The most memory this process has used so far, in MB; None where the system does not report it."""
    status = Path("/proc/self/status")
    line = re.search(r"VmHWM:\s+([0-9]+) kB", status.read_text()) if status.is_file() else None
    return int(line[1]) * 1024 / 1e6 if line else None


if __name__ == "__main__":
    main()

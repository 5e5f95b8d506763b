"""Faults injected into run.py, one at a time: each may cost the photo that it hits, and no other.

    python -m experiments.performance.faults [--record]

Every call of SITES in a run on three photos (constant models) is made to raise, to return NaN, inf, nothing or another shape,
or to take ten times as long. After each run the exit code must be 0, the JSON valid and the other photos' predictions as
without the fault.
"""

import json
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from experiments.figures import records
from experiments.performance import endurance
from experiments.performance.bad_photos import jpeg, picture
from experiments.performance.spoiling import KINDS, Calls, Fault, FaultyFile, faulty
from fusion import decode, models, pipeline
from fusion.views import View
from runs.command import Parser, run, say
from submission import run as judged
from submission.predictions import sizes_of, violations

SIZES = ((96, 64), (64, 96), (128, 128))  # width and height of the photos, pixels
# Where faults are injected: an object, and the name of its function. `open` and `write` of files that are written come to them.
SITES: dict[str, tuple[Any, str]] = {
    "model": (models.onnxruntime.InferenceSession, "run"),
    "read": (Path, "read_bytes"),
    "decode photo": (judged.cv2, "imdecode"),
    "convert photo": (judged.cv2, "cvtColor"),
    "warp": (View, "warp"),
    "decode boxes": (decode, "decode"),
    "NMS": (decode, "nms"),
    "stitch": (decode, "stitch"),
    "merge": (pipeline, "merge_members"),
    "crops": (pipeline, "crop_batches"),
    "calibrate": (pipeline, "calibrated"),
    "mean": (pipeline, "mean"),
    "gate": (pipeline, "decide"),
    "rows": (pipeline.Pipeline, "rows"),
    "replace": (Path, "replace"),
    "copy": (Path, "write_bytes"),
    "unlink": (Path, "unlink"),
}


class Outcome(NamedTuple):
    """What a fault did: a problem with the exit or the JSON, if any, the photos that changed, and those without predictions."""

    fault: Fault
    problem: str | None
    changed: set[int]
    lost: set[int]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Inject every fault, say what it cost, and record the counts. Raises ValueError where one cost more than its photo."""
    p = Parser(prog="python -m experiments.performance.faults", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        outcomes = list(inject(Path(name)))
    lost = [outcome.fault.site for outcome in outcomes if outcome.lost]
    by_site = ", ".join(f"{site} {lost.count(site)}" for site in sorted(set(lost))) or "none"
    say(f"{len(outcomes)} faults; photos lost, each the one that was hit: {len(lost)} ({by_site})")
    if bad := [outcome for outcome in outcomes if outcome.problem or len(outcome.changed) > 1]:
        raise ValueError(f"{len(bad)} faults cost more than their photo, the first: {bad[0]}")
    if args.record:
        setting = (
            "3 photos, constant models, each call raises, returns NaN, inf, nothing, another shape, or is slow; no interval"
        )
        found = {"faults.injected": len(outcomes), "faults.lost_photos": len(lost)}
        settings = {"faults.injected": setting, "faults.lost_photos": f"{setting}; by what failed: {by_site}"}
        command = records.command("performance.faults", argv)
        counts = [(key, records.Estimate(count, len(outcomes))) for key, count in found.items()]
        records.write("faults", [records.figure(key, count, "count", settings[key], command) for key, count in counts])


def inject(place: Path, every_call: bool = True) -> Iterator[Outcome]:
    """Inject each fault in a run of its own in the empty folder PLACE: at every call, or at one call of each site and kind."""
    code, photos = folder_of(place), place / "photos"
    problem, expected, calls = judge(code, photos, None)
    if problem or len(expected) != len(SIZES):
        raise ValueError(f"run.py without a fault: {problem}, predictions for {sorted(expected)}")
    possible = calls.possible  # the others would leave the run as it is
    for site, count in calls.count.items():
        for k, kind in enumerate(KINDS):
            for call in range(count) if every_call else [(k * count) // len(KINDS)]:
                fault = Fault(site, call, kind)
                if fault not in possible:
                    continue
                problem, predictions, calls = judge(code, photos, fault)
                if calls.applied:
                    changed = {i for i in expected if predictions.get(i) != expected[i]}
                    yield Outcome(fault, problem, changed, set(expected) - set(predictions))


def judge(code: Path, photos: Path, fault: Fault | None) -> tuple[str | None, dict[int, list[Any]], Calls]:
    """Run run.py of CODE with a fault: the problem with its exit or its JSON, the predictions by photo, the calls."""
    output, calls = code.parent / "out.json", Calls(fault)
    output.unlink(missing_ok=True)
    try:
        with patch.object(judged, "__file__", str(code / "run.py")), injected(calls):
            judged.process(judged.find_photos(photos), output)
    except Exception as error:
        return f"exit code 2: {error!r}", {}, calls
    problems = violations(output.read_text(), sizes_of(photos), frozenset(endurance.CATEGORIES))
    if problems:
        return problems[0], {}, calls
    predictions: dict[int, list[Any]] = {}
    for row in json.loads(output.read_text()):
        predictions.setdefault(row["image_id"], []).append(row)
    return None, predictions, calls


start_session = cache(models.start_session)  # starting sessions takes most of the time of a run


@contextmanager
def injected(calls: Calls) -> Iterator[None]:
    """Count the calls of every site, and spoil the one that `calls.fault` names; the log is silent."""
    plain_open = Path.open

    def open_file(path: Path, mode: str = "r", *rest: Any, **options: Any) -> Any:
        if "w" not in mode:
            return plain_open(path, mode, *rest, **options)
        return FaultyFile(faulty("open", plain_open, calls)(path, mode, *rest, **options), calls)

    with ExitStack() as stack:
        for name, (owner, attribute) in SITES.items():
            stack.enter_context(patch.object(owner, attribute, faulty(name, getattr(owner, attribute), calls)))
        stack.enter_context(patch.object(Path, "open", open_file))
        stack.enter_context(patch.object(judged, "STARTED", time.monotonic()))
        stack.enter_context(patch.object(models.Model, "start", staticmethod(start_session)))
        logging.disable(logging.CRITICAL)
        stack.callback(logging.disable, logging.NOTSET)
        with np.errstate(all="ignore"):
            yield


def folder_of(place: Path) -> Path:
    """Three photos in PLACE/photos, and a folder of two detectors (two views, one of them tiles) and a classifier."""
    code = endurance.code(place / "code")
    aware = np.array([[16, 48], [32, 32], [16, 8], [32, 32], [0.8, 0.1], [0.1, 0.7]], np.float32)  # (4 + 2, 2)
    endurance.constant_model(
        code / "all.onnx", aware, {"task": "detector", "family": "yolo", "categories": endurance.CATEGORIES}
    )
    values: dict[str, Any] = json.loads((code / "ensemble.json").read_text())
    values["detectors"][0]["views"] = [{"size": 64, "weight": 0.8}, {"size": 64, "tiles": [1, 2], "weight": 0.2}]
    values["detectors"].append(_evidence_only("all.onnx"))
    values["classifiers"] = [{"file": "shelf.onnx", "views": [{}, {"flip": True}]}]
    (code / "ensemble.json").write_text(json.dumps(values | {"threads": 1}))
    (place / "photos").mkdir()
    for i, (width, height) in enumerate(SIZES):
        jpeg(place / "photos" / f"img_{i + 1}.jpg", picture(width, height))
    return code


def _evidence_only(file: str) -> Mapping[str, object]:
    return {"file": file, "weight": 0.0, "evidence_weight": 1.0, "views": [{"size": 64}]}


if __name__ == "__main__":
    raise SystemExit(main())

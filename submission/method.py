"""The numbers of ensemble.json and of the sidecars: would `fusion/` work with them, and find something?

Each check calls the judge's own reader (`make_views`, `parse_record`, `merge`, `decide`) or its table (`FAMILIES`, `METHODS`,
`POLICIES`), so what passes here does not fail there.
"""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import numpy as np

from fusion.boxes import Detections
from fusion.decode import FAMILIES
from fusion.ensemble import ClassifierMember, CropView, Ensemble, Member, parse_record
from fusion.gate import POLICIES, Gate, decide
from fusion.merge import METHODS, merge
from fusion.models import Sidecar
from fusion.views import FITS, SHAPES, SHRINKINGS, View, make_views
from submission.judge_machine import JUDGE_LIMITS

PHOTOS = ((640, 480), (480, 640))  # width and height of the photos that views are tried on
TASKS = ("detector", "classifier")
MAX_SIDE = 8192  # chosen: pixels of a canvas; far beyond what any model here can take in the judge's time and memory


def ensemble_problems(ensemble: Ensemble) -> Iterator[str]:
    """What would keep the method from running, or from finding anything."""
    ids = ensemble.categories
    if not ids or len(set(ids)) < len(ids):
        yield f"categories: got {len(ids)}, of them {len(set(ids))} different; need at least 1, each once"
    if ensemble.merge.method not in METHODS:
        yield f"merge: method: got {ensemble.merge.method!r}, allowed: {', '.join(METHODS)}"
    if ensemble.gate.policy not in POLICIES:
        yield f"gate: policy: got {ensemble.gate.policy!r}, allowed: {', '.join(POLICIES)}"
    if not 0 < ensemble.time_budget_s < JUDGE_LIMITS.seconds:
        yield f"time_budget_s: got {ensemble.time_budget_s}, the judge stops at {JUDGE_LIMITS.seconds:.0f}"
    yield from _gate_problems(ensemble.gate)
    yield from _out_of_range("merge: iou", ensemble.merge.iou, 0, 1)
    yield from _out_of_range("merge: evidence_iou", ensemble.merge.evidence_iou, 0, 1)
    yield from _out_of_range("merge: max_det", ensemble.merge.max_det, 1)
    yield from _out_of_range("threads", ensemble.threads, 0)
    yield from _out_of_range("sizes: weight", ensemble.sizes.weight, 0)
    for i, member in enumerate(ensemble.detectors):
        yield from (f"detectors[{i}]: {what}" for what in _member_problems(member))
    for i, classifier in enumerate(ensemble.classifiers):
        yield from (f"classifiers[{i}]: {what}" for what in _classifier_problems(classifier))


def _gate_problems(gate: Gate) -> Iterator[str]:
    """Numbers of the gate that no fit gives, and by which it would decide nonsense."""
    if not gate.detector_temperature > 0:
        yield f"gate: detector_temperature: got {gate.detector_temperature}, must be above 0"
    for name in ("coverage", "plausible"):
        yield from _out_of_range(f"gate: {name}", getattr(gate, name), 0, 1)
    for name in (
        "detector_floor",
        "detector_exponent",
        "classifier_exponent",
        "objectness_exponent",
        "name_exponent",
        "further",
    ):
        yield from _out_of_range(f"gate: {name}", getattr(gate, name), 0)


def _out_of_range(name: str, value: float, low: float, high: float = float("inf")) -> Iterator[str]:
    if not low <= value <= high:
        yield f"{name}: got {value}, must be in [{low}, {high}]"


def _member_problems(member: Member) -> Iterator[str]:
    yield from _out_of_range("weight", member.weight, 0)
    yield from _out_of_range("evidence_weight", member.evidence_weight, 0)
    yield from _out_of_range("max_det", member.max_det, 1)
    yield from _out_of_range("nms_iou", member.nms_iou, 0, 1)
    if not 0 <= member.conf < 1:
        yield f"conf: got {member.conf}, must be in [0, 1), as no score is above 1"
    if not member.views:
        yield "views: got none, so that the model says nothing; need at least 1"
    for k, spec in enumerate(member.views):
        try:
            canvases_of(spec)
        except Exception as error:  # whatever a malformed entry leads to: run.py would fail in the same way
            yield f"views[{k}]: {error!r}" if not isinstance(error, ValueError) else f"views[{k}]: {error}"


def canvases_of(spec: dict[str, object]) -> list[View]:
    """The canvases of one entry of a member's views, on photos of PHOTOS. Raises what `make_views` raises, or ValueError."""
    views = [view for width, height in PHOTOS for view in make_views(spec, width, height)]
    sides = sorted(side for view in views for side in (view.width, view.height))
    if sides[0] < 1 or sides[-1] > MAX_SIDE:
        raise ValueError(f"size: got canvases with sides of {sides[0]} to {sides[-1]} pixels, must be in [1, {MAX_SIDE}]")
    weight = spec.get("weight", 1.0)
    if not isinstance(weight, int | float) or not weight >= 0:
        raise ValueError(f"weight: got {weight!r}, must be a number >= 0")
    return views


def _classifier_problems(member: ClassifierMember) -> Iterator[str]:
    yield from _out_of_range("weight", member.weight, 0)
    yield from _out_of_range("batch", member.batch, 1)
    if not member.views:
        yield "views: got none, so that the model says nothing; need at least 1"
    for k, spec in enumerate(member.views):
        try:
            parse_record(CropView, spec, f"views[{k}]")
        except ValueError as error:
            yield str(error)


def trial_problem(ensemble: Ensemble) -> str | None:
    """Why `merge` or `decide` fails on three boxes, if it does: a gate with too few weights, say."""
    n = max(1, len(ensemble.categories))
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], np.float32)  # (3, 4)
    scores, names = np.array([0.9, 0.6, 0.3], np.float32), np.full((3, n), 1 / n, np.float32)  # (3,), (3, C)
    detections = Detections(boxes, scores, np.zeros(3, np.int64), names)
    try:
        with warnings.catch_warnings(action="ignore"):
            merged = merge([detections], [1.0], [1.0], ensemble.merge)
            decided = decide(merged, names[: len(merged)] if ensemble.classifiers else None, ensemble.gate)
    except Exception as error:  # run.py would lose every photo by it
        return f"merge and gate fail on three boxes: {error!r}"
    if not len(decided) or not np.isfinite(decided.scores).all():
        return f"merge and gate make {len(decided)} predictions with scores {decided.scores.tolist()} of three boxes"
    return None


def sidecar_problems(side: Sidecar, task: str) -> Iterator[str]:
    """What `fusion/` would fail on in the sidecar of a model that ensemble.json lists as `task`."""
    try:
        parse_record(Sidecar, asdict(side), "")
    except ValueError as error:
        yield str(error).removeprefix(": ")
        return
    if side.task != task:
        yield f"task: got {side.task!r}, and ensemble.json lists it among the {task}s"
    elif task == "detector" and side.family not in FAMILIES:
        yield f"family: got {side.family!r}, allowed: {', '.join(FAMILIES)}"
    if side.shape not in SHAPES or side.fit not in FITS:
        yield f"shape and fit: got {side.shape!r} and {side.fit!r}, allowed: {', '.join(SHAPES)} and {', '.join(FITS)}"
    if side.shrinking not in SHRINKINGS:
        yield f"shrinking: got {side.shrinking!r}, allowed: {', '.join(SHRINKINGS)}"
    yield from _out_of_range("size", side.size, 1, MAX_SIDE)
    if len(side.mean) != 3 or len(side.std) != 3 or min(side.std) <= 0:
        yield f"mean and std: got {side.mean} and {side.std}, need three numbers each, std > 0"
    if task == "classifier":
        yield from _calibration_problems(side)


def _calibration_problems(side: Sidecar) -> Iterator[str]:
    columns = len(side.categories or []) + side.background
    if not side.categories:
        yield "categories: got none, a classifier names some"
    if not side.temperature > 0:
        yield f"temperature: got {side.temperature}, must be > 0"
    for name, values in (("scale", side.scale), ("bias", side.bias)):
        if values is not None and len(values) != columns:
            yield f"{name}: got {len(values)} numbers, need {columns}"


def canvas_problems(side: Sidecar, views: Sequence[View], dims: Sequence[int | None]) -> Iterator[str]:
    """Canvases that the graph cannot take: not of its fixed size (`dims`, height and width), or no multiple of its stride."""
    for view in views:
        fixed = [(got, need) for got, need in zip((view.height, view.width), dims, strict=True) if need not in (None, got)]
        odd = side.family == "yolo" and side.stride > 0 and (view.width % side.stride or view.height % side.stride)
        if fixed or odd:
            need = f"{dims[1]} x {dims[0]}" if fixed else f"multiples of {side.stride}"
            yield f"a canvas of {view.width} x {view.height} pixels, the model takes {need}"
            return

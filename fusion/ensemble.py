"""ensemble.json: everything of the method that is a number, as checked records, and the parts of the work it asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from fusion.gate import Gate
from fusion.models import Sidecar

Record = TypeVar("Record")
SHED = ("views", "classifier_views", "detectors", "classifiers")


@dataclass(frozen=True)
class Member:
    """One detector of the ensemble.

    `weight` > 0 lets its boxes take part in merging, `evidence_weight` > 0 its class scores in naming, both times each view's
    own weight. Of each entry of `views` the boxes above `conf` survive NMS at `nms_iou`, the best `max_det` of them. `views` as
    in `fusion.views.make_views`.
    """

    file: str
    weight: float = 1.0
    evidence_weight: float = 0.0
    conf: float = 0.001
    nms_iou: float = 0.7
    max_det: int = 300
    views: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, file: str, sidecar: Sidecar, **values: Any) -> "Member":
        """A member as its sidecar suggests: one view of the size and shape it was trained at."""
        view = {"size": sidecar.size, "shape": sidecar.shape, "stride": sidecar.stride}
        options: dict[str, Any] = {"max_det": sidecar.max_det, "views": [view]} | values
        return cls(file, **options)


@dataclass(frozen=True)
class Merge:
    """How many boxes become one: `method` nms, soft_nms or wbf; `iou` joins or removes; `sigma` is soft_nms's; class evidence
    comes from boxes that overlap by `evidence_iou`; at most `max_det` boxes a photo.
    """

    method: str = "wbf"
    iou: float = 0.55
    sigma: float = 0.5
    max_det: int = 300
    evidence_iou: float = 0.5


@dataclass(frozen=True)
class Namer:
    """A crop classifier: its file, how many crops it takes at once, and its share in the mean of all classifiers.

    The probabilities are the mean over `views` of each crop: "flip" mirrors it, "margin" replaces the sidecar's.
    """

    file: str
    batch: int = 16
    weight: float = 1.0
    views: list[dict[str, Any]] = field(default_factory=lambda: [{}])


@dataclass(frozen=True)
class CropView:
    """One entry of `Namer.views`."""

    flip: bool = False
    margin: float | None = None


@dataclass(frozen=True)
class Ensemble:
    """ensemble.json: everything of the method that is a number. `categories` are the ids that labels index.

    A model may know fewer, the first ones: those after were added to another (`stage2_classifier.enrolment`). `most` caps the
    further names of a whole run, of which each photo has an equal share; a box's first name is always there. A run that
    threatens to take longer than `time_budget_s` leaves parts out in the order of `shed` (see `parts_of`). `threads` of each
    model: 0 is one for each processor.
    """

    categories: list[int]
    detectors: list[Member]
    merge: Merge = field(default_factory=Merge)
    classifiers: list[Namer] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    most: int = 50_000
    time_budget_s: float = 270.0  # chosen: the judge's 300 s, less 30 s for what it counts before Python starts
    shed: list[str] = field(default_factory=lambda: list(SHED))
    threads: int = 0


class Part(NamedTuple):
    """A piece of the work on a photo: one view of one model, by their places in the list `kind` of ensemble.json."""

    kind: str
    model: int
    view: int


def discover(sidecars: Mapping[str, Sidecar]) -> Ensemble:
    """What to do with models that no ensemble.json goes with, by their files' names: each as its sidecar suggests.

    Class-aware detectors form boxes only where there is no other detector. Raises ValueError where none is a detector, or where
    their categories are not the first of one list.
    """
    categories = max((side.categories or [] for side in sidecars.values()), key=len, default=[]) or [0]
    for file, side in sidecars.items():
        if side.categories is not None and side.categories != categories[: len(side.categories)]:
            raise ValueError(
                f"{file}: other categories than the models beside it, and no ensemble.json says what to make of them"
            )
    finders = {file: side for file, side in sidecars.items() if side.task == "detector"}
    if not finders:
        raise ValueError(f"models: got {', '.join(sidecars) or 'none'}, need a detector")
    plain = any(side.categories is None for side in finders.values())
    detectors = [
        Member.of(
            file, side, weight=float(side.categories is None or not plain), evidence_weight=float(side.categories is not None)
        )
        for file, side in finders.items()
    ]
    most = max(side.max_det for side in finders.values())
    namers = [Namer(file) for file, side in sidecars.items() if side.task == "classifier"]
    return Ensemble(categories, detectors, Merge(max_det=most), namers)


Allows = Callable[[Part], bool]


def always(part: Part) -> bool:
    """Nothing is left out."""
    return True


def parts_of(ensemble: Ensemble) -> tuple[list[Part], int]:
    """Every piece of work on a photo, the most needed first, and how many of them are done however short the time is.

    Always done are the first view of the first detector that forms boxes, and what `Ensemble.shed` does not name. It names, the
    first to go first: "views" and "classifier_views" (a model's all but the first), "detectors", "classifiers" (their first).
    Of a group the last in ensemble.json goes first.
    """
    parts = [Part("detectors", i, v) for i, member in enumerate(ensemble.detectors) for v in range(len(member.views))]
    root = next((part for part in parts if ensemble.detectors[part.model].weight > 0), None)
    parts += [Part("classifiers", i, v) for i, namer in enumerate(ensemble.classifiers) for v in range(len(namer.views))]
    rank = {group: len(ensemble.shed) - k for k, group in enumerate(ensemble.shed)}

    def order(part: Part) -> tuple[int, int]:
        group = {"detectors": "views", "classifiers": "classifier_views"}[part.kind] if part.view else part.kind
        return (-1 if part == root else rank.get(group, 0)), part.view

    parts.sort(key=order)
    return parts, sum(order(part)[0] <= 0 for part in parts)


def record(kind: Callable[..., Record], values: Mapping[str, Any], where: str) -> Record:
    """`kind` from JSON values. Raises ValueError for no object, an unknown field, listing the known, or a missing one."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: got {values!r}, need an object")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}, known: {', '.join(known)}")
    for one in fields(kind):  # type: ignore[arg-type]
        if one.name in values and not _is(values[one.name], one.type):
            raise ValueError(f"{where}: {one.name}: got {values[one.name]!r}, need {str(one.type).removeprefix('<class ')}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _is(value: Any, kind: Any) -> bool:
    """Whether a JSON value, or a record made of one, is of a field's type; an integer passes for a number.

    >>> [_is(3, float), _is(True, int), _is([1, "a"], list[int]), _is(None, float | None), _is(float("nan"), float)]
    [True, False, False, True, False]
    """
    if kind is Any:
        return True
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool) and isfinite(value)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_is(one, get_args(kind)[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict)
    if get_args(kind):  # a union
        return any(_is(value, one) for one in get_args(kind))
    return isinstance(value, kind)


def parse(values: dict[str, Any], where: str = "ensemble.json") -> Ensemble:
    """An Ensemble from the JSON's values; every part checked for unknown fields (ValueError)."""
    whole = dict(values)
    for name, kind in (("detectors", Member), ("classifiers", Namer)):
        members = values.get(name, [])
        if not isinstance(members, list):
            raise ValueError(f"{where}: {name}: got {members!r}, need a list")
        whole[name] = [record(kind, member, f"{where}: {name}[{i}]") for i, member in enumerate(members)]
    if not whole["detectors"]:
        raise ValueError(f"{where}: detectors: got none, need at least 1")
    for name, part in (("merge", Merge), ("gate", Gate)):
        if whole.get(name) is not None:
            whole[name] = record(part, whole[name], f"{where}: {name}")
    ensemble = record(Ensemble, whole, where)
    for name, models in (("detectors", ensemble.detectors), ("classifiers", ensemble.classifiers)):
        if models and not any(model.weight > 0 and model.views for model in models):
            raise ValueError(f"{where}: {name}: got none of weight > 0 with a view, need at least 1")
    if unknown := [name for name in ensemble.shed if name not in SHED]:
        raise ValueError(f"{where}: shed: got {unknown[0]!r}, known: {', '.join(SHED)}")
    return ensemble

"""ensemble.json as checked records: every number of the method; and the parts of the work on a photo that it asks for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args, get_origin

from fusion.boxes import MEASURES
from fusion.gate import Gate
from fusion.merge import Merge
from fusion.models import Sidecar, Sizes, read_object, read_sidecar
from fusion.reading import EXIF

Record = TypeVar("Record")
NAMING_SHARES = (1.0, 0.5, 0.25)  # chosen: of the boxes to name on a photo, the best; tried before a model is left out
SHED_GROUPS = ("views", "classifier_views", "detectors", "classifiers")


@dataclass(frozen=True)
class Member:
    """One detector of the ensemble.

    `weight` > 0 lets its boxes take part in merging, `evidence_weight` > 0 lets its class scores give evidence; both are
    multiplied by a view's own weight. In each entry of `views` the boxes above `conf` go through NMS at `nms_iou`, and the best
    `max_det` are kept. `views` as in `fusion.views.make_views`.
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
        """A member with its sidecar's defaults: one view of the size and shape it was trained at."""
        view = {"size": sidecar.size, "shape": sidecar.shape, "stride": sidecar.stride}
        options: dict[str, Any] = {"max_det": sidecar.max_det, "views": [view]} | values
        return cls(file, **options)


@dataclass(frozen=True)
class ClassifierMember:
    """One crop classifier of the ensemble: its file, its batch size in crops, and its weight in the mean of all classifiers.

    Its probabilities are the mean over `views` of each crop, each an object with the fields of `CropView`.
    """

    file: str
    batch: int = 16
    weight: float = 1.0
    views: list[dict[str, Any]] = field(default_factory=lambda: [{}])


@dataclass(frozen=True)
class CropView:
    """One entry of `ClassifierMember.views`: `flip` mirrors the crop, `margin`, if given, replaces the sidecar's."""

    flip: bool = False
    margin: float | None = None


@dataclass(frozen=True)
class Ensemble:
    """ensemble.json: every number of the method. `categories` are the category ids that labels index.

    A model may know only the first of them, where others were enrolled later (`stage2_classifier.enrolment`). `most` caps the
    further names of a whole run; each photo may use an equal share. The first name of a box is always listed. A run that would
    take longer than `time_budget_s` leaves parts out in the order of `shed` (see `parts_of`). `threads` is per model; 0 stands
    for one thread per processor. `made_from` are fingerprints of the models that the gate was fitted to, by their files
    (`runs.model_files`); empty where none was fitted. It is not used at judgment. `exif` is how photos are read, one of
    `fusion.views.EXIF`: as the labels of the training mean. `names` are the products' names, one for each of `categories`, or
    empty where they are not known. `min_scores` are final scores, fitted on held-out photos, below which a prediction is better
    not shown, by what they are best for: "f1", "precision 0.9", "precision 0.95". Neither is used at judgment. Classifiers name
    the boxes with merged scores of `naming_floor` and more and, while they are sure of their names, further ones down to
    `naming_floor` / `naming_margin`; on a photo whose boxes are less sure than `naming_typical` the floor is lower
    (`fusion.pipeline.naming_floors`). Other boxes keep the detectors' evidence, without any they get every name alike
    (`fusion.gate.gate_input`). A floor of 0 names all boxes, one above 1 none. `sizes` let the classifiers' names be judged
    by the boxes' sizes (`fusion.models.sized`).
    """

    categories: list[int]
    detectors: list[Member]
    merge: Merge = field(default_factory=Merge)
    classifiers: list[ClassifierMember] = field(default_factory=list)
    gate: Gate = field(default_factory=Gate)
    most: int = 50_000
    time_budget_s: float = 270.0  # chosen: the judge's 300 s, less 30 s for what it counts before Python starts
    shed: list[str] = field(default_factory=lambda: list(SHED_GROUPS))
    threads: int = 0
    made_from: dict[str, str] = field(default_factory=dict)
    exif: str = "stored"
    names: list[str] = field(default_factory=list)
    min_scores: dict[str, float] = field(default_factory=dict)
    naming_floor: float = 0.0
    naming_margin: float = 1.0
    naming_typical: float = 0.0
    sizes: Sizes = field(default_factory=Sizes)

    def name(self, part: "Part | str") -> str:
        """The name of a part of the work in a log; a word stays as it is."""
        if isinstance(part, str):
            return part
        members = self.detectors if part.kind == "detectors" else self.classifiers
        return f"{members[part.model].file} view {part.view + 1}"


class Part(NamedTuple):
    """A part of the work on a photo: one view of one model, by their positions in the list `kind` of ensemble.json."""

    kind: str
    model: int
    view: int


def default_ensemble(sidecars: Mapping[str, Sidecar]) -> Ensemble:
    """The ensemble for models without an ensemble.json: each with its sidecar's defaults. `sidecars` are by file name.

    Class-aware detectors form boxes only where there is no class-agnostic one. Raises ValueError where no model is a detector,
    or where the categories of one model are not the beginning of the longest list.
    """
    categories = max((side.categories or [] for side in sidecars.values()), key=len, default=[]) or [0]
    for file, side in sidecars.items():
        if side.categories is not None and side.categories != categories[: len(side.categories)]:
            raise ValueError(
                f"{file}: other categories than the models beside it, and no ensemble.json says what to make of them"
            )
    detector_sidecars = {file: side for file, side in sidecars.items() if side.task == "detector"}
    if not detector_sidecars:
        raise ValueError(f"models: got {', '.join(sidecars) or 'none'}, need a detector")
    agnostic = any(side.categories is None for side in detector_sidecars.values())
    detectors = [
        Member.of(
            file,
            side,
            weight=float(side.categories is None or not agnostic),
            evidence_weight=float(side.categories is not None),
        )
        for file, side in detector_sidecars.items()
    ]
    max_det = max(side.max_det for side in detector_sidecars.values())
    classifiers = [ClassifierMember(file) for file, side in sidecars.items() if side.task == "classifier"]
    return Ensemble(categories, detectors, Merge(max_det=max_det), classifiers)


PartFilter = Callable[[Part], bool]


def allow_all(part: Part) -> bool:
    """The part filter that leaves nothing out."""
    return True


def parts_of(ensemble: Ensemble) -> tuple[list[Part], int]:
    """All parts of the work on a photo, the most important first, and how many of them are done however short the time is.

    Always done are the first view of the first detector that forms boxes, and the groups that `Ensemble.shed` does not list. It
    lists the groups that may be left out, the first to be left out first: "views" and "classifier_views" are all views of a
    model but its first; "detectors" and "classifiers" are the first views. Within a group the part listed last in
    ensemble.json is left out first.
    """
    parts = [Part("detectors", i, v) for i, member in enumerate(ensemble.detectors) for v in range(len(member.views))]
    indispensable = next((part for part in parts if ensemble.detectors[part.model].weight > 0), None)
    parts += [Part("classifiers", i, v) for i, member in enumerate(ensemble.classifiers) for v in range(len(member.views))]
    rank = {group: len(ensemble.shed) - k for k, group in enumerate(ensemble.shed)}

    def order(part: Part) -> tuple[int, int]:
        group = {"detectors": "views", "classifiers": "classifier_views"}[part.kind] if part.view else part.kind
        return (-1 if part == indispensable else rank.get(group, 0)), part.view

    parts.sort(key=order)
    return parts, sum(order(part)[0] <= 0 for part in parts)


class Plan(NamedTuple):
    """How much to do on a photo: the first so many of `parts_of`, and the share of the boxes to name that classifiers see."""

    parts: int
    naming_share: float

    def share(self, part: Part | str) -> float:
        """The share of the work on `part` that is done: of a classifier's view, that of the boxes that are named."""
        return self.naming_share if isinstance(part, Part) and part.kind == "classifiers" else 1.0


def plans_of(ensemble: Ensemble) -> list[Plan]:
    """Plans for less and less time: further views are left out, then fewer boxes named, by NAMING_SHARES, then models left out.

    After each model that is left out all boxes may be named again. Without classifiers every share is 1.
    """
    parts, needed = parts_of(ensemble)
    shares = NAMING_SHARES if ensemble.classifiers else NAMING_SHARES[:1]
    models = max([needed, *(n for n, part in enumerate(parts, 1) if part.view == 0)])  # so many parts leave no model out
    with_further_views = [Plan(n, 1.0) for n in range(len(parts), models, -1)]
    return with_further_views + [Plan(n, share) for n in range(models, needed - 1, -1) for share in shares]


def parse_record(kind: Callable[..., Record], values: Mapping[str, Any], where: str) -> Record:
    """A dataclass `kind` from JSON values; `where` begins its error messages.

    The dataclass must not be in a module with `from __future__ import annotations`, which makes its types strings.

    Raises ValueError where the values are no object, or a field is unknown (the message lists the known ones), missing or of
    another type.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: got {values!r}, need an object")
    known = [f.name for f in fields(kind)]  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        raise ValueError(f"{where}: unknown field {unknown[0]!r}, known: {', '.join(known)}")
    for known_field in fields(kind):  # type: ignore[arg-type]
        name, expected = known_field.name, known_field.type
        if name in values and not _has_type(values[name], expected):
            raise ValueError(f"{where}: {name}: got {values[name]!r}, need {str(expected).removeprefix('<class ')}")
    try:
        return kind(**values)
    except TypeError as error:
        raise ValueError(f"{where}: {error}") from None


def _has_type(value: Any, kind: Any) -> bool:
    """Whether a JSON value, or a record parsed from one, has a field's type; an integer passes for a float.

    >>> [_has_type(3, float), _has_type(True, int), _has_type([1, "a"], list[int]), _has_type(None, float | None)]
    [True, False, False, True]
    >>> _has_type(float("nan"), float)
    False
    """
    if kind is Any:
        return True
    if kind in (int, float):
        return isinstance(value, int | kind) and not isinstance(value, bool) and isfinite(value)
    if get_origin(kind) is list:
        return isinstance(value, list) and all(_has_type(item, get_args(kind)[0]) for item in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_has_type(item, get_args(kind)[1]) for item in value.values())
    if get_args(kind):  # a union
        return any(_has_type(value, option) for option in get_args(kind))
    return isinstance(value, kind)


def parse(values: dict[str, Any], where: str = "ensemble.json") -> Ensemble:
    """An Ensemble from the values of ensemble.json. Raises ValueError for an unknown or malformed field anywhere in it."""
    checked = dict(values)
    for name, kind in (("detectors", Member), ("classifiers", ClassifierMember)):
        members = values.get(name, [])
        if not isinstance(members, list):
            raise ValueError(f"{where}: {name}: got {members!r}, need a list")
        checked[name] = [parse_record(kind, member, f"{where}: {name}[{i}]") for i, member in enumerate(members)]
    if not checked["detectors"]:
        raise ValueError(f"{where}: detectors: got none, need at least 1")
    for name, part in (("merge", Merge), ("gate", Gate), ("sizes", Sizes)):
        if checked.get(name) is not None:
            checked[name] = parse_record(part, checked[name], f"{where}: {name}")
    ensemble = parse_record(Ensemble, checked, where)
    for name, models in (("detectors", ensemble.detectors), ("classifiers", ensemble.classifiers)):
        if models and not any(model.weight > 0 and model.views for model in models):
            raise ValueError(f"{where}: {name}: got none of weight > 0 with a view, need at least 1")
    if unknown := [name for name in ensemble.shed if name not in SHED_GROUPS]:
        raise ValueError(f"{where}: shed: got {unknown[0]!r}, known: {', '.join(SHED_GROUPS)}")
    sizes = ensemble.sizes
    if sizes.measure not in MEASURES or len(sizes.means) != len(sizes.spreads) or min([sizes.reach, *sizes.spreads]) <= 0:
        got = f"{sizes.measure!r} with {len(sizes.means)} means and {len(sizes.spreads)} spreads"
        raise ValueError(
            f"{where}: sizes: got {got}, need one of {', '.join(MEASURES)}, as many of both, spreads and reach > 0"
        )
    if ensemble.naming_margin < 1 or ensemble.naming_floor < 0 or ensemble.naming_typical < 0:
        got = f"{ensemble.naming_floor}, {ensemble.naming_margin} and {ensemble.naming_typical}"
        raise ValueError(f"{where}: naming_floor, naming_margin and naming_typical: got {got}, need at least 0, 1 and 0")
    if ensemble.exif not in EXIF:
        raise ValueError(f"{where}: exif: got {ensemble.exif!r}, known: {', '.join(EXIF)}")
    if len(ensemble.names) not in (0, len(ensemble.categories)):
        raise ValueError(f"{where}: names: got {len(ensemble.names)}, need {len(ensemble.categories)}, one for each category")
    return ensemble


def read_ensemble(folder: Path) -> Ensemble:
    """The ensemble in FOLDER/ensemble.json or, without that file, of every model in FOLDER with its sidecar's defaults.

    Raises ValueError where the file is malformed, or where there is neither file nor model.
    """
    path = folder / "ensemble.json"
    if path.is_file():
        return parse(read_object(path))
    files = sorted(folder.glob("*.onnx"))
    if not files:
        raise ValueError(f"{path}: not found")
    return default_ensemble({file.name: read_sidecar(file.with_suffix(".json")) for file in files})

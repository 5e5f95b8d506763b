"""What a run is worth: its score and parts of it, with intervals, and what each way of naming would be worth."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fitting.figures import lone_of
from fusion.models import read_object
from photos import fingerprint
from photos.data import PARTS
from photos.folds import Folds
from photos.intervals import Interval, Intervals, interval
from reporting.charts import Bar, Chart, bars
from reporting.held_out import HeldOut, lone_in
from reporting.verdicts import KINDS
from runs.model_files import is_stale, method_of

WHAT = {
    "score": "The contest's: 0.7 of what is found and 0.3 of what is named",
    "det_map50": "Detection mAP@0.5: are the products found, whatever they are called",
    "cls_map50": "Classification mAP@0.5: are they found under their names, every product counting alike",
}
POLICIES = (
    "cross-validated on the photos that the gate was fitted to; each policy with one name a box, while the score above "
    "counts the less probable names too that are handed in below them"
)


class Figure(NamedTuple):
    """One figure: its name, what it means, and its value with the interval."""

    name: str
    meaning: str
    interval: Interval


class Worth(NamedTuple):
    """The figures, what their intervals are over, the counts of verdicts, and the score on the set's own test part, if any.

    `lone` tells of names that are on photos of one fold only; empty where there are none.
    """

    figures: list[Figure]
    resampled: str
    counts: dict[str, int]
    test: Interval | None
    lone: str = ""


class Ablation(NamedTuple):
    """Ways of naming compared; `absent` says what there is no such figure of, and which command makes it."""

    chart: Chart | None
    rows: list[Bar]
    setting: str
    absent: list[str]


def worth_of(held_out: HeldOut) -> Worth:
    """The figures of a run: of a fit those that it wrote, else measured now."""
    groups, resampled = held_out.groups
    path = held_out.runs / "fitted.json"
    cross_fitted = held_out.folds.settings.pooled and not held_out.split.flatters  # else ensemble.json was changed since
    told = read_if_there(path) if cross_fitted else {}
    if told and is_of_others(told, held_out):
        told = {}
    if told:
        values = told["cross_fitted"]
        found = Intervals(*(Interval(**values[name]) for name in ("det_map50", "cls_map50", "score")))
    else:
        found = interval(held_out.match, groups)
    figures = [Figure(name, meaning, figure_of(found, name)) for name, meaning in WHAT.items()]
    test = told.get("test")
    counts = {kind: sum(own.counts[kind] for own in held_out.verdicts) for kind in KINDS}
    return Worth(figures, resampled, counts, None if test is None else Interval(**test["score"]), lone_in_words(held_out))


def lone_in_words(held_out: HeldOut) -> str:
    """What names that are on photos of one fold only take from the figures of a fit; empty where there are none."""
    return str(lone_of(held_out.match, lone_in(held_out), held_out.scenes) or "")


def is_of_others(told: Mapping[str, Any], held_out: HeldOut) -> bool:
    """Whether a fit's figures are of other labels than the data set has now, or of other models than the run folder has."""
    return is_of_other_labels(told, held_out.folds) or is_stale(told, held_out.runs, held_out.ensemble)


def is_of_other_labels(told: Mapping[str, Any], folds: Folds) -> bool:
    """Whether figures are of other labels than the data set has now; False where they do not tell of which.

    Those of a fit tell the labels of the whole set, others of the parts that they are of.
    """
    if "labels" not in told:
        return False
    dataset, labels = folds.dataset, told["labels"]
    if set(labels) <= set(PARTS):
        return bool(labels != folds.labels(*labels))
    return bool(labels != fingerprint.of_photos(dataset.photos, dataset.categories))


def figure_of(found: Intervals, name: str) -> Interval:
    """The figure of this name."""
    return {"det_map50": found.det_map50, "cls_map50": found.cls_map50, "score": found.score}[name]


def ablation_of(held_out: HeldOut) -> Ablation:
    """The variants of RUNS/ablation.json where there is one; else the policies that the gate was chosen among, and oracles.

    What was measured of another ensemble than RUNS has now, or of other labels, is left out, which `absent` says.
    """
    runs, ensemble = held_out.runs, held_out.ensemble
    told, gate, fitted = (read_if_there(runs / f"{name}.json") for name in ("ablation", "gate", "fitted"))
    stale = []
    if why := changed(told, held_out):
        stale, told = [f"ablation.json is left out: it was measured before {why} changed"], {}
    if told:
        rows = [Bar(row["arm"], *triple(row["score"])) for row in told["rows"]]
        return drawn(rows, "photos of the part test, each variant fitted on the part valid", unrecorded("ablation.json", told))
    if gate.get("method", method_of(ensemble)) != method_of(ensemble):
        return Ablation(None, [], "", [*stale, "ensemble.json changed since its gate was fitted; fit it again"])
    if any(is_of_other_labels(own, held_out.folds) for own in (gate, fitted)):  # a fit writes both, of the same labels
        return Ablation(None, [], "", [*stale, "the labels changed since the gate was fitted; fit it again"])
    if why := changed(fitted, held_out):
        stale, fitted = [*stale, f"what perfect names and boxes would score was measured before {why} changed"], {}
    if gate:
        stale += unrecorded("gate.json", fitted | gate)
    rows = list(policies(gate, fitted))
    absent = ["only policies of the gate are compared, without intervals: python -m experiments.ablation compares more"]
    if not rows:
        absent = ["no ways of naming were compared: there is no gate.json of hylle gate or hylle fit"]
        return Ablation(None, [], "", [*stale, *absent])
    return drawn(rows, POLICIES, [*stale, *absent])


def changed(told: Mapping[str, Any], held_out: HeldOut) -> str:
    """What of that which figures are of changed since, in words; empty where nothing did, or they do not tell."""
    if is_stale(told, held_out.runs, held_out.ensemble):
        return "ensemble.json or its models"
    return "the labels" if is_of_other_labels(told, held_out.folds) else ""


def unrecorded(name: str, told: Mapping[str, Any]) -> list[str]:
    """What is to be known of figures that do not tell of which labels they are; nothing of others."""
    return (
        []
        if "labels" in told
        else [f"{name} does not record its labels: if they changed since, these bars are of the old ones"]
    )


def read_if_there(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where there is no such file."""
    return read_object(path) if path.is_file() else {}


def policies(gate: Mapping[str, Any], fitted: Mapping[str, Any]) -> Iterator[Bar]:
    """The policies that the gate was chosen among, and what perfect names and boxes would score."""
    adopted = gate.get("gate", {}).get("policy")
    for policy, value in gate.get("scores", {}).items():
        yield Bar(f"{policy} (adopted)" if policy == adopted else policy, value)
    for key, name in (("name_oracle", "with perfect names"), ("box_oracle", "with perfect boxes")):
        if key in fitted:
            yield Bar(name, fitted[key])


def triple(value: Any) -> tuple[float, float | None, float | None]:
    """Value, low and high of a figure in ablation.json.

    >>> triple([0.5, 0.4, 0.6]), triple(0.5)
    ((0.5, 0.4, 0.6), (0.5, None, None))
    """
    return (value[0], value[1], value[2]) if isinstance(value, list) else (value, None, None)


def drawn(rows: list[Bar], setting: str, absent: list[str]) -> Ablation:
    """The rows with their chart."""
    best = max(rows, key=lambda row: row.value)
    alt = f"Bars of the score of {len(rows)} ways of naming; the best is {best.name} with {best.value:.3f}."
    return Ablation(bars(rows, "score", alt), rows, setting, absent)

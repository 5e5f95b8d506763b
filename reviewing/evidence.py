"""What stands behind each name on a photo: both sources' evidence and why the gate decided as it did.

Runs the same functions in the same order as `fusion.pipeline.Pipeline`, so boxes, names and scores are those of run.py.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections
from fusion.ensemble import Member, Part
from fusion.gate import Gate, GateInput, change_features, final_scores, gate_input, mass_above, posterior, product
from fusion.pipeline import Pipeline, RawViews, merge

Image = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
TOP = 3  # chosen: names of each source that are shown
GUESSES = 5  # chosen: names to pick from by one key
UNNAMED = "too faint for the classifier to be asked (the naming floor)"


class Box(NamedTuple):
    """One box: a row as `Pipeline` returns it, the best names of both sources with their probabilities, and why this name.

    `guesses` are the labels that it most probably has by both sources, the row's own first; none where no source was asked.
    """

    row: dict[str, Any]
    objectness: float
    detector: list[tuple[int, float]]
    classifier: list[tuple[int, float]]
    why: str
    guesses: list[int] = []  # noqa: RUF012 (never changed)


def recognised_boxes(pipeline: Pipeline, image: Image, names: Sequence[str]) -> list[Box]:
    """The boxes on a uint8 (H, W, 3) RGB photo, best first, each once; `names` are those of the labels."""
    merged = merge(pipeline.detect(image), pipeline.ensemble)
    probabilities = pipeline.name(image, merged)
    gate = pipeline.ensemble.gate
    inputs = gate_input(merged, probabilities, gate)
    if inputs is None:
        order = np.argsort(-merged.scores, kind="stable")
        return [
            Box(row, row["score"], [], [], "the model finds boxes without names") for row in pipeline.rows(merged.take(order))
        ]
    chosen = posterior(inputs, gate)  # (N, C)
    scores = final_scores(chosen, inputs, gate)
    order = np.argsort(-scores, kind="stable")
    decided = Detections(merged.boxes, scores, chosen.argmax(1).astype(np.int64), merged.evidence).take(order)
    sources = Sources(merged.evidence is not None, probabilities is not None)
    reasons = explain(inputs, chosen, gate, names, sources)
    rows = pipeline.rows(decided)
    detector = [best(row) if sources.detector else [] for row in inputs.detector]
    asked = np.zeros(len(merged), bool) if probabilities is None else ~np.isnan(probabilities).any(1)  # (N,)
    reasons = [reason if of_crop or not sources.classifier else UNNAMED for reason, of_crop in zip(reasons, asked, strict=True)]
    rows_of_crops = _classifier_rows(inputs, probabilities)
    classifier = [best(row) if of_crop else [] for row, of_crop in zip(rows_of_crops, asked, strict=True)]
    guesses = guesses_of(merged, probabilities, chosen, gate)
    return [
        Box(row, float(merged.scores[i]), detector[i], classifier[i], reasons[i], guesses[i])
        for row, i in zip(rows, order.tolist(), strict=True)
    ]


class Sources(NamedTuple):
    """Which sources gave evidence: a class-aware detector, a classifier."""

    detector: bool
    classifier: bool


def _classifier_rows(inputs: GateInput, probabilities: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float32]:
    """The classifier's own distributions; under the policy `detector` the gate's input does not hold them."""
    return inputs.classifier if probabilities is None else np.nan_to_num(probabilities)


def best(row: npt.NDArray[np.floating]) -> list[tuple[int, float]]:
    """The TOP labels of a distribution (C,) with their probabilities, the greatest first.

    >>> best(np.array([0.25, 0.75]))
    [(1, 0.75), (0, 0.25)]
    """
    return [(int(k), round(float(row[k]), 4)) for k in np.argsort(-row, kind="stable")[:TOP]]


# -- names to pick from ----------------------------------------------------------------------------------------------------


def guesses_of(merged: Detections, probabilities: Floats | None, chosen: Floats, gate: Gate) -> list[list[int]]:
    """For each merged box up to GUESSES labels, the gate's own by its posterior `chosen` (N, C) first.

    The others are the most probable by the product of both sources. Empty where neither source says anything of a box: the
    classifier was not asked (a row of NaN) and no detector that tells products apart has a box there.
    """
    inputs = gate_input(merged, probabilities, replace(gate, policy="product"))
    if inputs is None:
        return [[] for _ in range(len(merged))]
    order = np.argsort(-product(inputs, gate), axis=1, kind="stable")[:, :GUESSES]  # (N, GUESSES)
    known = np.zeros(len(merged), bool) if probabilities is None else np.isfinite(probabilities).all(1)  # (N,)
    if merged.evidence is not None:
        known |= merged.evidence.any(1)
    firsts = chosen.argmax(1).tolist()
    ranked = [list(dict.fromkeys([first, *rest]))[:GUESSES] for first, rest in zip(firsts, order.tolist(), strict=True)]
    return [labels if is_known else [] for labels, is_known in zip(ranked, known.tolist(), strict=True)]


def naming_views(pipeline: Pipeline, image: Image) -> RawViews:
    """The raw outputs of those detectors alone that tell products apart, on a uint8 (H, W, 3) RGB photo."""
    members = pipeline.ensemble.detectors

    def tells_apart(part: Part) -> bool:
        return part.kind == "detectors" and members[part.model].evidence_weight > 0

    return pipeline.detect(image, tells_apart)


def guesses_of_drawn_box(pipeline: Pipeline, image: Image, views: RawViews, box: Floats) -> list[int]:
    """The labels that a box (4,) most probably has that a person drew, best first; none where no model tells products apart.

    `views` are the photo's `naming_views`. The box is merged like one that the models found, with certainty: it is the only one
    that forms a box, so that it gets the evidence of the detectors' boxes that it overlaps.
    """
    ensemble = pipeline.ensemble
    members = [*(replace(member, weight=0.0) for member in ensemble.detectors), Member("drawn", views=[{}])]
    drawn = Detections(np.asarray(box, np.float32)[None], np.ones(1, np.float32), np.zeros(1, np.int64))
    merged = merge([*views, [drawn]], replace(ensemble, detectors=members))
    probabilities = pipeline.classify(image, merged.boxes)
    inputs = gate_input(merged, probabilities, ensemble.gate)
    if inputs is None:
        return []
    return guesses_of(merged, probabilities, posterior(inputs, ensemble.gate), ensemble.gate)[0]


# -- why -------------------------------------------------------------------------------------------------------------------


def explain(
    inputs: GateInput, chosen: npt.NDArray[np.float32], gate: Gate, names: Sequence[str], sources: Sources
) -> list[str]:
    """One sentence for each box: which source's name it has, and by which rule of the gate."""
    if not sources.classifier:
        return ["the detector's name: there is no classifier"] * len(chosen)
    if not sources.detector and gate.policy != "raw":
        return ["the classifier's name: no detector here tells products apart"] * len(chosen)
    rules = RULES[gate.policy](inputs, gate)
    outcomes = []
    for i, rule in enumerate(rules):
        label, detector, classifier = (int(row[i].argmax()) for row in (chosen, inputs.detector, inputs.classifier))
        if detector == classifier == label and gate.policy not in ("detector", "raw"):
            outcomes.append(f"both say {names[label]}; {rule}")
        else:
            source = "the classifier's" if label == classifier and gate.policy != "detector" else "the detector's"
            outcomes.append(f"{source if label in (detector, classifier) else 'a'} name, {names[label]}: {rule}")
    return outcomes


def _fixed(text: str) -> Callable[[GateInput, Gate], list[str]]:
    return lambda inputs, gate: [text] * len(inputs.merged)


def _by_agreement(inputs: GateInput, gate: Gate) -> list[str]:
    labels = inputs.classifier.argmax(1)
    above = mass_above(inputs.detector, labels)
    sure = inputs.classifier.max(1, initial=0.0)
    own = inputs.detector.max(1, initial=0.0) * np.minimum(inputs.classifier.sum(1), 1)
    sentence = (
        "the classifier is {:.0f} % sure of its name, the detector {:.0f} % of its own; the names that the detector prefers to "
        "the classifier's have {:.0f} % together, and the gate allows up to {:.0f} %"
    )
    percent = 100 * np.stack([sure, own, above, np.full(len(sure), gate.plausible)], axis=1)  # (n, 4)
    return [sentence.format(*row) for row in percent]


def _by_thresholds(inputs: GateInput, gate: Gate) -> list[str]:
    evidence = inputs.merged.evidence
    score = np.zeros(len(inputs.merged)) if evidence is None else evidence.max(1, initial=0.0)
    sure = inputs.classifier.max(1, initial=0.0)
    pairs = ", ".join(f"below {low:.2f} and above {high:.2f}" for low, high in gate.overrides) or "none"
    return [f"detector {s:.2f}, classifier {c:.2f} (changed where {pairs})" for s, c in zip(score, sure, strict=True)]


def _by_regression(inputs: GateInput, gate: Gate) -> list[str]:
    features = change_features(inputs)
    votes = features @ np.asarray(gate.change_weights or [0.0] * features.shape[1])
    return [f"the regression on both says {vote:+.2f} (changed above 0)" for vote in votes]


RULES: dict[str, Callable[[GateInput, Gate], list[str]]] = {
    "detector": _fixed("the gate always keeps the detector's name"),
    "raw": _fixed("the gate always takes the classifier's name"),
    "override": _by_thresholds,
    "agree": _by_agreement,
    "product": _fixed("the most probable by the product of both distributions"),
    "stacked": _by_regression,
}

"""What stands behind each name on a photo: both sources' evidence and why the gate decided as it did.

Runs the same functions in the same order as `fusion.pipeline.Pipeline`, so boxes, names and scores are those of run.py.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fusion.boxes import Detections
from fusion.gate import Gate, GateInput, change_features, final_scores, gate_input, mass_above, posterior
from fusion.pipeline import Pipeline, merge

Image = npt.NDArray[np.uint8]
TOP = 3  # chosen: names of each source that are shown
UNNAMED = "too faint for the classifier to be asked (the naming floor)"


class Box(NamedTuple):
    """One box: a row as `Pipeline` returns it, the best names of both sources with their probabilities, and why this name."""

    row: dict[str, Any]
    objectness: float
    detector: list[tuple[int, float]]
    classifier: list[tuple[int, float]]
    why: str


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
    return [
        Box(row, float(merged.scores[i]), detector[i], classifier[i], reasons[i])
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
        "to the detector the names above the classifier's hold {:.2f} (allowed {:.2f}); "
        "the classifier is {:.2f} sure, the detector {:.2f}"
    )
    return [sentence.format(a, gate.plausible, s, o) for a, s, o in zip(above, sure, own, strict=True)]


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

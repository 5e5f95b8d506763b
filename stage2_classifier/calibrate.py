"""How far to trust each source of names: temperatures, the conformal threshold, and whether the gate may change a name at all.

Everything is fitted on photos that no model was trained on, and judged on photos it was not fitted on: groups of scenes take
turns (cross-fitting). `agree` is adopted only when the lower end of its 95 % interval over `detector` is above 0.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from fusion.boxes import Detections, iou
from fusion.gate import Gate, decide, detector_probabilities, mass_ahead
from stage1_detector.score import Interval, bootstrap, match, scores
from stage2_classifier.evidence import Evidence

# Of equals the first listed wins: what CONTEST.md measured as best, and the set that refuses none.
EXPONENTS = (0.5, 1.0, 0.25, 2.0, 0.0)  # chosen: of the name's probability in the final score
FLOORS = (1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3)  # chosen: of the detectors' class scores, which are in [0, 1]
COVERAGES = (1.0, 0.99, 0.95, 0.9)  # chosen: shares of boxes whose true name the plausible set holds
TURNS = 5  # chosen: groups of scenes that take turns in cross-fitting
MIN_SCENES = 5  # chosen: with fewer scenes, photos are resampled instead, and the report says so


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T in [0.05, 20] that minimises the cross entropy of softmax(logits / T); 1 without data (Guo et al. 2017).

    The targets are Platt's (1999): of n crops the true name has (n + 1) / (n + 2), the others share the rest, so that crops
    named without a mistake do not make it infinitely sure. scikit-learn's calibrator wants every class among the labels, which
    held-out crops of a long tail do not have.
    """

    def loss(log_t: float) -> float:
        return cross_entropy(logits / np.exp(log_t), labels)

    if len(labels) == 0:
        return 1.0
    return float(np.exp(minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded").x))


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross entropy of softmax(logits), (N, C), with Platt's targets for `labels`; 0 without data or with one class."""
    n, width = logits.shape
    if n == 0 or width < 2:
        return 0.0
    targets = np.full((n, width), 1 / (n + 2) / (width - 1))
    targets[np.arange(n), labels] = (n + 1) / (n + 2)
    return float(-(targets * log_softmax(logits.astype(np.float64), axis=1)).sum(1).mean())


def detector_scale(rows: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Temperature and floor of the detectors' class evidence (N, C) that minimise the same cross entropy."""
    fits = [(temperature(np.log(rows + floor), labels), floor) for floor in FLOORS]
    return min(fits, key=lambda fit: cross_entropy(np.log(rows + fit[1]) / fit[0], labels))


def ece(logits: np.ndarray, labels: np.ndarray, t: float, bins: int = 15) -> float:
    """Expected calibration error in [0, 1]: mean |accuracy - confidence| over `bins` equal bins, weighted by count."""
    if len(labels) == 0:
        return 0.0
    probabilities = softmax(logits.astype(np.float64) / t, axis=1)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(right[which == b].mean() - confidence[which == b].mean()) * (which == b).mean()
        for b in range(bins)
        if (which == b).any()
    ]
    return float(sum(gaps))


def conformal_threshold(ahead: np.ndarray, coverage: float) -> float:
    """The q such that a new box's true name has at most q of the probability ahead of it in a share `coverage` at least.

    Split conformal: of n held-out boxes' values in [0, 1] the ceil(coverage (n + 1))-th smallest, and 1 where that is none.

    >>> conformal_threshold(np.arange(1, 100) / 100, 0.95), conformal_threshold(np.array([0.1]), 0.95)
    (0.95, 1.0)
    """
    k = int(np.ceil(coverage * (len(ahead) + 1) - 1e-9))
    return float(np.sort(ahead)[k - 1]) if k <= len(ahead) else 1.0


def named_boxes(evidence: Sequence[Evidence]) -> tuple[np.ndarray, np.ndarray]:
    """Class evidence (M, C) and true labels (M,) of the merged boxes on true ones: for each true box the best-scored."""
    rows, labels = [], []
    for e in evidence:
        if e.merged.evidence is None or len(e.merged) == 0 or len(e.photo.boxes) == 0:
            continue
        overlap = iou(e.photo.boxes, e.merged.boxes)  # (T, N)
        value = np.where(overlap >= 0.5, e.merged.scores, -1.0)
        hit = value.max(1) >= 0
        rows.append(e.merged.evidence[value.argmax(1)[hit]])
        labels.append(e.photo.labels[hit])
    return (np.concatenate(rows), np.concatenate(labels)) if rows else (np.zeros((0, 1), np.float32), np.zeros(0, np.int64))


def fit_policy(policy: str, evidence: Sequence[Evidence]) -> Gate:
    """The gate of this `policy`, fitted on `evidence`: the temperature by likelihood, the rest by the contest's score.

    That is the score's exponent and, for `agree`, at what coverage the plausible set is taken: each threshold is conformal, and
    how much coverage pays depends on how much the detector knows. Of equals the first listed is taken.
    """
    rows, labels = named_boxes(evidence)
    t, floor = detector_scale(rows, labels)
    ahead = mass_ahead(detector_probabilities(rows, t, floor), labels)
    sets = [(c, conformal_threshold(ahead, c)) for c in (COVERAGES if policy == "agree" else COVERAGES[:1])]
    gates = [Gate(policy, t, floor, coverage, plausible, exponent) for coverage, plausible in sets for exponent in EXPONENTS]
    return max(gates, key=lambda gate: score(evidence, [gate] * len(evidence)))


def predictions(evidence: Sequence[Evidence], gates: Sequence[Gate]) -> list[Detections]:
    """The decision on every photo, each under its own gate."""
    return [decide(e.merged, e.probabilities, gate) for e, gate in zip(evidence, gates, strict=True)]


def n_categories(evidence: Sequence[Evidence]) -> int:
    """How many names there are, as far as the models and the annotations know."""
    widths = [1] + [e.merged.evidence.shape[1] for e in evidence if e.merged.evidence is not None]
    return max(
        widths
        + [e.probabilities.shape[1] for e in evidence if e.probabilities is not None]
        + [int(e.photo.labels.max(initial=0)) + 1 for e in evidence]
    )


def score(evidence: Sequence[Evidence], gates: Sequence[Gate]) -> float:
    """0.7 det + 0.3 cls mAP50 of the decisions."""
    return scores(match([e.truth for e in evidence], predictions(evidence, gates), n_categories(evidence))).score


def resampling_groups(scenes: np.ndarray) -> tuple[np.ndarray, str]:
    """What intervals resample: the scenes, or the photos where there are fewer than MIN_SCENES scenes; and which, in a word."""
    if len(np.unique(scenes)) >= MIN_SCENES:
        return scenes, "scenes"
    return np.arange(len(scenes)), "photos"


def turns(groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A turn in 0..TURNS-1 for each photo; photos of one group share theirs."""
    names, index = np.unique(groups, return_inverse=True)
    return (rng.permutation(len(names)) % min(TURNS, len(names)))[index]


def cross_fit(policy: str, evidence: Sequence[Evidence], groups: np.ndarray, rng: np.random.Generator) -> list[Gate]:
    """For each photo the gate fitted on the photos of the other turns."""
    turn = turns(groups, rng)
    fitted = {k: fit_policy(policy, [e for e, t in zip(evidence, turn, strict=True) if t != k]) for k in np.unique(turn)}
    return [fitted[k] for k in turn]


@dataclass(frozen=True)
class Choice:
    """The gate adopted, why, and what was resampled for the interval of its gain over `detector` on held-out photos."""

    gate: Gate
    gain: Interval | None
    resampled: str

    def to_json(self) -> dict[str, object]:
        """Everything of it as JSON values."""
        return {
            "gate": asdict(self.gate),
            "gain": None if self.gain is None else asdict(self.gain),
            "resampled": self.resampled,
        }


def choose_gate(evidence: Sequence[Evidence], scenes: np.ndarray, rng: np.random.Generator) -> Choice:
    """`agree` where its cross-fitted gain over `detector` is above 0 with its whole 95 % interval; else `detector`."""
    groups, resampled = resampling_groups(scenes)
    keep = fit_policy("detector", evidence)
    if all(e.probabilities is None for e in evidence) or len(np.unique(groups)) < 2:
        return Choice(keep, None, resampled)
    truths, n = [e.truth for e in evidence], n_categories(evidence)
    matches = [
        match(truths, predictions(evidence, cross_fit(policy, evidence, groups, rng)), n) for policy in ("agree", "detector")
    ]
    gain = bootstrap(*matches, groups, rng)
    return Choice(fit_policy("agree", evidence) if gain.low > 0 else keep, gain, resampled)

"""How far to trust one source: logits and scores become probabilities, by maps that are fitted on held-out photos.

The classifier's logits get a temperature, a scale for each name, or a scale and a bias (Guo et al. 2017, arXiv:1706.04599);
the detectors' class evidence a temperature and a floor; objectness Platt's logistic map or an isotonic one. `reliability`
measures whether they are calibrated then. Knows nothing about gates, photos or models.

scikit-learn fits the maps of one score. Its CalibratedClassifierCV(method="temperature") is not used: it raises IndexError
where a class is missing from the held-out labels, as most of a long tail are, and it has no smoothed targets, so that crops
named without a mistake send T to 0. Where every class is there, ours finds the same T (a test holds the two equal).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

METHODS = ("none", "temperature", "per_class", "vector")  # from the simplest to the one with the most numbers
CHANGES_NAMES = ("per_class", "vector")  # a temperature keeps the order of a crop's names
FLOORS = (1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.3)  # chosen: of the detectors' class scores, which are in [0, 1]
TEMPERATURES = (0.05, 20.0)  # chosen: the lowest and highest; one beyond is a sign of too few data
# How far, by prior, a name's log scale and bias are from 0 (one sigma). Measured: lowest cross-validated loss of a grid on two
# drawn sets, 54 and 55 names in 831 and 932 valid boxes (0.2 and 0.5 lose 0.02 there).
SCALE_SPREAD, BIAS_SPREAD = 0.05, 0.2
TURNS = 5  # chosen: parts that take turns in cross-validation
COVERED = 0.9  # chosen: the share of names that held-out crops must show for numbers of each name
BLOCK = 128  # measured: rows; of 356 names an array of them is 360 kB, and 64 or 256 take a tenth longer
EDGE = 1e-6  # chosen: scores are cut to [EDGE, 1 - EDGE] before their logit


@dataclass(frozen=True)
class Scaling:
    """One classifier's calibration, as its sidecar holds it: softmax(logits / temperature x scale + bias)."""

    temperature: float = 1.0
    scale: list[float] | None = None
    bias: list[float] | None = None
    method: str = "none"

    def scaled(self, logits: np.ndarray) -> np.ndarray:
        """The calibrated logits (N, C), float64."""
        z = np.asarray(logits, np.float64) / self.temperature
        return z * np.asarray(1.0 if self.scale is None else self.scale) + np.asarray(0.0 if self.bias is None else self.bias)

    def apply(self, logits: np.ndarray) -> np.ndarray:
        """Probabilities (N, C), float32, rows summing to 1, as `fusion.models.calibrated` gives (a test holds them equal)."""
        from scipy.special import softmax

        return softmax(self.scaled(logits), axis=1).astype(np.float32)

    def sidecar(self) -> dict[str, Any]:
        """The sidecar's fields."""
        return {"temperature": self.temperature, "scale": self.scale, "bias": self.bias}


def check(logits: np.ndarray, labels: np.ndarray) -> None:
    """Raises ValueError unless `logits` (N, C) are finite numbers and `labels` (N,) are their columns."""
    if logits.ndim != 2 or labels.shape != logits.shape[:1]:
        raise ValueError(f"logits and labels: got shapes {logits.shape} and {labels.shape}, must be (N, C) and (N,)")
    if not np.isfinite(logits).all():
        bad = int((~np.isfinite(logits)).any(1).sum())
        raise ValueError(f"logits: {bad} of {len(logits)} rows hold NaN or infinity, must be finite")
    if len(labels) and not 0 <= labels.min() <= labels.max() < logits.shape[1]:
        raise ValueError(f"labels: got {labels.min()}..{labels.max()}, must be in 0..{logits.shape[1] - 1}")


def smoothed(labels: np.ndarray, width: int) -> np.ndarray:
    """Platt's targets (N, width) for N crops: the true name has (N + 1) / (N + 2), the others share the rest (Platt 1999).

    >>> smoothed(np.array([0, 2]), 3).tolist()
    [[0.75, 0.125, 0.125], [0.125, 0.125, 0.75]]
    """
    n = len(labels)
    targets = np.full((n, width), 1 / (n + 2) / max(1, width - 1))
    targets[np.arange(n), labels] = (n + 1) / (n + 2)
    return targets


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Cross entropy (N,) of softmax(logits), (N, C), with Platt's targets for `labels`; 0 with one class."""
    check(logits, labels)
    return _losses(logits, labels, 1.0)


def _losses(logits: np.ndarray, labels: np.ndarray, temperature: float) -> np.ndarray:
    """`losses` of logits / temperature, unchecked: BLOCK rows at a time, so that their arrays stay in the processor's cache."""
    n, width = logits.shape
    values = np.zeros(n)
    if width < 2:
        return values
    right, other = (n + 1) / (n + 2), 1 / (n + 2) / (width - 1)  # the targets, as in `smoothed`
    for start in range(0, n, BLOCK):
        own = labels[start : start + BLOCK, None]  # (B, 1)
        log_p = (logits[start : start + BLOCK] / temperature).astype(np.float64)  # (B, C)
        log_p -= log_p.max(1, keepdims=True)
        log_p -= np.log(np.exp(log_p).sum(1, keepdims=True))
        products = log_p * other
        np.put_along_axis(products, own, np.take_along_axis(log_p, own, 1) * right, 1)
        values[start : start + BLOCK] = -products.sum(1)
    return values


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """The mean of `losses`; 0 without data or with one class."""
    return float(losses(logits, labels).mean()) if len(labels) else 0.0


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The T in [0.05, 20] that minimises the cross entropy of softmax(logits / T); 1 without data or with one class.

    The targets are Platt's, so that crops named without a mistake do not make it infinitely sure. ValueError as `check`.
    """
    from scipy.optimize import minimize_scalar

    check(logits, labels)
    if len(labels) == 0 or logits.shape[1] < 2:
        return 1.0
    check(logits / TEMPERATURES[0], labels)  # beyond what its type can hold, there is nothing to minimise
    best = minimize_scalar(lambda log_t: float(_losses(logits, labels, np.exp(log_t)).mean()), bounds=np.log(TEMPERATURES))
    return float(np.exp(best.x))


def class_scaling(logits: np.ndarray, labels: np.ndarray, bias_spread: float) -> tuple[np.ndarray, np.ndarray]:
    """Scale and bias (C,) of each column: the most probable under Gaussian priors on log scale and bias.

    Without them a name with three held-out crops would get what fits those three. Only differences between names that were seen
    are fitted: the mean log scale and bias of these is 0 (the rest is the temperature's), and a name never seen keeps 1 and 0.
    LogisticRegression cannot be held to one factor a column, so the gradient is written out.
    """
    from scipy.optimize import minimize
    from scipy.special import log_softmax

    z, width = logits.astype(np.float64), logits.shape[1]
    targets, seen = smoothed(labels, width), np.bincount(labels, minlength=width) > 0

    def centred(values: np.ndarray) -> np.ndarray:
        return np.where(seen, values - values[seen].mean(), 0.0)

    def parts(units: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.exp(SCALE_SPREAD * centred(units[:width])), bias_spread * centred(units[width:])

    def loss(units: np.ndarray) -> tuple[float, np.ndarray]:

        scale, bias = parts(units)
        log_p = log_softmax(z * scale + bias, axis=1)  # (N, C)
        surplus = np.exp(log_p) - targets  # (N, C), the gradient by the scaled logits
        by_scale = SCALE_SPREAD * centred((surplus * z).sum(0) * scale)
        by_bias = bias_spread * centred(surplus.sum(0))
        value = -(targets * log_p).sum() + (units**2).sum() / 2
        return float(value), np.concatenate([by_scale, by_bias]) + units

    return parts(minimize(loss, np.zeros(2 * width), jac=True, method="L-BFGS-B", options={"maxiter": 200}).x)


def fit_scaling(method: str, logits: np.ndarray, labels: np.ndarray) -> Scaling:
    """The scaling of this `method`, one of METHODS, fitted on held-out logits (N, C [+ 1]) and labels (N,).

    Without data, or with one class, it changes nothing. Raises ValueError for another method, and as `check`.
    """
    check(logits, labels)
    if method not in METHODS:
        raise ValueError(f"scaling: got {method!r}, allowed: {', '.join(METHODS)}")
    if method == "none" or len(labels) == 0 or logits.shape[1] < 2:
        return Scaling(method=method)
    t = temperature(logits, labels)
    if method == "temperature":
        return Scaling(t, method=method)
    scale, bias = class_scaling(logits / t, labels, BIAS_SPREAD if method == "vector" else 0.0)
    return Scaling(t, scale.tolist(), bias.tolist() if method == "vector" else None, method)


def choose_scaling(logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> Scaling:
    """The method by cross-validated cross entropy, fitted on all; crops of one group (a scene, or a photo) stay together.

    A method of more numbers must gain more than one standard error over the simpler (Breiman et al. 1984). With fewer
    than two groups nothing can be validated, and it is the temperature. Numbers for each name are tried only where the crops
    show COVERED of the names: cross-validation, which sees the same few names in every turn, would prefer them to the rest.
    """
    check(logits, labels)
    if len(np.unique(groups)) < 2:
        return fit_scaling("temperature" if len(labels) else "none", logits, labels)
    turns = list(split(groups, rng))
    seen = len(np.unique(labels)) / logits.shape[1]
    tried = METHODS if seen >= COVERED else METHODS[: METHODS.index("temperature") + 1]
    by_method = {method: losses(out_of_turn(method, logits, labels, turns), labels) for method in tried}
    return fit_scaling(simplest(by_method, groups), logits, labels)


def out_of_turn(method: str, logits: np.ndarray, labels: np.ndarray, turns: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """Logits (N, C), each scaled by a scaling that was fitted on the other turns."""
    scaled = np.zeros(logits.shape)
    for rest, own in turns:
        scaled[own] = fit_scaling(method, logits[rest], labels[rest]).scaled(logits[own])
    return scaled


def split(groups: np.ndarray, rng: np.random.Generator) -> Any:
    """(rest, own) row numbers of each turn; rows of one of the groups, of which there are at least 2, are of one turn."""
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(TURNS, len(np.unique(groups))), shuffle=True, random_state=int(rng.integers(2**32)))
    return folds.split(np.zeros(len(groups)), groups=groups)


def simplest(losses: dict[str, np.ndarray], groups: np.ndarray) -> str:
    """Of methods with their losses (N,), the simplest first: the last that gains over the one kept by more than its error."""
    kept, *others = losses
    for method in others:
        mean, error = gain(losses[kept] - losses[method], groups)
        kept = method if mean > error else kept
    return kept


def gain(differences: np.ndarray, groups: np.ndarray) -> tuple[float, float]:
    """Mean of (N,) and its standard error, where rows of one group go together (a ratio of sums over groups)."""
    _, index = np.unique(groups, return_inverse=True)
    mean, count = float(differences.mean()), index.max() + 1
    spread = np.bincount(index, differences - mean)  # (G,)
    return mean, float(np.sqrt(count / max(1, count - 1) * (spread**2).sum()) / len(differences))


def detector_scale(rows: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Temperature and floor of the detectors' class evidence (N, C) that minimise the same cross entropy.

    Raises ValueError for evidence below 0.
    """
    if rows.size and not rows.min() >= 0:  # also true of NaN
        raise ValueError(f"class evidence: got {rows.min()}, must be at least 0")
    fits = [(temperature(np.log(rows + floor), labels), floor) for floor in FLOORS]
    return min(fits, key=lambda fit: cross_entropy(np.log(rows + fit[1]) / fit[0], labels))


def logit(scores: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of scores (N,), which are first cut to [EDGE, 1 - EDGE]. ValueError for a score outside [0, 1]."""
    p = np.asarray(scores, np.float64)
    if len(p) and not (p.min() >= 0 and p.max() <= 1):
        raise ValueError(f"scores: got {p.min()}..{p.max()}, must be in [0, 1]")
    p = np.clip(p, EDGE, 1 - EDGE)
    return np.log(p / (1 - p))


def platt_targets(hits: np.ndarray) -> np.ndarray:
    """(h + 1) / (h + 2) for each of h hits and 1 / (m + 2) for each of m misses, (N,): Platt 1999.

    >>> platt_targets(np.array([True, False, False])).round(3).tolist()
    [0.667, 0.25, 0.25]
    """
    h = np.count_nonzero(hits)
    return np.where(hits, (h + 1) / (h + 2), 1 / (len(hits) - h + 2))


def platt(scores: np.ndarray, hits: np.ndarray) -> tuple[float, float]:
    """Slope >= 0 and intercept such that expit(slope x logit(score) + intercept) is P(hit); (1, 0) without data.

    Where all are hits, or none is, nothing is known of the slope: it stays 1. A slope below 0 would turn the ranking round:
    it becomes 0, and P(hit) the share of hits.
    """
    from scipy.optimize import brentq
    from scipy.special import expit
    from sklearn.linear_model import LogisticRegression

    x, targets, hits = logit(scores), platt_targets(hits), np.asarray(hits, bool)
    if len(x) == 0:
        return 1.0, 0.0
    if hits.all() or not hits.any():
        return 1.0, float(brentq(lambda b: (expit(x + b) - targets).sum(), -60.0, 60.0))
    # A row with target t is a hit of weight t and a miss of weight 1 - t.
    model = LogisticRegression(C=np.inf, tol=1e-8, max_iter=1000)
    model.fit(np.tile(x, 2)[:, None], np.repeat([1, 0], len(x)), np.concatenate([targets, 1 - targets]))
    if model.coef_[0, 0] < 0:
        return 0.0, float(logit(np.array([targets.mean()]))[0])
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def isotonic(scores: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Knots (K, 2) of the rising map from score to P(hit), to be joined by lines; 0 -> 0 and 1 -> 1 without data.

    Targets are Platt's, so that a run of hits at the end does not become certainty. Between flat steps scores tie.
    """
    from sklearn.isotonic import IsotonicRegression

    logit(scores)  # raises ValueError for scores outside [0, 1]
    if len(scores) == 0:
        return np.array([[0.0, 0.0], [1.0, 1.0]])
    fitted = IsotonicRegression(out_of_bounds="clip").fit(np.asarray(scores, np.float64), platt_targets(hits))
    return np.stack([fitted.X_thresholds_, fitted.y_thresholds_], 1)

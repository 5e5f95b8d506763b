"""Temperature, vector and per-class scaling, maps of objectness, and reliability: on known truths, and at the edges."""

import numpy as np
import pytest
from fixed_logits import Fixed
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from fusion.gate import detector_probabilities
from fusion.models import Sidecar, calibrated
from stage2_classifier import scaling
from stage2_classifier.reliability import ece
from stage2_classifier.scaling import METHODS, Scaling, fit_scaling

C = 6


def drawn(n: int, seed: int = 0, spread: float = 2.0, bias: np.ndarray | float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, C) and labels drawn from softmax(logits + bias): with no bias they are calibrated as they are."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, spread, (n, C))
    return logits, np.array([rng.choice(C, p=p) for p in softmax(logits + bias, axis=1)], np.int64)


EMPTY = (np.zeros((0, C)), np.zeros(0, np.int64))
ONE_CLASS = (np.linspace(-3, 3, 9)[:, None], np.zeros(9, np.int64))
ALL_RIGHT = (4.0 * np.eye(C)[np.arange(60) % C], np.arange(60) % C)
ALL_WRONG = (4.0 * np.eye(C)[np.arange(60) % C], (np.arange(60) + 1) % C)
ONE_CROP = (np.eye(C)[:1], np.zeros(1, np.int64))
EDGES = [
    pytest.param(EMPTY, id="no crops"),
    pytest.param(ONE_CLASS, id="one class"),
    pytest.param(ALL_RIGHT, id="all right"),
    pytest.param(ALL_WRONG, id="all wrong"),
    pytest.param(ONE_CROP, id="one crop"),
]


# -- the edges -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", EDGES)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_gives_distributions_at_the_edges(method: str, data: tuple[np.ndarray, np.ndarray]) -> None:
    logits, labels = data
    fitted = fit_scaling(method, logits, labels)
    p = fitted.apply(logits)
    assert p.shape == logits.shape
    assert p.sum(1) == pytest.approx(np.ones(len(p)), abs=1e-6)
    assert scaling.TEMPERATURES[0] <= fitted.temperature <= scaling.TEMPERATURES[1]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [pytest.param(EMPTY, id="no crops"), pytest.param(ONE_CLASS, id="one class")])
def test_nothing_to_learn_from_changes_nothing(method: str, data: tuple[np.ndarray, np.ndarray]) -> None:
    assert fit_scaling(method, *data) == Scaling(method=method)
    assert scaling.temperature(*data) == 1.0
    assert scaling.cross_entropy(*data) == 0.0


def test_crops_without_a_mistake_do_not_make_it_infinitely_sure() -> None:
    for method in METHODS[1:]:
        assert fit_scaling(method, *ALL_RIGHT).apply(ALL_RIGHT[0]).max() == pytest.approx(61 / 62, abs=0.002)


def test_crops_without_a_right_name_make_it_say_that_it_knows_nothing() -> None:
    assert fit_scaling("temperature", *ALL_WRONG).apply(ALL_WRONG[0]).max() < 0.25
    assert ece(*ALL_WRONG, 1.0) == pytest.approx(softmax(ALL_WRONG[0], axis=1).max())


@pytest.mark.parametrize("method", ["per_class", "vector"])
def test_a_name_never_seen_keeps_its_scale_and_bias(method: str) -> None:
    logits, labels = drawn(900)
    keep = labels != 2
    fitted = fit_scaling(method, logits[keep], labels[keep])
    assert fitted.scale is not None and fitted.scale[2] == 1.0
    assert np.log(np.delete(fitted.scale, 2)).mean() == pytest.approx(0, abs=1e-9)
    if method == "vector":
        assert fitted.bias is not None and fitted.bias[2] == 0.0
        assert np.mean(fitted.bias) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize(
    ("logits", "labels", "told"),
    [
        pytest.param(np.array([[0.0, np.nan]]), np.array([0]), "1 of 1 rows hold NaN", id="NaN"),
        pytest.param(
            np.array([[0.0, 1.0], [np.inf, 0.0]]), np.array([0, 1]), "1 of 2 rows hold NaN or infinity", id="infinity"
        ),
        pytest.param(np.zeros((2, 3)), np.array([0, 3]), r"got 0\.\.3, must be in 0\.\.2", id="label beyond"),
        pytest.param(np.zeros((2, 3)), np.array([-1, 0]), r"got -1\.\.0", id="label below"),
        pytest.param(np.zeros((2, 3)), np.array([0]), r"shapes \(2, 3\) and \(1,\)", id="another length"),
    ],
)
def test_what_cannot_be_fitted_is_refused(logits: np.ndarray, labels: np.ndarray, told: str) -> None:
    for call in (
        lambda: scaling.temperature(logits, labels),
        lambda: scaling.cross_entropy(logits, labels),
        lambda: ece(logits, labels, 1.0),
        lambda: fit_scaling("vector", logits, labels),
        lambda: scaling.choose_scaling(logits, labels, np.arange(len(labels)), np.random.default_rng(0)),
    ):
        with pytest.raises(ValueError, match=told):
            call()


def test_an_unknown_method_lists_the_known() -> None:
    with pytest.raises(ValueError, match="got 'matrix', allowed: none, temperature, per_class, vector"):
        fit_scaling("matrix", *EMPTY)


# -- temperature, vector, per class --------------------------------------------------------------------------------------


@pytest.mark.parametrize("true_t", [0.5, 1.0, 3.0])
def test_temperature_is_recovered_and_ece_falls(true_t: float) -> None:
    logits, labels = drawn(4000)
    t = scaling.temperature(logits * true_t, labels)
    assert t == pytest.approx(true_t, rel=0.08)
    assert ece(logits * true_t, labels, t) <= ece(logits * true_t, labels, 1.0) + 0.005


def test_temperature_is_scikit_learns_where_every_class_is_there_and_crops_are_many() -> None:
    logits, labels = drawn(4000)
    theirs = CalibratedClassifierCV(FrozenEstimator(Fixed(C)), method="temperature").fit(logits * 2, labels)
    assert scaling.temperature(logits * 2, labels) == pytest.approx(
        1 / theirs.calibrated_classifiers_[0].calibrators[0].beta_, 0.01
    )


@pytest.mark.filterwarnings("ignore:Number of classes")
def test_scikit_learn_still_cannot_do_without_a_class() -> None:
    logits, labels = drawn(400)
    some = labels != 2
    with pytest.raises(IndexError):
        CalibratedClassifierCV(FrozenEstimator(Fixed(C)), method="temperature").fit(logits[some], labels[some])


def test_cross_entropy_is_the_slow_loop_with_platts_targets() -> None:
    logits, labels = drawn(7)
    log_p, total = log_softmax(logits, axis=1), 0.0
    for row, label in zip(log_p, labels, strict=True):
        for c in range(C):
            total -= (8 / 9 if c == label else 1 / 9 / (C - 1)) * row[c]
    assert scaling.cross_entropy(logits, labels) == pytest.approx(total / 7)


@pytest.mark.parametrize("width", [C, C + 1], ids=["names", "names and background"])
@pytest.mark.parametrize("method", METHODS)
def test_a_scaling_is_what_the_sidecar_makes_of_it_at_judgment(method: str, width: int) -> None:
    logits, labels = drawn(300, bias=np.linspace(-1, 1, C))
    wide = np.pad(logits, ((0, 0), (0, width - C))).astype(np.float32)
    fitted = fit_scaling(method, wide, labels)
    side = Sidecar("classifier", "timm", list(range(C)), 8, [0.0], [1.0], background=width > C, **fitted.sidecar())
    assert calibrated(wide, side) == pytest.approx(fitted.apply(wide), abs=1e-7)
    z = wide / fitted.temperature * np.array(fitted.scale or 1.0) + np.array(fitted.bias or 0.0)
    assert fitted.apply(wide) == pytest.approx(np.exp(z) / np.exp(z).sum(1, keepdims=True), abs=1e-6)


def test_the_gradient_of_class_scaling_leads_to_the_minimum_that_a_search_without_it_finds() -> None:
    logits, labels = drawn(60, bias=np.linspace(-1, 1, C))
    targets, spreads = scaling.smoothed(labels, C), (scaling.SCALE_SPREAD, 0.5)

    def loss(units: np.ndarray) -> float:
        log_scale, bias = ((v - v.mean()) * s for v, s in zip(np.split(units, 2), spreads, strict=True))
        return float(-(targets * log_softmax(logits * np.exp(log_scale) + bias, axis=1)).sum() + (units**2).sum() / 2)

    slow = minimize(loss, np.zeros(2 * C), method="L-BFGS-B").x
    scale, bias = scaling.class_scaling(logits, labels, 0.5)
    assert np.log(scale) == pytest.approx(scaling.SCALE_SPREAD * (slow[:C] - slow[:C].mean()), abs=2e-3)
    assert bias == pytest.approx(0.5 * (slow[C:] - slow[C:].mean()), abs=5e-3)


def test_a_bias_is_found_with_many_crops_and_hardly_touched_with_few() -> None:
    true = np.array([1.0, 0.5, 0, 0, -0.5, -1.0])
    many, few = (fit_scaling("vector", *drawn(n, bias=true)).bias for n in (5000, 12))
    assert many == pytest.approx(true, abs=0.2)
    assert np.abs(few).max() < 0.6


@pytest.mark.parametrize(
    ("change", "bias", "expected"),
    [
        pytest.param(1.0, 0.0, "none", id="calibrated as it is"),
        pytest.param(3.0, 0.0, "temperature", id="too sure"),
        pytest.param(np.array([2.0, 1.5, 1, 1, 1, 1]), 0.0, "per_class", id="too sure of some names"),
        pytest.param(1.0, np.array([1.5, 1, 0, 0, -1, -1.5]), "vector", id="names more and less frequent"),
    ],
)
def test_the_method_that_the_data_need_is_chosen(change: np.ndarray | float, bias: np.ndarray | float, expected: str) -> None:
    logits, labels = drawn(1500, bias=bias)
    groups = np.arange(1500) % 30
    assert scaling.choose_scaling(logits * change, labels, groups, np.random.default_rng(0)).method == expected


@pytest.mark.parametrize("data", EDGES)
@pytest.mark.parametrize("n_groups", [1, 3])
def test_choosing_works_at_the_edges(data: tuple[np.ndarray, np.ndarray], n_groups: int) -> None:
    logits, labels = data
    chosen = scaling.choose_scaling(logits, labels, np.arange(len(labels)) % n_groups, np.random.default_rng(0))
    assert np.isfinite(chosen.apply(logits)).all()


def test_one_group_validates_nothing_and_gets_the_temperature() -> None:
    logits, labels = drawn(200, bias=np.array([2.0, 1, 0, 0, -1, -2]))
    chosen = scaling.choose_scaling(logits, labels, np.zeros(200), np.random.default_rng(0))
    assert chosen == fit_scaling("temperature", logits, labels)


def test_crops_of_a_group_are_never_on_both_sides() -> None:
    groups = np.repeat(np.arange(7), [1, 9, 3, 3, 20, 2, 5])
    turns = list(scaling.split(groups, np.random.default_rng(0)))
    assert sorted(np.concatenate([own for _, own in turns])) == list(range(len(groups)))
    assert all(not set(groups[rest]) & set(groups[own]) for rest, own in turns)


def test_what_holds_only_within_a_photo_is_not_adopted() -> None:
    """Each of three photos is full of a name of its own: crop by crop that can be learned, photo by photo it misleads."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 80)
    logits = rng.normal(0, 1.0, (240, C))
    labels = np.array([rng.choice(C, p=softmax(z + 3.0 * (np.arange(C) == g))) for z, g in zip(logits, groups, strict=True)])
    assert scaling.choose_scaling(logits, labels, np.arange(240), np.random.default_rng(0)).method == "vector"
    assert scaling.choose_scaling(logits, labels, groups, np.random.default_rng(0)).method in ("none", "temperature")


def test_the_error_of_a_gain_counts_groups_not_crops() -> None:
    once = np.random.default_rng(0).normal(1, 1, 50)
    mean, error = scaling.gain(once, np.arange(50))
    assert (mean, error) == pytest.approx((once.mean(), once.std(ddof=1) / np.sqrt(50)))
    assert scaling.gain(np.repeat(once, 9), np.repeat(np.arange(50), 9)) == pytest.approx((mean, error))


# -- the detectors' scores -----------------------------------------------------------------------------------------------


def test_the_floor_is_found_where_faint_evidence_is_often_wrong() -> None:
    rng = np.random.default_rng(0)
    strength = rng.choice([0.02, 0.9], 3000)
    right = rng.uniform(size=3000) < np.where(strength > 0.5, 0.98, 0.3)
    labels = rng.integers(0, C, 3000)
    rows = np.full((3000, C), 0.001)
    rows[np.arange(3000), np.where(right, labels, (labels + 1) % C)] = strength
    probabilities = detector_probabilities(rows, *scaling.detector_scale(rows, labels)).max(1)
    assert probabilities[strength < 0.5].mean() == pytest.approx(0.3, abs=0.1)
    assert probabilities[strength > 0.5].mean() == pytest.approx(0.98, abs=0.03)


def test_detector_scale_at_the_edges() -> None:
    assert scaling.detector_scale(np.zeros((0, 1), np.float32), np.zeros(0, np.int64)) == (1.0, scaling.FLOORS[0])
    for bad in (-0.1, np.nan):
        with pytest.raises(ValueError, match="class evidence: got"):
            scaling.detector_scale(np.array([[0.5, bad]]), np.array([0]))


@pytest.mark.parametrize("n", [1, scaling.BLOCK, 2 * scaling.BLOCK + 3])
def test_losses_in_blocks_are_those_of_all_rows_at_once(n: int) -> None:
    rng = np.random.default_rng(n)
    logits, labels = rng.normal(0, 5, (n, 7)).astype(np.float32), rng.integers(0, 7, n)
    at_once = -(scaling.smoothed(labels, 7) * log_softmax(logits.astype(np.float64), axis=1)).sum(1)
    np.testing.assert_array_equal(scaling.losses(logits, labels), at_once)


def test_logits_that_overflow_at_the_lowest_temperature_are_refused() -> None:
    with pytest.raises(ValueError, match="must be finite"), np.errstate(over="ignore"):
        scaling.temperature(np.array([[3e38, 0.0]], np.float32), np.array([0]))

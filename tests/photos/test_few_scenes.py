"""With a true gain of zero, an interval over few scenes lies above zero about as seldom as it says."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from experiments.studies.adoption import equally_good
from fusion.boxes import Detections
from photos import intervals
from photos.intervals import Interval, bootstrap, gain_interval, tail, widened
from photos.score import Truth, match, scores


@pytest.mark.slow
@pytest.mark.parametrize("n_scenes", [3, 4, 6])
def test_a_gain_of_zero_is_seldom_taken_for_one(n_scenes: int) -> None:
    """250 runs; 2.5 % are allowed, of which 5 % are 3 standard deviations away. The bootstrap alone: 12 % over 3 scenes."""
    rng, above = np.random.default_rng(n_scenes), 0
    for _ in range(250):
        a, b, scenes = equally_good(rng, n_scenes)
        itself = bootstrap(a, b, scenes, rng, 1)
        above += widened(Interval(itself.value, itself.value, itself.value, n_scenes), a, b, scenes).low > 0
    assert above / 250 <= 0.055


def test_it_is_never_narrower_than_the_bootstrap_and_a_gain_in_every_scene_alike_is_still_shown() -> None:
    rng = np.random.default_rng(0)
    a, b, scenes = equally_good(rng, 5)
    drawn = bootstrap(a, b, scenes, rng, 100)
    wide = widened(drawn, a, b, scenes)
    assert wide.low <= drawn.low and wide.high >= drawn.high and wide.value == drawn.value
    places = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    truths = [Truth(places, np.array([0, 1]))] * 6
    right, wrong = (
        match(truths, [Detections(places, np.ones(2, np.float32), np.array(labels))] * 6, 2) for labels in ([0, 1], [1, 0])
    )
    groups = np.repeat(np.arange(3), 2)
    assert widened(bootstrap(right, wrong, groups, rng, 50), right, wrong, groups).low > 0


def test_its_width_is_that_of_scipys_t_interval_over_pseudo_values_at_96_percent() -> None:
    a, b, scenes = equally_good(np.random.default_rng(1), 4)
    gain = scores(a).score - scores(b).score
    without = [scores(a, scenes != scene).score - scores(b, scenes != scene).score for scene in range(4)]
    expected = ttest_1samp(4 * gain - 3 * np.array(without), 0).confidence_interval(0.96)
    wide = widened(Interval(gain, gain, gain, 4), a, b, scenes)
    # the centre is the gain, not the mean of the pseudo-values
    assert wide.high - wide.low == pytest.approx(expected.high - expected.low) and wide.value == gain


def test_one_scene_shows_nothing() -> None:
    a, b, scenes = equally_good(np.random.default_rng(0), 1)
    drawn = bootstrap(a, b, scenes, np.random.default_rng(0), 5)
    for one in (drawn, widened(drawn, a, b, scenes)):
        assert one.low == -np.inf and one.high == np.inf
    told = gain_interval(a, b, scenes)
    assert (told.low, told.high, told.n_groups) == (-1, 1, 1) and told.value == drawn.value


@pytest.mark.parametrize(("n_scenes", "different"), [(3, 10), (5, 126), (8, 6435), (9, 300)], ids=lambda value: f"{value}")
def test_equal_resamples_are_scored_once_and_count_as_often_as_they_were_drawn(
    n_scenes: int, different: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against each of 300 drawn and scored by itself; of n scenes (2 n - 1 over n) resamples differ."""
    a, b, scenes = equally_good(np.random.default_rng(0), n_scenes)
    draw = np.random.default_rng(4)
    times = [np.bincount(draw.integers(n_scenes, size=n_scenes), minlength=n_scenes)[scenes] for _ in range(300)]
    gains = [scores(a, weights).score - scores(b, weights).score for weights in times]
    calls: list[bytes] = []
    monkeypatch.setattr(intervals, "scores", lambda match, weights=None: calls.append(b"") or scores(match, weights))
    drawn = bootstrap(a, b, scenes, np.random.default_rng(4), 300)
    assert (drawn.low, drawn.high) == tuple(np.quantile(gains, [tail(n_scenes), 1 - tail(n_scenes)]))
    assert len(calls) <= 2 * min(different, 300) + 2  # two for each resample, and two for the photos as they are

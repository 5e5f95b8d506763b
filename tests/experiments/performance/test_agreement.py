"""Rows of `hylle scale` beside those of run.py: what is further apart than allowed is noticed."""

import pytest

from experiments.performance.agreement import Row, compared

ROWS: list[Row] = [(1.0, 2.0, 30.0, 40.0, 7, 0.9), (5.0, 6.0, 30.0, 40.0, 8, 0.5)]


def changed(**values: float) -> list[Row]:
    """ROWS with other values in the first."""
    at = {"x": 0, "height": 3, "category": 4, "score": 5}
    first = list(ROWS[0])
    for name, value in values.items():
        first[at[name]] = value
    return [tuple(first), ROWS[1]]


@pytest.mark.parametrize(
    ("ours", "different"),
    [
        pytest.param(ROWS, 0, id="the same"),
        pytest.param(changed(x=1.0009), 0, id="a side within 1e-3 px"),
        pytest.param(changed(height=40.002), 1, id="a side further away"),
        pytest.param(changed(score=0.900009), 0, id="a score within 1e-5"),
        pytest.param(changed(score=0.9001), 1, id="another score"),
        pytest.param(changed(category=8), 1, id="another category"),
        pytest.param(ROWS[::-1], 1, id="another order"),
        pytest.param(ROWS[:1], 1, id="a box less"),
        pytest.param([*ROWS, ROWS[0]], 1, id="a box twice"),
        pytest.param([], 1, id="no box"),
    ],
)
def test_a_photo_that_differs_is_counted(ours: list[Row], different: int) -> None:
    assert compared([(ours, ROWS)]).different == different
    assert compared([(ROWS, ours)]).different == different


def test_the_most_of_all_photos_is_told() -> None:
    met = compared([(changed(x=1.0005), ROWS), (ROWS, ROWS), (changed(score=0.95), ROWS), ([], [])])
    assert (met.photos, met.boxes, met.different) == (4, 6, 1)
    assert met.most_px == pytest.approx(0.0005) and met.most_score == pytest.approx(0.05)

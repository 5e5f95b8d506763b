"""What a machine's speed at other sizes is taken to be, from those that were measured."""

import pytest

from fitting.speeds import Curve


def test_a_curve_goes_through_its_points_and_never_falls() -> None:
    curve = Curve.through((320, 0.2), (640, 0.5))
    assert (curve.at(320), curve.at(640)) == pytest.approx((0.2, 0.5))
    assert Curve.through((320, 0.2)).at(640) == pytest.approx(0.8)
    assert Curve.through((320, 0.2), (640, 0.1)).at(640) <= 0.2
    assert Curve.through((320, 0.01), (640, 0.5)).at(640) == pytest.approx(0.5)
    assert Curve.through((320, 0.01), (640, 0.5)).at(32) >= 0

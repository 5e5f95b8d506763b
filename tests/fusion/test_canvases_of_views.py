"""Canvases that are made while a photo is read are those of the views, each made once."""

import numpy as np
import pytest

from fusion import reading
from fusion.reading import Canvases
from fusion.views import View, make_views


@pytest.mark.parametrize("prepared", [0, 1, 2], ids=["none", "the straight one", "the mirrored one too"])
@pytest.mark.parametrize("spec", [{"size": 64}, {"size": 96, "shape": "rectangle"}, {"size": 64, "tiles": [2, 2]}], ids=str)
def test_canvases_made_before_are_those_of_the_views(spec: dict[str, object], prepared: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (77, 130, 3), np.uint8)
    views = [*make_views(spec, 130, 77), *make_views(spec | {"flip": True}, 130, 77)]
    half = len(views) // 2
    canvases = Canvases(image, views[: half * prepared])
    for view in views:
        np.testing.assert_array_equal(canvases.on(view), view.warp(image))
    assert len(canvases.made) == half * prepared


def test_a_canvas_that_several_views_share_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    views = [view for flipped in (False, True) for view in make_views({"size": 64, "flip": flipped}, 130, 77)] * 3
    plain, warped = View.warp, []
    monkeypatch.setattr(View, "warp", lambda self, image: warped.append(self) or plain(self, image))
    canvases = Canvases(np.zeros((77, 130, 3), np.uint8), views)
    for view in views:
        canvases.on(view)
    assert len(warped) == 1


def test_tiles_share_the_averaged_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    image, plain, averaged = np.random.default_rng(0).integers(0, 256, (78, 130, 3), np.uint8), reading.average, []
    views = make_views({"size": 32, "tiles": [2, 2]}, 130, 78, "average")
    monkeypatch.setattr(reading, "average", lambda image, number: averaged.append(number) or plain(image, number))
    canvases = Canvases(image)
    for view in views:
        np.testing.assert_array_equal(canvases.on(view), view.warp(image))
    assert len(views) == 4 and averaged == [2]

"""A page of constant models, whose products have names that a page can stumble over."""

import shutil
from functools import partial
from pathlib import Path

import pytest
from place import IDS, Place, draw_shop, mains, put_models

NAMES = ('<b onmouseover="alert(1)">Müsli</b> & "Co" $x_1$', "緑茶 500ml", "")


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A shop with such names, a run folder with a fitted gate, and runs/report.html."""
    from hylle import report
    from stage2_classifier.gate import choose

    place = Place(tmp_path_factory.mktemp("reported"))
    draw_shop(place.data)
    place.change(lambda values: [c.update(name=name) for c, name in zip(values["categories"], NAMES, strict=True)])
    put_models(place.runs, IDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choose, "bootstrap", partial(choose.bootstrap, n=20))  # resamples, for speed
        assert mains()["folds"](place.words("folds")) == 0
        assert mains()["gate"](place.words("gate")) == 0
    assert report.main([str(place.runs)]) == 0
    return place


@pytest.fixture
def page(reported: Place) -> Path:
    """The page; not to be changed."""
    return reported.runs / "report.html"


@pytest.fixture
def copied(reported: Place, tmp_path: Path) -> Place:
    """A copy of all of it, to spoil."""
    shutil.copytree(reported.root, tmp_path / "place")
    return Place(tmp_path / "place")

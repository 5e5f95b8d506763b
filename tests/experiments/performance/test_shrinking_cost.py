"""Every way is timed on every photo that a canvas shrinks."""

from experiments.performance.shrinking_cost import CANVASES, PHOTOS, measured
from experiments.studies.shrunk_photos import WAYS


def test_each_way_has_a_figure_where_the_photo_is_larger() -> None:
    figures = list(measured(rounds=1))
    pairs = sum(side < width for width, _ in PHOTOS.values() for side in CANVASES)
    assert len(figures) == len({figure.key for figure in figures}) == pairs * len(WAYS)
    assert all(0 < figure.estimate.low <= figure.estimate.value <= figure.estimate.high for figure in figures)

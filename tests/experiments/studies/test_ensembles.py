"""The variants of the ensembles' study."""

from experiments.studies.ensembles import VARIANTS
from stage2_classifier.gate.weighted_views import VIEWS


def test_variants_name_views_that_there_are() -> None:
    assert all(set(first) | set(second) <= set(VIEWS) for first, second, _ in VARIANTS.values())

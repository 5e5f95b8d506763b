"""The variants of the ensembles' study."""

import argparse

import pytest

from experiments.studies.ensembles import VARIANTS, read_outputs
from stage2_classifier.gate.weighted_views import VIEWS


def test_variants_name_views_that_there_are() -> None:
    assert all(set(first) | set(second) <= set(VIEWS) for first, second, _ in VARIANTS.values())


def test_no_part_counts_twice() -> None:
    with pytest.raises(ValueError, match="--parts: got valid valid, must be each once"):
        read_outputs(argparse.Namespace(parts=["valid", "valid"]), 0)

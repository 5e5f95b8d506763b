"""Every call of run.py made to fail, one at a time: a fault costs the photo that it hits, at most."""

from pathlib import Path

import pytest

from experiments.performance.faults import SITES, inject
from experiments.performance.spoiling import KINDS, Fault

# What a photo cannot do without: its bytes, its pixels, and that its predictions are put into words and written.
INDISPENSABLE = {"read", "decode photo", "convert photo", "rows", "write"}


def check(place: Path, every_call: bool) -> set[Fault]:
    """Inject the faults; those that were."""
    outcomes = list(inject(place, every_call))
    assert [outcome for outcome in outcomes if outcome.problem or len(outcome.changed) > 1] == []
    assert {outcome.fault.site for outcome in outcomes if outcome.lost} <= INDISPENSABLE
    return {outcome.fault for outcome in outcomes}


def test_a_fault_of_each_kind_at_one_call_of_each_site(tmp_path: Path) -> None:
    faults = check(tmp_path, every_call=False)
    not_reached = {"copy", "stitch"}  # called only where another call has failed; with tiles that share no box
    assert {fault.site for fault in faults} >= {*SITES, "open", "write"} - not_reached
    assert {fault.kind for fault in faults} == set(KINDS)
    assert len(faults) > 80


@pytest.mark.slow
def test_faults_at_every_call(tmp_path: Path) -> None:
    assert len(check(tmp_path, every_call=True)) > 600

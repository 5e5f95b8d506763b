"""`hylle gate` writes the scores to cut at beside the gate, says what they keep, and says what could not be shown."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from place import Place
from simulated_evidence import simulated_photos

from fusion.ensemble import read_ensemble
from fusion.gate import Gate
from fusion.models import read_object
from stage2_classifier.gate import fit
from stage2_classifier.gate.choose import Choice
from stage2_classifier.gate.evidence import Evidence


@pytest.fixture
def fitted(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[list[Evidence]], None]:
    """Fits the gate of a place to evidence that is not from its models; each photo is a scene."""

    def call(evidence: list[Evidence]) -> None:
        monkeypatch.setattr(fit, "gather", lambda *_: evidence)
        monkeypatch.setattr(fit, "scenes_of", lambda *_: np.arange(len(evidence)))
        monkeypatch.setattr(fit, "choose_gate", lambda *_: Choice(Gate("raw"), None, Gate("raw")))  # for speed
        fit.fit_gate(place.data, place.runs)

    return call


@pytest.mark.parametrize("classifier", [True, False], ids=["with a classifier", "detector only"])
def test_floors_are_stored_and_told(
    place: Place, fitted: Callable, capsys: pytest.CaptureFixture[str], classifier: bool
) -> None:
    photos = simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97)
    fitted(photos if classifier else [replace(e, probabilities=None) for e in photos])
    floors, why = read_ensemble(place.runs).min_scores, read_object(place.runs / "gate.json")["operating_points"]
    assert set(floors) | set(why["missing"]) == {"f1", "precision 0.9", "precision 0.95"}
    assert "f1" in floors and not set(floors) & set(why["missing"])
    assert {point["purpose"]: point["min_score"] for point in why["points"]} == floors
    assert all(point["recall"]["low"] <= point["recall"]["value"] <= point["recall"]["high"] for point in why["points"])
    out = capsys.readouterr().out
    assert all(f"gate: cut for {purpose}: scores of " in out for purpose in floors)
    assert all(f"gate: no cut for {purpose}: " in out for purpose in why["missing"])


def test_a_new_fit_removes_floors_that_no_longer_hold(place: Place, fitted: Callable) -> None:
    fitted(simulated_photos(np.random.default_rng(0), 9, 0.97, 0.97))
    assert read_ensemble(place.runs).min_scores
    fitted(simulated_photos(np.random.default_rng(0), 2, 0.97, 0.97))
    assert read_ensemble(place.runs).min_scores == {}

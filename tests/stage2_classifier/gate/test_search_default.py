"""What the search is compared with: the ensemble that its choice would replace, in its own views."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from place import Place

from fusion.boxes import Detections, join
from fusion.ensemble import Ensemble
from fusion.merge import Merge
from photos import folds
from photos.data import Photo, read
from photos.intervals import Interval
from runs.record import write_json
from stage2_classifier.gate import search
from stage2_classifier.gate.ensemble import default_ensemble
from stage2_classifier.gate.evidence import RawOutputs
from stage2_classifier.gate.search import Effort, SearchResult
from stage2_classifier.gate.weighted_views import VIEWS, det_map50, ensemble_of, equal_weights


def detections(boxes: np.ndarray, scores: np.ndarray) -> Detections:
    return Detections(boxes.astype(np.float32), scores.astype(np.float32), np.zeros(len(boxes), np.int64))


def seen_in(view: dict[str, Any], photo: Photo) -> Detections:
    """Plain and mirrored: the first product, and one that is not there. In further views: both, and less surely."""
    x, y = photo.width - 20.0, photo.height - 12.0
    nowhere = detections(np.array([[x, y, x + 19, y + 11]]), np.array([0.8]))
    if view["size"] == 128 and "tiles" not in view:
        return join([detections(photo.boxes[:1], np.array([0.7])), nowhere])
    return detections(photo.boxes, np.array([0.9, 0.5]))


@pytest.fixture
def in_further_views(place: Place, monkeypatch: pytest.MonkeyPatch) -> Callable[[Ensemble], float]:
    """R/one finds more in further views than in the gate's two; returns the det mAP50 of an ensemble on valid and test."""
    sidecar = place.runs / "one" / "model.json"
    write_json(sidecar, json.loads(sidecar.read_text()) | {"size": 128})
    (place.runs / "ensemble.json").unlink()

    def raw(ensemble: Ensemble, folder: Path, photos: list[Photo], *_: object) -> tuple[RawOutputs, str]:
        return [[[seen_in(view, photo) for view in member.views] for member in ensemble.detectors] for photo in photos], ""

    def map50(ensemble: Ensemble) -> float:
        split = folds.load(place.runs / "folds.json", read(place.data))
        forming = [replace(member, evidence_weight=0.0) for member in ensemble.detectors if member.weight > 0]
        photos, ensemble = [*split.labelled("valid"), *split.labelled("test")], replace(ensemble, detectors=forming)
        return det_map50(photos, raw(ensemble, place.runs, photos)[0], ensemble)

    monkeypatch.setattr(search, "raw_outputs", raw)
    return map50


def searched(place: Place, *more: str) -> SearchResult:
    """A short search on valid and test."""
    return search.search_run(place.data, place.runs, None, ["valid", "test"], Effort(2, 2), "--apply" in more)


def test_it_is_compared_with_what_hylle_gate_writes(
    place: Place, in_further_views: Callable[[Ensemble], float], capsys: pytest.CaptureFixture[str]
) -> None:
    result = searched(place)
    gate = default_ensemble(place.runs, ["classifier_shelf"], read(place.data))
    plain = ensemble_of([place.runs / "one" / "model.onnx"], [])
    assert result.default == in_further_views(gate) < in_further_views(equal_weights(plain, [VIEWS], Merge()))
    assert [asdict(member) | {"file": ""} for member in result.replaced.detectors] == [
        asdict(member) | {"file": ""} for member in gate.detectors if member.weight > 0
    ]
    assert (result.replaced.merge, result.gain.value > 0) == (gate.merge, True)
    assert "default (as hylle gate merges: wbf over 2 views) 0." in capsys.readouterr().out


def test_it_is_compared_with_what_it_would_replace(
    place: Place, in_further_views: Callable[[Ensemble], float], capsys: pytest.CaptureFixture[str]
) -> None:
    """An ensemble of soft-NMS that is better than what the search finds is not replaced."""
    gate = default_ensemble(place.runs, ["classifier_shelf"], read(place.data))
    best = replace(gate.detectors[0], views=[view | {"tiles": [2, 2]} for view in gate.detectors[0].views])
    better = replace(gate, detectors=[best, *gate.detectors[1:]], merge=Merge("soft_nms", sigma=0.25))
    write_json(place.runs / "ensemble.json", asdict(better))
    result = searched(place, "--apply")
    assert result.default == in_further_views(better) > in_further_views(gate)
    assert not result.adopted
    told = capsys.readouterr().out
    assert f"default ({place.runs / 'ensemble.json'}: soft_nms over 2 views) {result.default:.4f}" in told


def test_what_is_applied_after_a_search_on_test_is_said_to_have_seen_it(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ensemble_of([place.runs / "one" / "model.onnx"], [])
    gained = SearchResult(Interval(0.2, 0.1, 0.3, 2), 0.5, 0.7, chosen, chosen)
    monkeypatch.setattr(search, "nested_search", lambda *_: gained)
    words = ["--data", str(place.data), "--runs", str(place.runs), "--folds", "2", "--apply"]
    for parts in (["valid"], ["valid", "test"]):
        assert search.main([*words, "--parts", *parts]) == 0
        assert ("test was searched on" in capsys.readouterr().out) == ("test" in parts)

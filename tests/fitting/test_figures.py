"""What a procedure is worth: over scenes, and on true boxes by the classifiers that did not see their photos."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from constant_models import save_model
from place import IDS, Place
from simulated_evidence import C, simulated_photos

from fitting import cross_fit, figures, run
from fitting.pooled import Pooled
from fitting.procedure import Procedure
from fusion.boxes import Detections
from fusion.ensemble import ClassifierMember, Ensemble, Member
from fusion.gate import Gate
from photos.data import read
from photos.score import Truth, evaluate
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.gate.choose import Choice, as_turns
from stage2_classifier.gate.evidence import Evidence, as_judged

PROCEDURE = Procedure(DetectorConfig(), ClassifierConfig(), groups="photo")


@pytest.mark.parametrize("nested", [True, False], ids=["each photo by the gate of its turn", "by the gate that ships"])
def test_the_headline_interval_is_over_scenes_and_not_over_photos(nested: bool) -> None:
    evidence, scenes = simulated_photos(np.random.default_rng(0), 12, 0.5, 0.5), np.repeat(np.arange(6), 2)
    turns = as_turns(evidence, [Gate("raw")] * 12, scenes % 3) if nested else []
    choice = Choice(Gate("raw"), None, Gate("raw"), turns=turns)
    assert figures.is_nested(evidence, choice) is nested
    assert figures.cross_fitted(Pooled(evidence, scenes), choice).score.n_groups == 6


def test_true_boxes_are_named_by_the_classifier_that_did_not_see_the_photo(place: Place) -> None:
    runs = place.root / "fit"
    _, *by_fold = cross_fit.deal(read(place.data), runs, PROCEDURE, lambda line: None)
    file, expected = "classifier_shelf/model.onnx", {}
    for k, fold in enumerate(by_fold):  # the classifier of each fold knows but one name
        logits = 9.0 * np.eye(3)[k]
        save_model(runs / "cross_fit" / str(k) / "classifier_shelf", logits, task="classifier", family="timm", categories=IDS)
        for photo in fold.photos("valid"):
            n = len(photo.boxes)
            expected[photo.id] = Detections(photo.boxes, np.ones(n, np.float32), np.full(n, k))
    found = [Evidence(photo, Detections.empty(), None) for fold in by_fold for photo in fold.photos("valid")]
    ensemble = Ensemble(IDS, [Member("one/model.onnx")], classifiers=[ClassifierMember(file)])
    score = figures.box_oracle(Pooled(found, np.arange(len(found))), ensemble, runs, by_fold)
    truths = [Truth.of(e.photo) for e in found]
    assert score == pytest.approx(evaluate(truths, [expected[e.photo.id] for e in found], 3).score)
    assert 0.7 < score < 1  # all are found, and only some have their name


def test_the_test_part_is_judged_under_the_naming_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    evidence = simulated_photos(np.random.default_rng(0), 12, 0.3, 0.95)
    whole = SimpleNamespace(photos={"test": [e.photo for e in evidence]}.__getitem__, scene={i: i // 2 for i in range(12)})
    ensemble = Ensemble(list(range(C)), [Member("one/model.onnx")], gate=Gate("raw"), naming_floor=0.7)

    def gather(part: str, *given: object) -> list[Evidence]:
        assert (part, given) == ("test", (ensemble, Path("R"), whole))
        return evidence

    monkeypatch.setattr(run, "gather", gather)
    tested, scenes = run.tested(Path("R"), PROCEDURE, ensemble, whole), np.arange(12) // 2
    assert tested == figures.on_test(as_judged(evidence, ensemble), scenes, ensemble.gate)
    assert tested.score.value < figures.on_test(evidence, scenes, ensemble.gate).score.value - 0.01

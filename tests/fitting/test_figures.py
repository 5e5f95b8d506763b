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
from photos.score import Truth, average_precisions, evaluate, match, scores
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


def deal_of(labels: list[list[int]], folds: list[int]) -> list[SimpleNamespace]:
    """The folds of photos with such labels, as far as names are concerned."""
    photos = [SimpleNamespace(labels=np.array(own, np.int64)) for own in labels]
    parts = [[p for p, fold in zip(photos, folds, strict=True) if fold == k] for k in range(max(folds) + 1)]
    return [SimpleNamespace(photos={"valid": own}.__getitem__) for own in parts]


def test_names_on_photos_of_one_fold_are_told_and_what_they_take() -> None:
    by_fold = deal_of([[0, 1], [0, 1], [0, 2, 2], [0]], [0, 1, 2, 2])
    assert figures.lone_names(by_fold) == [2] and figures.lone_names(by_fold[2:]) == []
    boxes = [np.array([[9 * i, 0, 9 * i + 5, 5] for i in range(n)], np.float32) for n in (2, 2, 3, 1)]
    truths = [Truth(own, np.array(labels)) for own, labels in zip(boxes, ([0, 1], [0, 1], [0, 2, 2], [0]), strict=True)]
    sure = [np.full(len(truth.boxes), value, np.float32) for truth, value in zip(truths, (0.5, 0.6, 0.9, 0.7), strict=True)]
    said = [Detections(t.boxes, own, np.where(t.labels == 2, 1, t.labels)) for t, own in zip(truths, sure, strict=True)]
    matched = match(truths, said, 3)  # what models say that know the names 0 and 1
    lone = figures.lone_of(matched, [2], np.arange(4))
    aps = average_precisions(matched.classification)
    assert aps[2] == 0 and 0 < aps[1] < 1 and scores(matched).cls_map50 == pytest.approx(aps.mean())
    assert (lone.count, lone.of, lone.ap) == (1, 3, 0.0)
    assert lone.others.cls_map50.value == pytest.approx((aps[0] + aps[1]) / 2) and lone.others.det_map50.value == 1
    assert str(lone).startswith("1 of 3 names is on photos of one fold only: the models judged here learned it from no shelf")
    assert f"; without it cls {(aps[0] + aps[1]) / 2:.3f}, score " in str(lone)
    assert figures.lone_of(matched, [], np.arange(4)) is figures.lone_of(matched, [0, 1, 2], np.arange(4)) is None


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

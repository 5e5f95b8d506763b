"""What is planted is what was asked for, hits are counted once, and the whole command runs on constant models."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from labelled_grid import GRID, grid_evidence
from place import Place

from experiments.figures import records
from experiments.studies import planted_errors
from experiments.studies.planted_errors import PLANTED_KINDS, Error, Hits, count, moved, plant
from fusion.boxes import iou
from photos.data import Photo
from stage2_classifier.label_review.suspicions import Suspicion, suspicions


def photos(n: int = 20) -> list[Photo]:
    """`n` photos of twelve boxes, 3 names; annotation ids are unique over all."""
    return [Photo(i, Path("a.jpg"), 80, 60, GRID.copy(), np.arange(12) % 3, 100 * i + np.arange(12), None) for i in range(n)]


def test_nothing_to_spoil_is_refused() -> None:
    for few, names in (([], 3), (photos(0), 3), (photos(20), 1)):
        with pytest.raises(ValueError, match=r"planted: got .* need at least 11 boxes and 2 names"):
            plant(few, names, PLANTED_KINDS, np.random.default_rng(0))


def test_each_error_is_what_its_kind_says_and_the_rest_is_untouched() -> None:
    before = photos()
    kinds = (*PLANTED_KINDS, "duplicate")
    after, errors = plant(before, 3, kinds, np.random.default_rng(1))
    assert Counter(error.kind for error in errors) == dict.fromkeys(kinds, 12)  # 5 % of 240
    touched = {error.annotation if error.annotation >= 0 else -error.annotation - 1 for error in errors}
    assert len(touched) == 48
    for error in errors:
        new = dict(zip(after[error.photo].annotation_ids.tolist(), range(99), strict=False))
        old = before[error.photo]
        if error.kind == "missing":
            assert error.annotation not in new
            continue
        k, was = new[error.annotation], error.annotation if error.kind != "duplicate" else -error.annotation - 1
        j = old.annotation_ids.tolist().index(was)
        overlap = iou(after[error.photo].boxes[k][None], old.boxes[j][None])[0, 0]
        same = after[error.photo].labels[k] == old.labels[j]
        assert {"mislabelled": overlap == 1 and not same, "shifted": 0.3 <= overlap <= 0.7 and same,
                "duplicate": 0.7 <= overlap <= 0.95 and same}[error.kind]  # fmt: skip
    for old, new in zip(before, after, strict=True):
        for k, number in enumerate(new.annotation_ids.tolist()):
            if number not in touched and number >= 0:
                j = old.annotation_ids.tolist().index(number)
                assert np.array_equal(new.boxes[k], old.boxes[j]) and new.labels[k] == old.labels[j]
    assert all(np.array_equal(photo.boxes, GRID) and len(photo.labels) == 12 for photo in before)


def test_seeds_repeat_and_differ() -> None:
    one, same, other = (plant(photos(), 3, PLANTED_KINDS, np.random.default_rng(seed))[1] for seed in (0, 0, 1))
    assert [e.annotation for e in one] == [e.annotation for e in same] != [e.annotation for e in other]


def test_a_box_that_cannot_move_far_enough_is_left() -> None:
    whole = np.array([0, 0, 80, 60], np.float32)
    assert moved(whole / 2, (80, 60), (1.0, 1.0), np.random.default_rng(0)) is None
    new = moved(whole, (80, 60), (0.3, 0.7), np.random.default_rng(0))
    assert (new >= 0).all() and (new <= [80, 60, 80, 60]).all() and 0.3 <= iou(new[None], whole[None])[0, 0] <= 0.7


def doubt(kind: str, annotation: int | None, box: np.ndarray = GRID[0]) -> Suspicion:
    return Suspicion(kind, 0, annotation, box, 0, 0.5, "")


def test_hits_need_kind_and_place_count_once_and_stop_at_the_number_planted() -> None:
    errors = [Error("mislabelled", 0, 3, GRID[3]), Error("missing", 0, 99, GRID[7])]
    assert count([], errors, photos(1)) == Hits(2, 0, 0)
    assert count([doubt("mislabelled", 3)], errors, photos(1)) == Hits(2, 1, 1)
    assert count([doubt("shifted", 3), doubt("mislabelled", 4)], errors, photos(1)).hits == 0
    twice = [doubt("missing", None, GRID[7]), doubt("missing", None, GRID[7] + 1), doubt("mislabelled", 3)]
    assert count(twice, errors, photos(1)) == Hits(2, 2, 1)
    assert count(twice, errors, photos(1), "missing") == Hits(1, 1, 1)
    assert count([doubt("missing", None, GRID[7] + 8)], errors, photos(1)).hits == 0
    assert (Hits(4, 2, 1).precision, Hits(4, 2, 1).recall, Hits(0, 0, 0).recall) == (0.5, 0.25, 0.0)


def test_either_of_two_boxes_on_one_product_is_a_hit() -> None:
    twins = [Error("duplicate", 0, -4, GRID[3])]
    assert count([doubt("duplicate", 3)], twins, photos(1)).hits == 1
    assert count([doubt("duplicate", 2)], twins, photos(1)).hits == 0


def test_sure_models_find_what_was_planted_and_shuffled_scores_do_not() -> None:
    """Twenty photos with perfect models: the list holds nearly all; the same list in random order does not."""
    new, errors = plant(photos(), 3, PLANTED_KINDS, np.random.default_rng(0))
    found = suspicions([grid_evidence(labels=p.labels, boxes=p.boxes) for p in new])
    rng = np.random.default_rng(0)
    assert count(found, errors, new).recall > 0.9
    assert count([found[i] for i in rng.permutation(len(found))], errors, new).recall < 0.4


def test_cleanlab_ranks_the_same_photos() -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is an extra: pip install cleanlab")
    new, errors = plant(photos(), 3, PLANTED_KINDS, np.random.default_rng(0))
    found = planted_errors.by_cleanlab([grid_evidence(labels=p.labels, boxes=p.boxes) for p in new])
    assert {s.kind for s in found} == set(PLANTED_KINDS)
    assert count(found, errors, new, "mislabelled").recall > 0.9


def test_the_command_writes_figures_with_intervals(
    place: Place, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "RESULTS", place.root / "results")
    monkeypatch.setattr(planted_errors, "SHARE", 0.25)  # the test part has 4 boxes: one error of each kind
    words = ["--data", str(place.data), "--runs", str(place.runs), "--out", str(place.root / "p"), "--seeds", "3"]
    assert planted_errors.main([*words, "--record", "--name", "shop"]) == 0
    known = records.load()
    keys = {f"labels.shop.{kind}{what}" for kind in ("", *(f"{k}." for k in PLANTED_KINDS)) for what in ("precision", "recall")}
    assert set(known) == keys
    assert all(f["n"] == 3 and 0 <= f["low"] <= f["value"] <= f["high"] <= 1 for f in known.values())
    assert len(json.loads((place.root / "p" / "planted.json").read_text())) == 3
    assert planted_errors.main([*words, "--record", "--name", "shop", "--duplicates"]) == 0
    later = records.load()
    assert {key: later[key] for key in keys} == known  # not written over
    setting = later["labels.shop_duplicates.precision"]["setting"]
    assert "ranked by ours, planted: " in setting and "duplicate" in setting
    assert planted_errors.main([*words[:6], "--seeds", "1"]) == 2
    assert "need a run folder for each set, and at least 2 seeds" in capsys.readouterr().err

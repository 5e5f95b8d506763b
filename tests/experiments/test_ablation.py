"""What the table counts, the oracle, the pictures' order, and parity of two prediction lists."""

import json
from pathlib import Path

import numpy as np
import pytest
from place import IDS, Place, mains

from experiments import ablation, ablation_variants
from experiments.figures import ablation_table, pictures
from experiments.performance import parity
from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member
from fusion.gate import Gate, choose_labels
from photos import folds
from photos.data import Category, Dataset, Photo, read
from reporting.held_out import gather_held_out
from stage2_classifier.gate.calibrate import true_names
from stage2_classifier.gate.ensemble import default_ensemble
from stage2_classifier.gate.evidence import Evidence
from submission import judge

BOXES = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 60, 70, 70]], np.float32)


def evidence() -> Evidence:
    """Three true boxes, found, and a false one; the detector names 0 0 0 0, the classifier 0 1 2 1; the truth is 0 1 0."""
    photo = Photo(1, Path("img_00001.jpg"), 100, 100, BOXES[:3], np.array([0, 1, 0]), np.arange(3), None)
    vectors = np.tile(np.array([[0.6, 0.2, 0.2]], np.float32), (4, 1))
    probabilities = np.eye(3, dtype=np.float32)[[0, 1, 2, 1]]
    return Evidence(photo, Detections(BOXES, np.full(4, 0.5, np.float32), np.zeros(4, np.int64), vectors), probabilities)


def names(e: Evidence, gate: Gate) -> list[np.ndarray]:
    return [choose_labels(e.merged, e.probabilities, gate)[0]]


def test_labels_changed_fixed_and_broken_count_only_boxes_on_a_true_one() -> None:
    e = evidence()
    before, true = names(e, Gate("detector")), [true_names(e.truth, e.merged.boxes)]
    assert ablation_table.count([], [], []) == (0, 0, 0)
    assert ablation_table.count(before, names(e, Gate("raw")), true) == (2, 1, 1)
    assert ablation_table.count(before, before, true) == (0, 0, 0)
    assert ablation_table.count(before, true, true) == (1, 1, 0)


def test_the_oracle_names_rightly_where_there_is_something_and_leaves_the_rest() -> None:
    e = evidence()
    assert ablation_variants.with_true_names(e, e.merged).labels.tolist() == [0, 1, 0, 0]


def test_rows_hold_paired_differences_and_the_detector_differs_from_itself_by_nothing() -> None:
    photos = [evidence()] * 3
    ensemble = Ensemble([0, 1, 2], [Member("one.onnx")], gate=Gate("raw", further=2))
    variants = ablation_variants.policies(photos, photos, ensemble)
    truths, boxes = zip(*((e.truth, e.merged.boxes) for e in photos), strict=True)
    rows = {r.variant: r for r in ablation_table.measure(truths, boxes, variants, 3, np.arange(3))}
    assert next(iter(rows)) == "detector"
    assert rows["detector"].minus_detector == (0.0, 0.0, 0.0)
    assert (rows["detector"].changed, rows["raw"].changed) == (0, 6)
    assert rows["raw"].det == rows["detector"].det
    assert rows[ablation_variants.ADOPTED].score[0] >= rows["gate"].score[0]


def test_the_table_is_written_as_markdown_and_drawn(tmp_path: Path) -> None:
    row = ablation_table.Row("raw", (0.5, 0.4, 0.6), (0.2, 0.1, 0.3), (0.4, 0.3, 0.5), (0.1, -0.1, 0.3), 4, 3, 1)
    assert "| raw | 0.500 [0.400, 0.600] |" in ablation_table.markdown([row])
    assert "| +0.100 [-0.100, +0.300] | 4 | 3 | 1 |" in ablation_table.markdown([row])
    ablation_table.draw([row], tmp_path / "a.png", "title")
    assert (tmp_path / "a.png").stat().st_size > 1000


SET = Dataset(Path("none"), (Category(0, "a"),), ())


def test_missing_models_are_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"one/model\.onnx not found: train it first"):
        default_ensemble(tmp_path, ["shelf"], SET)


def test_a_product_without_a_name_is_drawn_as_the_report_calls_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.change(lambda values: values["categories"][1].update(name=""))
    drawn: list[list[str]] = []
    monkeypatch.setattr(ablation, "write_worst", lambda *args: drawn.append(args[2]) or [args[3] / "01.png"])
    path = place.runs / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"names": []}))
    assert mains()["folds"]([*place.words("folds"), "--force"]) == 0
    ablation.ablation(place.data, place.runs, [], False)
    held_out = gather_held_out(place.runs, folds.load(place.runs / folds.NAME, read(place.data)))
    unnamed = f"product {IDS[1]} (no name)"
    assert drawn == [held_out.names] and held_out.names[1] == unnamed


def test_the_uncalibrated_copy_differs_in_nothing_else(place: Place) -> None:
    own = place.runs / "classifier_shelf" / "model.json"
    before = json.loads(own.read_text()) | {"temperature": 2.0, "scale": [1.0] * 3, "bias": [0.5] * 3}
    own.write_text(json.dumps(before))
    copy = place.runs / ablation.write_uncalibrated_copy(place.runs, "classifier_shelf") / "model.json"
    assert json.loads(copy.read_text()) == before | {"temperature": 1.0, "scale": None, "bias": None}
    assert copy.with_suffix(".onnx").read_bytes() == own.with_suffix(".onnx").read_bytes()


def test_worst_first() -> None:
    e = evidence()
    right = Detections(BOXES[:3], np.full(3, 0.9, np.float32), e.photo.labels)
    wrong = Detections(BOXES[:3], np.full(3, 0.9, np.float32), e.photo.labels + 1)
    assert pictures.mistakes(e.photo, right) == 0
    assert pictures.mistakes(e.photo, wrong) == 1
    assert pictures.mistakes(e.photo, Detections.empty()) == 1


ROW = {"image_id": 1, "category_id": 7, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5}


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        pytest.param([], (float("inf"), float("inf")), id="another count"),
        pytest.param([ROW | {"category_id": 8}], (float("inf"), float("inf")), id="another name"),
        pytest.param([ROW | {"score": 0.25}], (0.0, 0.25), id="another score"),
        pytest.param([ROW | {"bbox": [0.0, 0.0, 5.5, 5.0]}], (0.5, 0.0), id="another box"),
    ],
)
def test_parity_is_the_largest_difference(other: list[dict], expected: tuple[float, float]) -> None:
    assert judge.parity([ROW], other) == expected
    assert judge.parity([], []) == (0.0, 0.0)


def test_the_repos_side_shares_the_further_names_among_the_photos_as_run_py_does(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares: list[int] = []
    monkeypatch.setattr(judge, "load", lambda folder: lambda image, photos: shares.append(photos) or [])
    judge.predict_here(place.root, read(place.data).photos[:3])
    assert shares == [3, 3, 3]


def test_difference_from_predict_pairs_boxes_whatever_their_order() -> None:
    ours = Detections(BOXES, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.zeros(4, np.int64))
    shifted, order = BOXES + np.float32(0.25), np.array([2, 0, 3, 1])
    pixels, score = parity.difference(ours, shifted[order], ours.scores[order] - np.float32(0.125))
    assert (pixels, score) == (pytest.approx(0.25), pytest.approx(0.125))
    assert parity.difference(Detections.empty(), BOXES[:0], ours.scores[:0]) == (0.0, 0.0)
    assert parity.difference(ours, BOXES[:2], ours.scores[:2]) == (float("inf"), float("inf"))

"""ensemble.json -> predictions, on graphs whose answers are known."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from constant_models import save_model

from fusion import decode as decode_module
from fusion.boxes import Detections
from fusion.decode import run_detector
from fusion.ensemble import Ensemble, Member, Part, parse
from fusion.gate import decide
from fusion.models import Model
from fusion.pipeline import Pipeline, load, merge
from photos.data import Photo
from stage2_classifier.gate.evidence import Evidence, as_judged, withheld

PHOTO = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)


def test_no_boxes_are_named_without_running_anything(runs: Path) -> None:
    probabilities = load(runs).classify(PHOTO, np.zeros((0, 4), np.float32))
    assert probabilities is not None
    assert probabilities.shape == (0, 3)


def test_a_photo_gives_the_contests_rows_best_first(runs: Path) -> None:
    rows = load(runs)(PHOTO)
    assert [row["category_id"] for row in rows] == [3, 3]  # the classifier is sure of the second category, whose id is 3
    assert [row["score"] for row in rows] == pytest.approx([0.9, 0.6], abs=1e-6)
    assert rows[0]["bbox"] == pytest.approx([8, 16, 16, 32], abs=1e-3)


def with_values(runs: Path, **values: object) -> Path:
    """The run folder with these fields of ensemble.json."""
    path = runs / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    return runs


def counted_crops(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collects how many crops each call of the classifier gets from now on."""
    plain, crops = Model.__call__, []

    def counting(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        crops.extend([len(canvases)] if self.path.parent.name == "shelf" else [])
        return plain(self, canvases, output)

    monkeypatch.setattr(Model, "__call__", counting)
    return crops


@pytest.mark.parametrize(
    ("floor", "ids", "crops"),
    [
        pytest.param(0.0, [3, 3], 2, id="both named"),
        pytest.param(0.7, [3, 40], 1, id="the fainter box keeps the detector's name"),
        pytest.param(1.01, [7, 40], 0, id="none named"),
    ],
)
def test_boxes_below_the_naming_floor_get_no_crop(
    runs: Path, monkeypatch: pytest.MonkeyPatch, floor: float, ids: list[int], crops: int
) -> None:
    calls = counted_crops(monkeypatch)
    rows = load(with_values(runs, naming_floor=floor))(PHOTO)
    assert sum(calls) == crops
    assert [row["category_id"] for row in rows] == ids
    assert [row["score"] for row in rows] == pytest.approx([0.9, 0.6], abs=1e-6)


def test_decisions_of_the_pipeline_are_those_of_withheld_evidence(runs: Path) -> None:
    """What the floor is fitted by is what is judged: the same rows from the saved arrays, with names withheld."""
    pipeline = load(with_values(runs, naming_floor=0.7, gate={"policy": "product", "name_exponent": 0.5, "further": 2}))
    merged = merge(pipeline.detect(PHOTO), pipeline.ensemble)
    everything = pipeline.classify(PHOTO, merged.boxes)
    (e,) = withheld([Evidence(None, merged, everything)], [0.7])
    assert np.isnan(e.probabilities[merged.scores < 0.7]).all() and not np.isnan(e.probabilities[merged.scores >= 0.7]).any()
    assert pipeline(PHOTO) == pipeline.rows(decide(e.merged, e.probabilities, pipeline.ensemble.gate, pipeline.ensemble.most))


def test_decisions_of_the_pipeline_are_those_of_evidence_judged_by_size(runs: Path) -> None:
    """Whether sizes count is fitted by what is judged: the same rows from the saved arrays, and other ones than without."""
    sizes = {"weight": 1.0, "means": [-0.5, 0.5, 0.0], "spreads": [0.1, 0.1, 0.1]}
    plain, pipeline = (load(with_values(runs, gate={"policy": "raw", "name_exponent": 1.0}, sizes=s)) for s in ({}, sizes))
    for model in (plain.classifiers[0], pipeline.classifiers[0]):
        model.sidecar = replace(model.sidecar, temperature=20.0)  # so that it is not sure
    merged = merge(pipeline.detect(PHOTO), pipeline.ensemble)
    height, width = PHOTO.shape[:2]
    nothing = np.zeros(0, np.int64)
    photo = Photo(0, Path(), width, height, np.zeros((0, 4), np.float32), nothing, nothing, None)
    (e,) = as_judged([Evidence(photo, merged, pipeline.classify(PHOTO, merged.boxes))], pipeline.ensemble)
    by_size = pipeline(PHOTO)
    assert by_size == pipeline.rows(decide(e.merged, e.probabilities, pipeline.ensemble.gate, pipeline.ensemble.most))
    assert [row["score"] for row in by_size] != [row["score"] for row in plain(PHOTO)]


@pytest.mark.parametrize(("share", "crops"), [(0.5, 1), (0.25, 1), (1.0, 2)])
def test_the_deadline_lowers_how_many_are_named_the_best_first(
    runs: Path, monkeypatch: pytest.MonkeyPatch, share: float, crops: int
) -> None:
    calls, pipeline = counted_crops(monkeypatch), load(runs)
    pipeline.naming_share = share
    rows = pipeline(PHOTO)
    assert sum(calls) == crops and rows[0]["category_id"] == 3 and (rows[1]["category_id"] == 3) is (crops == 2)


def test_without_a_class_aware_detector_an_unnamed_box_still_counts(runs: Path) -> None:
    detectors = json.loads((runs / "ensemble.json").read_text())["detectors"][:1]
    gate = {"policy": "raw", "name_exponent": 1.0, "further": 2}
    rows = load(with_values(runs, detectors=detectors, naming_floor=0.7, gate=gate))(PHOTO)
    by_box = {row["bbox"][0]: [own for own in rows if own["bbox"] == row["bbox"]] for row in rows}
    named, unnamed = (by_box[x] for x in sorted(by_box, key=lambda x: -len(by_box[x])))
    assert len(named) == 3 and [(row["category_id"], row["score"]) for row in unnamed] == [
        (7, pytest.approx(0.6 / 3, abs=1e-6))
    ]
    assert rows[0] == named[0]


def namers(runs: Path, *models: tuple[str, list[float], dict[str, Any]]) -> Path:
    """The run folder with these classifiers in place of its own: (name, logits, what differs in the sidecar)."""
    values = json.loads((runs / "ensemble.json").read_text())
    for name, logits, sidecar in models:
        fields = {"task": "classifier", "family": "timm", "categories": [7, 3, 40]} | sidecar
        save_model(runs / name, np.array(logits, np.float32), **fields)
    values["classifiers"] = [{"file": f"{name}/model.onnx", "weight": i + 1} for i, (name, _, _) in enumerate(models)]
    (runs / "ensemble.json").write_text(json.dumps(values))
    return runs


BOX = np.array([[0, 0, 20, 20]], np.float32)


def test_two_classifiers_are_averaged_by_weight(runs: Path) -> None:
    got = load(namers(runs, ("a", [0, 0, 0], {}), ("b", [0, 50, 0], {}))).classify(PHOTO, BOX)
    np.testing.assert_allclose(got, [[1 / 9, 1 / 9 + 2 / 3, 1 / 9]], atol=1e-6)


def test_background_is_what_the_names_do_not_sum_up_to(runs: Path) -> None:
    got = load(namers(runs, ("a", [0, 0, 0, np.log(3)], {"background": True}))).classify(PHOTO, BOX)
    np.testing.assert_allclose(got, [[1 / 6] * 3], atol=1e-6)


def test_vector_scaling_is_applied_after_the_temperature(runs: Path) -> None:
    sidecar = {"temperature": 2.0, "scale": [1.0, 2.0, 1.0], "bias": [0.0, 0.0, 1.0]}
    got = load(namers(runs, ("a", [0, 1, 2], sidecar))).classify(PHOTO, BOX)
    powers = np.exp([0, 1, 2])
    np.testing.assert_allclose(got, [powers / powers.sum()], atol=1e-6)


def test_a_name_added_to_the_classifier_alone_can_be_given(runs: Path) -> None:
    values = json.loads((runs / "ensemble.json").read_text()) | {"categories": [7, 3, 40, 99]}
    (runs / "ensemble.json").write_text(json.dumps(values))
    added = namers(runs, ("a", [0, 0, 0, 9], {"categories": [7, 3, 40, 99]}))
    assert {row["category_id"] for row in load(added)(PHOTO)} == {99}
    narrower = namers(runs, ("a", [0, 9, 0], {}))
    np.testing.assert_allclose(load(narrower).classify(PHOTO, BOX)[0, 3], 0)


def test_each_photo_has_its_share_of_further_names(runs: Path) -> None:
    values = json.loads((runs / "ensemble.json").read_text())
    values |= {"most": 6, "gate": {"policy": "raw", "further": 2}}
    (runs / "ensemble.json").write_text(json.dumps(values))
    assert [len(load(runs)(PHOTO, photos)) for photos in (1, 2, 6, 7)] == [2 + 4, 2 + 3, 2 + 1, 2]


def test_the_detectors_own_names_come_from_the_evidence_of_the_class_aware_one(runs: Path) -> None:
    values = json.loads((runs / "ensemble.json").read_text()) | {"gate": {"policy": "detector"}}
    rows = Pipeline(parse(values), runs)(PHOTO)
    assert [row["category_id"] for row in rows] == [7, 40]


def test_merge_is_a_function_of_the_raw_outputs_alone(runs: Path) -> None:
    pipeline = load(runs)
    raw = pipeline.detect(PHOTO)
    first, again = merge(raw, pipeline.ensemble), merge(raw, pipeline.ensemble)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    assert first.evidence is not None
    assert first.evidence.shape == (2, 3)


def test_tiles_of_one_view_are_one_model_to_the_merging(runs: Path) -> None:
    model = Model(runs / "one" / "model.onnx")
    member = Member("one/model.onnx", views=[{"size": 64, "tiles": [2, 2], "overlap": 0.2}], nms_iou=0.9)
    found = run_detector(model, member, PHOTO)
    assert len(found) == 1
    assert len(found[0]) == 8  # two boxes in each of four tiles, in four places


def test_what_a_model_answers_is_decoded_while_the_next_one_runs(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, plain, decode = threading.Event(), Model.__call__, decode_module.on_photo
    waited: list[bool] = []

    def answering(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        waited.extend([begun.wait(9)] if self.path.parent.name == "all" else [])
        return plain(self, canvases, output)

    def decoding(*arguments: Any) -> tuple[Detections, bool]:
        begun.set()
        return decode(*arguments)

    monkeypatch.setattr(Model, "__call__", answering)
    monkeypatch.setattr(decode_module, "on_photo", decoding)
    load(runs).detect(PHOTO)
    assert waited == [True]


def test_what_no_model_runs_beside_is_done_by_the_caller(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boxes of the last view: a thread for them would have to wake first."""
    threads, decode = list[bool](), decode_module.of_view

    def decoding(*arguments: Any) -> Detections:
        threads.append(threading.current_thread() is threading.main_thread())
        return decode(*arguments)

    monkeypatch.setattr(decode_module, "of_view", decoding)
    load(runs).detect(PHOTO)
    assert threads == [False] * (len(threads) - 1) + [True] and len(threads) == 2


def test_an_answer_that_cannot_be_decoded_costs_its_part_only(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, heard, decode = load(runs), [], decode_module.on_photo

    def decoding(model: Model, *arguments: Any) -> tuple[Detections, bool]:
        if model.path.parent.name == "all":
            raise MemoryError
        return decode(model, *arguments)

    monkeypatch.setattr(decode_module, "on_photo", decoding)
    (one,), (missing,) = pipeline.detect(PHOTO, failed=lambda part, error: heard.append((part, type(error))))
    assert (len(one), missing) == (2, None)
    assert heard == [(Part("detectors", 1, 0), MemoryError)]


def test_weights_of_another_class_map_are_refused_with_both_counts(runs: Path) -> None:
    ensemble = replace(load(runs).ensemble, categories=[7, 3])
    with pytest.raises(ValueError, match=r"model\.onnx: class map of 3 categories, must be the 2 of ensemble\.json"):
        Pipeline(ensemble, runs)


def test_a_part_that_fails_is_loud_unless_somebody_listens(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipeline, heard = load(runs), []

    class Broken:
        def run(self, *_: object) -> None:
            raise RuntimeError("no memory left")

    monkeypatch.setattr(pipeline.classifiers[0], "session", Broken())
    with pytest.raises(RuntimeError, match="no memory left"):
        pipeline(PHOTO)
    rows = pipeline(PHOTO, failed=lambda part, error: heard.append((part.kind, str(error))))
    assert len(rows) == 2 and heard == [("classifiers", "no memory left")]


def test_a_view_weighs_what_it_is_given() -> None:
    box = np.array([[0.0, 0.0, 10.0, 10.0]], np.float32)
    views = [Detections(box + shift, np.array([0.8], np.float32), np.zeros(1, np.int64)) for shift in (0.0, 1.0)]
    for weight, x0 in ((1.0, 0.5), (3.0, 0.75), (0.0, 0.0)):
        ensemble = Ensemble([0], [Member("a.onnx", views=[{"size": 64}, {"size": 64, "weight": weight}])])
        assert merge([views], ensemble).boxes[0, 0] == pytest.approx(x0)


@pytest.mark.parametrize("prepared", [False, True])
def test_each_detector_sees_canvases_shrunk_as_its_sidecar_says(
    runs: Path, monkeypatch: pytest.MonkeyPatch, prepared: bool
) -> None:
    """`one` was trained on averaged canvases, `all` before there was a choice; both have the same view."""
    side = json.loads((runs / "one" / "model.json").read_text())
    (runs / "one" / "model.json").write_text(json.dumps(side | {"shrinking": "average"}))
    photo = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    pipeline, seen, plain = load(runs), {}, Model.__call__

    def watching(self: Model, canvases: np.ndarray, output: str = "") -> np.ndarray:
        seen[self.path.parent.name] = canvases[0]
        return plain(self, canvases, output)

    monkeypatch.setattr(Model, "__call__", watching)
    pipeline.detect(pipeline.prepare(photo) if prepared else photo)
    means = photo.reshape(64, 4, 64, 4, 3).mean((1, 3))
    assert np.abs(seen["one"] - means).max() <= 1
    assert np.abs(seen["all"] - means).mean() > 10


def test_a_sliver_that_would_be_written_as_nothing_is_no_box(tmp_path: Path) -> None:
    found = np.array([[32.0, 63.9998], [32.0, 32.0], [16.0, 0.001], [32.0, 20.0], [0.9, 0.8]])
    save_model(tmp_path / "thin", found, task="detector")
    model = Model(tmp_path / "thin" / "model.onnx")
    (boxes,) = run_detector(model, Member("model.onnx", views=[{"size": 64}]), PHOTO)
    assert boxes.boxes.tolist() == [[24, 16, 40, 48]]

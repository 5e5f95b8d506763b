"""The measurement of a machine: what it keeps, and on which photos."""

import json
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from small_photos import photo

from fitting import machine
from fitting.plan import candidates
from fitting.procedure import Procedure
from fitting.speeds import Speeds
from fitting.wishes import Wishes
from photos.data import Photo
from stage1_detector.engine import Job
from stage2_classifier import model
from stage2_classifier.config import ClassifierConfig, columns
from tests.fitting.sets import FRIDGE, SPEEDS


def silent(line: str) -> None:
    pass


def test_speeds_are_read_as_they_were_kept() -> None:
    assert machine.parsed(json.loads(json.dumps(asdict(SPEEDS)))) == SPEEDS


def test_a_machine_that_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    procedure = next(candidates(FRIDGE, Wishes(classifier="resnet10t"))).procedure
    keep(tmp_path, procedure, replace(SPEEDS, memory_gb=0.001))
    again = machine.measured(tmp_path, [], procedure, 0.0, silent)
    assert replace(again, memory_gb=10.0) == SPEEDS and again.memory_gb > 0.001  # read anew: programs come and go


def test_a_canvas_that_was_left_out_to_save_time_is_measured_once_there_is_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    procedure = next(candidates(FRIDGE, Wishes(classifier="resnet10t"))).procedure
    monkeypatch.setattr(machine, "measure", lambda *_: SPEEDS)
    keep(tmp_path, procedure, short := replace(SPEEDS, device="of one canvas", second_canvas=90.0))
    devices = [machine.measured(tmp_path, [], procedure, seconds, silent).device for seconds in (80.0, 100.0, 80.0)]
    assert devices == [short.device, "cpu", "cpu"]


def test_speeds_hold_for_the_photos_and_crops_that_were_measured(tmp_path: Path) -> None:
    procedure = next(candidates(FRIDGE, Wishes(classifier="resnet10t"))).procedure
    photos = [photo(tmp_path, i, [[0, 0, 20, 20]]) for i in range(2)]
    keys = [machine.made_from(procedure, shown, crop) for shown, crop in ((photos, 0), (photos[:1], 0), (photos, 96))]
    assert keys[0] not in keys[1:] and machine.made_from(procedure, photos[::-1], 0) == keys[0]
    assert machine.crop_sides(procedure, 96) == [96] and machine.crop_sides(procedure, 0) == [64, 96]


def keep(runs: Path, procedure: Procedure, speeds: Speeds) -> None:
    """Leave speeds in a run folder as they are kept, for a set of no photos."""
    kept = {"made_from": machine.made_from(procedure, [], 0), "speeds": asdict(speeds)}
    (runs / machine.NAME).write_text(json.dumps(kept))


def test_speeds_of_another_network_or_canvas_do_not_hold(tmp_path: Path) -> None:
    procedure = next(candidates(FRIDGE, Wishes(classifier="resnet10t"))).procedure
    larger = replace(procedure, detector=replace(procedure.detector, size=1024))
    assert machine.made_from(procedure, [], 0) != machine.made_from(larger, [], 0)
    assert machine.made_from(procedure, [], 0) == machine.made_from(replace(procedure, folds=5), [], 0)


def test_the_photos_that_are_shown_come_from_all_over_the_set() -> None:
    assert machine.spread([], 4) == []
    assert machine.spread(list(range(3)), 4) == [0, 1, 2]  # type: ignore[arg-type]
    assert machine.spread(list(range(101)), 5) == [0, 25, 50, 75, 100]  # type: ignore[arg-type]


class Looker:
    """A model that takes so many seconds to look."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, given: object) -> dict[str, float]:
        time.sleep(self.seconds)
        return {"det_map50": 0.0}


def test_the_looks_of_exported_models_are_measured_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime may be on the CPU where torch is on a GPU."""
    procedure = next(candidates(FRIDGE, Wishes(classifier="test_resnet"))).procedure
    photos = [photo(tmp_path, i, [[0, 0, 20, 20], [20, 20, 60, 40]]) for i in range(4)]

    def fit(job: Job) -> Path:
        for _ in range(machine.EPOCHS):
            job.score(None)
        return tmp_path

    def score(model: Looker, photos: tuple[Photo, ...], n_names: int) -> dict[str, float]:
        return [model(photo) for photo in photos][-1]

    family = SimpleNamespace(fit=fit, load=lambda weights: None, for_export=lambda network, config: None)
    monkeypatch.setattr(machine, "FAMILIES", {"yolo": family})
    for name in ("export_detector", "export_classifier"):
        monkeypatch.setattr(machine, name, lambda *given: None)
    monkeypatch.setattr(machine, "score", score)
    monkeypatch.setattr(machine, "Network", lambda *given: Looker(0.0))
    monkeypatch.setattr(machine, "Model", lambda path: Looker(0.2))
    monkeypatch.setattr(machine.learning, "predict", lambda network, crops: None)
    speeds = machine.measure(tmp_path, photos, procedure, 0.0, silent)
    size, crops = procedure.detector.size, procedure.classifier.batch
    assert speeds.find.at(size) < 0.1 and speeds.find_exported.at(size) >= 0.2
    assert speeds.name_exported - speeds.name > 0.15 / crops
    for seconds in (speeds.evidence, speeds.figures):
        assert seconds(size, FRIDGE, 1) > FRIDGE.test_photos * 2 * 0.2 + FRIDGE.boxes * 0.15 / crops
    as_fast = replace(speeds, find_exported=speeds.find)
    assert speeds.start(size, FRIDGE, 2) == as_fast.start(size, FRIDGE, 2), "torch looks there, on the device of the trainings"


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        pytest.param(
            Wishes(model="yolov8n-p6.yaml"), "'yolov8n-p6.yaml', whose coarsest grid has cells of 64 px, must be 32", id="p6"
        ),
        pytest.param(Wishes(model="nothing.yaml"), "--model: got 'nothing.yaml'", id="an unknown detector"),
        pytest.param(Wishes(classifier="nothing"), "--classifier: got 'nothing'", id="an unknown backbone"),
        pytest.param(Wishes(second_classifier="nothing"), "--second-classifier: got 'nothing'", id="an unknown second one"),
        pytest.param(
            Wishes(second_classifier="inception_v3"),
            "cannot take crops of 64 px",
            id="too small for it",
        ),
        pytest.param(Wishes(pretrained="imagenet"), "--pretrained: got imagenet, allowed for yolov8n.yaml", id="weights"),
        pytest.param(
            Wishes(pretrained="none", start_share="0.3"), "--start-share: got 0.3, but it starts from random", id="no start"
        ),
        pytest.param(
            Wishes(model="yolov8s.yaml", start_share="0.3"), "it starts from random weights", id="no start of its own"
        ),
    ],
)
def test_what_could_not_be_trained_is_refused_before_anything_is_measured(wishes: Wishes, line: str) -> None:
    with pytest.raises(ValueError, match=line):
        machine.refuse_unknown(next(candidates(FRIDGE, wishes)).procedure)


@pytest.mark.parametrize("background", [0.0, 0.2], ids=["names only", "background too"])
def test_a_classifier_is_exported_whole_to_be_timed(background: float) -> None:
    config = ClassifierConfig(size=32, background=background)
    network = model.build(config, columns(config, ["tea", "mint", "milk"])).eval()
    assert machine.seconds_of_naming(network, config, np.zeros((2, 32, 32, 3), np.uint8)) > 0


def test_crops_that_a_backbone_cannot_take_are_refused_before_anything_is_measured() -> None:
    """It can be built at 224 px, and cannot look at 64 px; those may be planned unless the user says how large crops are."""
    given = Wishes(classifier="efficientformer_l1", crop_size=224)
    procedure = next(candidates(FRIDGE, given)).procedure
    machine.refuse_unknown(procedure, given.crop_size)
    assert machine.crop_sides(procedure, given.crop_size) == [224]
    with pytest.raises(
        ValueError, match=r"^--crop-size: efficientformer_l1 cannot take crops of 64 px \(.*; pass --crop-size with .* as 224, "
    ):
        machine.refuse_unknown(procedure)

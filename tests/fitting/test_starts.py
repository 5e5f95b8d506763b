"""Which stage a word or a file of `hylle fit --pretrained` is of, and what the other stage starts from."""

import shutil
from pathlib import Path

import pytest
import timm
import torch
from pickled_code import MARKER, write_evil
from safetensors.torch import save_file
from ultralytics.nn.tasks import DetectionModel

from fitting import machine
from fitting.ledger import Ledger
from fitting.plan import candidates
from fitting.procedure import Procedure
from fitting.session import Order, Session
from fitting.starts import settled
from fitting.trainings import classifier_name, classifier_request, detector_request
from fitting.wishes import Wishes
from photos.data import Dataset
from runs import local_weights
from stage1_detector.config import STARTER as DETECTOR
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import STARTER as CLASSIFIER
from stage2_classifier.config import ClassifierConfig
from stage2_classifier.pretrained import BEST
from tests.fitting.sets import FRIDGE, SPEEDS


def starts(wishes: Wishes) -> tuple[Path | None, Path | None, str]:
    """What the requests of both stages start from, and what is told; the plan's own check lets it pass."""
    decided, told = settled(FRIDGE, wishes)
    procedure = next(candidates(FRIDGE, decided)).procedure
    machine.refuse_unknown(procedure)
    one = detector_request(Path(), Path(), "one", procedure.pretrained_path, procedure.trusted)
    return one.pretrained, classifier_request(Path(), Path(), procedure, classifier_name(procedure)).pretrained, told


@pytest.mark.parametrize("word", ["auto", "starter", "none"])
def test_a_word_of_both_stages_is_as_it_was_given(word: str) -> None:
    expected = None if word == "none" else Path(word)
    assert starts(Wishes(pretrained=word, classifier="resnet10t")) == (expected, expected, "")


@pytest.mark.parametrize("starter", [DETECTOR, CLASSIFIER], ids=["detector", "classifier"])
def test_a_file_is_of_the_stage_that_it_fits(tmp_path: Path, starter: Path) -> None:
    path = shutil.copyfile(starter, tmp_path / "w.safetensors")
    of_detector, of_classifier, told = starts(Wishes(pretrained=str(path)))
    assert (of_detector, of_classifier) == ((path, Path("auto")) if starter == DETECTOR else (Path("auto"), path))
    stage, other = ("detector", "classifier") if starter == DETECTOR else ("classifier", "detector")
    assert told.startswith(f"{path} is of the {stage} alone; the {other} starts from what auto takes: ")
    assert told.count("\n") == 0 and " from " in told.partition("takes: ")[2]


def test_a_file_of_the_best_backbone_chooses_it(tmp_path: Path) -> None:
    save_file(timm.create_model(BEST, num_classes=0).state_dict(), tmp_path / "w.safetensors")
    wishes, _ = settled(FRIDGE, Wishes(pretrained=str(tmp_path / "w.safetensors")))
    assert (wishes.classifier, wishes.pretrained) == (BEST, "auto")
    with pytest.raises(ValueError, match="which fits neither stage"):  # the user's own choice stays
        settled(FRIDGE, Wishes(pretrained=str(tmp_path / "w.safetensors"), classifier="resnet10t"))


def test_imagenet_is_of_the_classifier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_weights, "imagenet", lambda model: CLASSIFIER)
    of_detector, of_classifier, told = starts(Wishes(pretrained="imagenet", classifier="resnet10t"))
    assert (of_detector, of_classifier) == (Path("auto"), Path("imagenet"))
    assert (
        told == "imagenet is of the classifier alone; the detector starts from what auto takes: yolov8n.yaml from the starter"
    )


def test_the_starter_of_another_detector_is_of_the_classifier_alone() -> None:
    wishes = Wishes(pretrained="starter", model="yolov8s.yaml", classifier="resnet10t")
    assert starts(wishes)[:2] == (Path("auto"), Path("starter"))


def test_coco_is_of_the_detector_and_runs_no_code_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "yolov8n.pt"
    monkeypatch.setattr(local_weights, "ultralytics_file", lambda name: tmp_path / name)
    with pytest.raises(ValueError, match=r"detector: .*yolov8n\.pt is not there; hylle fetch yolov8n\.pt; classifier: "):
        settled(FRIDGE, Wishes(pretrained="coco"))
    write_evil(path, tmp_path)
    for wishes in (Wishes(pretrained="coco"), Wishes(pretrained=str(path))):
        with pytest.raises(ValueError, match=f"where you know who made it, pass --trust {path}; else .*; classifier: "):
            settled(FRIDGE, wishes)
    assert not (tmp_path / MARKER).exists()
    torch.save({"model": DetectionModel("yolov8n.yaml", verbose=False)}, path)
    of_detector, of_classifier, _ = starts(Wishes(pretrained="coco", trust=str(path)))
    assert (of_detector, of_classifier) == (Path("coco"), Path("auto"))


def test_what_fits_neither_stage_is_refused_with_both_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file({"a": torch.zeros(1)}, path := tmp_path / "w.safetensors")
    with pytest.raises(ValueError) as error:
        settled(FRIDGE, Wishes(pretrained=str(path)))
    assert str(error.value) == (
        f"--pretrained: got {path}, which fits neither stage; detector: fills 0 of the network's 298 tensors; "
        "classifier: fills 0 of the network's 70 tensors"
    )
    monkeypatch.setattr(local_weights, "imagenet", lambda model: None)
    with pytest.raises(ValueError, match=r"^--pretrained: got imagenet, which fits neither stage; .* no weights of resnet10t"):
        settled(FRIDGE, Wishes(pretrained="imagenet"))


def test_an_unknown_network_is_no_matter_of_the_weights(tmp_path: Path) -> None:
    path = shutil.copyfile(CLASSIFIER, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"^--model: got 'nothing\.yaml'"):
        settled(FRIDGE, Wishes(pretrained=str(path), model="nothing.yaml"))
    with pytest.raises(ValueError, match=r"^--classifier: got 'nothing'"):
        settled(FRIDGE, Wishes(pretrained=str(path), classifier="nothing"))


@pytest.mark.parametrize("field", ["pretrained", "crop_pretrained"])
def test_a_fit_goes_on_with_a_file_of_one_stage_from_another_folder(tmp_path: Path, field: str) -> None:
    (tmp_path / "w.pt").touch()
    other = {"pretrained": "auto"} if field == "crop_pretrained" else {"crop_pretrained": "auto"}
    decided = Procedure(DetectorConfig(), ClassifierConfig(), **{field: "w.pt"}, **other)
    now = Wishes(**{field: str(tmp_path / "w.pt")}, **other, trust="here.pt")
    order = Order(Dataset(tmp_path, (), ()), FRIDGE, tmp_path, 9.0, now, 0.0)
    procedure = Session(order, Ledger({}, {}, 9.0, procedure=decided.settings()), SPEEDS).procedure
    paths = {"pretrained": procedure.pretrained, "crop_pretrained": procedure.crop_pretrained}
    assert paths == {field: str(tmp_path / "w.pt")} | other and procedure.trust == "here.pt"


def test_a_fit_that_an_earlier_version_began_has_one_start_for_both() -> None:
    settings = Procedure(DetectorConfig(), ClassifierConfig(), pretrained="w.pt").settings()
    assert (settings.pop("crop_pretrained"), settings.pop("trust")) == ("", "")
    assert Procedure(**settings).crop_pretrained_path == Path("w.pt")

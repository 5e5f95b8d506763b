"""What ultralytics is given: our settings in its words, nothing to download."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_photos import photo
from training_jobs import job_of

from fusion.views import make_views
from stage1_detector.config import STRIDE, DetectorConfig
from stage1_detector.pretrained import start
from stage1_detector.recipes import recipe
from stage1_detector.ultralytics_engine import yolo

YAML = {"yolo": "yolov8n.yaml", "rtdetr": "rtdetr-l.yaml"}


def test_settings_in_ultralytics_words(tmp_path: Path) -> None:
    photos = {"train": (photo(tmp_path, 1, [[0, 0, 5, 5]] * 400),), "valid": (photo(tmp_path, 2, []),)}
    words = yolo.ultralytics_arguments(job_of(DetectorConfig(batch=4, epochs=3), photos, tmp_path / "R" / "one"))
    assert words["nbs"] == words["batch"] == 4  # else 16 batches make one step
    assert words["max_det"] == 650  # of 400 boxes, neither 300 nor 100
    assert words["rect"] is True
    assert words["val"] is True
    assert words["plots"] is False  # they need a font that would be fetched
    config = replace(DetectorConfig(), mosaic=1.0, patience=5)
    mosaic = yolo.ultralytics_arguments(job_of(config, photos, tmp_path / "R" / "one"))
    relative = yolo.ultralytics_arguments(job_of(DetectorConfig(), photos, Path("R/one")))
    assert relative["project"] == str(Path.cwd() / "R")  # ultralytics puts a relative one into its own folder of runs
    assert (mosaic["rect"], mosaic["patience"]) == (False, 5)


@pytest.mark.parametrize("name", ["yolo26l", "yolo11l"])
@pytest.mark.parametrize("given", [None, Path("none"), Path("auto")], ids=str)
def test_layers_of_random_weights_are_not_held_still(name: str, given: Path | None) -> None:
    config = recipe(name)
    with pytest.raises(
        ValueError, match="--freeze: got 10, which needs --pretrained FILE: random weights are nothing to hold still"
    ):
        yolo.refuse(config, start(given, config).path, None)
    yolo.refuse(recipe(name, quick=True), None, None)  # a rehearsal needs no weights


@pytest.mark.parametrize(
    ("model", "message"),
    [
        pytest.param("yolov8n-p6.yaml", "whose coarsest grid has cells of 64 px, must be 32 at most", id="too coarse"),
        pytest.param("yolo26n-p6.yaml", "whose coarsest grid has cells of 64 px, must be 32 at most", id="likewise"),
        pytest.param("own.yaml", "which cannot be built: ", id="not to be built"),
    ],
)
def test_a_model_that_no_canvas_suits_is_refused_and_draws_nothing(
    model: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.yaml").write_text("nc: 1\nbackbone: []\nhead: [[[0], 1, Blur, []], [[0], 1, Detect, [nc]]]\n")
    monkeypatch.chdir(tmp_path)
    before = torch.get_rng_state()
    with pytest.raises(ValueError, match=f"--model: got '{model}', {message}"):
        yolo.refuse(DetectorConfig(model=model), None, None)
    yolo.refuse(DetectorConfig(model="yolov8n-p2.yaml"), None, None)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_grid_of_64_px_does_not_take_the_canvas_of_a_photo_at_a_size_that_it_takes() -> None:
    """So such a model is refused at every size."""
    network = yolo.for_export(yolo.build("yolov8n-p6.yaml", ["product"]).eval(), DetectorConfig())
    (view,) = make_views({"size": 128, "shape": "rectangle", "stride": STRIDE}, 1600, 1200)
    assert network(torch.zeros(1, 3, 128, 128)).shape[1] == 5
    with pytest.raises(RuntimeError, match="Sizes of tensors must match"):
        network(torch.zeros(1, 3, view.height, view.width))


@pytest.mark.parametrize("family", ["yolo", "rtdetr"])
@pytest.mark.parametrize(
    ("device", "message"),
    [
        pytest.param("0,1", "must be one; .* CUDA_VISIBLE_DEVICES=0,1 torchrun --nproc-per-node 2 -m stage1", id="two"),
        pytest.param("mps", "allowed: cpu, or the number of a GPU that torch sees", id="another maker's"),
        pytest.param("meta", "allowed: cpu, or the number of a GPU that torch sees", id="none at all"),
    ],
)
def test_one_device_trains_and_it_is_there(family: str, device: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """ultralytics would take the first of two, and the CPU in place of one that is not there."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(yolo, "select_device", lambda *words, **options: torch.device("cuda:0"))
    with pytest.raises(ValueError, match=f"--device: got '{device}', {message}"):
        yolo.refuse(DetectorConfig(family=family, model=YAML[family], device=device), None, None)

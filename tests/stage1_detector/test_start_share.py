"""A detector between what it started from and what it learned."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fusion.models import Model, read_object
from runs import record
from runs.status import reached
from stage1_detector import start_share
from stage1_detector.config import DetectorConfig, TorchvisionConfig
from stage1_detector.export import export_detector
from stage1_detector.families import FAMILIES
from stage1_detector.ultralytics_engine import yolo

CONFIG = DetectorConfig(size=64)
SIDE = {
    "task": "detector",
    "family": "yolo",
    "categories": None,
    "size": 64,
    "mean": [0.0] * 3,
    "std": [1.0] * 3,
    "max_det": 50,
}
CANVAS = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def state_of(seed: int, classes: int = 1) -> dict[str, torch.Tensor]:
    """A small YOLO's tensors, its batch norms of statistics that differ by seed."""
    torch.manual_seed(seed)
    network = yolo.build(CONFIG.model, [f"c{i}" for i in range(classes)])
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    return network.state_dict()


def run_of(out: Path, seed: int) -> Path:
    """A run folder with weights in the form of our own checkpoints."""
    weights = out / "weights" / "last.pt"
    weights.parent.mkdir(parents=True)
    config = {"family": "yolo", "model": CONFIG.model}
    torch.save({"network": state_of(seed), "config": config, "names": ["product"]}, weights)
    (out / "run.json").write_text('{"settings": {"patience": 0}}')
    return weights


def start_in(folder: Path, seed: int, classes: int = 1) -> Path:
    save_file(state_of(seed, classes), folder / f"start{classes}.safetensors")
    return folder / f"start{classes}.safetensors"


@torch.no_grad()
def answer(network: torch.nn.Module | None) -> torch.Tensor:
    assert network is not None
    return network(CANVAS)[0]


@torch.no_grad()
def answer_of(state: dict[str, torch.Tensor]) -> torch.Tensor:
    network = yolo.build(CONFIG.model, ["product"])
    network.load_state_dict(state)
    return network.fuse(verbose=False).eval()(CANVAS)[0]


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_each_weight_is_between_the_two(tmp_path: Path, share: float) -> None:
    """The statistics of batch norms too, and before these are folded into the convolutions."""
    trained, start = run_of(tmp_path / "one", 1), start_in(tmp_path, 2)
    learned, begun = state_of(1), state_of(2)
    mixed = {k: (1 - share) * v + share * begun[k] if v.dtype.is_floating_point else v for k, v in learned.items()}
    found = answer(start_share.between(trained, start, share, CONFIG))
    torch.testing.assert_close(found, answer_of(mixed), rtol=1e-4, atol=1e-3)
    assert share in (0.0, 1.0) or not torch.allclose(found, answer_of(learned), rtol=1e-2, atol=1e-2)


def test_nothing_is_between_what_does_not_fit(tmp_path: Path) -> None:
    trained, start = run_of(tmp_path / "one", 1), start_in(tmp_path, 2)
    pickled = tmp_path / "pickled.pt"
    torch.save({"model": Path("any object")}, pickled)
    assert start_share.between(trained, None, 0.3, CONFIG) is None
    assert start_share.between(trained, start_in(tmp_path, 2, classes=3), 0.3, CONFIG) is None
    assert start_share.between(trained, pickled, 0.3, CONFIG) is None
    assert start_share.between(trained, start, 0.3, TorchvisionConfig(family="retinanet")) is None
    with pytest.raises(ValueError, match=r"one: got .*pickled\.pt, which has not all of its weights"):
        start_share.export_with(tmp_path / "one", pickled, 0.3, CONFIG, ())


@pytest.mark.slow
def test_a_model_is_written_anew_once_and_can_go_back(tmp_path: Path) -> None:
    out = tmp_path / "one"
    trained, start = run_of(out, 1), start_in(tmp_path, 2)
    export_detector(FAMILIES["yolo"].for_export(yolo.load(trained), CONFIG), out / "model.onnx", SIDE, ())
    plain = (out / "model.onnx").read_bytes()
    start_share.export_with(out, start, 0.0, CONFIG, ())
    assert not (out / start_share.NAME).exists()
    start_share.export_with(out, start, 0.3, CONFIG, ())
    mixed, written = (out / "model.onnx").read_bytes(), (out / "model.onnx").stat().st_mtime_ns
    assert mixed != plain and Model(out / "model.onnx").sidecar.max_det == 50
    assert reached(read_object(out / "run.json")["metrics"]) == "start_share 0.300"
    assert read_object(out / start_share.NAME)["model"] == record.fingerprint(out / "model.onnx")
    start_share.export_with(out, start, 0.3, CONFIG, ())
    assert (out / "model.onnx").stat().st_mtime_ns == written
    start_share.export_with(out, start, 0.0, CONFIG, ())
    assert (out / "model.onnx").read_bytes() == plain

"""A detector between what it started from and what it learned."""

import errno
from pathlib import Path

import pytest
import torch
from place import draw_shop
from safetensors.torch import save_file

from fusion.models import Model, read_object
from photos import folds
from photos.data import read
from runs import record
from runs.status import reached
from stage1_detector import start_share, train
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


@pytest.fixture
def shop(tmp_path: Path) -> list[str]:
    """The words of a training on a drawn shop, but for what it starts from."""
    draw_shop(tmp_path / "D")
    folds.split(read(tmp_path / "D"), tmp_path / "R")
    return ["--data", str(tmp_path / "D"), "--out", str(tmp_path / "R"), "--quick"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--pretrained", "starter", "--start-share", "1.5"], "--start-share: got 1.5, allowed 0.0 to 1.0"),
        (
            ["--start-share", "0.3"],
            "--start-share: got 0.3, but it starts from random weights; give weights by --pretrained too",
        ),
        (["--pretrained", "none", "--start-share", "0.3"], "it starts from random weights"),
        (
            ["--pretrained", "starter", "--classes", "all", "--start-share", "0.3"],
            "has not all weights of yolov8n.yaml for 3 c",
        ),
        (["--family", "rtdetr", "--pretrained", "starter", "--start-share", "0.3"], "must be 0: it is for a yolo"),
    ],
)
def test_a_share_that_could_not_be_kept_is_refused_before_training(
    shop: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert train.main([*shop, *words]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "R" / "one").exists() and not (tmp_path / "R" / "all").exists()


@pytest.mark.slow
def test_a_training_keeps_its_share_and_lets_it_go_again(
    shop: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, starter = tmp_path / "R" / "one", ["--pretrained", "starter"]
    assert train.main([*shop, *starter]) == 0
    plain = (out / "model.onnx").read_bytes()
    assert train.main([*shop, *starter, "--start-share", "0.3"]) == 0
    told = capsys.readouterr().out
    assert "one: reuses" in told and "one: keeps 30% of the weights that it started from: valid det_map50 " in told
    assert (out / "model.onnx").read_bytes() != plain
    assert read_object(out / "run.json")["metrics"]["start_share"] == 0.3
    assert train.main([*shop, *starter]) == 0
    assert "one: model.onnx is written anew, with nothing of the weights" in capsys.readouterr().out
    assert (out / "model.onnx").read_bytes() == plain
    assert train.main([*shop, *starter, "--start-share", "0.3"]) == 0
    assert train.main([*shop, "--pretrained", "none", "--force"]) == 0  # of another start: what was kept is no more
    assert not (out / start_share.NAME).exists() and "start_share" not in read_object(out / "run.json")["metrics"]


def test_an_export_that_was_killed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "one"
    run_of(out, 1)
    start = start_in(tmp_path, 2)
    (out / "model.json").write_text("{}")

    def killed(network: object, path: Path, *_: object) -> None:
        path.write_text("half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(start_share, "export_detector", killed)
    with pytest.raises(KeyboardInterrupt):
        start_share.export_with(out, start, 0.3, CONFIG, ())
    made: list[Path] = []
    monkeypatch.setattr(start_share, "export_detector", lambda network, path, *_: (path.write_text("whole"), made.append(path)))
    start_share.export_with(out, start, 0.0, CONFIG, ())  # whoever calls next, with a share or without
    assert made == [out / "model.onnx"] and read_object(out / start_share.NAME)["share"] == 0.0


def test_a_disk_that_was_full_while_the_sidecar_was_written_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "one"
    trained, start = run_of(out, 1), start_in(tmp_path, 2)
    model, sidecar = out / "model.onnx", out / "model.json"
    export_detector(FAMILIES["yolo"].for_export(yolo.load(trained), CONFIG), model, SIDE, ())
    before, write = (model.read_bytes(), sidecar.read_bytes()), Path.write_text

    def full(path: Path, text: str, *more: object) -> int:
        if "model.json" not in path.name:
            return write(path, text, *more)
        write(path, text[:9])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        with pytest.raises(OSError, match="No space left"):
            start_share.export_with(out, start, 0.5, CONFIG, ())
    assert (model.read_bytes(), sidecar.read_bytes()) == before
    assert start_share.export_with(out, start, 0.5, CONFIG, ())
    assert Model(model).sidecar.size == 64 and model.read_bytes() != before[0]


def test_a_file_of_pickled_code_is_called_that(tmp_path: Path) -> None:
    pickled = tmp_path / "pickled.pt"
    torch.save({"model": Path("any object")}, pickled)
    with pytest.raises(ValueError, match=r"pickled\.pt is no plain file of weights"):
        start_share.refuse(0.3, pickled, CONFIG, ["product"])

"""`hylle fetch`: what it names, what it keeps, and one line without a network."""

import socket
from pathlib import Path

import pytest
import timm
import torch
import ultralytics
from safetensors.torch import save_file
from ultralytics.utils import downloads

from hylle.verbs import main as hylle
from runs import fetch, fetched, local_weights
from stage1_detector.pretrained import TORCHVISION_DETECTORS


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Empty caches; nobody answers."""

    def unknown(*_: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setattr(local_weights, "in_hub_cache", lambda model: None)
    monkeypatch.setattr(local_weights, "ultralytics_file", lambda name: tmp_path / "ultralytics" / name)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "path", "flag"),
    [
        pytest.param("resnet18", "torch/hub/checkpoints/resnet18.imagenet.safetensors", "--pretrained imagenet", id="timm"),
        pytest.param(
            "retinanet_resnet50_fpn", "torch/hub/checkpoints/retinanet_resnet50_fpn_coco-eeacb38b.pth", "--pretrained coco",
            id="torchvision",
        ),
        pytest.param("yolov8n.pt", "ultralytics/yolov8n.pt", "--pretrained coco --trust {path}", id="ultralytics"),
    ],
)  # fmt: skip
def test_without_a_network_one_line_says_where_a_file_is_to_lie(
    cache: Path, capsys: pytest.CaptureFixture[str], name: str, path: str, flag: str
) -> None:
    assert hylle(["fetch", name]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and f"the file laid at {cache / path} is taken by {flag.format(path=cache / path)}" in error[0]
    assert not fetched.record_file().exists()


def test_an_unknown_name_is_told_with_near_ones(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hylle(["fetch", "resnet18x"]) == 2
    assert "got 'resnet18x', must be a network of timm, torchvision or ultralytics, such as resnet18" in capsys.readouterr().err


@pytest.fixture
def resnet18(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where timm's loader, which stands in for the network, lays its file unless it is there: among torch's checkpoints."""
    path = cache / "torch" / "hub" / "checkpoints" / "resnet18_a1_0-d63eafa0.pth"

    def load(name: str, pretrained: bool) -> None:
        assert (name, pretrained) == ("resnet18", True)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"a": torch.zeros(1)}, path)

    monkeypatch.setattr(timm, "create_model", load)
    monkeypatch.setattr(fetch, "refuse_without_network", lambda: None)
    return path


def test_what_came_is_told_kept_and_refused_once_it_has_changed(resnet18: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert hylle(["fetch", "resnet18"]) == 0
    assert f"sha256 {fetched.sha256(resnet18)}; taken by --pretrained imagenet" in capsys.readouterr().out
    fetched.refuse_changed(resnet18)
    fetched.refuse_changed(None)
    resnet18.write_bytes(b"other")
    with pytest.raises(ValueError, match=r"--pretrained: .* is not what was fetched"):
        fetched.refuse_changed(resnet18)
    resnet18.unlink()
    fetched.refuse_changed(resnet18)  # whoever looks for it says that it is not there


def test_a_file_that_has_changed_is_not_blessed_by_fetching_it_again(
    resnet18: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert hylle(["fetch", "resnet18"]) == 0
    right = resnet18.read_bytes()
    resnet18.write_bytes(b"other")
    assert hylle(["fetch", "resnet18"]) == 2
    assert "is not what was fetched" in (error := capsys.readouterr().err) and "; remove it and fetch it again" in error
    monkeypatch.chdir(resnet18.parent)
    for path in (resnet18, Path(resnet18.name)):  # however it is named
        with pytest.raises(ValueError, match="is not what was fetched"):
            fetched.refuse_changed(path)
    resnet18.unlink()
    assert hylle(["fetch", "resnet18"]) == 0
    fetched.refuse_changed(resnet18)
    assert resnet18.read_bytes() == right


def test_a_file_that_came_with_another_sha256_starts_no_training(resnet18: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for flags in (["--sha256", "0" * 64], []):
        assert hylle(["fetch", "resnet18", *flags]) == 2
        with pytest.raises(ValueError, match=r"is not what was fetched \(sha256 0{64}\)"):
            fetched.refuse_changed(resnet18)
    assert "--sha256: got " in capsys.readouterr().err
    assert hylle(["fetch", "resnet18", "--sha256", fetched.sha256(resnet18).upper()]) == 0  # the user's own word
    fetched.refuse_changed(resnet18)
    assert hylle(["fetch", "resnet18"]) == 0


@pytest.mark.parametrize("given", ["", "abc", "0" * 63, "0" * 65, "g" * 64, "sha256:" + "0" * 64])
def test_what_is_no_sha256_is_refused_before_anything_is_fetched_or_noted(
    resnet18: Path, capsys: pytest.CaptureFixture[str], given: str
) -> None:
    assert hylle(["fetch", "resnet18", "--sha256", given]) == 2
    assert f"--sha256: got {given!r}, must be the 64 hexadecimal digits alone" in capsys.readouterr().err
    assert not resnet18.exists() and not fetched.record_file().exists()


@pytest.mark.parametrize("content", [b"", b"of somebody else"])
def test_a_file_in_torchvisions_place_that_is_not_its_own_is_refused(
    cache: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = cache / "torch" / "hub" / "checkpoints" / "retinanet_resnet50_fpn_coco-eeacb38b.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    assert hylle(["fetch", "retinanet_resnet50_fpn"]) == 2
    assert f"{path} is damaged or not torchvision's: remove it and fetch again\n" in capsys.readouterr().err
    assert not fetched.record_file().exists()


def test_a_file_of_the_sha256_that_its_name_tells_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a-2c26b46b.pth"  # the first digits of the sha256 of "foo", of FIPS 180-4
    path.write_bytes(b"foo")
    fetch.refuse_damaged(path)
    path.write_bytes(b"fo")
    with pytest.raises(ValueError, match="is damaged"):
        fetch.refuse_damaged(path)


@pytest.mark.parametrize("name", ["keypointrcnn_resnet50_fpn", "fcos_resnet50_fpn", "sam_b", "yolov8n-seg.pt", "yolov5nu"])
def test_what_no_training_starts_from_is_refused_before_the_download(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    monkeypatch.delattr(fetch, "downloaded")
    assert hylle(["fetch", name]) == 2
    assert f"got {name!r}, which no training here starts from; --pretrained coco takes fasterrcnn_" in capsys.readouterr().err


def test_every_detector_that_is_fetched_is_one_that_pretrained_coco_takes() -> None:
    assert set(local_weights.COCO_DETECTORS) == set(TORCHVISION_DETECTORS.values())
    known = {path.stem for path in (Path(ultralytics.__file__).parent / "cfg" / "models").rglob("*.yaml")}
    fetched_models = [stem for stem in downloads.GITHUB_ASSETS_STEMS if fetch.ULTRALYTICS_DETECTOR.fullmatch(stem)]
    assert {"yolov8n", "yolov9c", "yolov10b", "yolo11x", "yolo12m", "yolo26l", "rtdetr-l"} <= set(fetched_models)
    assert not [stem for stem in fetched_models if {stem, stem[:-1]}.isdisjoint(known)]


def test_a_file_laid_by_hand_needs_no_record(cache: Path) -> None:
    path = local_weights.imagenet_files("resnet18")[0]
    path.parent.mkdir(parents=True)
    save_file({"a": torch.zeros(1)}, path)
    fetched.refuse_changed(path)
    assert local_weights.imagenet("resnet18") == path

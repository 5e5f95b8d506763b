"""`hylle fetch`: what it names, what it keeps, and one line without a network."""

import socket
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hylle.verbs import main as hylle
from runs import fetch, fetched, local_weights


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
    ],
)  # fmt: skip
def test_without_a_network_one_line_says_where_a_file_is_to_lie(
    cache: Path, capsys: pytest.CaptureFixture[str], name: str, path: str, flag: str
) -> None:
    assert hylle(["fetch", name]) == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(error) == 1 and f"the file laid at {cache / path} is taken by {flag}" in error[0]
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
    for flags in (["--sha256", "00"], []):
        assert hylle(["fetch", "resnet18", *flags]) == 2
        with pytest.raises(ValueError, match=r"is not what was fetched \(sha256 00\)"):
            fetched.refuse_changed(resnet18)
    assert "--sha256: got " in capsys.readouterr().err
    assert hylle(["fetch", "resnet18", "--sha256", fetched.sha256(resnet18).upper()]) == 0  # the user's own word
    fetched.refuse_changed(resnet18)
    assert hylle(["fetch", "resnet18"]) == 0


def test_a_file_laid_by_hand_needs_no_record(cache: Path) -> None:
    path = local_weights.imagenet_files("resnet18")[0]
    path.parent.mkdir(parents=True)
    save_file({"a": torch.zeros(1)}, path)
    fetched.refuse_changed(path)
    assert local_weights.imagenet("resnet18") == path

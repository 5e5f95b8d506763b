"""A detector between what it started from and what it learned: weights averaged with those of its start.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv:2109.01903. What is learned from the photos of
one shop fits that shop; the starter is of none. Between both, a detector finds nearly as much in the shop, and more in others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from fusion.models import read_object
from photos.data import Photo
from runs import record
from runs.counted import counted
from runs.weights_file import read_weights
from stage1_detector.config import Config, DetectorConfig
from stage1_detector.export import export_detector
from stage1_detector.families import FAMILIES
from stage1_detector.ultralytics_engine import yolo

NAME = "start_share.json"  # in a run folder: which share of the start its model.onnx has


def between(trained: Path, start: Path | None, share: float, config: Config) -> torch.nn.Module | None:
    """The network of `trained` with `share` (0..1) of each weight from `start`, on the CPU, batch norm folded.

    None where `share` is above 0 and `start` has not all of its weights in the same shapes, as of a network that knows other
    classes, or where `config` is not of ultralytics' families.
    """
    if not isinstance(config, DetectorConfig):
        return None
    if share == 0:
        return yolo.load(trained)
    if start is None:
        return None
    network: Any = yolo.load_raw(trained)
    learned = floats(network)
    if (begun := same_weights(learned, start)) is None:
        return None
    mixed = {name: torch.lerp(tensor, begun[name].float(), share) for name, tensor in learned.items()}
    network.load_state_dict(network.state_dict() | mixed)
    return network.fuse(verbose=False).eval()  # type: ignore[no-any-return]


def floats(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The weights and statistics of a network that can be averaged."""
    return {name: tensor for name, tensor in network.state_dict().items() if tensor.dtype.is_floating_point}


def same_weights(learned: Mapping[str, torch.Tensor], start: Path) -> dict[str, torch.Tensor] | None:
    """The weights in the file `start`; None where it has not all of `learned` in the same shapes."""
    try:
        begun = read_weights(start)
    except ValueError:  # pickled code, as in ultralytics' own files, whose detectors know other classes
        return None
    fits = all(name in begun and begun[name].shape == tensor.shape for name, tensor in learned.items())
    return begun if fits else None


def refuse(share: float, start: Path | None, config: Config, names: list[str]) -> None:
    """Raises ValueError, before a detector of `names` is trained, where it could not keep any of `start`."""
    if not isinstance(config, DetectorConfig) or config.family != "yolo":
        raise ValueError(
            f"--start-share: got {share} for a detector of the family {config.family}, must be 0: it is for a yolo"
        )
    if start is None:
        raise ValueError(f"--start-share: got {share}, but it starts from random weights; give weights by --pretrained too")
    if not yolo.is_plain_tensors(start):
        raise ValueError(f"--start-share: got {share}, but {start} is no plain file of weights; a .safetensors file is")
    if same_weights(floats(yolo.build(config.model, names)), start) is None:
        raise ValueError(
            f"--start-share: got {share}, but {start} has not all weights of {config.model} for "
            f"{counted(len(names), 'class', 'classes')}; the starter has those of a yolov8n.yaml of one class"
        )


def export_with(out: Path, start: Path | None, share: float, config: Config, photos: Sequence[Photo]) -> bool:
    """Write OUT/model.onnx anew with `share` of the start, unless it has that already; parity is checked on `photos`.

    Returns whether it was written.

    Raises ValueError where the start does not fit.
    """
    trained, path = record.weights_of(out), out / NAME
    if share == 0 and not path.is_file():
        return False
    made_from = {"share": share, "trained": record.fingerprint(trained), "start": start and record.fingerprint(start)}
    if path.is_file() and read_object(path) == made_from | {"model": record.fingerprint(out / "model.onnx")}:
        return False
    network = between(trained, start, share, config)
    if network is None:
        raise ValueError(f"{out}: got {start}, which has not all of its weights, to start from")
    record.write_json(path, made_from)  # lacks the model: where the export is killed, the next call makes it again
    export_detector(
        FAMILIES[config.family].for_export(network, config), out / "model.onnx", read_object(out / "model.json"), tuple(photos)
    )
    run = read_object(out / "run.json")  # its scores are of the weights as learned: whoever shows them tells the share beside
    record.write_json(out / "run.json", run | {"metrics": run.get("metrics", {}) | {"start_share": float(share)}})
    record.write_json(path, made_from | {"model": record.fingerprint(out / "model.onnx")})
    return True

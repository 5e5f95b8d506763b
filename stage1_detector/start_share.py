"""A detector between what it started from and what it learned: weights averaged with those of its start.

Wortsman et al. 2022, "Robust fine-tuning of zero-shot models" (WiSE-FT), arXiv:2109.01903. What is learned from the photos of
one shop fits that shop; the starter is of none. Between both, a detector finds nearly as much in the shop, and more in others.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from fusion.models import read_object
from photos.data import Photo
from runs import record
from runs.weights_file import read_weights
from stage1_detector.config import Config, DetectorConfig
from stage1_detector.export import export_detector
from stage1_detector.families import FAMILIES
from stage1_detector.ultralytics_engine import yolo

NAME = "start_share.json"  # in a run folder: which share of the start its model.onnx has


def between(trained: Path, start: Path | None, share: float, config: Config) -> torch.nn.Module | None:
    """The network of `trained` with `share` (0..1) of each weight from `start`, on the CPU, batch norm folded.

    None where `start` has not all of its weights in the same shapes, as of a network that knows other classes, or where
    `config` is not of ultralytics' families.
    """
    if start is None or not isinstance(config, DetectorConfig):
        return None
    try:
        begun = read_weights(start)
    except ValueError:  # pickled code, as in ultralytics' own files, whose detectors know other classes
        return None
    network: Any = yolo.load_raw(trained)
    state = network.state_dict()
    learned = {name: tensor for name, tensor in state.items() if tensor.dtype.is_floating_point}
    if any(name not in begun or begun[name].shape != tensor.shape for name, tensor in learned.items()):
        return None
    network.load_state_dict(state | {name: torch.lerp(learned[name], begun[name].float(), share) for name in learned})
    return network.fuse(verbose=False).eval()  # type: ignore[no-any-return]


def export_with(out: Path, start: Path | None, share: float, config: Config, photos: Sequence[Photo]) -> None:
    """Write OUT/model.onnx anew with `share` of the start, unless it has that already; parity is checked on `photos`.

    Raises ValueError where the start does not fit.
    """
    trained, path = record.weights_of(out), out / NAME
    if share == 0 and not path.is_file():
        return
    made_from = {"share": share, "trained": record.fingerprint(trained), "start": start and record.fingerprint(start)}
    if path.is_file() and read_object(path) == made_from | {"model": record.fingerprint(out / "model.onnx")}:
        return
    network = between(trained, start, share, config)
    if network is None:
        raise ValueError(f"{out}: got {start}, which has not all of its weights, to start from")
    export_detector(
        FAMILIES[config.family].for_export(network, config), out / "model.onnx", read_object(out / "model.json"), tuple(photos)
    )
    run = read_object(out / "run.json")  # its scores are of the weights as learned: whoever shows them tells the share beside
    record.write_json(out / "run.json", run | {"metrics": run.get("metrics", {}) | {"start_share": float(share)}})
    record.write_json(path, made_from | {"model": record.fingerprint(out / "model.onnx")})

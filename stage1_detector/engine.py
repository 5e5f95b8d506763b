"""What every engine that trains detectors is given and does alike: the job, its length, how often it validates, its device."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import torch

from photos.data import Photo
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.training_errors import is_out_of_memory
from stage1_detector.config import Config

VALIDATIONS_PER_RUN = 10  # chosen: in a run that keeps its last epoch
PROGRESS_SECONDS = 30.0  # chosen: from one progress line to the next within an epoch
Score = Callable[[torch.nn.Module], dict[str, float]]
Progress = Callable[[str], None]
ConfigT = TypeVar("ConfigT", bound=Config, covariant=True)


@dataclass(frozen=True)
class Job(Generic[ConfigT]):
    """One training of a detector, as every family's `fit` takes it.

    Attributes:
        config: the settings.
        photos: those of the parts "train" and "valid".
        names: of the classes; a single one makes a class-agnostic detector, whatever the labels are.
        out: the run's folder; weights go to OUT/weights/{best,last}.pt.
        progress: is called with each line to show.
        score: metrics of a network on the valid photos; the first one counts, and selects the epoch if `config.patience` > 0.
            None where all photos are trained on: nothing is scored.
        pretrained: a file of weights to start from.
        resume: go on from OUT/weights/last.pt.
        synthetic: photos of which so many join in each epoch as `config.synthetic_ratio` says, others each time.
        distributed: the processes that train together.
    """

    config: ConfigT
    photos: dict[str, tuple[Photo, ...]]
    names: list[str]
    out: Path
    progress: Progress
    score: Score | None
    pretrained: Path | None = None
    resume: bool = False
    synthetic: tuple[Photo, ...] = ()
    distributed: Distributed = SINGLE_PROCESS

    @property
    def is_class_agnostic(self) -> bool:
        """Whether all boxes are of one class."""
        return len(self.names) == 1

    @property
    def last_checkpoint(self) -> Path:
        """The checkpoint of the last finished epoch, which a stopped run goes on from."""
        return self.out / "weights" / "last.pt"

    @property
    def result(self) -> Path:
        """The weights file that the training is to make: of its best epoch where there is patience, else of its last."""
        return self.out / "weights" / ("best.pt" if self.config.patience else "last.pt")


def epochs(config: Config, n_photos: int) -> int:
    """Passes over the `n_photos` real photos: `config.epochs`, or as many as `config.min_steps` steps take.

    >>> config = Config("yolo", epochs=40, min_steps=1200, batch=4)
    >>> epochs(config, 20), epochs(config, 200)
    (240, 40)
    """
    photos_per_epoch = n_photos + round(n_photos * config.synthetic_ratio)
    return max(config.epochs, math.ceil(config.min_steps / math.ceil(photos_per_epoch / config.photos_a_step)))


def synthetic_per_epoch(config: Config, n_photos: int, n_synthetic: int) -> int:
    """Synthetic photos of an epoch of `n_photos` real ones. Raises ValueError for more than the `n_synthetic` there are."""
    joining = round(n_photos * config.synthetic_ratio)
    if joining > n_synthetic:
        raise ValueError(f"--synthetic: got {n_synthetic} photos, an epoch needs {joining}: make more or lower the ratio")
    return joining


def validation_interval(selects_epoch: bool, n_epochs: int) -> int:
    """Epochs from one validation to the next: 1 where valid selects the epoch, else so that there are VALIDATIONS_PER_RUN."""
    return 1 if selects_epoch else max(1, n_epochs // VALIDATIONS_PER_RUN)


def max_det(photos: Sequence[Photo]) -> int:
    """Detections kept for a photo: 50 more, so that AP keeps its tail, than 1.5 times the boxes of the fullest photo."""
    return 50 + math.ceil(1.5 * max((len(photo.boxes) for photo in photos), default=0))


def modified_at(path: Path) -> float | None:
    """When a file was last written, in seconds since 1970; None where there is none."""
    return path.stat().st_mtime if path.is_file() else None


def device_of(name: str) -> torch.device:
    """The device of this name, a bare number being a GPU's; for the empty name the GPU if there is one.

    >>> device_of("cpu"), device_of("1")
    (device(type='cpu'), device(type='cuda', index=1))
    """
    return torch.device(f"cuda:{name}" if name.isdigit() else name or ("cuda" if torch.cuda.is_available() else "cpu"))


def refuse_device(name: str) -> None:
    """Raises ValueError for a device that torch does not see, and for several: a process trains on one."""
    if "," in name:
        raise ValueError(
            f"--device: got {name!r}, must be one; several GPUs share a training's batches in as many processes: "
            f"CUDA_VISIBLE_DEVICES={name} torchrun --nproc-per-node {len(name.split(','))} -m stage1_detector.train ..., "
            "without --device"
        )
    try:
        if torch.zeros(1, device=device_of(name)).is_meta:
            raise RuntimeError("a device without numbers")
    except (RuntimeError, AssertionError) as error:
        if isinstance(error, RuntimeError) and (is_out_of_memory(error) or "busy" in str(error)):
            raise ValueError(f"--device: got {name!r}, filled or taken by another process: wait, or take another") from None
        raise ValueError(f"--device: got {name!r}, allowed: cpu, or the number of a GPU that torch sees") from None


def progress_line(epoch: int, epochs: int, metrics: dict[str, float], photos_per_second: float, minutes_left: float) -> str:
    """What is shown after an epoch.

    >>> progress_line(3, 40, {"box_loss": 1.5, "det_map50": 0.25}, 12.3, 4.56)
    'epoch 3/40  box_loss 1.500 det_map50 0.250  12.3 photos/s  4.6 min left'
    """
    shown = " ".join(f"{name} {value:.3f}" for name, value in metrics.items())
    return f"epoch {epoch}/{epochs}  {shown}  {photos_per_second:.1f} photos/s  {minutes_left:.1f} min left"

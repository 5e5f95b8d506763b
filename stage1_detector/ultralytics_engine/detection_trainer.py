"""ultralytics' trainers, extended: photos given as folders, other synthetic ones mixed in each epoch, the contest's own det
mAP50 on valid after an epoch, checkpoints that are whole or not there, any weights file to start from.
"""

import math
import time
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.nn.parallel import DistributedDataParallel
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.utils.torch_utils import TORCH_2_13, unwrap_model

from runs import seen_photos, weights_file
from runs.atomic_write import replacing
from runs.command import say
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.pickled_file import note_written
from stage1_detector.config import STARTER
from stage1_detector.engine import Score, validation_interval
from stage1_detector.ultralytics_engine import exact_state, float32_boxes, rtdetr
from stage1_detector.ultralytics_engine.draws import MixedSampler, mixed_sampler, multi_photo_transforms, seeded_loader
from stage1_detector.ultralytics_engine.photo_layout import tell_left_out

STARTER_MODEL = "yolov8n.yaml"
CHECKPOINT_SECONDS = 10.0  # chosen: the most work that a kill costs beyond an epoch; writing a yolov8n's takes 0.2 to 0.5 s
TRAINERS: dict[str, type[DetectionTrainer]] = {"yolo": DetectionTrainer, "rtdetr": rtdetr.Trainer}


class TrainerOptions(NamedTuple):
    """What a trainer takes beyond ultralytics' arguments.

    Attributes:
        folders: of the photos of "train" and "valid".
        names: of the classes.
        max_det: detections kept for a photo; RT-DETR has at least as many queries.
        n_synthetic: how many of train's photos whose names begin with SYNTHETIC join in an epoch.
        score: metrics of a network, of which the first one counts; None: nothing is scored.
        selects_epoch: whether it selects the epoch; else the last one is taken.
        weights: a file of tensors alone to start from.
        distributed: the processes that share each batch.
    """

    folders: dict[str, Path]
    names: list[str]
    max_det: int
    n_synthetic: int
    score: Score | None
    selects_epoch: bool = False
    weights: Path | None = None
    distributed: Distributed = SINGLE_PROCESS


class ExtendedTrainer(DetectionTrainer):
    """What every family's trainer does by its `options`."""

    options: TrainerOptions
    batch_files: tuple[str, ...] = ()  # of the photos of the current step
    sampler: MixedSampler | None = None
    saved_at = -math.inf  # by the monotonic clock: the first epoch is saved

    def preprocess_batch(self, batch: dict[str, Any]) -> dict[str, Any]:
        self.batch_files = tuple(batch["im_file"])
        float32_boxes.keep_losses_exact(unwrapped(self.model))
        preprocessed: dict[str, Any] = super().preprocess_batch(batch)
        return preprocessed

    def get_dataset(self) -> dict[str, Any]:
        names = self.options.names
        folders = {"train": str(self.options.folders["train"]), "val": str(self.options.folders["valid"])}
        return folders | {"nc": len(names), "names": dict(enumerate(names)), "channels": 3}

    def get_model(self, *args: Any, **options: Any) -> torch.nn.Module:
        network: torch.nn.Module = super().get_model(*args, **options)
        if self.options.weights is not None and not self.resume:
            load_pretrained(network, self.options.weights)
        return network

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        if mode != "train":
            return loader
        files, options = loader.dataset.im_files, self.options
        if options.distributed.is_main:
            tell_left_out(Path(dataset_path), files)
        self.sampler = sampler = mixed_sampler(files, options.n_synthetic, options.distributed, self.args.seed)
        sampler.begin(self.start_epoch)
        for transform in multi_photo_transforms(loader.dataset.transforms) if options.n_synthetic else ():
            n_partners = getattr(transform, "n", 2) - 1
            transform.get_indexes = lambda n=n_partners: sampler.partners(n)
        return seeded_loader(loader, sampler)

    def resume_training(self, ckpt: dict[str, Any] | None) -> None:
        """Go on from the checkpoint: with the state that lies beside it, else from its rounded average, which is told."""
        super().resume_training(ckpt)
        if self.sampler is not None:
            self.sampler.begin(self.start_epoch)
        if ckpt is None or not self.resume or exact_state.restore(self, self.last.parent, ckpt["epoch"]):
            return
        if self.options.distributed.is_main:
            say(f"no state of its epoch {ckpt['epoch'] + 1} beside last.pt: goes on from averaged weights, not as unbroken")

    def _close_dataloader_mosaic(self) -> None:
        """No mosaic from this epoch on; ultralytics resets the loader next, which has drawn photos of the epoch already."""
        super()._close_dataloader_mosaic()
        if self.sampler is not None:
            self.sampler.begin(self.epoch)

    def _build_train_pipeline(self) -> None:
        """Loaders and optimiser. Of several processes each loads its part of a batch, and torch averages their gradients.

        ultralytics wraps a network just before this, but on several GPUs of one call only: neither on CPUs nor with a GPU each.
        """
        n_processes = self.options.distributed.world_size
        if n_processes > 1 and not isinstance(self.model, DistributedDataParallel):
            self.world_size = n_processes  # by which ultralytics divides the batch, and multiplies the loss
            devices = None if self.device.type == "cpu" else [self.device]
            own_buffers = {"forward_sync_buffers" if TORCH_2_13 else "broadcast_buffers": False}  # batch norm's, as ultralytics
            self.model = DistributedDataParallel(self.model, device_ids=devices, find_unused_parameters=True, **own_buffers)
        super()._build_train_pipeline()

    def validate(self) -> tuple[dict[str, float], float]:
        """Our score of the averaged weights: after every epoch if it selects one of them, else VALIDATIONS_PER_RUN times.

        Where nothing is scored, all epochs are alike. Of several processes the main one scores, and the others wait for it.
        """
        if not self.options.distributed.is_main:
            return {}, 0.0
        if self.options.score is None:
            self.metrics, self.fitness, self.best_fitness = {}, 0.0, 0.0
            return self.metrics, self.fitness
        interval = validation_interval(self.options.selects_epoch, self.epochs)
        if (self.epoch + 1) % interval == 0 or self.fitness is None:
            network = deepcopy(unwrapped(self.ema.ema)).float().eval()
            self.metrics = {f"valid/{name}": value for name, value in self.options.score(network).items()}
            self.fitness = next(iter(self.metrics.values()))
            self.best_fitness = max(self.fitness, -1.0 if self.best_fitness is None else self.best_fitness)
        return self.metrics, self.fitness

    def save_model(self) -> bool:
        """Write the checkpoints, noted as ours, with which photos they see: a kill leaves the old files or the new ones.

        Before them the exact state, but after the last epoch, from which nothing goes on. Of short epochs most write none,
        unless one of them is to be selected.
        """
        best, last, is_last = self.best, self.last, self.stop or self.epoch + 1 == self.epochs
        if not (is_last or self.options.selects_epoch or time.monotonic() - self.saved_at >= CHECKPOINT_SECONDS):
            return False
        if not is_last:
            exact_state.write(self, last.parent)
        with replacing(best, last, optional=[best]) as (self.best, self.last):  # best first: a new last.pt alone misleads
            try:
                saved = bool(super().save_model())
                for file in (self.best, self.last):
                    seen_photos.put_inside(file, seen_photos.run_folder(last))
                note_written(last.parent, [(best.name, self.best), (last.name, self.last)])
            finally:
                self.best, self.last = best, last
        exact_state.keep_only(last.parent, None if is_last else self.epoch)
        self.saved_at = time.monotonic()
        return saved

    def final_eval(self) -> None:
        """Nothing: our own score of the exported model follows; ultralytics' caps and class means are other numbers."""


def unwrapped(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, without what ultralytics wraps around it."""
    network = unwrap_model(network)
    return network.student_model if isinstance(network, DistillationModel) else network


def trainer_class(family: str, options: TrainerOptions) -> Callable[..., DetectionTrainer]:
    """The family's trainer with these `options`. Raises ValueError for an unknown family."""
    if family not in TRAINERS:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(TRAINERS)}")
    queries = max(rtdetr.QUERIES, options.max_det)  # of RT-DETR
    return type("Trainer", (ExtendedTrainer, TRAINERS[family]), {"options": options, "queries": queries})


def load_pretrained(network: torch.nn.Module, path: Path) -> None:
    """Load from PATH what fits by name and shape. Raises ValueError if too little of the network is filled."""
    hint = f"; starter is of {STARTER_MODEL}" if path == STARTER else ""
    weights_file.load_or_refuse(network, weights_file.read_weights(path), path, hint)

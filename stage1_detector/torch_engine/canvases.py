"""Photos as canvases for training: the View of judgment, then augmentation, in batches that worker processes prepare."""

import os
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from fusion.models import normalise
from fusion.views import Shape, letterbox
from photos.data import Photo, read_image
from stage1_detector.config import STRIDE, LoopConfig
from stage1_detector.engine import synthetic_per_epoch
from stage1_detector.torch_engine.augment import augmented, transform
from stage1_detector.torch_engine.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.torch_engine.schedules import SCHEDULES

WORKERS = min(4, os.cpu_count() or 1)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # taken: those of timm's and torchvision's weights
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
Batch = tuple[torch.Tensor, list[dict[str, torch.Tensor]]]


class InputFormat(NamedTuple):
    """How a network takes photos: how they fill its canvas, and the mean and spread of each channel, of values in [0, 1]."""

    shape: Shape = "rectangle"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD


IMAGENET_FORMAT = InputFormat()


class Canvases:
    """Photos that a detector learns from; `synthetic` ones join as `config.synthetic_ratio` says, others each epoch.

    `agnostic` gives every box the same label. A canvas is the photo's own rectangle only where all photos are of one size.
    """

    def __init__(
        self,
        photos: tuple[Photo, ...],
        synthetic: tuple[Photo, ...],
        config: LoopConfig,
        agnostic: bool,
        input_format: InputFormat = IMAGENET_FORMAT,
    ) -> None:
        self.photos, self.n_real, self.config, self.agnostic = (*photos, *synthetic), len(photos), config, agnostic
        self.n_synthetic = synthetic_per_epoch(config, len(photos), len(synthetic))
        self.transform = transform(config)
        one_size = len({(photo.width, photo.height) for photo in self.photos}) == 1
        square = input_format.shape == "rectangle" and not one_size  # a batch is one tensor
        self.input_format = input_format._replace(shape="square") if square else input_format

    def __len__(self) -> int:
        """Photos of an epoch."""
        return self.n_real + self.n_synthetic

    def batches_of_epoch(self, batch: int, epoch: int) -> Iterator[list[int]]:
        """The epoch's batches of photo indices, in random order; the last may be smaller than `batch`."""
        rng = np.random.default_rng((self.config.seed, epoch))
        synthetic = self.n_real + rng.permutation(len(self.photos) - self.n_real)[: self.n_synthetic]
        indices = rng.permutation(np.concatenate([np.arange(self.n_real), synthetic])).tolist()
        for start in range(0, len(indices), batch):
            yield indices[start : start + batch]

    def sample(self, index: int, size: int, plain: bool, seed: int) -> Sample:
        """Photo `index` on a canvas of `size`, uint8 (H, W, 3), its boxes (N, 4) there and its labels (N,)."""
        photo = self.photos[index]
        view = letterbox(photo.width, photo.height, size, self.input_format.shape, STRIDE)
        canvas = view.warp(read_image(photo.path, photo.width, photo.height))
        boxes, labels = view.to_canvas(photo.boxes), np.zeros_like(photo.labels) if self.agnostic else photo.labels
        return (canvas, boxes, labels) if plain else augmented(canvas, boxes, labels, self.transform, seed)

    def size(self, epoch: int, number: int) -> int:
        """The long side of batch `number`: the schedule's scales, in multiples of the stride."""
        low, high = SCHEDULES[self.config.schedule].scales
        scale = np.random.default_rng((self.config.seed, epoch, number)).uniform(low, high)
        return max(STRIDE, round(scale * self.config.size / STRIDE) * STRIDE)


class EpochBatches(Dataset[Batch]):
    """One epoch's batches, each the tensor of normalised photos (B, 3, H, W) and their targets: this process's shard of each.

    `batches` are the photo indices of each batch; `plain` ones are not augmented.
    """

    def __init__(
        self,
        canvases: Canvases,
        batches: list[list[int]],
        epoch: int,
        plain: bool,
        distributed: Distributed = SINGLE_PROCESS,
    ) -> None:
        self.canvases, self.batches, self.epoch, self.plain, self.distributed = canvases, batches, epoch, plain, distributed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, number: int) -> Batch:
        canvases, batch = self.canvases, self.batches[number]
        size = canvases.config.size if self.plain else canvases.size(self.epoch, number)
        seed = int(np.random.default_rng((canvases.config.seed, self.epoch, number)).integers(2**31))
        samples = [canvases.sample(batch[k], size, self.plain, seed + k) for k in self.distributed.shard(len(batch))]
        pixels = np.stack([canvas for canvas, _, _ in samples])  # (B, H, W, 3)
        images = torch.from_numpy(normalise(pixels, canvases.input_format.mean, canvases.input_format.std))
        return images, [{"boxes": torch.from_numpy(b), "labels": torch.from_numpy(n)} for _, b, n in samples]


def load_batches(dataset: EpochBatches, device: torch.device, workers: int = WORKERS) -> Iterator[Batch]:
    """The batches of `dataset` on `device`, prepared by `workers` processes."""
    generator = torch.Generator().manual_seed(0)  # the loader would draw its workers' seeds from the global one
    for images, targets in DataLoader(dataset, None, num_workers=workers if len(dataset) > 1 else 0, generator=generator):
        yield images.to(device), [{name: value.to(device) for name, value in target.items()} for target in targets]

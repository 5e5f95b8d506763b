"""Photos as canvases for training: the View of judgment, then augmentation, in batches that processes beside prepare."""

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
from stage1_detector.torch_engine.augment import augmented, transform
from stage1_detector.torch_engine.distributed import ALONE, Crew
from stage1_detector.torch_engine.schedules import SCHEDULES

WORKERS = min(4, os.cpu_count() or 1)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # taken: those of timm's and torchvision's weights
Sample = tuple[np.ndarray, np.ndarray, np.ndarray]
Batch = tuple[torch.Tensor, list[dict[str, torch.Tensor]]]


class Look(NamedTuple):
    """How a network sees photos: how they fill its canvas, and the mean and spread of each channel, of [0, 1]."""

    shape: Shape = "rectangle"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD


LOOK = Look()  # of the torchvision families


class Canvases:
    """Photos that a detector learns from; `synthetic` ones join as `config.synthetic_ratio` says, others each epoch.

    `agnostic` calls every box by one name.
    """

    def __init__(
        self, photos: tuple[Photo, ...], synthetic: tuple[Photo, ...], config: LoopConfig, agnostic: bool, look: Look = LOOK
    ) -> None:
        self.photos, self.real, self.config, self.agnostic = (*photos, *synthetic), len(photos), config, agnostic
        self.joining = round(len(photos) * config.synthetic_ratio)
        if self.joining > len(synthetic):
            raise ValueError(
                f"--synthetic: got {len(synthetic)} photos, an epoch needs {self.joining}: make more or lower the ratio"
            )
        self.transform = transform(config)
        same = len({(photo.width, photo.height) for photo in self.photos}) == 1
        self.look = look._replace(shape="square") if look.shape == "rectangle" and not same else look  # one size a batch

    def __len__(self) -> int:
        """Photos of an epoch."""
        return self.real + self.joining

    def order(self, batch: int, epoch: int) -> Iterator[list[int]]:
        """The epoch's batches of positions, in random order."""
        rng = np.random.default_rng((self.config.seed, epoch))
        others = self.real + rng.permutation(len(self.photos) - self.real)[: self.joining]
        every = rng.permutation(np.concatenate([np.arange(self.real), others])).tolist()
        for start in range(0, len(every), batch):
            yield every[start : start + batch]

    def sample(self, index: int, size: int, plain: bool, seed: int) -> Sample:
        """Photo `index` on a canvas of `size`, uint8 (H, W, 3), its boxes (N, 4) there and its labels (N,)."""
        photo = self.photos[index]
        view = letterbox(photo.width, photo.height, size, self.look.shape, STRIDE)
        canvas = view.warp(read_image(photo.path, photo.width, photo.height))
        boxes, labels = view.to_canvas(photo.boxes), np.zeros_like(photo.labels) if self.agnostic else photo.labels
        return (canvas, boxes, labels) if plain else augmented(canvas, boxes, labels, self.transform, seed)

    def size(self, epoch: int, number: int) -> int:
        """The long side of batch `number`: the schedule's scales, in multiples of the stride."""
        low, high = SCHEDULES[self.config.schedule].scales
        draw = np.random.default_rng((self.config.seed, epoch, number)).uniform(low, high)
        return max(STRIDE, round(draw * self.config.size / STRIDE) * STRIDE)


class Batches(Dataset[Batch]):
    """One epoch's batches, each a tensor of normalised photos (B, 3, H, W) and their targets: the `crew`'s part of each."""

    def __init__(self, canvases: Canvases, order: list[list[int]], epoch: int, plain: bool, crew: Crew = ALONE) -> None:
        self.canvases, self.order, self.epoch, self.plain, self.crew = canvases, order, epoch, plain, crew

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> Batch:
        size = self.canvases.config.size if self.plain else self.canvases.size(self.epoch, number)
        base = np.random.default_rng((self.canvases.config.seed, self.epoch, number)).integers(2**31)
        batch, look = self.order[number], self.canvases.look
        made = [self.canvases.sample(batch[k], size, self.plain, int(base) + k) for k in self.crew.part(len(batch))]
        images = torch.from_numpy(normalise(np.stack([canvas for canvas, _, _ in made]), look.mean, look.std))
        return images, [{"boxes": torch.from_numpy(b), "labels": torch.from_numpy(n)} for _, b, n in made]


def batches(
    canvases: Canvases,
    order: list[list[int]],
    epoch: int,
    plain: bool,
    device: torch.device,
    workers: int = WORKERS,
    crew: Crew = ALONE,
) -> Iterator[Batch]:
    """The crew's part of the batches of `order`, on `device`, prepared by `workers` processes; `plain`: not augmented."""
    every = Batches(canvases, order, epoch, plain, crew)
    generator = torch.Generator().manual_seed(0)  # the loader would draw its workers' seeds from the global one
    for images, targets in DataLoader(every, None, num_workers=workers if len(order) > 1 else 0, generator=generator):
        yield images.to(device), [{name: value.to(device) for name, value in one.items()} for one in targets]

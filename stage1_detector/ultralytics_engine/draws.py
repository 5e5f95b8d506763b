"""Which photos an epoch shows, in which order, and how each is augmented: by the seed, the epoch and the photo alone, so that a
resumed training sees what an unbroken one would.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ultralytics.data.augment import BaseMixTransform, Compose
from ultralytics.data.build import InfiniteDataLoader, seed_worker

from runs.distributed import SINGLE_PROCESS, Distributed

SYNTHETIC = "synthetic_"  # prefix of the file names of synthetic photos


class Draw(int):
    """The index of a photo, drawn for `epoch`.

    >>> Draw(3, epoch=1) == 3, Draw(3, epoch=1).epoch
    (True, 1)
    """

    epoch: int

    def __new__(cls, index: int, epoch: int = 0) -> "Draw":
        draw = super().__new__(cls, index)
        draw.epoch = epoch
        return draw


class MixedSampler(torch.utils.data.Sampler[int]):
    """Draws of one epoch in random order: all of `real`, and `count` of `synthetic`, drawn anew each time.

    What is drawn depends on `seed` and the epoch alone. Of several processes each takes its part of them, all parts of one
    length: the first draws are there twice where the parts would differ, as in torch's DistributedSampler.

    >>> sampler = MixedSampler([0, 4], [1, 2, 3, 5, 6], 3)
    >>> len(sampler), {0, 4} <= set(sampler), len(set(sampler))
    (5, True, 5)
    """

    def __init__(
        self,
        real: list[int],
        synthetic: list[int],
        count: int,
        distributed: Distributed = SINGLE_PROCESS,
        seed: int = 0,
    ) -> None:
        self.real, self.synthetic, self.count = real, synthetic, min(count, len(synthetic))
        self.distributed, self.seed, self.epoch = distributed, seed, 0

    def __len__(self) -> int:
        return -(-(len(self.real) + self.count) // self.distributed.world_size)

    def __iter__(self) -> Iterator[int]:
        n_processes, epoch = self.distributed.world_size, self.epoch
        self.epoch += 1  # here, as a loader begins the next epoch ahead of its time
        generator = torch.Generator().manual_seed(seed_of(self.seed, epoch))  # the same in all processes
        chosen = torch.randperm(len(self.synthetic), generator=generator)[: self.count].tolist()
        indices = [*self.real, *(self.synthetic[i] for i in chosen)]
        order = torch.randperm(len(indices), generator=generator).tolist()
        order += order[: len(self) * n_processes - len(order)]
        yield from (Draw(indices[i], epoch) for i in order[self.distributed.rank :: n_processes])

    def begin(self, epoch: int) -> None:
        """Draw `epoch`, counted from 0, the next time: a loader starts there."""
        self.epoch = epoch

    def set_epoch(self, epoch: int) -> None:
        """Go on from `epoch`, counted from 0; ultralytics calls it where several processes train, in the midst of a loader."""
        self.epoch = max(self.epoch, epoch)

    def partners(self, count: int) -> list[int]:
        """`count` photos to be shown beside another, as mosaic does: real and synthetic ones in an epoch's proportion."""
        share = self.count / max(1, len(self.real) + self.count)
        return [random.choice(self.synthetic if random.random() < share else self.real) for _ in range(count)]


def mixed_sampler(files: list[str], count: int, distributed: Distributed = SINGLE_PROCESS, seed: int = 0) -> MixedSampler:
    """The sampler for photos in the order of `files`, of which those whose names begin with SYNTHETIC are synthetic."""
    synthetic = [i for i, file in enumerate(files) if Path(file).name.startswith(SYNTHETIC)]
    return MixedSampler(sorted(set(range(len(files))) - set(synthetic)), synthetic, count, distributed, seed)


class SeededPhotos(torch.utils.data.Dataset[Any]):
    """ultralytics' `dataset`, whose random generators begin anew for each Draw, in whichever process it is made.

    What else is asked of it, such as its labels or to close mosaic, the data set itself answers.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, draw: int) -> Any:
        seed = seed_of(self.seed, getattr(draw, "epoch", 0), int(draw))
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002 - ultralytics draws from it
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would reset the GPU's generator too
        return self.dataset[int(draw)]

    def __getattr__(self, name: str) -> Any:
        if name == "dataset":  # it is being unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)


def seed_of(*numbers: int) -> int:
    """A seed for what `numbers` say, unlike that of others.

    >>> seed_of(0, 1) == seed_of(0, 1), seed_of(0, 1) == seed_of(1, 0)
    (True, False)
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


def multi_photo_transforms(transforms: Any) -> Iterator[BaseMixTransform]:
    """Those of ultralytics' augmentations, however nested, that combine several photos, such as mosaic."""
    for transform in transforms.transforms:
        if isinstance(transform, BaseMixTransform):
            yield transform
            if isinstance(transform.pre_transform, Compose):
                yield from multi_photo_transforms(transform.pre_transform)
        elif isinstance(transform, Compose):
            yield from multi_photo_transforms(transform)


def seeded_loader(loader: InfiniteDataLoader, sampler: MixedSampler) -> InfiniteDataLoader:
    """`loader` with the draws of `sampler`."""
    return InfiniteDataLoader(
        dataset=SeededPhotos(loader.dataset, sampler.seed), batch_size=loader.batch_size, sampler=sampler,
        num_workers=loader.num_workers, prefetch_factor=loader.prefetch_factor, pin_memory=loader.pin_memory,
        collate_fn=loader.collate_fn, worker_init_fn=seed_worker, generator=loader.generator, drop_last=loader.drop_last,
    )  # fmt: skip

"""ultralytics' trainers, where they fall short of ours: photos given as folders, synthetic ones mixed in anew each epoch, the
contest's own det mAP50 on valid after an epoch, checkpoints that are whole or not there, any weights file to start from.
"""

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ultralytics.data.augment import BaseMixTransform, Compose
from ultralytics.data.build import InfiniteDataLoader, seed_worker
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.distill_model import DistillationModel
from ultralytics.utils.torch_utils import unwrap_model

from runs import checkpoint
from stage1_detector.config import STARTER
from stage1_detector.engine import LOOKS, MUCH, Score
from stage1_detector.ultralytics_engine import rtdetr

STARTER_MODEL = "yolov8n.yaml"
SYNTHETIC = "synthetic_"  # before the names of synthetic photos
TRAINERS: dict[str, type[DetectionTrainer]] = {"yolo": DetectionTrainer, "rtdetr": rtdetr.Trainer}


class Task(NamedTuple):
    """What a trainer is to do beyond ultralytics' arguments.

    `folders` hold the photos of train and valid; of train's that are called SYNTHETIC..., `synthetic` join in an epoch. `most`
    objects a photo are to be found. `score` tells how good a network is, by figures whose first counts; it `chooses` the
    epoch, or only looks on. `weights` is a .safetensors file to start from, or None.
    """

    folders: dict[str, Path]
    names: list[str]
    most: int
    synthetic: int
    score: Score
    chooses: bool = False
    weights: Path | None = None


class Mixed(torch.utils.data.Sampler[int]):
    """Indices of one epoch in random order: all of `real`, and `count` of `synthetic`, drawn anew each time.

    >>> sampler = Mixed([0, 4], [1, 2, 3, 5, 6], 3)
    >>> len(sampler), {0, 4} <= set(sampler), len(set(sampler))
    (5, True, 5)
    """

    def __init__(self, real: list[int], synthetic: list[int], count: int) -> None:
        self.real, self.synthetic, self.count = real, synthetic, min(count, len(synthetic))

    def __len__(self) -> int:
        return len(self.real) + self.count

    def __iter__(self) -> Iterator[int]:
        others = torch.randperm(len(self.synthetic))[: self.count].tolist()
        every = [*self.real, *(self.synthetic[i] for i in others)]
        yield from (every[i] for i in torch.randperm(len(every)).tolist())

    def partners(self, count: int) -> list[int]:
        """`count` photos to be shown beside another, as mosaic does: real and synthetic ones in an epoch's proportion."""
        share = self.count / max(1, len(self))
        return [random.choice(self.synthetic if random.random() < share else self.real) for _ in range(count)]


def mixed(files: list[str], count: int) -> Mixed:
    """The sampler for photos in the order of `files`, whose names tell the synthetic ones."""
    made = [Path(file).name.startswith(SYNTHETIC) for file in files]
    return Mixed([i for i, is_made in enumerate(made) if not is_made], [i for i, is_made in enumerate(made) if is_made], count)


class Ours(DetectionTrainer):
    """What every family's trainer does for its `task`."""

    task: Task

    def get_dataset(self) -> dict[str, Any]:
        names = self.task.names
        folders = {"train": str(self.task.folders["train"]), "val": str(self.task.folders["valid"])}
        return folders | {"nc": len(names), "names": dict(enumerate(names)), "channels": 3}

    def get_model(self, *args: Any, **options: Any) -> torch.nn.Module:
        network: torch.nn.Module = super().get_model(*args, **options)
        if self.task.weights is not None and not self.resume:
            load_matching(network, self.task.weights)
        return network

    def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
        loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
        if mode != "train" or not self.task.synthetic:
            return loader
        sampler = mixed(loader.dataset.im_files, self.task.synthetic)
        for transform in combining(loader.dataset.transforms):
            several = getattr(transform, "n", 2) - 1
            transform.get_indexes = lambda n=several: sampler.partners(n)
        return _mixed(loader, sampler)

    def validate(self) -> tuple[dict[str, float], float]:
        """Our score of the averaged weights: after every epoch if it chooses among them, else LOOKS times."""
        every = 1 if self.task.chooses else max(1, self.epochs // LOOKS)
        if (self.epoch + 1) % every == 0 or self.fitness is None:
            self.metrics = {f"valid/{k}": v for k, v in self.task.score(deepcopy(judged(self.ema.ema)).float().eval()).items()}
            self.fitness = next(iter(self.metrics.values()))
            self.best_fitness = max(self.fitness, -1.0 if self.best_fitness is None else self.best_fitness)
        return self.metrics, self.fitness

    def save_model(self) -> bool:
        """Write the checkpoints beside the old ones, then rename: a kill leaves the old or the new."""
        whole = {name: getattr(self, name) for name in ("best", "last")}  # last never tells of a best not there
        for name, path in whole.items():
            beside = path.with_name(path.name + ".part")
            beside.unlink(missing_ok=True)  # half of one, from a kill
            setattr(self, name, beside)
        try:
            saved = bool(super().save_model())
            for name, path in whole.items():
                beside = getattr(self, name)
                if beside.is_file():
                    beside.replace(path)
        finally:
            for name, path in whole.items():
                setattr(self, name, path)
        return saved

    def final_eval(self) -> None:
        """Our own score follows on the exported model; ultralytics' caps and class means would only confuse."""


def judged(network: torch.nn.Module) -> torch.nn.Module:
    """The network itself, out of what ultralytics wraps around it."""
    network = unwrap_model(network)
    return network.student_model if isinstance(network, DistillationModel) else network


def trainer(family: str, task: Task) -> Callable[..., DetectionTrainer]:
    """The family's trainer, bound to `task`. Raises ValueError for an unknown family."""
    if family not in TRAINERS:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(TRAINERS)}")
    queries = max(rtdetr.QUERIES, task.most)  # of RT-DETR
    return type("OurTrainer", (Ours, TRAINERS[family]), {"task": task, "queries": queries})


def combining(transforms: Any) -> Iterator[BaseMixTransform]:
    """Those of ultralytics' augmentations, however nested, that show several photos at once."""
    for one in transforms.transforms:
        if isinstance(one, BaseMixTransform):
            yield one
            if isinstance(one.pre_transform, Compose):
                yield from combining(one.pre_transform)
        elif isinstance(one, Compose):
            yield from combining(one)


def _mixed(loader: InfiniteDataLoader, sampler: Mixed) -> InfiniteDataLoader:
    """`loader` with another sampler."""
    return InfiniteDataLoader(
        dataset=loader.dataset, batch_size=loader.batch_size, sampler=sampler, num_workers=loader.num_workers,
        prefetch_factor=loader.prefetch_factor, pin_memory=loader.pin_memory, collate_fn=loader.collate_fn,
        worker_init_fn=seed_worker, generator=loader.generator, drop_last=loader.drop_last,
    )  # fmt: skip


def load_matching(network: torch.nn.Module, path: Path) -> None:
    """Load from PATH, tensors by name, what fits by name and shape. ValueError if it is less than MUCH of the network."""
    state, own = checkpoint.weights_in(path), network.state_dict()
    wanted = [k for k, v in own.items() if v.is_floating_point()]
    fits = {k: state[k].float() for k in wanted if k in state and state[k].shape == own[k].shape}
    if len(fits) < MUCH * len(wanted):
        of = f"; starter is of {STARTER_MODEL}" if path == STARTER else ""
        raise ValueError(f"--pretrained: got {path}, which fills {len(fits)} of the network's {len(wanted)} tensors{of}")
    network.load_state_dict(fits, strict=False)

"""ultralytics' trainers, where they fall short of ours: photos given as folders, synthetic ones mixed in anew each epoch, the
contest's own det mAP50 on valid after an epoch, checkpoints that are whole or not there, any weights file to start from.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file
from ultralytics.data.build import InfiniteDataLoader, seed_worker
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.utils.torch_utils import unwrap_model

from stage1_detector import rtdetr

STARTER = Path(__file__).with_name("starter.safetensors")  # made by stage1_detector.starter
STARTER_MODEL = "yolov8n.yaml"
LOOKS = 10  # chosen: how often valid is looked at in a run whose epoch it does not choose
MUCH = 0.8  # chosen: share of a network's tensors that a weights file must fill to count as its own
TRAINERS: dict[str, type[DetectionTrainer]] = {"yolo": DetectionTrainer, "rtdetr": rtdetr.Trainer}
Score = Callable[[torch.nn.Module], dict[str, float]]


class Task(NamedTuple):
    """What a trainer is to do beyond ultralytics' arguments.

    `folders` hold the photos of train and valid, the first `real` of train (by name) being real and `synthetic` of the others
    joining them in each epoch. `most` objects a photo are to be found. `score` tells how good a network is, by figures whose
    first counts. `weights` is a .safetensors file to start from, or None.
    """

    folders: dict[str, Path]
    names: list[str]
    most: int
    real: int
    synthetic: int
    score: Score
    weights: Path | None = None


class Mixed(torch.utils.data.Sampler[int]):
    """Indices of one epoch in random order: the first `real`, and `synthetic` others of `total`, drawn anew each time.

    >>> sampler = Mixed(2, 9, 3)
    >>> len(sampler), sorted(sampler)[:2], len(set(sampler))
    (5, [0, 1], 5)
    """

    def __init__(self, real: int, total: int, synthetic: int) -> None:
        self.real, self.total, self.synthetic = real, total, min(synthetic, total - real)

    def __len__(self) -> int:
        return self.real + self.synthetic

    def __iter__(self) -> Iterator[int]:
        others = self.real + torch.randperm(self.total - self.real)[: self.synthetic]
        every = torch.cat([torch.arange(self.real), others])
        yield from every[torch.randperm(len(every))].tolist()


def trainer(family: str, task: Task) -> Callable[..., DetectionTrainer]:
    """The family's trainer, bound to `task`. Raises ValueError for an unknown family."""
    if family not in TRAINERS:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(TRAINERS)}")
    data = {
        "train": str(task.folders["train"]),
        "val": str(task.folders["valid"]),
        "nc": len(task.names),
        "names": dict(enumerate(task.names)),
        "channels": 3,
    }

    class OurTrainer(TRAINERS[family]):  # type: ignore[misc]
        queries = max(rtdetr.QUERIES, task.most)  # of RT-DETR

        def get_dataset(self) -> dict[str, Any]:
            return data

        def get_model(self, *args: Any, **options: Any) -> torch.nn.Module:
            network: torch.nn.Module = super().get_model(*args, **options)
            if task.weights is not None and not self.resume:
                load_matching(network, task.weights)
            return network

        def get_dataloader(self, dataset_path: str, batch_size: int = 16, rank: int = 0, mode: str = "train") -> Any:
            loader = super().get_dataloader(dataset_path, batch_size, rank, mode)
            total = len(loader.dataset)
            return _mixed(loader, Mixed(task.real, total, task.synthetic)) if mode == "train" and total > task.real else loader

        def validate(self) -> tuple[dict[str, float], float]:
            """Our score of the averaged weights: after every epoch if it chooses among them, else LOOKS times."""
            every = 1 if self.args.patience < self.epochs else max(1, self.epochs // LOOKS)
            if (self.epoch + 1) % every == 0 or self.fitness is None:
                self.metrics = {
                    f"valid/{k}": v for k, v in task.score(deepcopy(unwrap_model(self.ema.ema)).float().eval()).items()
                }
                self.fitness = next(iter(self.metrics.values()))
                self.best_fitness = max(self.fitness, -1.0 if self.best_fitness is None else self.best_fitness)
            return self.metrics, self.fitness

        def save_model(self) -> bool:
            """Write the checkpoints beside the old ones, then rename: a kill leaves the old or the new."""
            whole = {name: getattr(self, name) for name in ("last", "best")}
            for name, path in whole.items():
                setattr(self, name, path.with_name(path.name + ".part"))
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

    return OurTrainer


def _mixed(loader: InfiniteDataLoader, sampler: Mixed) -> InfiniteDataLoader:
    """`loader` with another sampler."""
    return InfiniteDataLoader(
        dataset=loader.dataset, batch_size=loader.batch_size, sampler=sampler, num_workers=loader.num_workers,
        prefetch_factor=loader.prefetch_factor, pin_memory=loader.pin_memory, collate_fn=loader.collate_fn,
        worker_init_fn=seed_worker, generator=loader.generator, drop_last=loader.drop_last,
    )  # fmt: skip


def load_matching(network: torch.nn.Module, path: Path) -> None:
    """Load from PATH (.safetensors) what fits by name and shape. ValueError if it is less than MUCH of the network."""
    state, own = load_file(path), network.state_dict()
    wanted = [k for k, v in own.items() if v.is_floating_point()]
    fits = {k: state[k].float() for k in wanted if k in state and state[k].shape == own[k].shape}
    if len(fits) < MUCH * len(wanted):
        of = f"; starter is of {STARTER_MODEL}" if path == STARTER else ""
        raise ValueError(f"--pretrained: got {path}, which fills {len(fits)} of the network's {len(wanted)} tensors{of}")
    network.load_state_dict(fits, strict=False)

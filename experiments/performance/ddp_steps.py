"""One of the processes that `experiments.performance.ddp` starts by torchrun: the first steps of each family, their losses
kept."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from photos.data import Dataset, read
from runs.command import Parser, run
from runs.distributed import Distributed, distributed_training
from runs.record import write_json
from stage1_detector.config import LoopConfig, TorchvisionConfig, TransformerConfig
from stage1_detector.distillation import student
from stage1_detector.distillation.config import StudentConfig
from stage1_detector.engine import Job
from stage1_detector.families import FAMILIES
from stage1_detector.nets import conditional_detr, torchvision_net
from stage1_detector.torch_engine import loop
from stage2_classifier import model
from stage2_classifier.config import ClassifierConfig, columns
from stage2_classifier.crops import TYPICAL_ERROR, shelf_regions
from stage2_classifier.fit import Training, TrainingCrops, batches

STEPS = 10  # taken: of the issue that asks for the comparison
CLASSIFIERS = {"classifier": 10, "classifier_30_steps": 30}  # chosen: steps of each; the second one's are its whole schedule
NOISE = 0.05  # chosen: spread of what is added to a detector's heads: among ties of new weights rounding ranks and matches
CLASSIFIER = ClassifierConfig(size=64, batch=24, mixup=0.2, cutmix=0.5)
SHARED: dict[str, Any] = {
    "size": 160, "batch": 5, "epochs": STEPS, "optimizer": "SGD", "lr": 0.005, "clip": 0.1,
}  # fmt: skip
TORCHVISION = TorchvisionConfig(**SHARED, backbone="resnet10t", width=64, proposals=100)
RETINANET = replace(TORCHVISION, family="retinanet", head="plain")
RTDETR = {"model": "yolov8n-rtdetr.yaml", "queries": 100, "decoder_layers": 2}
CONFIGS: dict[str, LoopConfig] = {
    "rcnn": TORCHVISION,
    "retinanet": RETINANET,
    "freeanchor": replace(RETINANET, head="freeanchor"),
    "pisa": replace(RETINANET, head="pisa"),
    "conditional_detr": TransformerConfig(
        **SHARED, backbone="resnet10t", width=64, encoder_layers=2, decoder_layers=2, queries=100, dropout=0.0
    ),
    "student_yolo": StudentConfig(**SHARED, family="yolo", model="yolov8n.yaml"),
    "student_rtdetr": StudentConfig(**SHARED, **RTDETR),
}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv, distributed=True)


def body(argv: list[str] | None) -> None:
    """Train each family and write the losses of its steps, by its name, to the file --out."""
    p = Parser(prog="python -m experiments.performance.ddp_steps", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--photos", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--families", nargs="+", required=True)
    p.add_argument("--float64", action="store_true")
    args = p.parse_args(argv)
    dataset = read(args.photos)
    with distributed_training("cpu") as distributed, in_float64() if args.float64 else nullcontext():
        losses = {}
        for family in args.families:
            runs = args.out.with_suffix("") / family
            losses[family] = (
                classifier_losses(family, dataset, distributed) if family in CLASSIFIERS
                else detector_losses(CONFIGS[family], dataset, runs, distributed)
            )  # fmt: skip
        if distributed.is_main:
            write_json(args.out, losses)


@contextmanager
def in_float64() -> Iterator[None]:
    """Networks are built, and all is computed, in 64 bits, also what code asks 32 bits for by `Tensor.float`."""
    single, default = torch.Tensor.float, torch.get_default_dtype()
    torch.Tensor.float = torch.Tensor.double  # type: ignore[method-assign]
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(default)
        torch.Tensor.float = single  # type: ignore[method-assign]


def classifier_losses(family: str, dataset: Dataset, distributed: Distributed) -> list[float]:
    """The loss of the first steps of a classifier, batch norms and mixed crops included.

    `classifier` is in its recipe's schedule. In `classifier_30_steps` the rate is high at once, and rounding grows tenfold in a
    step or two, by SGD as by AdamW.
    """
    steps = CLASSIFIERS[family]
    scheduled = CLASSIFIER.min_steps if family == "classifier" else steps
    outputs = columns(CLASSIFIER, [category.name for category in dataset.categories])
    regions = shelf_regions(dataset.photos, CLASSIFIER.size)
    crops = TrainingCrops(regions, torch.tensor(TYPICAL_ERROR).numpy(), distributed)
    torch.manual_seed(0)
    training = Training(model.build(CLASSIFIER, outputs), CLASSIFIER, scheduled, distributed=distributed)
    return [training.train_epoch(0, iter([step])) for step in batches(crops, CLASSIFIER, outputs, steps, 0)]


def detector_losses(config: LoopConfig, dataset: Dataset, out: Path, distributed: Distributed) -> list[float]:
    """The summed loss of each step of a detector in our loop; none in another process than the main one."""
    names = [category.name for category in dataset.categories]
    parts = {"train": dataset.photos, "valid": dataset.photos[:1]}
    job = Job(config, parts, names, out, progress=lambda line: None, score=None, distributed=distributed)
    noted: list[float] = []
    log_step = loop.TrainingLog.step

    def note(log: loop.TrainingLog, losses: dict[str, float], lr: float) -> None:
        noted.append(sum(losses.values()))
        log_step(log, losses, lr)

    loop.TrainingLog.step = note  # type: ignore[method-assign]
    try:
        loop.fit(job, loop.NetworkSpec(partial(with_noise, builder(config)), FAMILIES[config.family].input_format))
    finally:
        loop.TrainingLog.step = log_step  # type: ignore[method-assign]
    return noted


def builder(config: LoopConfig) -> Callable[..., Any]:
    """What builds the network of `config`."""
    if isinstance(config, StudentConfig):
        return student.build
    return conditional_detr.build if isinstance(config, TransformerConfig) else torchvision_net.build


def with_noise(build: Callable[..., Any], *given: Any) -> Any:
    """The network that `build` makes of what is `given`, NOISE added outside its feature extractor; the same each time."""
    network = build(*given)
    extractor = {id(value) for value in network.feature_extractor.parameters()}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        for value in itertools.filterfalse(lambda value: id(value) in extractor, network.parameters()):
            value.add_(NOISE * torch.randn_like(value))
    return network.to(torch.get_default_dtype())


if __name__ == "__main__":
    raise SystemExit(main())

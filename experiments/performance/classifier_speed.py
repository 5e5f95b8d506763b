"""Seconds of our classifier's steps over those of timm's own parts, put together as its training script does, in turns.

    python -m experiments.performance.classifier_speed --data D [--photos 16] [--steps 20] [--rounds 5] [--record]

Both train the same network of timm on the same labelled boxes, crops of one size, with AdamW, averaged weights and a batch of
one size; both cut and augment beside the network, we by a thread from photos in memory, timm by a worker process from a folder
of JPEG crops, with its default augmentation and random erasing. The script itself is not in timm's wheel; `timm_steps` is
what it does in a step, without logs and checkpoints. Figure train.ours_over_timm: below 1 ours is faster.
"""

import tempfile
import time
from argparse import Namespace
from collections.abc import Iterator
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import timm
import timm.utils
import torch
from timm.data import create_dataset, create_loader
from timm.loss import LabelSmoothingCrossEntropy
from timm.optim import create_optimizer_v2

from experiments.figures import records
from experiments.performance.runtime import ratio
from fusion.views import crop
from photos.data import read
from runs.command import Parser, run, say
from stage2_classifier import fit, model
from stage2_classifier.config import ClassifierConfig, columns
from stage2_classifier.crops import TYPICAL_ERROR, Region, shelf_regions

QUALITY = 95  # taken: OpenCV's own for a JPEG


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Train in turns, tell the ratio and record it."""
    p = Parser(prog="python -m experiments.performance.classifier_speed", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--photos", type=int, default=16)
    p.add_argument("--model", default=ClassifierConfig().model, help="a network of timm; default: %(default)s")
    p.add_argument("--size", type=int, default=ClassifierConfig().size, help="side of a crop in pixels; default: %(default)s")
    p.add_argument("--batch", type=int, default=ClassifierConfig().batch, help="crops of a step; default: %(default)s")
    p.add_argument("--steps", type=int, default=20, help="that are timed in a round; default: %(default)s")
    p.add_argument("--rounds", type=int, default=5, help="of both in turn; default: %(default)s")
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results")
    args = p.parse_args(argv)
    for name in ("photos", "size", "batch", "steps", "rounds"):
        if getattr(args, name) < 1:
            raise ValueError(f"--{name}: got {getattr(args, name)}, need at least 1")
    seconds, crops = measure(args)
    value, low, high = ratio(seconds["ours"], seconds["timm"])
    per_step = ", ".join(
        f"{name} {1000 * float(np.median(times)) / args.steps:.0f} ms a step" for name, times in seconds.items()
    )
    setting = (
        f"{args.model}, {args.size} px, batches of {args.batch} of {crops} crops of {args.data.name}, "
        f"{args.steps} steps, {torch.get_num_threads()} threads; {per_step}; median of {args.rounds} rounds, and their range"
    )
    estimate = records.Estimate(value, args.rounds, low, high)
    say(f"ours over timm: {estimate}; {setting}")
    if args.record:
        row = records.figure(
            "train.ours_over_timm", estimate, "ratio", setting, records.command("performance.classifier_speed", argv)
        )
        say(f"figures: {records.write('classifier_speed', [row])}")


def measure(args: Namespace) -> tuple[dict[str, list[float]], int]:
    """Seconds of `args.steps` steps of each way, by round, each first in every second one; and how many crops there are."""
    config = ClassifierConfig(model=args.model, size=args.size, batch=args.batch)
    regions, outputs = shelf_regions(read(args.data).photos[: args.photos], args.size), read(args.data).categories
    if len(regions) < config.batch:
        raise ValueError(f"--photos: got {len(regions)} boxes on {args.photos} photos, need a batch of {config.batch} at least")
    seconds: dict[str, list[float]] = {"ours": [], "timm": []}
    with tempfile.TemporaryDirectory() as folder:
        write_crops(regions, config, Path(folder))
        ways = {"ours": our_steps(regions, len(outputs), config), "timm": timm_steps(Path(folder), len(outputs), config)}
        for steps in ways.values():
            next(steps)  # processes start and caches fill
        for k in range(args.rounds):
            for name in sorted(ways, reverse=bool(k % 2)):
                started = time.perf_counter()
                list(islice(ways[name], args.steps))
                seconds[name].append(time.perf_counter() - started)
            say(f"round {k + 1}: " + ", ".join(f"{name} {times[-1]:.2f} s" for name, times in seconds.items()))
    return seconds, len(regions)


def write_crops(regions: list[Region], config: ClassifierConfig, folder: Path) -> None:
    """The labelled boxes as JPEG crops, a folder for each name: what timm's script reads."""
    for i, region in enumerate(regions):
        path = folder / f"{region.label:04d}" / f"{i}.jpg"
        path.parent.mkdir(exist_ok=True)
        image = crop(region.image, region.box, config.size, config.margin)
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def our_steps(regions: list[Region], names: int, config: ClassifierConfig) -> Iterator[None]:
    """Our training without an end; it goes on after each step."""
    outputs = columns(config, [str(label) for label in range(names)])
    training = fit.Training(model.build(config, outputs), config, 10**6)
    crops = fit.TrainingCrops(regions, np.array(TYPICAL_ERROR))
    for batch in fit.batches(crops, config, outputs, 10**4, 0):
        training.train_epoch(0, iter([batch]))
        yield


def timm_steps(folder: Path, names: int, config: ClassifierConfig) -> Iterator[None]:
    """A training of timm's parts without an end; it goes on after each step."""
    net = timm.create_model(config.model, pretrained=False, num_classes=names).train()
    shape, worker = (3, config.size, config.size), 1
    loader = create_loader(
        create_dataset("", str(folder), is_training=True), shape, config.batch, is_training=True, re_prob=config.erase,
        num_workers=worker, use_prefetcher=False, device=torch.device("cpu"),
    )  # fmt: skip
    loss_of, average = LabelSmoothingCrossEntropy(config.smoothing), timm.utils.ModelEmaV3(net, decay=config.ema)
    optimizer: Any = create_optimizer_v2(net, "adamw", lr=config.lr, weight_decay=config.weight_decay)
    for images, labels in chain.from_iterable(repeat(loader)):
        loss = loss_of(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        timm.utils.dispatch_clip_grad(net.parameters(), fit.MAX_GRADIENT_NORM)
        optimizer.step()
        average.update(net)
        loss.item()
        yield


if __name__ == "__main__":
    raise SystemExit(main())

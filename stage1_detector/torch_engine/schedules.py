"""How the learning rate changes over a training, and how large its photos are: the field's schedules as data."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """One schedule: `epochs` passes, or as many as give `steps` optimiser steps.

    The rate rises linearly over `warmup` steps, then falls by `gamma` at each of `milestones`, which are shares of the
    training; without milestones along a cosine. Each batch's photos are scaled by one number drawn from `scales`.
    """

    epochs: int
    steps: int = 0
    warmup: int = 0
    milestones: tuple[float, ...] = ()
    gamma: float = 0.1
    scales: tuple[float, float] = (1.0, 1.0)


MAX_WARMUP = 0.2  # chosen: share of a training, for those that are hardly longer than their warm-up
# Taken, but for cosine: mmdetection's schedules of these names; its multi-scale 3x is 12 passes over a set repeated
# three times, and its rate falls after 9 and 11 of these; photos between (1333, 800) and (666, 400) pixels.
SCHEDULES = {
    "cosine": Schedule(epochs=50),
    "1x": Schedule(epochs=12, warmup=500, milestones=(8 / 12, 11 / 12)),
    "50e": Schedule(epochs=50, warmup=1000, milestones=(30 / 50, 40 / 50)),
    "90k": Schedule(epochs=1, steps=90_000, warmup=1000, milestones=(60 / 90, 80 / 90)),
    "ms3x": Schedule(epochs=36, warmup=500, milestones=(9 / 12, 11 / 12), scales=(0.5, 1.0)),
}


def factor(schedule: Schedule, step: int, total: int, warmup: int, end: float) -> float:
    """The factor in (0, 1] of the learning rate of optimiser step `step` (from 0) of `total`.

    `warmup` steps, if > 0, replace the schedule's; they are never more than MAX_WARMUP of all. A cosine ends at `end`.

    >>> [round(factor(SCHEDULES["1x"], step, 12_000, 0, 0.0), 4) for step in (0, 249, 500, 7_999, 8_000, 11_999)]
    [0.002, 0.5, 1.0, 1.0, 0.1, 0.01]
    >>> [round(factor(SCHEDULES["cosine"], step, 100, 10, 0.05), 4) for step in (0, 9, 10, 55, 99)]
    [0.1, 1.0, 1.0, 0.525, 0.0503]
    """
    warmup = min(warmup or schedule.warmup, int(MAX_WARMUP * total))
    if step < warmup:
        return (step + 1) / warmup
    if schedule.milestones:
        return float(schedule.gamma ** sum(step >= share * total for share in schedule.milestones))
    progress = (step - warmup) / max(1, total - warmup)
    return end + (1 - end) * (1 + math.cos(math.pi * progress)) / 2

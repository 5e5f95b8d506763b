"""How often a 95 % interval holds what it should, where many names are rare: what such scenes score on average.

    python -m experiments.studies.coverage [--runs 300] [--scenes 5 12 30 60] [--record]

Simulated shelves of a long tail of names, of which each scene shows a few and the rare ones are named worse. Four intervals:
`figure` is that of `photos.intervals.interval`; `percentiles` is what a bootstrap would say of the same figure; `gain` is
`photos.intervals.bootstrap` of a second way of naming, a little better, over the first, and `gain_by_jackknife` is
`photos.intervals.gain_interval` of the same. Nothing is trained.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments.figures import records
from fusion.boxes import Detections
from photos.intervals import Interval, bootstrap, exact_interval, gain_interval, interval
from photos.score import Match, Truth, match
from runs.command import Parser, run, say

NAMES, TAIL = 200, 0.9  # chosen: a name's share falls with the power of its rank, as on shelves of 356 names
NAMES_OF_SCENE, PHOTOS, BOXES = 12, 2, 20  # chosen: names of a scene, its photos, boxes of a photo
WORST, BEST = 0.35, 0.95  # chosen: share named rightly of the rarest and of the most frequent name
SCENES_DIFFER, GAIN, GAINS_DIFFER = 0.12, 0.03, 0.05  # chosen: spread of that share, gain of the second way, its spread
NO_TRUTH = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)


class Shelves(NamedTuple):
    """Two ways of naming the same boxes, and the scene (P,) of each photo."""

    first: Match
    second: Match
    scenes: np.ndarray


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Simulate for each number of scenes, and record the shares."""
    p = Parser(prog="python -m experiments.studies.coverage", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--runs", type=int, default=300, help="simulated sets of photos")
    p.add_argument("--scenes", type=int, nargs="+", default=[5, 12, 30, 60])
    p.add_argument("--resamples", type=int, default=200, help="of a bootstrap")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if min(args.runs, args.resamples, *args.scenes) < 1:
        raise ValueError("--runs, --scenes and --resamples: got less than 1, need 1 or more")
    rows, command = [], records.command("studies.coverage", argv)
    for n_scenes in args.scenes:
        held = shares(n_scenes, args.runs, args.resamples, np.random.default_rng((args.seed, n_scenes)))
        for name, hits in held.items():
            say(f"{n_scenes} scenes, {name}: {hits} of {args.runs} intervals hold the mean of all runs")
            setting = f"{PHOTOS} photos a scene, {BOXES} boxes a photo, {NAMES} names, nominal 0.95; Clopper-Pearson"
            estimate = records.Estimate(hits / args.runs, args.runs, *exact_interval(hits, args.runs))
            rows.append(records.figure(f"coverage.{n_scenes}.{name}", estimate, "share of runs", setting, command))
    if args.record:
        records.write("coverage", rows)


def shares(n_scenes: int, runs: int, resamples: int, rng: np.random.Generator) -> dict[str, int]:
    """How many of `runs` intervals of each kind hold the mean of what all of them are around."""
    kinds: dict[str, list[Interval]] = {"figure": [], "percentiles": [], "gain": [], "gain_by_jackknife": []}
    for shelves in (simulated(rng, n_scenes) for _ in range(runs)):
        first, nothing = shelves.first, nothing_found(shelves.first)
        kinds["figure"].append(interval(first, shelves.scenes).score)
        kinds["percentiles"].append(bootstrap(first, nothing, shelves.scenes, rng, resamples))
        kinds["gain"].append(bootstrap(shelves.second, first, shelves.scenes, rng, resamples))
        kinds["gain_by_jackknife"].append(gain_interval(shelves.second, first, shelves.scenes))
    return {name: hits(found) for name, found in kinds.items()}


def hits(found: list[Interval]) -> int:
    """How many intervals hold the mean of their values."""
    mean = np.mean([one.value for one in found]) if found else np.nan
    return sum(bool(one.low <= mean <= one.high) for one in found)


def nothing_found(judged: Match) -> Match:
    """No predictions on so many photos: a score of 0, so that a gain over it is the score itself."""
    return match([Truth(*NO_TRUTH)] * judged.n_photos, [Detections.empty()] * judged.n_photos, 1)


def simulated(rng: np.random.Generator, n_scenes: int) -> Shelves:
    """Every box found; of its names the frequent ones are right more often, and each scene differs from the others."""
    share = 1 / np.arange(1, NAMES + 1) ** TAIL
    skill = BEST + (WORST - BEST) * np.log(np.arange(1, NAMES + 1)) / np.log(NAMES)  # (NAMES,)
    corners = np.stack([np.arange(BOXES) * 20.0, np.zeros(BOXES)], 1)
    places = np.concatenate([corners, corners + 15], 1).astype(np.float32)  # (BOXES, 4)
    truths, first, second = [], [], []
    for labels, lead in shown(rng, n_scenes, share / share.sum()):
        truths.append(Truth(places, labels))
        first.append(named(rng, places, labels, skill[labels] + lead[0]))
        second.append(named(rng, places, labels, skill[labels] + lead[1]))
    return Shelves(match(truths, first, NAMES), match(truths, second, NAMES), np.repeat(np.arange(n_scenes), PHOTOS))


def shown(rng: np.random.Generator, n_scenes: int, share: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The labels (BOXES,) of each photo, and by how much its scene is named better by the two ways (2,)."""
    for _ in range(n_scenes):
        names = rng.choice(NAMES, NAMES_OF_SCENE, replace=False, p=share)
        lead = rng.normal(0, SCENES_DIFFER) + np.array([0, rng.normal(GAIN, GAINS_DIFFER)])
        for _ in range(PHOTOS):
            yield rng.choice(names, BOXES), lead


def named(rng: np.random.Generator, places: np.ndarray, labels: np.ndarray, share_right: np.ndarray) -> Detections:
    """Boxes at `places` (N, 4) with names of which about a share (N,) is right; those score higher."""
    right = rng.random(len(labels)) < share_right
    given = np.where(right, labels, rng.integers(0, NAMES, len(labels)))
    return Detections(
        places, np.where(right, rng.beta(5, 2, len(labels)), rng.beta(3, 3, len(labels))).astype(np.float32), given
    )


if __name__ == "__main__":
    raise SystemExit(main())

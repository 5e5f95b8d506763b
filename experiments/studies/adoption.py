"""How often an interval over few scenes lies above 0 where the true gain is 0: what decides whether a gate is adopted.

    python -m experiments.studies.adoption [--runs 10000] [--scenes 3 4 5 6 8 12] [--record]

Two ways of naming the same boxes, of which each scene favours one by chance and all scenes together neither. The interval is
that by which `stage2_classifier.gate.choose` adopts: a bootstrap over scenes, at least as wide as Student's t. Nothing is
trained and no policy is chosen here.
"""

import numpy as np

from experiments.figures import records
from fusion.boxes import Detections
from photos.intervals import Interval, bootstrap, exact_interval, widened
from photos.score import Match, Truth, match, scores
from runs.command import Parser, run, say

N_CATEGORIES = 6
SHARE_RIGHT, SPREAD = 0.6, 0.15  # chosen: names that both get right, and how far scenes differ from that
PHOTOS, BOXES = 3, 6  # chosen: photos of a scene, boxes of a photo


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Simulate for each number of scenes, and record the rates."""
    p = Parser(prog="python -m experiments.studies.adoption", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--runs", type=int, default=10_000, help="simulated sets of photos")
    p.add_argument("--scenes", type=int, nargs="+", default=[3, 4, 5, 6, 8, 12])
    p.add_argument("--resamples", type=int, default=200, help="of a bootstrap")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if min(args.runs, args.resamples, *args.scenes) < 1:
        raise ValueError("--runs, --scenes and --resamples: got less than 1, need 1 or more")
    rows, command = [], records.command("studies.adoption", argv)
    for n_scenes in args.scenes:
        adopted = adoptions(n_scenes, args.runs, args.resamples, np.random.default_rng((args.seed, n_scenes)))
        low, high = exact_interval(sum(adopted), len(adopted))
        say(f"{n_scenes} scenes: {sum(adopted)} of {args.runs} runs above 0")
        setting = f"{PHOTOS} photos a scene, {BOXES} boxes a photo, true gain 0, nominal 0.025; Clopper-Pearson"
        estimate = records.Estimate(float(np.mean(adopted)), args.runs, low, high)
        rows.append(records.figure(f"adoption.null.{n_scenes}.rate", estimate, "share of runs", setting, command))
    if args.record:
        records.write("adoption", rows)


def adoptions(n_scenes: int, runs: int, resamples: int, rng: np.random.Generator) -> list[bool]:
    """Whether the whole interval lies above 0, in each of `runs` simulated sets of photos."""
    above = []
    for _ in range(runs):
        a, b, scenes = equally_good(rng, n_scenes)
        gain = score_gain(a, b)
        # the interval is the wider of the two, so the slower one decides only where the other lies above 0
        adopted = widened(Interval(gain, gain, gain, n_scenes), a, b, scenes).low > 0
        above.append(adopted and bootstrap(a, b, scenes, rng, resamples).low > 0)
    return above


def score_gain(a: Match, b: Match) -> float:
    """How much better `a` scores than `b` on all photos."""
    return scores(a).score - scores(b).score


def equally_good(
    rng: np.random.Generator, n_scenes: int, photos: int = PHOTOS, boxes: int = BOXES
) -> tuple[Match, Match, np.ndarray]:
    """Two ways of naming the same boxes: in each scene one is better by chance, over all scenes neither is.

    With them the scene (P,) of each photo.
    """
    corners = np.stack([np.arange(boxes) * 20.0, np.zeros(boxes)], 1)
    places = np.concatenate([corners, corners + 15], 1).astype(np.float32)  # (N, 4)
    truths, first, second = [], [], []
    for lead in np.repeat(rng.normal(0, SPREAD, n_scenes), photos):
        labels, scores = rng.integers(0, N_CATEGORIES, boxes), rng.uniform(0.5, 1, boxes).astype(np.float32)
        truths.append(Truth(places, labels))
        first.append(Detections(places, scores, named(rng, labels, SHARE_RIGHT + lead)))
        second.append(Detections(places, scores, named(rng, labels, SHARE_RIGHT - lead)))
    matches = (match(truths, detections, N_CATEGORIES) for detections in (first, second))
    return (*matches, np.repeat(np.arange(n_scenes), photos))


def named(rng: np.random.Generator, labels: np.ndarray, share_right: float) -> np.ndarray:
    """Names (N,) of which a share is right and the others are any wrong one."""
    wrong = (labels + rng.integers(1, N_CATEGORIES, len(labels))) % N_CATEGORIES
    return np.where(rng.random(len(labels)) < share_right, labels, wrong)


if __name__ == "__main__":
    raise SystemExit(main())

"""What sizes beside neighbours tell of look-alikes: how often they favour the true name, and what they add to the score.

    python -m experiments.studies.sizes --set NAME --run D R [--deals N] [--record]
    python -m experiments.studies.sizes --set NAME --run D R --recipe demo|contest --pairs SHARE --out OUT [--shelves 60]

D R is a set and its run folder (`hylle gate`). The table of sizes comes from train photos, the weight is fitted and adopted on
valid under the policy `raw`, and the change of the score is measured on test; with `--deals` the scenes of valid and test are
dealt N times anew, half and half.

In the drawn shop look-alikes are of one size. `--pairs` draws other shelves of the recipe that D was drawn by, on which a SHARE
of the products stands in two sizes under two names, one 1.26 times as high and wide as the other (twice the volume), each half
as often. The models of R see them; as they know nothing of the second name, a pair's probability is split in two halves, give
or take noise: what a classifier would learn that sees every crop at one size. Each such shelf is a scene; OUT keeps what the
models said of it. The table comes from twice as many shelves more.
"""

from argparse import Namespace
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate
from fusion.boxes import Detections
from fusion.models import Sizes
from fusion.pipeline import Pipeline, load, merge
from photos import folds
from photos.data import Photo, read
from photos.intervals import Interval, bootstrap, widened
from photos.score import Match, match
from runs.atomic_write import replacing
from runs.command import Parser, run, say, ticker
from stage1_detector.synthesis import make_photos
from stage1_detector.synthesis.camera import photograph
from stage1_detector.synthesis.catalogue import Catalogue
from stage1_detector.synthesis.shelf import ShelfConfig, arrange, paint
from stage2_classifier.gate.calibrate import n_categories, predictions, true_names
from stage2_classifier.gate.choose import OUTER, only_policy, turns
from stage2_classifier.gate.ensemble import NAME, gather, load_ensemble, scenes_of
from stage2_classifier.gate.evidence import Evidence, judged_by_size
from stage2_classifier.gate.sizes import RESAMPLES, SizesChoice, choose_sizes, fit_sizes, tables_of

LARGER = 1.26  # derived: the cube root of 2
SIDE = 0.75  # chosen: all packs are drawn so much smaller; else most large ones were cut to the shelf's height, as no shop does
NOISE = 0.5  # chosen: standard deviation of the log odds of the two names of a pair
TRIED_SEEDS = 10  # chosen: of the drawn shop that D may be of
FAINT = 0.05  # chosen: boxes of lower objectness are left out of the shares
TOP = 5  # chosen: names among which the true one may be


@dataclass(frozen=True)
class Material:
    """Photos with labels to fit the table on, evidence of others and the scene (P,) of each of these, and the names of pairs.

    The first `n_fitted_on` are those to fit the weight on. `names` is how many there are.
    """

    train: Sequence[Photo]
    evidence: Sequence[Evidence]
    scenes: np.ndarray
    n_fitted_on: int
    names: int


class Measured(NamedTuple):
    """One deal: the choice, the change of the score on test as adopted and at weight 1, and how often sizes favour the truth.

    `favoured` is of boxes whose first name is wrong and whose true one is among the first TOP, `kept` of boxes that are named
    rightly, against the second name; `count` is how many of the former there are.
    """

    choice: SizesChoice
    adopted: Interval
    in_full: Interval
    favoured: float
    kept: float
    count: int


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table, record."""
    p = Parser(prog="python -m experiments.studies.sizes", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="what to call the photos in the figures")
    p.add_argument("--run", type=Path, nargs=2, metavar=("D", "R"), required=True, help="set and run folder")
    p.add_argument("--deals", type=int, default=0, help="deal valid and test so often into two halves")
    p.add_argument("--recipe", choices=tuple(make_photos.RECIPES), default="demo", help="that D was drawn by")
    p.add_argument("--pairs", type=float, default=0.0, metavar="SHARE", help="of products that stand in two sizes")
    p.add_argument("--shelves", type=int, default=60, help="of those, to fit and to measure on, half each")
    p.add_argument("--out", type=Path, help="where what models say of such shelves is kept")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if not 0 <= args.pairs <= 1 or (args.pairs > 0) != (args.out is not None):
        raise ValueError(f"--pairs, --out: got {args.pairs} and {args.out}, need a share in (0, 1] and a folder, or neither")
    if args.shelves < 2 or args.deals < 0:
        raise ValueError(f"--shelves, --deals: got {args.shelves} and {args.deals}, need 2 or more, and 0 or more")
    material = two_sizes(args) if args.pairs else of_run(*args.run)
    rng = np.random.default_rng(args.seed)
    dealt = [deal(material, rng) for _ in range(args.deals)] or [material]
    results = [measure(own, rng) for own in dealt]
    show(results, args.set)
    if args.record:
        rows = as_records(results, args, records.command("studies.sizes", argv))
        say(f"figures: {records.write(f'sizes.{args.set}', rows)}")


# -- material --------------------------------------------------------------------------------------------------------------


def of_run(data: Path, runs: Path) -> Material:
    """The photos of a run folder with a fitted gate."""
    parts, ensemble = folds.load(runs / folds.NAME, read(data)), load_ensemble(runs)
    if not ensemble.classifiers:
        raise ValueError(f"--run: {runs / NAME} has no classifier, need one")
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    return Material(
        parts.photos("train"), [*valid, *test], scenes_of([*valid, *test], parts), len(valid), len(ensemble.categories)
    )


def deal(material: Material, rng: np.random.Generator) -> Material:
    """The held-out photos dealt anew by scenes, half and half."""
    half = turns(material.scenes, 2, rng)
    order = np.argsort(half, kind="stable")
    evidence = [material.evidence[i] for i in order]
    return replace(material, evidence=evidence, scenes=material.scenes[order], n_fitted_on=int((half == 0).sum()))


def two_sizes(args: Namespace) -> Material:
    """Drawn shelves on which some products stand in two sizes."""
    recipe, (data, runs) = make_photos.recipe(args.recipe), args.run
    config = replace(recipe, side=SIDE * recipe.side)
    names = [category.name for category in read(data).categories]
    seeds = [s for s in range(TRIED_SEEDS) if [p.name for p in make_photos.catalogue(recipe, s).products] == names]
    if not seeds:
        raise ValueError(f"--recipe: got {args.recipe}, and {data} is of no shop that it draws with a seed below {TRIED_SEEDS}")
    shop, pairs = with_pairs(make_photos.catalogue(recipe, seeds[0]), args.pairs, np.random.default_rng(args.seed))
    pipeline, tell = load(runs), ticker("shelves")
    folder = args.out / f"{args.recipe}-{args.pairs:g}-{args.shelves}-{args.seed}"
    folder.mkdir(parents=True, exist_ok=True)
    n_train, train, evidence = 2 * args.shelves, [], []
    for i in range(n_train + args.shelves):
        rng = np.random.default_rng((args.seed, i))
        arrays = shelf(folder / f"{i}.npz", config, shop, pipeline if i >= n_train else None, rng)
        photo = photo_of(i, arrays)
        if i < n_train:
            train.append(photo)
        else:
            evidence.append(evidence_of(photo, arrays, pairs, np.random.default_rng((args.seed, i, 1))))
        tell(i + 1, n_train + args.shelves)
    return Material(train, evidence, np.arange(args.shelves), args.shelves // 2, len(shop.products))


def shelf(
    path: Path, config: ShelfConfig, shop: Catalogue, pipeline: Pipeline | None, rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """The labels of one drawn shelf and what the models say of it, if any look: from PATH if it exists, else written there."""
    if not path.is_file():
        scene = arrange(config, shop, rng)
        shot = photograph(config, scene, paint(scene, shop, rng), rng)
        said = {} if pipeline is None else seen_by(pipeline, shot.image)
        with replacing(path) as (unfinished,), unfinished.open("wb") as file:
            np.savez(file, boxes=shot.boxes, labels=shot.labels, shape=np.array(shot.image.shape), **said)
    with np.load(path) as arrays:
        return dict(arrays)


def with_pairs(shop: Catalogue, share: float, rng: np.random.Generator) -> tuple[Catalogue, np.ndarray]:
    """`shop` with a larger second of a `share` of its products at the end, each half as frequent as it was; and which (K,)."""
    pairs = rng.permutation(len(shop.products))[: max(1, round(share * len(shop.products)))]
    weights = np.array(shop.weights)
    weights[pairs] /= 2
    larger = [replace(p, name=f"{p.name} x 2", family=replace(p.family, size=p.family.size * LARGER))
              for p in (shop.products[i] for i in pairs)]  # fmt: skip
    return Catalogue((*shop.products, *larger), (*weights.tolist(), *weights[pairs].tolist())), pairs


def seen_by(pipeline: Pipeline, image: np.ndarray) -> dict[str, np.ndarray]:
    """What the models say of a photo (H, W, 3), which is first saved as a JPEG: boxes, objectness and probabilities."""
    _, file = cv2.imencode(".jpg", image[..., ::-1])
    photo = np.ascontiguousarray(cv2.imdecode(file, cv2.IMREAD_COLOR)[..., ::-1])
    merged = merge(pipeline.detect(photo), pipeline.ensemble)
    probabilities = pipeline.classify(photo, merged.boxes)
    if probabilities is None:
        raise ValueError("--run: R/ensemble.json has no classifier, need one")
    return {"found": merged.boxes, "scores": merged.scores, "probabilities": probabilities}


def photo_of(i: int, arrays: dict[str, np.ndarray]) -> Photo:
    """A drawn photo, which is no file."""
    height, width = (int(side) for side in arrays["shape"][:2])
    labels = arrays["labels"]
    return Photo(i, Path(f"{i}.jpg"), width, height, arrays["boxes"], labels, np.arange(len(labels)), None)


def evidence_of(photo: Photo, said: dict[str, np.ndarray], pairs: np.ndarray, rng: np.random.Generator) -> Evidence:
    """The evidence in which the probability (N, C) of each of `pairs` (K,) is split: (N, C + K)."""
    merged = Detections(said["found"], said["scores"], np.zeros(len(said["scores"]), np.int64))
    names = said["probabilities"]
    smaller = 1 / (1 + np.exp(rng.normal(0, NOISE, (len(names), len(pairs)))))  # (N, K)
    split = np.concatenate([names, names[:, pairs] * (1 - smaller)], 1)
    split[:, pairs] *= smaller
    return Evidence(photo, merged, split.astype(np.float32))


# -- measuring -------------------------------------------------------------------------------------------------------------


def measure(material: Material, rng: np.random.Generator) -> Measured:
    """Fit and adopt on the first photos, and measure on the others."""
    n, scenes = material.n_fitted_on, material.scenes
    valid, test = material.evidence[:n], material.evidence[n:]
    choice = only_policy("raw", valid, scenes[:n], turns(scenes[:n], OUTER, rng))
    tables = tables_of([(material.train, [e.photo for e in valid])], material.train, material.names)
    sizes = choose_sizes(valid, tables, choice, scenes[:n], rng)
    in_full = replace(fit_sizes(material.train, material.names).sizes, weight=1.0)

    def matched(own: Sizes) -> Match:
        evidence = judged_by_size(test, [own] * len(test))
        return match([e.truth for e in test], predictions(evidence, [choice.gate] * len(test)), n_categories(test))

    def change(own: Sizes) -> Interval:
        after, before = matched(own), matched(Sizes())
        return widened(bootstrap(after, before, scenes[n:], rng, RESAMPLES), after, before, scenes[n:])

    return Measured(sizes, change(sizes.adopted), change(in_full), *favours(test, in_full))


def favours(test: Sequence[Evidence], sizes: Sizes) -> tuple[float, float, int]:
    """`favoured`, `kept` and `count` of `Measured`: what a name's probability is multiplied by tells what its size does."""
    wrong, right = [np.zeros(0, bool)], [np.zeros(0, bool)]
    for e, after in zip(test, judged_by_size(test, [sizes] * len(test)), strict=True):
        if e.probabilities is None or after.probabilities is None or e.probabilities.shape[1] < TOP:
            continue
        truth = true_names(e.truth, e.merged.boxes)
        found = (truth >= 0) & (e.merged.scores >= FAINT)
        best = np.argsort(-e.probabilities, 1, kind="stable")[:, :TOP]  # (N, TOP)
        odds = np.log(after.probabilities + 1e-12) - np.log(e.probabilities + 1e-12)  # (N, C)
        of_truth, first, second = (
            np.take_along_axis(odds, k[:, None], 1)[:, 0] for k in (truth.clip(0), best[:, 0], best[:, 1])
        )
        in_top = found & (best[:, 1:] == truth[:, None]).any(1)
        wrong.append((of_truth > first)[in_top])
        right.append((of_truth > second)[found & (best[:, 0] == truth)])
    shares = [float(own.mean()) if len(own) else float("nan") for own in map(np.concatenate, (wrong, right))]
    return shares[0], shares[1], int(sum(map(len, wrong)))


# -- telling ---------------------------------------------------------------------------------------------------------------


def show(results: Sequence[Measured], name: str) -> None:
    """Print each deal."""
    table = Table(title=f"{name}: the score on test with sizes minus without")
    for column in ("deal", "adopted", "as adopted", "weight 1", "truth favoured, of wrong", "of right"):
        table.add_column(column)
    for i, own in enumerate(results):
        change = [f"{x.value:+.4f} [{x.low:+.4f}, {x.high:+.4f}]" for x in (own.adopted, own.in_full)]
        table.add_row(str(i), str(own.choice), *change, f"{own.favoured:.3f} of {own.count}", f"{own.kept:.3f}")
    Console(width=180).print(table)


def as_records(results: Sequence[Measured], args: Namespace, command: str) -> list[dict[str, Any]]:
    """sizes.SET.gain, as adopted, sizes.SET.in_full, at weight 1, and sizes.SET.adopted."""
    shelves = f"{args.pairs:.0%} of the products in two sizes, {args.shelves} shelves" if args.pairs else "valid and test"
    over = "t interval over deals" if len(results) > 1 else "interval over scenes of test"
    count = sum(own.choice.sizes.weight > 0 for own in results)
    setting = f"policy raw; {shelves}; {over}; adopted in {count} of {len(results)} deals"

    def gain(intervals: list[Interval]) -> Estimate:
        if len(intervals) > 1:
            return over_seeds([own.value for own in intervals])
        return Estimate(intervals[0].value, intervals[0].n_groups, intervals[0].low, intervals[0].high)

    changes = {"gain": [own.adopted for own in results], "in_full": [own.in_full for own in results]}
    return [records.figure(f"sizes.{args.set}.{key}", gain(own), "score", setting, command) for key, own in changes.items()]


if __name__ == "__main__":
    raise SystemExit(main())

"""What a detector that keeps some of its start finds in the shop it learned from, and in others: det mAP50 beside none kept.

    python -m experiments.studies.start_shares --set NAME --runs R [R ...] [--record]

Each R is a finished `hylle fit` of a shop of its own, whose data set has a test part. For each the share is chosen as a fit
does, by the folds' detectors on photos left out; then the detector that ships is looked at with that share, with none, and with
the others, on its own test part and on photos of the other runs' shops, of which it has seen none. Nothing is written into R
but the note of the choice; nothing is trained.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Measured
from fitting import cross_fit
from fitting.procedure import SHARES, Procedure, procedure_from
from fitting.start_share import kept_scores, score, spread, start_of
from fusion.models import read_object
from photos import folds
from photos.data import Photo, read
from runs.command import Parser, run, say
from stage2_classifier.gate.calibrate import first_near_best


class Shop(NamedTuple):
    """A fit: its run folder, its procedure, its test photos, some of all its photos, and the share that it chooses."""

    runs: Path
    procedure: Procedure
    test: list[Photo]
    photos: list[Photo]
    share: float


class Found(NamedTuple):
    """det mAP50 by share of one shop's detector: on its own test part, and the mean over the other shops."""

    share: float
    own: dict[float, float]
    others: dict[float, float]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Look at all shops with all detectors, say and record the differences."""
    p = Parser(prog="python -m experiments.studies.start_shares", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, help="name in the figures' keys")
    p.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders of hylle fit, two or more")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if len(args.runs) < 2:
        raise ValueError(f"--runs: got {len(args.runs)}, need two shops or more, to look at each with the others' detectors")
    shops = [shop_of(runs) for runs in args.runs]
    found = [look(shop, [other for other in shops if other is not shop]) for shop in shops]
    for shop, one in zip(shops, found, strict=True):
        table = ", ".join(f"{share:g}: {one.own[share]:.4f} and {one.others[share]:.4f}" for share in SHARES)
        say(f"{shop.runs}: chooses {one.share:g}; det mAP50 in its own shop and in others, by share {table}")
    command = records.command("studies.start_shares", argv)
    rows = [records.figure(*measured, command) for measured in figures(args.set, found)]
    for row in rows:
        say(f"{row['key']}: {row['value']:+.4f} [{row['low']}, {row['high']}]; {row['setting']}")
    if args.record:
        say(f"{records.write(f'start_share.{args.set}', rows)} written")


def shop_of(runs: Path) -> Shop:
    """The fit in RUNS. Raises ValueError where it is none, or its data set has no test part."""
    if not (runs / "fitted.json").is_file():
        raise ValueError(f"--runs: {runs} has no fitted.json, must be of a finished hylle fit")
    told = read_object(runs / "fitted.json")
    dataset, procedure = read(Path(told["data"])), procedure_from(told["procedure"])
    test = [photo for photo in dataset.photos if photo.part == "test" and len(photo.boxes)]
    if not test:
        raise ValueError(f"--runs: {told['data']} has no test part with boxes, whose photos {runs} has not seen")
    folders = sorted(path.parent for path in (runs / cross_fit.FOLDER).glob(f"*/{folds.NAME}"))
    by_fold = [folds.load(folder / folds.NAME, dataset) for folder in folders]
    scores = kept_scores(runs, procedure, SHARES, folders, by_fold)
    if not scores:
        raise ValueError(f"--runs: the detector of {runs} did not start from a detector of the same outputs")
    share = SHARES[first_near_best([scores[share] for share in SHARES])]
    return Shop(runs, procedure, test, spread([photo for photo in dataset.photos if len(photo.boxes)]), share)


def look(shop: Shop, others: Sequence[Shop]) -> Found:
    """What the detector of `shop` finds under each share."""
    own, elsewhere = {}, {}
    for share in SHARES:
        own[share], *rest = (with_share(shop, share, photos) for photos in (shop.test, *(other.photos for other in others)))
        elsewhere[share] = sum(rest) / len(rest)
    return Found(shop.share, own, elsewhere)


def with_share(shop: Shop, share: float, photos: Sequence[Photo]) -> float:
    """det mAP50 on `photos` of the detector of `shop` that ships, with this share of its start."""
    found = score(shop.runs, start_of(shop.procedure), share, shop.procedure, photos)
    if found is None:
        raise ValueError(f"--runs: the detector of {shop.runs} and its start differ")
    return found


def figures(name: str, found: Sequence[Found]) -> list[Measured]:
    """The gains of the chosen shares over none, over shops, own and other."""
    chosen = ", ".join(f"{one.share:g}" for one in found)
    setting = f"det mAP50 with the share that {len(found)} shops' own photos chose ({chosen}) minus that with none"
    own = over_seeds([one.own[one.share] - one.own[0.0] for one in found])
    others = over_seeds([one.others[one.share] - one.others[0.0] for one in found])
    return [
        Measured(f"start_share.{name}.own_shop", own, "det mAP50", f"{setting}; test photos of its own shop"),
        Measured(f"start_share.{name}.other_shops", others, "det mAP50", f"{setting}; photos of the other shops, mean"),
    ]


if __name__ == "__main__":
    raise SystemExit(main())

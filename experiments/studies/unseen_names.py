"""Names without shelf crops: what studio photos' prototypes add beside a classifier that learned from both kinds of crops.

    python -m experiments.studies.unseen_names --out OUT [--only drawn] [--grocery DIR] [--seeds 3] [--record]

Of the names with studio photos a share is left out of all training shelves, to be judged; as many again are left out for the
blend to be fitted on. One classifier is trained, on shelf crops of the others and studio crops of all, bridged. The blend is
chosen on crops held out, without the names to be judged, and adopted by its nested interval. Both are judged on test crops of
true boxes: AP over the left-out names, and over all names that training shelves show. `drawn` and `contest` draw shelves of the
recipes `demo` and `contest`, another shop for each seed; `grocery` is GroceryStore (see studies.grocery), whose natural photos
stand for shelves.
OUT/SET/seedN/result.json holds one; a stopped run resumes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies import grocery
from fusion.models import Model, Sidecar, calibrated, read_object
from fusion.views import crop
from photos import folds
from photos.data import Photo, read
from photos.score import average_precisions, match
from photos.studio import studio_folder
from runs import record
from runs.command import Parser, run, say
from stage1_detector.synthesis import make_photos
from stage2_classifier.config import ClassifierConfig, Columns
from stage2_classifier.crops import TYPICAL_ERROR, Region, shelf_regions, studio_regions
from stage2_classifier.export import export_classifier
from stage2_classifier.fit import TrainingCrops, fit
from stage2_classifier.model import build
from stage2_classifier.neighbours import logits_of
from stage2_classifier.pretrained import start
from stage2_classifier.prototype_blend import Blend, HeldOutCrops, as_detections, choose_blend, in_words, truths
from stage2_classifier.scaling import temperature
from stage2_classifier.studio_prototypes import measure, without

DRAWN = {"drawn": ("demo", None), "contest": ("contest", 124)}  # chosen: recipe and photos of drawn shelves; None: the recipe's
SETS = (*DRAWN, "grocery")
QUICK_PHOTOS = 16  # chosen: shelves of a rehearsal


class Crops(NamedTuple):
    """Shelf regions and the photo (N,) that each is of; `scene_of` is by photo."""

    regions: list[Region]
    photos: np.ndarray
    scene_of: dict[int, int]


@dataclass(frozen=True, eq=False)
class Shop:
    """A set: names, regions to learn from (shelf and studio), crops to fit the blend on, crops to judge on."""

    names: int
    train: list[Region]
    valid: Crops
    test: Crops


class LeftOut(NamedTuple):
    """Labels whose shelf crops are left out of training: to be judged, and for the blend to be fitted on."""

    judged: set[int]
    fitted_on: set[int]


# -- the sets --------------------------------------------------------------------------------------------------------------


def drawn_shop(out: Path, kind: str, seed: int, size: int, quick: bool) -> Shop:
    """Drawn shelves of a `kind` of DRAWN in OUT/data, dealt by the scenes as they were drawn."""
    data, (recipe, count) = out / "data", DRAWN[kind]
    make_photos.draw(make_photos.recipe(recipe, QUICK_PHOTOS if quick else count), data, seed, workers=1, tell=say)
    dataset = read(data)
    path = out / folds.NAME
    parts = folds.load(path, dataset) if path.is_file() else folds.split(dataset, out, str(data / "scenes.csv"), seed=seed)
    studio = studio_regions(studio_folder(data, None), dataset.categories, size)

    def crops(part: str) -> Crops:
        photos: Sequence[Photo] = parts.labelled(part)
        ids = np.repeat([photo.id for photo in photos], [len(photo.boxes) for photo in photos])
        return Crops(shelf_regions(photos, size), ids, dict(parts.scene))

    return Shop(len(dataset.categories), crops("train").regions + studio, crops("valid"), crops("test"))


def grocery_shop(root: Path, size: int) -> Shop:
    """GroceryStore's published split; each natural photo is a scene."""
    photos = grocery.read_photos(root, size)

    def crops(part: str) -> Crops:
        ids = np.arange(len(photos.natural[part]))
        return Crops(photos.natural[part], ids, {int(i): int(i) for i in ids})

    return Shop(len(photos.names), photos.natural["train"] + photos.studio, crops("val"), crops("test"))


def left_out(shop: Shop, share: float, rng: np.random.Generator) -> LeftOut:
    """Twice the `share` of all names, at least one each, drawn from those with studio, shelf and test crops."""
    shelf, studio, test = ({r.label for r in kind} for kind in (
        [r for r in shop.train if not r.studio], [r for r in shop.train if r.studio], shop.test.regions))  # fmt: skip
    count, eligible = max(1, round(share * shop.names)), sorted(shelf & studio & test)
    if len(eligible) < 3 * count:
        raise ValueError(f"--share: got {share}, {len(eligible)} names have studio, shelf and test crops, need {3 * count}")
    drawn = rng.permutation(eligible)[: 2 * count].tolist()
    return LeftOut(set(drawn[:count]), set(drawn[count:]))


# -- one run ---------------------------------------------------------------------------------------------------------------


def one_run(shop: Shop, out: Path, config: ClassifierConfig, share: float, pretrained: Path | None) -> dict[str, Any]:
    """Train, choose and judge in OUT, or return its finished result. ValueError if that has other settings."""
    path = out / "result.json"
    settings = asdict(config) | {"share": share, "start": pretrained and record.fingerprint(pretrained)}
    if path.is_file():
        result = read_object(path)
        if result["settings"] != settings:
            raise ValueError(f"{path} is of other settings; remove it or pass another --out")
        return result
    out.mkdir(parents=True, exist_ok=True)
    held_out = left_out(shop, share, np.random.default_rng(config.seed))
    regions = without(shop.train, held_out.judged | held_out.fitted_on)
    network, last = build(config, Columns(shop.names), pretrained), out / "last.pt"
    crops = TrainingCrops(regions, np.array(TYPICAL_ERROR))
    fitted = fit(network, crops, config, last, lambda line: say(f"{out}: {line}"), last.is_file())
    sidecar = {
        "task": "classifier", "family": "timm", "categories": list(range(shop.names)), "size": config.size,
        "mean": list(network.normalisation.mean), "std": list(network.normalisation.std), "margin": config.margin,
        "fit": config.fit,
    }  # fmt: skip
    parity_crops = judged_crops(shop.valid, config)[:4]
    export_classifier(fitted.model, out / "model.onnx", sidecar, parity_crops)
    result = {"settings": settings} | judged(shop, out, config, regions, held_out)
    record.write_json(path, result)
    return result


def judged_crops(crops: Crops, config: ClassifierConfig) -> np.ndarray:
    """Crops uint8 (N, size, size, 3) as at judgment."""
    return np.stack([crop(r.image, r.box, config.size, config.margin, config.fit) for r in crops.regions])


def judged(shop: Shop, out: Path, config: ClassifierConfig, regions: list[Region], held_out: LeftOut) -> dict[str, Any]:
    """AP of the left-out names and of the others, by the classifier alone and with the blend that was adopted."""
    valid, test = (looked_at(kind, shop, out, config, regions) for kind in (shop.valid, shop.test))
    fit_on = ~np.isin(valid.labels, sorted(held_out.judged))
    scale = temperature(valid.probabilities[fit_on], valid.labels[fit_on])  # still logits
    side = Sidecar("classifier", "timm", list(range(shop.names)), config.size, [], [], temperature=scale)
    valid, test = (kind._replace(probabilities=calibrated(kind.probabilities, side)) for kind in (valid, test))
    seen = HeldOutCrops(
        valid.probabilities[fit_on], valid.cosines[fit_on], valid.counts, valid.labels[fit_on], valid.photos[fit_on]
    )
    choice = choose_blend([seen], shop.valid.scene_of, np.random.default_rng(config.seed))
    say(f"{out}: {in_words(choice)}")
    before, after, offered = (aps(test, blend) for blend in (None, choice.blend, choice.offered))
    others = np.setdiff1d(np.arange(shop.names), sorted(held_out.judged | held_out.fitted_on))
    unseen = sorted(held_out.judged)
    return {
        "adopted": choice.blend is not None,
        "choice": asdict(choice),
        "ap_before": mean_of(before, unseen),
        "ap_after": mean_of(after, unseen),
        "ap_offered": mean_of(offered, unseen),
        "others_before": mean_of(before, others),
        "others_change": mean_of(after, others) - mean_of(before, others),
        "others_change_offered": mean_of(offered, others) - mean_of(before, others),
        "n_names": shop.names,
        "n_left_out": len(unseen),
        "n_test": len(test.labels),
        "n_left_out_test": int(np.isin(test.labels, unseen).sum()),
    }


def looked_at(crops: Crops, shop: Shop, out: Path, config: ClassifierConfig, regions: list[Region]) -> HeldOutCrops:
    """What the classifier in OUT says of `crops`; in place of probabilities logits, not calibrated yet."""
    images, model = judged_crops(crops, config), Model(out / "model.onnx")
    prototypes = measure(out, regions, images, shop.names, np.random.default_rng(config.seed))
    labels = np.array([r.label for r in crops.regions], np.int64)
    return HeldOutCrops(logits_of(model, images), prototypes.cosines, prototypes.counts, labels, crops.photos)


def aps(crops: HeldOutCrops, blend: Blend | None) -> np.ndarray:
    """The AP of each name (C,), the boxes given; nan for one without a crop."""
    matched = match(truths(crops), as_detections(crops, blend), crops.cosines.shape[1])
    return average_precisions(matched.classification)


def mean_of(values: np.ndarray, names: Sequence[int] | np.ndarray) -> float:
    """The mean AP of `names` that have one."""
    return float(np.nanmean(values[np.asarray(names, np.int64)]))


# -- the command -----------------------------------------------------------------------------------------------------------


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.studies.unseen_names", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="where runs and results go")
    p.add_argument("--only", nargs="+", choices=SETS, default=list(SETS), help="these sets only")
    p.add_argument("--grocery", type=Path, help="GroceryStore: classes.json, natural/, studio/; needed for the set grocery")
    p.add_argument("--seeds", type=int, default=3, help="runs of each set")
    p.add_argument("--share", type=float, default=0.15, help="of all names, left out of training to be judged")
    p.add_argument("--model", default="resnet10t", help="backbone, as timm names it")
    p.add_argument("--size", type=int, default=64, help="side of a crop in pixels")
    p.add_argument("--steps", type=int, default=600, help="optimiser steps at least; 1 epoch if that is more")
    p.add_argument("--bridge", type=float, default=0.5, help="how strongly studio crops are made to look like shelf crops")
    p.add_argument("--pretrained", type=Path, help="auto (default), imagenet, starter, none or a file")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 32 px crops, few shelves, 1 epoch")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results/unseen.json")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, run set by set and seed by seed, print the table, record."""
    args = parser().parse_args(argv)
    if args.seeds < 1 or (args.record and args.quick):
        raise ValueError(f"--seeds: got {args.seeds}, need 1 or more; and --record is not for --quick")
    if "grocery" in args.only and args.grocery is None:
        raise ValueError("--grocery: got none, need GroceryStore's folder; or pass --only drawn")
    size, steps = (32, 0) if args.quick else (args.size, args.steps)
    pretrained = start(args.pretrained, args.model).path
    done: dict[str, list[dict[str, Any]]] = {}
    for kind in args.only:
        done[kind] = []
        for seed in range(args.seeds):
            config = ClassifierConfig(args.model, size, epochs=1, min_steps=steps, bridge=args.bridge, seed=seed)
            out = args.out / kind / f"seed{seed}"
            drawn = kind in DRAWN
            shop = drawn_shop(out, kind, seed, size, args.quick) if drawn else grocery_shop(args.grocery, size)
            done[kind].append(one_run(shop, out, config, args.share, pretrained))
    show(done)
    if args.record:
        say(f"figures: {records.write('unseen', as_records(done, records.command('studies.unseen_names', argv)))}")


def means(results: list[dict[str, Any]], name: str) -> records.Estimate:
    """The mean over seeds of one number of the results."""
    return over_seeds([float(result[name]) for result in results])


FIGURES = ("ap_before", "ap_after", "others_change")


def show(done: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table."""
    table = Table(title="names without shelf crops, test crops of true boxes; mean over seeds, 95 % interval by t")
    for column in ("set", "seeds", "adopted", "AP before", "AP after", "AP on offer", "others' change"):
        table.add_column(column, justify="left" if column == "set" else "right")
    for kind, results in done.items():
        adopted = str(sum(result["adopted"] for result in results))
        shown = [str(means(results, name)) for name in ("ap_before", "ap_after", "ap_offered", "others_change")]
        table.add_row(kind, str(len(results)), adopted, *shown)
    Console(width=120).print(table)


def as_records(done: dict[str, list[dict[str, Any]]], command: str) -> list[dict[str, Any]]:
    """unseen.SET.ap_before, .ap_after and .others_change."""
    rows = []
    for kind, results in done.items():
        first = results[0]
        used = first["settings"]
        setting = (
            f"{used['model']} at {used['size']} px, {used['min_steps']} steps; AP over {first['n_left_out']} of "
            f"{first['n_names']} names, left out of all training shelves, as many more for the blend to be fitted on; test "
            f"crops of true boxes, {first['n_test']} in the first run; adopted in {sum(r['adopted'] for r in results)} of "
            f"{len(results)} seeds" + ("; one seed, so no interval" if len(results) == 1 else "")
        )
        rows += [records.figure(f"unseen.{kind}.{name}", means(results, name), "AP", setting, command) for name in FIGURES]
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

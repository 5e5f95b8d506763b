"""What enrolling is worth: products left out of training are taught from their studio photos alone, one at a time.

    python -m experiments.studies.enrolling --drawn DIR --out OUT [--seeds 0 1 2 3 4] [--held-out 8] [--head arcface] [--record]

DIR/N holds data/ and folds.json of a drawn shop, and one/ if its box error is to be measured. For each N a classifier goes
into OUT/N, trained without the held-out products; then each alone is enrolled into a copy of it by `enroll`, and both
name the test part's crops. OUT/N/result.json holds one seed; a second call goes on where the first was stopped.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fusion.models import Model, read_object
from fusion.pipeline import calibrated
from fusion.views import crop
from photos import folds
from photos.data import Dataset, read
from photos.studio import studio_folder, studio_names
from runs import record
from runs.command import Parser, run, say
from stage2_classifier import enrolment
from stage2_classifier.classifier_run import ClassifierRun, train_classifier
from stage2_classifier.config import HEADS, ClassifierConfig, recipe
from stage2_classifier.crops import Image, shelf_regions
from stage2_classifier.neighbours import logits_of

LEAST = 5  # chosen: test crops that a held-out product must have
NAME, TAUGHT = "classifier", "taught"
WAYS: dict[str, list[str]] = {"plain": [], "shift": ["--shift"]}  # how a product is enrolled: flags of the command


# -- leaving products out --------------------------------------------------------------------------------------------------


def photo_folders(data: Path, dataset: Dataset) -> dict[int, Path]:
    """The folder of studio photos of each product that has one, by label."""
    labels = {c.name.strip().casefold(): i for i, c in enumerate(dataset.categories)}
    studio = studio_folder(data, None)
    found = {labels.get(name.strip().casefold()): studio / folder for folder, name in studio_names(studio).items()}
    return {label: path for label, path in found.items() if label is not None and path.is_dir()}


def held_out(parts: folds.Folds, pictured: set[int], n: int, rng: np.random.Generator) -> list[int]:
    """`n` labels, drawn from those that are `pictured` and have LEAST test crops. Raises ValueError for too few."""
    counts = np.bincount(np.concatenate([p.labels for p in parts.labelled("test")]))
    able = sorted(pictured & set(np.flatnonzero(counts >= LEAST).tolist()))
    if len(able) < n:
        raise ValueError(f"--held-out: got {n}, only {len(able)} products have studio photos and {LEAST} test crops")
    return sorted(int(label) for label in rng.choice(able, n, replace=False))


def write_without(data: Path, dataset: Dataset, labels: list[int], out: Path) -> None:
    """A data set at OUT without the categories `labels` and their boxes; its photos are links to those of DATA."""
    gone = {dataset.categories[label].id for label in labels}
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(data.glob("*.json")):
        values = read_object(path)
        if "annotations" in values:
            values["categories"] = [c for c in values["categories"] if c["id"] not in gone]
            values["annotations"] = [a for a in values["annotations"] if a["category_id"] not in gone]
            record.write_json(out / path.name, values)
    for name in ("images", studio_folder(data, None).name):
        link(data / name, out / name)


def link(source: Path, place: Path) -> None:
    """PLACE becomes a link to SOURCE."""
    if not place.is_symlink():
        place.symlink_to(source.resolve())


# -- one seed --------------------------------------------------------------------------------------------------------------


def one_seed(drawn: Path, out: Path, n: int, config: ClassifierConfig) -> dict[str, Any]:
    """Train without `n` products, enroll each, measure; or return what is there. ValueError where it is of other settings."""
    path, settings = out / "result.json", asdict(config) | {"held_out": n}
    if path.is_file():
        result = read_object(path)
        if result["settings"] != settings:
            raise ValueError(f"{path} is of other settings; remove {out} or pass another --out")
        return result
    dataset = read(drawn / "data")
    parts = folds.load(drawn / "folds.json", dataset)
    pictures = photo_folders(drawn / "data", dataset)
    labels = held_out(parts, set(pictures), n, np.random.default_rng(config.seed))
    write_without(drawn / "data", dataset, labels, out / "data")
    shutil.copyfile(drawn / "folds.json", out / "folds.json")
    if (drawn / "one").is_dir():
        link(drawn / "one", out / "one")
    stopped = record.is_stopped(out / NAME)
    train_classifier(ClassifierRun(data=out / "data", runs=out, crops="both", resume=stopped, name=NAME), config)
    model = Model(out / NAME / "model.onnx")
    crops, ids = test_crops(model, parts)
    unseen = {dataset.categories[label].id for label in labels}
    before = named(model, crops)
    rows = []
    for label in labels:
        category = dataset.categories[label]
        rows.append({"name": category.name, "n": int((ids == category.id).sum()), "before": share(before, ids, {category.id})})
        rows[-1] |= {way: taught(out, category.name, category.id, pictures[label], flags, crops, ids, before, unseen)
                     for way, flags in WAYS.items()}  # fmt: skip
        say(f"seed {config.seed}: {told(rows[-1])}")
    result = {"settings": settings, "others": share(before, ids, set(ids.tolist()) - unseen), "products": rows}
    record.write_json(path, result)
    return result


def test_crops(model: Model, parts: folds.Folds) -> tuple[Image, np.ndarray]:
    """Crops (N, size, size, 3) of the test part's true boxes, and their category ids (N,)."""
    side = model.sidecar
    regions = shelf_regions(parts.labelled("test"), side.size)
    ids = np.array([c.id for c in parts.dataset.categories])
    cropped = [crop(r.image, r.box, side.size, side.margin, side.fit) for r in regions]
    return np.stack(cropped), ids[[r.label for r in regions]]


def named(model: Model, crops: Image) -> np.ndarray:
    """The category id (N,) the model gives each of `crops`, calibrated as at judgment."""
    known = model.sidecar.categories or []
    return np.asarray(known)[calibrated(logits_of(model, crops), model.sidecar)[:, : len(known)].argmax(1)]


def share(found: np.ndarray, ids: np.ndarray, wanted: set[int]) -> float:
    """The share of the crops whose id is `wanted` that have the right name."""
    mine = np.isin(ids, list(wanted))
    return float((found == ids)[mine].mean())


def taught(
    out: Path, name: str, category: int, photos: Path, flags: list[str], crops: Image, ids: np.ndarray, before: np.ndarray,
    unseen: set[int],
) -> dict[str, float]:  # fmt: skip
    """Recall of one product once it is enrolled, and how the accuracy on products that were trained changes."""
    shutil.rmtree(out / TAUGHT, ignore_errors=True)
    shutil.copytree(out / NAME, out / TAUGHT, ignore=shutil.ignore_patterns("*.pt"))
    shift = "--shift" in flags
    enrolment.teach(
        enrolment.Enrolment(data=out / "data", runs=out, classifier=TAUGHT, photos=photos, name=name, id=category, shift=shift)
    )
    after, trained = named(Model(out / TAUGHT / "model.onnx"), crops), set(ids.tolist()) - unseen
    shutil.rmtree(out / TAUGHT)
    return {"recall": share(after, ids, {category}), "change": share(after, ids, trained) - share(before, ids, trained)}


def told(row: dict[str, Any]) -> str:
    """One product in words."""
    ways = ", ".join(f"{way} {row[way]['recall']:.2f} (others {row[way]['change']:+.4f})" for way in WAYS)
    return f"{row['name']!r}, {row['n']} test crops: recall {row['before']:.2f}, enrolled {ways}"


# -- the command -----------------------------------------------------------------------------------------------------------


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.studies.enrolling", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--drawn", type=Path, required=True, help="folder of drawn shops 0, 1, ..., each with data/ and folds.json")
    p.add_argument("--out", type=Path, required=True, help="where classifiers and results go")
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4], help="which shops")
    p.add_argument("--held-out", type=int, default=8, help="products left out of each")
    p.add_argument("--head", choices=[head for head in HEADS if head != "linear"], default="arcface")
    p.add_argument("--recipe", default="demo", help="of the classifier")
    p.add_argument("--bridge", type=float, default=0.5, help="as in stage2_classifier.train")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 1 epoch on 32 px crops")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results/enrolling.json")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure seed by seed, print the table, record."""
    args = parser().parse_args(argv)
    if args.record and args.quick:
        raise ValueError("--record is not for --quick")
    results = []
    for seed in args.seeds:
        config = replace(recipe(args.recipe, args.quick), head=args.head, bridge=args.bridge, seed=seed)
        results.append(one_seed(args.drawn / str(seed), args.out / str(seed), args.held_out, config))
    show(results)
    if args.record:
        say(f"figures: {records.write('enrolling', as_figures(results, records.command('enrolling', argv)))}")


def seed_means(results: list[dict[str, Any]], way: str, what: str) -> list[float]:
    """For each seed the mean over its products."""
    return [float(np.mean([row[way][what] for row in result["products"]])) for result in results]


def show(results: list[dict[str, Any]]) -> None:
    """Print the table."""
    n = sum(len(result["products"]) for result in results)
    table = Table(title=f"{n} products enrolled alone, {len(results)} seeds; means, 95 % intervals by t over seeds")
    for column in ("way", "recall after", "others' change", "largest change"):
        table.add_column(column, justify="left" if column == "way" else "right", no_wrap=True)
    for way in WAYS:
        worst = max((row[way]["change"] for r in results for row in r["products"]), key=abs)
        cells = [str(over_seeds(seed_means(results, way, what))) for what in ("recall", "change")]
        table.add_row(way, *cells, f"{worst:+.4f}")
    Console(width=120).print(table)
    say(f"the trained products' accuracy: {over_seeds([result['others'] for result in results])}")


def as_figures(results: list[dict[str, Any]], command: str) -> list[dict[str, Any]]:
    """enroll.recall_before, .recall_after, .others_change, and the last two of the other ways, as .WAY.recall_after."""
    n, config = sum(len(result["products"]) for result in results), results[0]["settings"]
    crops = sum(row["n"] for result in results for row in result["products"])
    one = "; one seed, so no interval" if len(results) == 1 else ""
    setting = (f"drawn shelves, {len(results)} seeds, {n} products never trained on, {crops} test crops, each enrolled "
               f"alone from its studio photos; {config['model']} at {config['size']} px, {config['head']}{one}")  # fmt: skip
    before = over_seeds([float(np.mean([row["before"] for row in result["products"]])) for result in results])
    rows = [("enroll.recall_before", "recall", before, setting)]
    for way in WAYS:
        prefix = "enroll." if way == "plain" else f"enroll.{way}."
        worst = max((row[way]["change"] for r in results for row in r["products"]), key=abs)
        others = f"accuracy on trained products, after less before; largest of one product {worst:+.4f}; {setting}"
        rows.append((f"{prefix}recall_after", "recall", over_seeds(seed_means(results, way, "recall")), setting))
        rows.append((f"{prefix}others_change", "accuracy", over_seeds(seed_means(results, way, "change")), others))
    return [records.figure(key, m.value, unit, n, told, command, m.low, m.high) for key, unit, m, told in rows]


if __name__ == "__main__":
    raise SystemExit(main())

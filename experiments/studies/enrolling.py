"""What enrolling gains: products left out of training are enrolled from their studio photos alone, one at a time.

    python -m experiments.studies.enrolling --drawn DIR --out OUT [--seeds 0 1 2 3 4] [--held-out 8] [--head arcface] [--record]

DIR/N holds data/ and folds.json of a drawn shop, and one/ if its box error is to be measured. For each N a classifier goes
into OUT/N, trained without the held-out products; then each alone is enrolled into a copy of it, and both name the test
part's crops. OUT/N/result.json holds one seed; a stopped run resumes.
"""

import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fusion.models import Model, calibrated, read_object
from fusion.views import crop
from photos import folds
from photos.data import Category, Dataset, product_key, read
from photos.photo_file import find_photo
from photos.studio import studio_folder, studio_names
from runs import record
from runs.command import Parser, run, say
from runs.link import link_or_copy
from runs.typed import typed
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.config import HEADS, ClassifierConfig, recipe
from stage2_classifier.crops import Image, shelf_regions
from stage2_classifier.enrolment import Enrolment, teach
from stage2_classifier.neighbours import logits_of
from stage2_classifier.training_request import ClassifierRun

LEAST = 5  # chosen: test crops that a held-out product must have
NAME, ENROLLED = "classifier", "taught"  # folders of the classifier and of its copies
WAYS = {"plain": False, "shift": True}  # how a product is enrolled: whether its prototype is moved by the mean step


# -- leaving products out --------------------------------------------------------------------------------------------------


def photo_folders(data: Path, dataset: Dataset) -> dict[int, Path]:
    """The folder of studio photos of each product that has one, by label."""
    labels = {product_key(c.name): i for i, c in enumerate(dataset.categories)}
    studio = studio_folder(data, None)
    folders = {labels.get(product_key(name)): find_photo(studio, folder) for folder, name in studio_names(studio).items()}
    return {label: path for label, path in folders.items() if label is not None and path.is_dir()}


def held_out(parts: folds.Folds, pictured: set[int], n: int, rng: np.random.Generator) -> list[int]:
    """`n` labels, drawn from those that are `pictured` and have LEAST test crops. Raises ValueError for too few."""
    counts = np.bincount(np.concatenate([p.labels for p in parts.labelled("test")]))
    eligible = sorted(pictured & set(np.flatnonzero(counts >= LEAST).tolist()))
    if len(eligible) < n:
        raise ValueError(f"--held-out: got {n}, only {len(eligible)} products have studio photos and {LEAST} test crops")
    return sorted(int(label) for label in rng.choice(eligible, n, replace=False))


def write_without(data: Path, dataset: Dataset, labels: list[int], out: Path) -> None:
    """A data set at OUT without the categories `labels` and their boxes; its photos are links to those of DATA."""
    if not dataset.layout.startswith("COCO") or not (data / "images").is_dir():
        copy = typed("hylle data", data, "--to coco COPY")
        raise ValueError(f"--data: got {dataset.layout}, need COCO with images/; `{copy}` writes one")
    left_out = {dataset.categories[label].id for label in labels}
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(data.glob("*.json")):
        values = read_object(path)
        if "annotations" in values:
            values["categories"] = [c for c in values["categories"] if c["id"] not in left_out]
            values["annotations"] = [a for a in values["annotations"] if a["category_id"] not in left_out]
            record.write_json(out / path.name, values)
    for name in ("images", studio_folder(data, None).name):
        link(data / name, out / name)


def link(source: Path, place: Path) -> None:
    """PLACE becomes a link to SOURCE, unless it is there."""
    if not place.exists():
        link_or_copy(source, place)


@dataclass(frozen=True, eq=False)
class NamedCrops:
    """Crops uint8 (N, size, size, 3) of the test part, their category ids (N,), the trained ids, and the ids named (N,)."""

    crops: Image
    ids: np.ndarray
    trained: set[int]
    names: np.ndarray

    def accuracy(self, categories: set[int]) -> float:
        """The share of the crops of these categories that have the right name."""
        own = np.isin(self.ids, list(categories))
        return float((self.names == self.ids)[own].mean())


# -- one seed --------------------------------------------------------------------------------------------------------------


def one_seed(drawn: Path, out: Path, n: int, config: ClassifierConfig) -> dict[str, Any]:
    """Train without `n` products, enroll each, measure; or return the finished result. ValueError if it has other settings."""
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
    test = NamedCrops(crops, ids, set(ids.tolist()) - {dataset.categories[label].id for label in labels}, named(model, crops))
    rows = []
    for label in labels:
        category = dataset.categories[label]
        rows.append({"name": category.name, "n": int((ids == category.id).sum()), "before": test.accuracy({category.id})})
        rows[-1] |= {way: enrolled(out, category, pictures[label], shift, test) for way, shift in WAYS.items()}
        say(f"seed {config.seed}: {as_text(rows[-1])}")
    result = {"settings": settings, "others": test.accuracy(test.trained), "products": rows}
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


def enrolled(out: Path, category: Category, photos: Path, shift: bool, test: NamedCrops) -> dict[str, float]:
    """Recall of one product once it is enrolled, and how the accuracy on products that were trained changes."""
    shutil.rmtree(out / ENROLLED, ignore_errors=True)
    shutil.copytree(out / NAME, out / ENROLLED, ignore=shutil.ignore_patterns("*.pt"))
    teach(Enrolment(out / "data", out, ENROLLED, photos, category.name, category.id, shift=shift))
    after = replace(test, names=named(Model(out / ENROLLED / "model.onnx"), test.crops))
    shutil.rmtree(out / ENROLLED)
    return {"recall": after.accuracy({category.id}), "change": after.accuracy(test.trained) - test.accuracy(test.trained)}


def as_text(row: dict[str, Any]) -> str:
    """One product's results as text."""
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
        say(f"figures: {records.write('enrolling', as_records(results, records.command('studies.enrolling', argv)))}")


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


def as_records(results: list[dict[str, Any]], command: str) -> list[dict[str, Any]]:
    """enroll.recall_before, .recall_after, .others_change, and the last two of the other ways, as .WAY.recall_after."""
    n, config = sum(len(result["products"]) for result in results), results[0]["settings"]
    crops = sum(row["n"] for result in results for row in result["products"])
    note = "; one seed, so no interval" if len(results) == 1 else ""
    setting = (f"drawn shelves, {len(results)} seeds, {n} products never trained on, {crops} test crops, each enrolled "
               f"alone from its studio photos; {config['model']} at {config['size']} px, {config['head']}{note}")  # fmt: skip
    before = over_seeds([float(np.mean([row["before"] for row in result["products"]])) for result in results])
    rows = [("enroll.recall_before", "recall", before, setting)]
    for way in WAYS:
        prefix = "enroll." if way == "plain" else f"enroll.{way}."
        worst = max((row[way]["change"] for r in results for row in r["products"]), key=abs)
        others = f"accuracy on trained products, after less before; largest of one product {worst:+.4f}; {setting}"
        rows.append((f"{prefix}recall_after", "recall", over_seeds(seed_means(results, way, "recall")), setting))
        rows.append((f"{prefix}others_change", "accuracy", over_seeds(seed_means(results, way, "change")), others))
    return [records.figure(key, mean._replace(n=n), unit, text, command) for key, unit, mean, text in rows]


if __name__ == "__main__":
    raise SystemExit(main())

"""Stage 2 alone on real groceries: GroceryStore's published split, natural and studio -> natural, from any start.

    python -m experiments.studies.grocery --data DIR --out OUT [--seeds 3] [--only natural ...] [--pretrained WORD|FILE]

DIR holds natural/{train,val,test}/NAME/*.jpg, studio/NAME/*.jpg and classes.json (Klasson et al. 2019, arXiv:1901.00711).
Each run trains `stage2_classifier` on whole photos, fits its temperature on val and is scored on test; about 6 minutes on one
core (natural) or 5 (the others), with `--pretrained imagenet` 40 and 25, as its network is larger and sees larger crops.
OUT/KIND/seedN/result.json holds one; a stopped run resumes.
"""

import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from photos.studio import content_box
from runs import record
from runs.command import Parser, run, say
from stage2_classifier.config import ClassifierConfig, Columns, override
from stage2_classifier.crops import CropFormat, Region, crops_of, cut
from stage2_classifier.fit import TrainingCrops, fit
from stage2_classifier.learning import predict
from stage2_classifier.model import build
from stage2_classifier.pretrained import start
from stage2_classifier.reliability import ece
from stage2_classifier.scaling import temperature

ERROR = np.array([0.06, 0.06, 0.12, 0.12])  # chosen: how a whole photo is cut at random, as `shake` wants it
WHOLE = ClassifierConfig(
    size=64, margin=0.0, epochs=16, min_steps=0, balance=0.5, smoothing=0.1, rotate=20.0, jitter=1.0, ema=0.99
)  # chosen: 42,000 crops at a measured 112 a second on one core are 6.3 minutes
STUDIO = replace(WHOLE, epochs=1, min_steps=600)  # 81 pictures, 600 steps of 48: 4.3 minutes
# chosen: 825 steps of 48 photos, to end in 40 minutes of one core (16 epochs at 128 px took 26); a lower rate, as the weights
# are good already
IMAGENET = {"model": "tf_efficientnet_lite0", "size": 160, "epochs": 15, "lr": 0.001}
IMAGENET_STUDIO_STEPS = 400  # chosen
KINDS = {"natural": WHOLE, "studio": STUDIO, "studio_bridge": replace(STUDIO, bridge=1.0)}
KEYS = {"natural": "natural", "studio": "studio_to_natural_plain", "studio_bridge": "studio_to_natural"}


@dataclass(frozen=True)
class Photos:
    """The whole set as regions; labels index `names`."""

    names: list[str]
    natural: dict[str, list[Region]]
    studio: list[Region]


# -- reading ---------------------------------------------------------------------------------------------------------------


def read_photos(root: Path, size: int) -> Photos:
    """The set at ROOT, each photo at most 1.5 x `size` pixels. Raises ValueError for what is missing."""
    path = root / "classes.json"
    if not path.is_file():
        raise ValueError(f"{path} not found; --data must be GroceryStore: classes.json, natural/, studio/")
    names = [str(row["name"]) for row in sorted(json.loads(path.read_text()), key=lambda row: row["id"])]
    natural = {part: regions_in(root / "natural" / part, names, size, False) for part in ("train", "val", "test")}
    return Photos(names, natural, regions_in(root / "studio", names, size, True))


def regions_in(folder: Path, names: list[str], size: int, studio: bool) -> list[Region]:
    """One region for each FOLDER/NAME/*.jpg, its box the whole photo, or the product on a studio picture's plain ground."""
    regions = []
    for label, name in enumerate(names):
        for path in sorted((folder / name).glob("*.jpg")):
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"{path}: not a readable photo")
            rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
            whole = np.array([0, 0, rgb.shape[1], rgb.shape[0]], np.float32)
            regions.append(cut(rgb, content_box(rgb) if studio else whole, label, size, studio))
    if not regions:
        raise ValueError(f"{folder}: none of the {len(names)} classes has a photo there")
    return regions


# -- one run ---------------------------------------------------------------------------------------------------------------


def one_run(photos: Photos, out: Path, kind: str, config: ClassifierConfig, pretrained: Path | None) -> dict[str, Any]:
    """Train and score one seed into OUT, or return its finished result. ValueError if that has other settings."""
    path, settings = out / "result.json", asdict(config) | {"start": pretrained and record.fingerprint(pretrained)}
    if path.is_file():
        result = json.loads(path.read_text())
        if result["settings"] != settings:
            raise ValueError(f"{path} is of other settings; remove it or pass another --out")
        return result
    out.mkdir(parents=True, exist_ok=True)
    regions, checkpoint = photos.natural["train"] if kind == "natural" else photos.studio, out / "last.pt"
    model = build(config, Columns(len(photos.names)), pretrained)
    crops = TrainingCrops(regions, ERROR)
    resumed, began = checkpoint.is_file(), np.array([time.monotonic(), time.process_time()])
    fitted = fit(model, crops, config, checkpoint, lambda line: say(f"{out.name}: {line}"), resumed)
    wall, core = (np.array([time.monotonic(), time.process_time()]) - began) / 60
    cost = {"minutes": None, "core_minutes": None} if resumed else {"minutes": wall, "core_minutes": core}  # else nobody knows
    metrics = scored(fitted.model, photos, config) | cost
    result = {"settings": settings, "n_train": len(regions), "loader_share": fitted.loader_share} | metrics
    record.write_json(path, result)
    return result


def scored(model: Any, photos: Photos, config: ClassifierConfig) -> dict[str, float]:
    """Top-1 on val and test, the temperature fitted on val, and the calibration error on test before and after it."""
    logits, labels, form = {}, {}, CropFormat(config.size, config.margin, config.fit)
    for part in ("val", "test"):
        regions = photos.natural[part]
        rng = np.random.default_rng(0)  # never drawn from: the boxes are not shaken
        crops = crops_of(regions, np.arange(len(regions)), np.zeros(4), form, rng)
        logits[part], labels[part] = predict(model, crops), np.array([r.label for r in regions])
    t = temperature(logits["val"], labels["val"])
    top1 = {f"{part}_top1": float((logits[part].argmax(1) == labels[part]).mean()) for part in logits}
    return top1 | {
        "temperature": t,
        "ece_before": ece(logits["test"], labels["test"], 1.0),
        "ece_after": ece(logits["test"], labels["test"], t),
        "n_test": len(labels["test"]),
    }


# -- the command -----------------------------------------------------------------------------------------------------------


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.studies.grocery", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="GroceryStore: classes.json, natural/, studio/")
    p.add_argument("--out", type=Path, required=True, help="where runs and results go")
    p.add_argument("--seeds", type=int, default=3, help="runs of each kind")
    p.add_argument("--only", nargs="+", choices=tuple(KINDS), default=list(KINDS), help="these kinds only")
    p.add_argument("--pretrained", type=Path, help="starter or a file, compared with OUT's random starts; or imagenet")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 1 epoch on 32 px crops")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results/grocery.json")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, run kind by kind and seed by seed, print the table, record."""
    args = parser().parse_args(argv)
    if args.seeds < 1 or (args.record and args.quick):
        raise ValueError(f"--seeds: got {args.seeds}, need 1 or more; and --record is not for --quick")
    from_imagenet = args.pretrained == Path("imagenet")
    weights = start(args.pretrained, str(IMAGENET["model"] if from_imagenet else WHOLE.model)).path
    configs = {kind: of_imagenet(config) if from_imagenet else config for kind, config in KINDS.items()}
    photos, done = read_photos(args.data, configs["natural"].size), {}
    for kind in args.only:
        done[kind] = []
        for seed in range(args.seeds):
            config = replace(rehearsal(configs[kind]) if args.quick else configs[kind], seed=seed)
            out = folder(args.out, kind, args.pretrained) / f"seed{seed}"
            done[kind].append(one_run(photos, out, kind, config, weights))
            say(f"{kind}, seed {seed}: test top-1 {done[kind][-1]['test_top1']:.4f}")
    show(done)
    if args.record:
        command = records.command("studies.grocery", argv)
        if from_imagenet:
            rows = imagenet_records(done, command)
        else:
            rows = gain_records(done, args.out, args.pretrained, command) if args.pretrained else as_records(done, command)
        say(f"figures: {records.write('grocery', rows)}")


def of_imagenet(config: ClassifierConfig) -> ClassifierConfig:
    """`config` for the network with ImageNet weights."""
    steps = min(config.min_steps, IMAGENET_STUDIO_STEPS)
    return override(config, IMAGENET | ({"epochs": 1, "min_steps": steps} if steps else {}))


def rehearsal(config: ClassifierConfig) -> ClassifierConfig:
    """`config` in a few seconds."""
    return replace(config, size=32, epochs=1, min_steps=0, batch=64)


def folder(out: Path, kind: str, pretrained: Path | None) -> Path:
    """Where the runs of one kind and start lie."""
    return out / (kind if pretrained is None else f"{kind}_from_{pretrained.stem}")


def means(results: list[dict[str, Any]], name: str) -> records.Estimate:
    """The mean over seeds of one number of the results."""
    return over_seeds([float(result[name]) for result in results])


def show(done: dict[str, list[dict[str, Any]]]) -> None:
    """Print the table."""
    table = Table(title="GroceryStore, test; mean over seeds, 95 % interval by t")
    for column in ("trained on", "n seeds", "top-1", "ECE before", "ECE after"):
        table.add_column(column, justify="left" if column == "trained on" else "right", no_wrap=True)
    for kind, results in done.items():
        columns = [str(means(results, name)) for name in ("test_top1", "ece_before", "ece_after")]
        table.add_row(kind, str(len(results)), *columns)
    Console(width=120).print(table)


def setting_of(kind: str, results: list[dict[str, Any]]) -> str:
    """The text on how the runs of one kind were trained."""
    first = results[0]
    note = "; one seed, so no interval" if len(results) == 1 else ""
    return (
        f"{first['settings']['model']} at {first['settings']['size']} px, {kind}: {first['n_train']} photos to train on, "
        f"{first['n_test']} test photos, {len(results)} seeds{note}"
    )


def as_records(done: dict[str, list[dict[str, Any]]], command: str) -> list[dict[str, Any]]:
    """grocery.KEY.top1, .ece_before and .ece_after for each kind; random weights."""
    rows = []
    for kind, results in done.items():
        setting = f"random weights; {setting_of(kind, results)}"
        for name, unit in (("top1", "accuracy"), ("ece_before", "ECE"), ("ece_after", "ECE")):
            mean = means(results, "test_top1" if name == "top1" else name)
            key = f"grocery.{KEYS[kind]}.{name}"
            rows.append(records.figure(key, mean, unit, setting, command))
    return rows


def imagenet_records(done: dict[str, list[dict[str, Any]]], command: str) -> list[dict[str, Any]]:
    """grocery.KEY.top1.imagenet for each kind."""
    rows = []
    for kind, results in done.items():
        minutes, core_minutes = ([result[unit] for result in results] for unit in ("minutes", "core_minutes"))
        known = None not in minutes
        cost = f"; trained in {max(minutes):.1f} minutes, {max(core_minutes):.0f} of one core" if known else ""
        setting = f"ImageNet weights; {setting_of(kind, results)}{cost}"
        key = f"grocery.{KEYS[kind]}.top1.imagenet"
        rows.append(records.figure(key, means(results, "test_top1"), "accuracy", setting, command))
    return rows


def gain_records(done: dict[str, list[dict[str, Any]]], out: Path, pretrained: Path, command: str) -> list[dict[str, Any]]:
    """starter_embedding.grocery.minus_random (natural; _KIND for the others): paired by seed with the random starts in OUT."""
    rows = []
    for kind, results in done.items():
        random = [json.loads((folder(out, kind, None) / f"seed{s}" / "result.json").read_text()) for s in range(len(results))]
        mean = over_seeds([a["test_top1"] - b["test_top1"] for a, b in zip(results, random, strict=True)])
        key = "starter_embedding.grocery.minus_random" + ("" if kind == "natural" else f"_{kind}")
        setting = f"top-1 from {pretrained.name} less top-1 from random weights, same seeds; {setting_of(kind, results)}"
        rows.append(records.figure(key, mean, "accuracy", setting, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

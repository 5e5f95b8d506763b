"""Train one detector on the folds of a run folder, export it, and score it on the valid part.

    python -m stage1_detector.train --data D --out R --classes one|all [--recipe NAME] [--quick] [--pretrained FILE] [--resume]

`--classes one` is class-agnostic and goes to R/one; `--classes all` keeps the class scores and goes to R/all.
"""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fusion.ensemble import Member
from fusion.models import Model, read_object
from fusion.pipeline import detect_one
from stage1_detector import folds, record, yolo
from stage1_detector.command import run, say
from stage1_detector.config import RECIPES, DetectorConfig, override, recipe
from stage1_detector.data import Dataset, Photo, read, read_image
from stage1_detector.export import export_detector
from stage1_detector.score import Truth, evaluate

VALID_CONF = 0.001  # taken: the low floor that AP wants (CONTEST.md)
VALID_NMS = 0.6  # chosen: between the 0.5 that loses stacked facings and the 0.7 that keeps doubles


def parser() -> argparse.ArgumentParser:
    """The command's arguments; below the line, one for each field of DetectorConfig (None: as the recipe has it)."""
    p = argparse.ArgumentParser(prog="python -m stage1_detector.train", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="folder with annotations.json (or train.json ...) and images/")
    p.add_argument("--out", type=Path, required=True, help="run folder; holds folds.json")
    p.add_argument("--classes", choices=("one", "all"), default="one", help="one: find products; all: find and name them")
    p.add_argument("--recipe", default="small", help=f"one of {', '.join(RECIPES)}")
    p.add_argument("--quick", action="store_true", help="a rehearsal: 1 epoch at 160 px")
    p.add_argument("--pretrained", type=Path, help="local weights file to start from; nothing is ever downloaded")
    p.add_argument("--resume", action="store_true", help="go on with a stopped run")
    p.add_argument("--force", action="store_true", help="start again, replacing what is there")
    # --- fields of DetectorConfig
    p.add_argument("--family", choices=tuple(yolo.TRAINERS))
    p.add_argument("--model", help="model YAML that ultralytics carries")
    p.add_argument("--size", type=int, help="long side in pixels")
    p.add_argument("--epochs", type=int)
    p.add_argument("--min-steps", type=int)
    p.add_argument("--batch", type=int)
    p.add_argument("--optimizer")
    p.add_argument("--lr", type=float)
    p.add_argument("--lr-end", type=float)
    p.add_argument("--weight-decay", type=float)
    p.add_argument("--warmup-epochs", type=float)
    p.add_argument("--scale", type=float)
    p.add_argument("--translate", type=float)
    p.add_argument("--mosaic", type=float)
    p.add_argument("--copy-paste", type=float)
    p.add_argument("--flip-lr", type=float)
    p.add_argument("--hue", type=float)
    p.add_argument("--saturation", type=float)
    p.add_argument("--value", type=float)
    p.add_argument("--freeze", type=int, help="layers held still")
    p.add_argument("--patience", type=int, help="epochs without gain before it stops; 0: the last epoch counts")
    p.add_argument("--seed", type=int)
    p.add_argument("--device", help="as torch names it; empty: the GPU if there is one")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    args = parser().parse_args(argv)
    config = override(recipe(args.recipe, args.quick), vars(args))
    train(args.data, args.out, args.classes, config, args.pretrained, args.resume, args.force)


def train(
    data: Path,
    runs: Path,
    classes: str,
    config: DetectorConfig,
    pretrained: Path | None = None,
    resume: bool = False,
    force: bool = False,
) -> Path:
    """Train into RUNS/one or RUNS/all and return the exported model's path; a finished run is reused."""
    if pretrained is not None and not pretrained.is_file():
        raise ValueError(f"--pretrained: got {pretrained}, must be a local weights file")
    dataset = read(data)
    parts = folds.load(runs / "folds.json", dataset)
    out = runs / classes
    settings = asdict(config) | {
        "classes": classes,
        "pretrained": pretrained and record.fingerprint(pretrained),
        "folds": record.fingerprint(runs / "folds.json"),
    }
    if record.finished(out, settings, force):
        say(f"{classes}: reuses {out}")
        return out / "model.onnx"
    record.refuse_unfinished(out, is_stopped(out), resume, force)
    yolo.refuse(config, pretrained, out / "weights" / "last.pt" if resume else None)
    photos = {part: parts.labelled(part) for part in ("train", "valid")}
    last = out / "weights" / "last.pt"
    record.begin(out, settings, resume, () if pretrained and last.resolve() == pretrained.resolve() else (last,))
    started = time.time()
    say(
        f"{classes}: {config.model} on {len(photos['train'])} photos at {config.size} px, "
        f"{yolo.epochs(config, len(photos['train']))} epochs"
    )
    names = ["product"] if classes == "one" else [f"c{category.id}" for category in dataset.categories]

    def tell(line: str) -> None:
        say(f"{classes}: {line}")
        record.note(out, line)

    weights = yolo.fit(config, photos, names, out, tell, pretrained, resume)
    metrics = finish(weights, out, config, dataset, photos, classes)
    record.write_run(out, settings, metrics | {"minutes": (time.time() - started) / 60})
    return out / "model.onnx"


def is_stopped(out: Path) -> bool:
    """Whether OUT holds a run that was stopped: weights, but no run.json."""
    return (out / "weights" / "last.pt").is_file() and not (out / "run.json").is_file()


def weights_of(out: Path) -> Path:
    """The weights file of the finished run in OUT, for another run to start from."""
    best = out / "weights" / "best.pt"
    return best if read_object(out / "run.json")["settings"]["patience"] else best.with_name("last.pt")


def finish(
    weights: Path, out: Path, config: DetectorConfig, dataset: Dataset, photos: dict[str, tuple[Photo, ...]], classes: str
) -> dict[str, Any]:
    """Export `weights` to OUT/model.onnx, check it against torch, and score it on the valid photos."""
    categories = None if classes == "one" else [category.id for category in dataset.categories]
    sidecar = {
        "task": "detector",
        "family": config.family,
        "categories": categories,
        "size": config.size,
        "shape": yolo.SHAPES[config.family],
        "stride": 32,
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "max_det": yolo.max_det([*photos["train"], *photos["valid"]]),
    }
    parity = export_detector(yolo.for_export(yolo.load(weights), config), out / "model.onnx", sidecar, photos["valid"])
    say(f"{classes}: ONNX equals torch within {parity['boxes_px']:.1e} px and {parity['scores']:.1e}")
    scores = score(out / "model.onnx", photos["valid"], len(dataset.categories))
    say(f"{classes}: valid " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
    return {"parity": parity, "valid": scores}


def score(path: Path, photos: tuple[Photo, ...], n_categories: int) -> dict[str, float]:
    """mAP50 of the model at `path` alone on `photos`, one view and NMS: det, and cls where it knows categories."""
    model = Model(path)
    member = Member.of(path.name, model.sidecar, conf=VALID_CONF, nms_iou=VALID_NMS)
    found = [detect_one(model, member, read_image(p.path, p.width, p.height))[0] for p in photos]
    result = evaluate([Truth(p.boxes, p.labels) for p in photos], found, n_categories)
    named = {} if model.sidecar.categories is None else {"cls_map50": float(result.cls_map50)}
    return {"det_map50": float(result.det_map50)} | named


if __name__ == "__main__":
    raise SystemExit(main())

"""Train the starter detector on made-up packages alone, so that a detector need not begin from random weights.

    python -m stage1_detector.starter --out FILE --work DIR [--photos N] [--epochs E] [--seed S]
    python -m stage1_detector.starter --export R

FILE (.safetensors, half precision, at most MOST bytes) is a class-agnostic yolov8n that has seen composed photos of shelves,
spines, stacks and loose packages, no two alike, and nothing else. `--pretrained starter` of stage1_detector.train means the one
in this package, made by the command above. DIR keeps photos and run; a stopped run goes on by itself.
The second makes of it a run folder that finds products untrained: `submission.build --runs R` packs it.
"""

import time
from dataclasses import asdict, replace
from pathlib import Path

import torch

from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import read_sidecar
from photos.data import read
from runs import weights_file
from runs.command import Parser, run, say, say_progress
from runs.record import write_json
from runs.typed import typed
from stage1_detector.config import STARTER, DetectorConfig
from stage1_detector.engine import Job
from stage1_detector.export import export_detector
from stage1_detector.sidecar import sidecar
from stage1_detector.synthesis import composed_dataset
from stage1_detector.synthesis.coco_writer import REQUEST_FILE
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.ultralytics_engine import yolo
from stage1_detector.ultralytics_engine.detection_trainer import STARTER_MODEL, load_pretrained
from stage1_detector.validation import network_score

MOST = 15_000_000  # bytes; taken: what may be committed
SIZES = (320, 640, 224)  # chosen, on photos of other kinds than it was trained on: long sides that it looks in, untrained
FOUND = 1200  # chosen: most products on a photo that it may find; 759 are known elsewhere
FLOOR = 0.15  # measured: of 0.02 to 0.4 the best mean F1 of finding, on 53 photos of a fridge, book spines and snacks
MODULE = "python -m stage1_detector.starter"
UNSEEN = 10_000  # chosen: seeds are numbers; photos with this much more are never trained on
VALID = 100  # photos held out, of packages that are not trained on
LOOK = ShelfAppearance(
    sizes=((416, 312), (312, 416), (416, 416), (416, 234), (234, 416)), rows=(1, 7), kinds=(1.0, 0.5, 0.25, 0.9), turn=3.0,
    keystone=0.12, blur=(0.2, 1.1), noise=(1.0, 10.0), jpeg=(35, 95),
)  # fmt: skip
CONFIG = DetectorConfig(size=320, epochs=3, batch=8, warmup_epochs=0.1, lr=0.002, scale=0.5)


def train(out: Path, work: Path, photos: int, epochs: int, seed: int) -> None:
    """Draw, train and write the weights to OUT, and beside it what made them."""
    config = replace(CONFIG, epochs=epochs, seed=seed)
    sets = {}
    for part, count, its_seed in (("train", photos, seed), ("valid", VALID, seed + UNSEEN)):
        folder = work / part
        photos_of_part = composed_dataset.ComposedSet(
            composed_dataset.RandomPacks(), LOOK, [{"id": 0, "name": "product"}], count, its_seed
        )
        composed_dataset.draw(photos_of_part, folder, tell=lambda line: say_progress(f"starter: {line}"))
        sets[part] = read(folder).photos
    run_folder = work / "run"
    begun = (run_folder / "weights" / "last.pt").is_file()
    scorer = network_score(config, sidecar(config, None, sets), sets["valid"], 1)
    job = Job(config, sets, ["product"], run_folder, lambda line: say_progress(f"starter: {line}"), scorer, resume=begun)
    weights = yolo.fit(job)
    write(yolo.load_raw(weights), out)
    write_json(
        out.with_suffix(".json"),
        {
            "settings": {"photos": photos, "look": asdict(LOOK), "config": asdict(config)},
            "command": f"{MODULE} --photos {photos} --epochs {epochs} --seed {seed} --out FILE --work DIR",
            "hours": (time.time() - (work / "train" / REQUEST_FILE).stat().st_mtime)
            / 3600,  # from the first photo on, breaks included
        },
    )


def write(model: torch.nn.Module, out: Path) -> None:
    """Write the weights of `model` to OUT in half precision. Raises ValueError if they are more than MOST bytes."""
    weights_file.write_half_precision(model, out, MOST)


def export(folder: Path, weights: Path = STARTER, size: int = CONFIG.size) -> Path:
    """Write FOLDER/model.onnx and its sidecar: the detector in `weights`, for photos of `size` px on the long side."""
    config = replace(CONFIG, size=size)
    network = yolo.build(STARTER_MODEL, ["product"])
    load_pretrained(network, weights)
    described = sidecar(config, None, {"train": (), "valid": ()}) | {"max_det": FOUND}
    path = folder / "model.onnx"
    export_detector(yolo.for_export(network.fuse(verbose=False).eval(), config), path, described, ())
    return path


def export_into(runs: Path) -> None:
    """As `write_run_folder`. Raises ValueError where RUNS is there and not an empty folder."""
    if runs.exists() and (not runs.is_dir() or any(runs.iterdir())):
        raise ValueError(f"--export: got {runs}, need a new or empty folder")
    write_run_folder(runs)
    say(typed(f"starter: wrote {runs}; hylle build --runs", runs, "--out starter.zip packs it"))


def write_run_folder(runs: Path) -> None:
    """Write RUNS/one/model.onnx and RUNS/ensemble.json, which looks in SIZES and takes what it finds for one category, 0."""
    (runs / "one").mkdir(parents=True, exist_ok=True)
    path = export(runs / "one")
    plain = {"shape": "rectangle", "stride": 32}
    member = Member.of(
        "one/model.onnx", read_sidecar(path.with_suffix(".json")), views=[plain | {"size": size} for size in SIZES]
    )
    write_json(runs / "ensemble.json", asdict(Ensemble([0], [member], Merge(max_det=FOUND), min_scores={"f1": FLOOR})))


def body(argv: list[str] | None) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    p = Parser(prog="python -m stage1_detector.starter", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, help="weights file to write, .safetensors")
    p.add_argument("--work", type=Path, help="folder for photos and checkpoints")
    p.add_argument("--export", type=Path, help="run folder to write, of the weights in this package")
    p.add_argument("--photos", type=int, default=6000)
    p.add_argument("--epochs", type=int, default=3)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)
    if args.export is not None:
        export_into(args.export)
        return
    if args.out is None or args.work is None:
        raise ValueError("--out, --work: need both, or --export")
    if args.out.suffix != ".safetensors" or not args.out.parent.is_dir():
        raise ValueError(f"--out: got {args.out}, must be a .safetensors file in a folder that is there")
    if args.photos < 1 or args.epochs < 1:
        raise ValueError(f"--photos, --epochs: got {args.photos}, {args.epochs}, need at least 1")
    train(args.out, args.work, args.photos, args.epochs, args.seed)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


if __name__ == "__main__":
    raise SystemExit(main())

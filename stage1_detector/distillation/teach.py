"""Train a YOLO or RT-DETR with a teacher's help, and make of it a run like any other.

    python -m stage1_detector.distillation --data D --out R --teacher T [--student rtdetr-l] [--classes one|all] [--resume]
    torchrun --nproc-per-node N -m stage1_detector.distillation --data D --out R --teacher T ...

T is a finished run of any detector of the project, a file of transformers' Conditional DETR, or a recipe's name: that
one is trained first, into R/teacher, by one process. `none` trains the student alone, which is what it is compared with. The
student goes to R/one or R/all. Of several processes each takes its part of every batch, and the losses are those of one on the
whole batch.
"""

import argparse
import shutil
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

from photos import folds
from photos.data import read
from runs import checkpoint, record
from runs.command import run
from stage1_detector import train
from stage1_detector.config import Config, DetectorConfig
from stage1_detector.distillation import student, teacher
from stage1_detector.distillation.student import MATCHES, StudentConfig
from stage1_detector.families import FAMILIES
from stage1_detector.recipes import RECIPES, recipe
from stage1_detector.torch_engine import loop
from stage1_detector.torch_engine.distributed import SINGLE_PROCESS, Distributed, distributed_training
from stage1_detector.ultralytics_engine import yolo

NONE = "none"


def rtdetr_l() -> StudentConfig:
    """System E's student: RT-DETR-L at 640 px, 72 epochs, AdamW at 1e-4, batch 16. Needs a GPU. Not run here."""
    return StudentConfig(size=640, epochs=72, batch=16, lr=1e-4, lr_end=0.02, weight_decay=1e-4, clip=0.1, ema=0.9997)


def rtdetr_small() -> StudentConfig:
    """RT-DETR with a YOLOv8-n's backbone at 320 px, for a machine without a GPU; the recipe of the same name, in our loop."""
    return replace(rtdetr_l(), model="yolov8n-rtdetr.yaml", size=320, epochs=40, batch=4, lr=2e-4, ema=0.995, min_steps=1200)


def yolov8n() -> StudentConfig:
    """YOLOv8-n at 640 px, for a machine without a GPU: the recipe `small`, in our loop. The weight of the maps: chosen on book
    spines at 256 px, of 1, 6, 20 and 60.
    """
    return replace(
        rtdetr_small(), family="yolo", model="yolov8n.yaml", size=640, lr=2e-3, weight_decay=5e-4, clip=10.0, match="index",
        feature_weight=20.0,
    )  # fmt: skip


STUDENTS: dict[str, Callable[[], StudentConfig]] = {"rtdetr-l": rtdetr_l, "rtdetr-small": rtdetr_small, "yolov8n": yolov8n}


def parser() -> argparse.ArgumentParser:
    """The command's arguments; below the line, one for each setting of a student (None: as its recipe has it)."""
    p = argparse.ArgumentParser(prog="python -m stage1_detector.distillation", description=(__doc__ or "").split("\n")[0])
    train.ask_for_run(p)
    p.add_argument("--teacher", required=True, help="a finished run (R/one), a recipe to train first into OUT/teacher, or none")
    p.add_argument("--student", default="rtdetr-l", choices=list(STUDENTS))
    # --- settings
    p.add_argument("--feature-weight", type=float, help="weight of the teacher's maps; 0: without")
    p.add_argument("--class-weight", type=float, help="weight of the teacher's classes; 0: without")
    p.add_argument("--box-weight", type=float, help="weight of the teacher's boxes; 0: without")
    p.add_argument("--match", choices=MATCHES, help="the k-th with the k-th, or Hungarian")
    p.add_argument("--floor", type=float, help="score above which the teacher's predictions count")
    p.add_argument("--teacher-warmup", type=float, help="epochs in which its terms grow to their weights")
    p.add_argument("--queries", type=int, help="an RT-DETR's; 0: as many as the photos need, at least 300")
    p.add_argument("--decoder-layers", type=int, help="an RT-DETR's; 0: the model's")
    train.ask_for_settings(p)
    train.ask_for_loop(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    args = parser().parse_args(argv)
    config = wanted(args)
    with distributed_training(config.device) as distributed:
        given = args.pretrained, args.resume, args.force, args.synthetic
        distill(args.data, args.out, args.classes, config, args.teacher, *given, distributed)


def wanted(args: argparse.Namespace) -> StudentConfig:
    """The settings that the arguments ask for: a recipe of STUDENTS, and what is said otherwise."""
    config = STUDENTS[args.student]()
    asked = vars(args)
    given = {field.name: asked[field.name] for field in fields(StudentConfig) if asked.get(field.name) is not None}
    if "schedule" in given and "epochs" not in given:
        given |= {"epochs": 0, "min_steps": 0}
    return replace(config, **given)


def distill(
    data: Path,
    runs: Path,
    classes: str,
    config: StudentConfig,
    taught_by: str,
    pretrained: Path | None = None,
    resume: bool = False,
    force: bool = False,
    synthetic: Path | None = None,
    distributed: Distributed = SINGLE_PROCESS,
) -> Path:
    """Train a student into RUNS/one or RUNS/all and return the exported model's path; a finished run is reused."""
    if config.batch < distributed.world_size:
        raise ValueError(f"--batch: got {config.batch} photos for {distributed.world_size} processes, need one for each")
    dataset = read(data)
    wanted = None if classes == "one" else [category.id for category in dataset.categories]
    where = None if taught_by == NONE else teacher_run(taught_by, data, runs, classes, config.device, distributed)
    one, told = (None, "") if where is None else (teacher.load(where), record.fingerprint(weights_of(where)))
    if one is not None and where is not None:
        record.refuse_other_folds("--teacher", where, runs / folds.NAME)
        teacher.refuse_other_classes(one, where, wanted)
        student.refuse_match(config, one)
    build = partial(student.build, teacher=one, distributed=distributed)
    family = FAMILIES[config.family]._replace(
        fit=partial(loop.fit, network=loop.NetworkSpec(build, FAMILIES[config.family].input_format)), refuse=refuse
    )
    return train.train(
        data, runs, classes, config, pretrained, resume, force, synthetic, family, {"teacher": told}, distributed
    )


def refuse(config: Config, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a model, weights, checkpoint or device that training could not begin with."""
    assert isinstance(config, StudentConfig)
    yolo.refuse(DetectorConfig(family=config.family, model=config.model, device=config.device), None, None)
    if pretrained is not None:
        student.build(config, (), ["product"], pretrained)
    if last is not None:
        checkpoint.read(last, "--resume")


def weights_of(teacher: Path) -> Path:
    """The file of a teacher's weights."""
    return teacher if teacher.is_file() else record.weights_of(teacher)


def teacher_run(taught_by: str, data: Path, runs: Path, classes: str, device: str, distributed: Distributed) -> Path:
    """The teacher's run or file; a recipe's run is made, unless it is there. ValueError for none, or a recipe in several
    processes.
    """
    where = Path(taught_by)
    if where.exists():
        return where.parents[1] if where.is_file() and (where.parents[1] / "run.json").is_file() else where
    if taught_by not in RECIPES:
        raise ValueError(f"--teacher: got {taught_by}, must be a finished run, {NONE}, or a recipe: {', '.join(RECIPES)}")
    if distributed.world_size > 1:
        raise ValueError(
            f"--teacher: got the recipe {taught_by} in {distributed.world_size} processes; train it first, and pass its run"
        )
    where = runs / "teacher" / classes
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(runs / folds.NAME, where.parent / folds.NAME)
    config = replace(recipe(taught_by), device=device)
    train.train(data, where.parent, classes, config, resume=train.is_stopped(where))
    return where


if __name__ == "__main__":
    raise SystemExit(main())

"""One training of a student: its teacher found, or trained first, and the run made."""

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

from photos import folds, trained_names, trained_on
from photos.data import read
from runs import checkpoint, fetched, record, seen_photos
from runs.distributed import SINGLE_PROCESS, Distributed
from runs.pickled_file import refuse_untrusted
from runs.pretrained import refuse_own
from stage1_detector.config import Config, DetectorConfig
from stage1_detector.detector_run import DetectorRun, refuse_batch, train_detector
from stage1_detector.distillation import student, teacher
from stage1_detector.distillation.config import NONE, StudentConfig, refuse_teacher
from stage1_detector.families import FAMILIES
from stage1_detector.recipes import recipe
from stage1_detector.torch_engine import loop
from stage1_detector.ultralytics_engine import yolo


def train_student(
    request: DetectorRun, config: StudentConfig, taught_by: str, distributed: Distributed = SINGLE_PROCESS
) -> Path:
    """Train a student into RUNS/one or RUNS/all and return the exported model's path; a finished run is reused.

    `taught_by` is a finished run, a file of weights, a recipe or none, as the command's --teacher.
    """
    refuse_batch(config, distributed.world_size)
    dataset = read(request.data)
    categories = None if request.classes == "one" else [category.id for category in dataset.categories]
    where = None if taught_by == NONE else teacher_run(taught_by, request, config.device, distributed)
    if where is not None and where.is_file():
        fetched.refuse_changed(where, "--teacher")
    if where is not None and (where / "run.json").is_file():
        refuse_untrusted("--teacher", weights_of(where), request.trust)
    known, weights = (None, "") if where is None else (teacher.load(where), record.fingerprint(weights_of(where)))
    if known is not None and where is not None:
        trained_on.refuse_held_out("--teacher", where, request.folds, folds.load(request.folds, dataset))
        teacher.refuse_other_classes(known, where, categories)
        trained_names.refuse_exchanged([where], dataset)
        student.refuse_match(config, known)
    build = partial(student.build, teacher=known, distributed=distributed)
    family = FAMILIES[config.family]._replace(
        fit=partial(loop.fit, network=loop.NetworkSpec(build, FAMILIES[config.family].input_format)), refuse=refuse
    )
    return train_detector(request, config, family, {"teacher": weights}, distributed, () if where is None else (where,))


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


def finished_run_of(where: Path) -> Path:
    """The run folder that a file of weights is the result of; `where` itself for a folder, and for a file of no finished run.

    Raises ValueError for another file of a finished run, such as a checkpoint of an earlier epoch.
    """
    run = seen_photos.run_folder(where)
    if where.is_dir() or where.parent.name != "weights" or not (run / "run.json").is_file():
        return where
    if where.resolve() != (came_to := record.weights_of(run)).resolve():
        raise ValueError(f"--teacher: got {where}, must be what its run came to, {came_to.name}: pass the run, {run}")
    return run


def teacher_run(taught_by: str, request: DetectorRun, device: str, distributed: Distributed) -> Path:
    """The teacher's run or file; a recipe's run is made, unless it is there, by one process. Raises ValueError for others."""
    where = Path(taught_by)
    if where.exists():
        refuse_own("--teacher", where, request.out)
        return finished_run_of(where)
    refuse_teacher(taught_by)
    if distributed.world_size > 1:
        raise ValueError(
            f"--teacher: got the recipe {taught_by} in {distributed.world_size} processes, must be a finished run: one process "
            "trains a recipe; train it first into another folder (hylle train-detector --recipe "
            f"{taught_by} --classes {request.classes}), and pass its run"
        )
    where = request.runs / "teacher" / request.classes
    where.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(request.folds, where.parent / folds.NAME)
    stopped = record.is_stopped(where)
    teacher_request = DetectorRun(data=request.data, runs=where.parent, classes=request.classes, resume=stopped)
    config = replace(recipe(taught_by), device=device)
    try:
        train_detector(teacher_request, config)
    except ValueError:
        if not request.force:
            raise
        train_detector(replace(teacher_request, resume=False, force=True), config)  # it is stale: of other labels, or damaged
    return where

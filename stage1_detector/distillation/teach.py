"""Train a YOLO or RT-DETR with a teacher's help, and make of it a run like any other.

    python -m stage1_detector.distillation --data D --out R --teacher T [--student rtdetr-l] [--classes one|all] [--resume]
    torchrun --nproc-per-node N -m stage1_detector.distillation --data D --out R --teacher T ...

T is a finished run of any detector of the project, a file of transformers' Conditional DETR, or a recipe's name: that
one is trained first, into R/teacher, by one process. `none` trains the student alone, which is what it is compared with. The
student goes to R/one or R/all. Of several processes each takes its part of every batch, and the losses are those of one on the
whole batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any

from runs.command import run
from runs.flags import Flag, Help, Settings, parse
from stage1_detector.config import Config, LoopConfig
from stage1_detector.detector_run import DetectorRun, read_parts
from stage1_detector.distillation.config import STUDENTS, StudentConfig, refuse_teacher

GROUPS: dict[type, str] = {
    StudentConfig: "Settings of a student",
    Config: "Settings of all families",
    LoopConfig: "Settings of our own loop",
}
EXAMPLE = "--data photos --out run --teacher run/teacher/one --student yolov8n"
NOTES = "Defaults are those of --student rtdetr-l; another student has its own."


@dataclass(frozen=True, kw_only=True)
class Command(DetectorRun):
    """The flags of the command that are no settings of the training."""

    teacher: Annotated[str, Flag("a finished run (R/one), a recipe to train first into OUT/teacher, or none")]
    student: Annotated[str, Flag("named settings to start from", choices=tuple(STUDENTS))] = "rtdetr-l"


def main(argv: list[str] | None = None, prog: str = "python -m stage1_detector.distillation") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog, distributed=True)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    command, given = read_arguments(argv, prog)
    config = config_of(command, given)
    refuse_teacher(command.teacher)
    read_parts(command, config)  # refuses what is not there before the slow imports
    from runs.distributed import distributed_training
    from stage1_detector.distillation.student_run import train_student

    with distributed_training(config.device) as distributed:
        train_student(command, config, command.teacher, distributed)


def read_arguments(argv: list[str] | None, prog: str) -> tuple[Command, dict[str, Any]]:
    """The command, and the settings that are given beside the student's."""
    text = Help(prog, (__doc__ or "").split("\n")[0], EXAMPLE, NOTES)
    return parse(Command, argv, text, Settings(GROUPS, STUDENTS["rtdetr-l"]()))


def config_of(command: Command, given: Mapping[str, Any]) -> StudentConfig:
    """The settings that the arguments ask for: those of a named student, and what is given otherwise."""
    length = {"epochs": 0, "min_steps": 0} if "schedule" in given and "epochs" not in given else {}
    return replace(STUDENTS[command.student](), **length | given)


if __name__ == "__main__":
    raise SystemExit(main())

"""Train one detector on the folds of a run folder, export it, and score it on the valid part.

    python -m stage1_detector.train --data D --out R --classes one|all [--recipe NAME] [--quick] [--pretrained FILE] [--resume]
    torchrun --nproc-per-node N -m stage1_detector.train --data D --out R --classes one|all ...

`--classes one` is class-agnostic and goes to R/one; `--classes all` keeps the class scores and goes to R/all. Several processes
share every batch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from runs.command import run
from runs.flags import Flag, Help, Settings, parse
from runs.torchrun import is_torchrun
from stage1_detector.config import GROUPS, Config, override
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.recipes import RECIPES, recipe, rehearsal

EXAMPLE = "--data photos --out run --classes one --pretrained starter"
NOTES = "Defaults are those of --recipe small; another recipe, or family, has its own."


@dataclass(frozen=True, kw_only=True)
class Command(DetectorRun):
    """The flags of the command that are no settings of the training."""

    recipe: Annotated[str, Flag("named settings to start from", choices=tuple(RECIPES))] = "small"
    quick: Annotated[bool, Flag("a rehearsal: 1 epoch at 160 px")] = False


def main(argv: list[str] | None = None, prog: str = "python -m stage1_detector.train") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog, distributed=True)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    command, given = read_arguments(argv, prog)
    config = config_of(command, given)
    if not is_torchrun():
        train_detector(command, config)
        return
    from runs.distributed import distributed_training  # here: it loads torch, which takes seconds

    with distributed_training(config.device) as distributed:
        train_detector(command, config, distributed=distributed)


def read_arguments(argv: list[str] | None, prog: str) -> tuple[Command, dict[str, Any]]:
    """The command, and the settings that are given beside the recipe's."""
    text = Help(prog, (__doc__ or "").split("\n")[0], EXAMPLE, NOTES)
    return parse(Command, argv, text, Settings(GROUPS, recipe("small")))


def config_of(command: Command, given: Mapping[str, Any]) -> Config:
    """The settings that the arguments ask for: a recipe, what is given otherwise, and a rehearsal of both where --quick is."""
    config = override(recipe(command.recipe), given)
    return override(rehearsal(config), given) if command.quick else config


if __name__ == "__main__":
    raise SystemExit(main())

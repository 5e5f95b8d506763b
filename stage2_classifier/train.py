"""Train the crop classifier on the folds of a run folder, calibrate its temperature on held-out crops, and export it.

    python -m stage2_classifier.train --crops shelf|studio|both --data D --out R [--recipe NAME] [--studio DIR] [--resume]
    torchrun --nproc-per-node N -m stage2_classifier.train --crops shelf|studio|both --data D --out R ...

It goes to R/classifier_shelf, R/classifier_studio or R/classifier_both, or to R/NAME with `--name NAME`. Several processes
share the crops of every step, and learn what one does.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from runs.command import run
from runs.flags import Flag, Help, Settings, parse
from runs.pretrained import word_of
from runs.torchrun import is_torchrun
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.config import RECIPES, ClassifierConfig, override, recipe
from stage2_classifier.pretrained import with_best_backbone
from stage2_classifier.training_request import ClassifierRun

EXAMPLE = "--data photos --out run --crops shelf --pretrained starter"
NOTES = "Defaults are those of --recipe small; another recipe has its own."


@dataclass(frozen=True, kw_only=True)
class Command(ClassifierRun):
    """The flags of the command that are no settings of the training."""

    recipe: Annotated[str, Flag("named settings to start from", choices=tuple(RECIPES))] = "small"


def main(argv: list[str] | None = None, prog: str = "python -m stage2_classifier.train") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog, distributed=True)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    command, given = read_arguments(argv, prog)
    config = config_of(command, given)
    if not is_torchrun():
        train_classifier(command, config)
        return
    from runs.distributed import distributed_training  # here: it loads torch, which takes seconds

    with distributed_training("") as distributed:
        train_classifier(command, config, distributed)


def read_arguments(argv: list[str] | None, prog: str) -> tuple[Command, dict[str, Any]]:
    """The command, and the settings that are given beside the recipe's."""
    text = Help(prog, (__doc__ or "").split("\n")[0], EXAMPLE, NOTES)
    groups: dict[type, str] = {ClassifierConfig: "Settings of the training"}
    return parse(Command, argv, text, Settings(groups, recipe("small")))


def config_of(command: Command, given: dict[str, Any]) -> ClassifierConfig:
    """The settings that the arguments ask for: a recipe, and what is given otherwise.

    With `--pretrained auto` and no --model it is the best backbone whose weights are on this machine.
    """
    config = override(recipe(command.recipe, command.quick), given)
    free = word_of(command.pretrained) == "auto" and given.get("model") is None
    return with_best_backbone(config) if free else config


if __name__ == "__main__":
    raise SystemExit(main())

"""Train one detector on the folds of a run folder, export it, and score it on the valid part.

    python -m stage1_detector.train --data D --out R --classes one|all [--recipe NAME] [--quick] [--pretrained FILE] [--resume]
    torchrun --nproc-per-node N -m stage1_detector.train --data D --out R --classes one|all ...

`--classes one` is class-agnostic and goes to R/one; `--classes all` keeps the class scores and goes to R/all. Several processes
share every batch. With `--start-share 0.3` the exported detector has so much of the weights that it started from.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fusion.models import Model, read_object
from photos import folds
from photos.data import read
from runs.command import run, say
from runs.flags import Flag, Help, Settings, check, parse
from runs.pretrained import refuse_missing
from runs.torchrun import is_torchrun
from stage1_detector.config import GROUPS, Config, override
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.pretrained import start
from stage1_detector.recipes import RECIPES, recipe, rehearsal

EXAMPLE = "--data photos --out run --classes one --pretrained starter"
NOTES = "Defaults are those of --recipe small; another recipe, or family, has its own."


@dataclass(frozen=True, kw_only=True)
class Command(DetectorRun):
    """The flags of the command that are no settings of the training."""

    recipe: Annotated[str, Flag("named settings to start from", choices=tuple(RECIPES))] = "small"
    quick: Annotated[bool, Flag("a rehearsal: 1 epoch at 160 px")] = False
    start_share: Annotated[float, Flag("share of its start's weights that it keeps: finds more in other shops", 0.0, 1.0)] = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError for a value that is not allowed, naming the flag."""
        check(self)


def main(argv: list[str] | None = None, prog: str = "python -m stage1_detector.train") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog, distributed=True)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and train. Raises ValueError for what the user can mend."""
    command, given = read_arguments(argv, prog)
    config = config_of(command, given)
    refuse_share(command, config)
    if not is_torchrun():
        train_detector(command, config)
        with_share(command, config)
        return
    from runs.distributed import distributed_training  # here: it loads torch, which takes seconds

    with distributed_training(config.device) as distributed:
        train_detector(command, config, distributed=distributed)
        if distributed.is_main:
            with_share(command, config)


def refuse_share(command: Command, config: Config) -> None:
    """Raises ValueError, before anything is trained, for a share of a start that the detector could not keep."""
    if command.start_share:
        refuse_missing(command.pretrained)
        names = ["product"] if command.classes == "one" else [category.name for category in read(command.data).categories]
        from stage1_detector import start_share  # here: it loads torch, which takes seconds

        start_share.refuse(command.start_share, start(command.pretrained, config).path, config, names)


def with_share(command: Command, config: Config) -> None:
    """Let the exported detector have the share of its start, or none of it again; says what that changes on valid."""
    from stage1_detector import start_share, validation  # here: they load torch, which takes seconds

    if not command.start_share and not (command.out / start_share.NAME).is_file():
        return
    parts, began = folds.load(command.folds, read(command.data)), start(command.pretrained, config).path
    photos = parts.photos("train") if command.refit else parts.labelled("valid")
    written = start_share.export_with(command.out, began, command.start_share, config, photos)
    if written and not command.start_share:
        say(f"{command.classes}: model.onnx is written anew, with nothing of the weights that it started from")
    elif command.start_share and not command.refit:
        found = validation.score(Model(command.out / "model.onnx"), photos, len(parts.dataset.categories))["det_map50"]
        without = read_object(command.out / "run.json")["metrics"]["valid"]["det_map50"]
        kept = f"{command.classes}: keeps {command.start_share:.0%} of the weights that it started from"
        say(f"{kept}: valid det_map50 {found:.3f}, {without:.3f} with none of them; other shops gain more")


def read_arguments(argv: list[str] | None, prog: str) -> tuple[Command, dict[str, Any]]:
    """The command, and the settings that are given beside the recipe's."""
    text = Help(prog, (__doc__ or "").split("\n")[0], EXAMPLE, NOTES)
    return parse(Command, argv, text, Settings(GROUPS, recipe("small")))


def config_of(command: Command, given: Mapping[str, Any]) -> Config:
    """The settings that the arguments ask for: a recipe, what is given otherwise, and a rehearsal of both where --quick is."""
    config = override(recipe(command.recipe), given)
    beside = {name: value for name, value in given.items() if name != "schedule"}  # given again, it sets the length
    return override(rehearsal(config), beside) if command.quick else config


if __name__ == "__main__":
    raise SystemExit(main())

"""From labelled photos to the best zip that the minutes allow: plan, train on every label, fit the gate, pack, check.

    hylle fit D --minutes M [--out R] [--plan]

It keeps within the minutes, which count over all starts: a stopped fit goes on with the same command.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Annotated

from fitting import ledger as ledgers
from fitting.cross_fit import FOLDER
from fitting.ledger import Ledger
from fitting.origin import fingerprints_of
from fitting.procedure import SECOND
from fitting.survey import Survey, survey
from fitting.wishes import Wishes
from photos import exif, folds, judge_ids, repairs
from photos.data import Dataset, read
from photos.groups import groups_setting
from photos.overview.anomalies import doubtful_labels
from photos.overview.unlabelled import without_boxes
from photos.studio import told_without_photos
from runs.command import note_result, run, say
from runs.counted import counted
from runs.first_command import CROPS, DETECTORS
from runs.flags import Flag, Help, Settings, flag_of, name_of, parse
from runs.pretrained import refuse_missing, refuse_own
from runs.refusal import Refusal
from stage2_classifier.training_request import run_name

EXAMPLE = "D --minutes 90"
Ending = Callable[[Path, Dataset], None]  # what comes after a fit, given its run folder and its data set
NOTES = "The first word may be the data set. What is left at 0, empty or auto is planned; --plan shows the plan and stops."


@dataclass(frozen=True, kw_only=True)
class Command:
    """The flags of the command that are no choices of the plan."""

    data: Annotated[Path, Flag("folder of photos and labels (COCO, YOLO, VOC or CSV)")]
    minutes: Annotated[float, Flag("minutes that it may take in all", 1.0, 1e5)]
    out: Annotated[Path | None, Flag("run folder; default NAME_fit, by the name of the data set, in this folder")] = None
    plan: Annotated[bool, Flag("show the plan and stop")] = False

    @property
    def runs(self) -> Path:
        """The run folder."""
        return self.out or Path(f"{self.data.resolve().name}_fit")


def main(argv: list[str] | None = None, prog: str = "python -m fitting.fit", ending: Ending | None = None) -> int:
    """The command, and after a fit that was carried out the `ending`; returns the exit code."""
    return run(partial(body, ending=ending), argv, prog)


def body(argv: list[str] | None, prog: str, ending: Ending | None = None) -> None:
    """Read the arguments and fit. Raises ValueError for what the user can mend."""
    command, wishes = read_arguments(argv, prog)
    try:
        dataset = fit(command, wishes)
    except ValueError as error:
        raise ValueError(in_own_words(error)) from error
    if ending is not None and not command.plan:
        ending(command.runs, dataset)


def fit(command: Command, wishes: Wishes) -> Dataset:
    """Plan and, unless the plan alone is asked for, carry it out; returns the data set.

    Raises ValueError for what the user can mend.
    """
    started = time.monotonic()
    dataset, found = examined(command, wishes)
    ledger = record_of(command, dataset, wishes)
    repairs.tell(dataset)
    for line in (f"{command.data}: {found.summary}", *remarks(dataset)):
        say(f"fit: {line}")
    from fitting import report, session  # here: they take seconds to load

    begun = session.begin(session.Order(dataset, found, command.runs, command.minutes, wishes, started), ledger, say)
    for line in [*report.speed_lines(begun.speeds, begun.procedure, found), *report.plan_lines(begun.ledger)]:
        say(f"fit: {line}")
    if command.plan:
        session.show_folds(begun, say)
        return dataset
    fitted = session.finish(begun, say)
    names = [category.name for category in dataset.categories]
    whole = folds.load(command.runs / folds.NAME, dataset)
    missing = report.missing_lines(fitted, whole.photos("train"), names, whole.photos("valid"))
    for line in [*report.result_lines(fitted, ledger), *missing]:
        say(f"fit: {line}")
    note_result(runs=command.runs, zip=command.runs / session.ZIP, score=fitted.score, resampled=fitted.resampled)
    note_result(figures=fitted.figures, test=fitted.test, minutes=ledger.spent / 60)
    return dataset


def in_own_words(error: ValueError) -> str:
    """What a step of the fit refuses, without flags of that step's own command that this one has not."""
    message = error.told_by("fit into another folder, by --out") if isinstance(error, Refusal) else str(error)
    flag, colon, rest = message.partition(": ")
    return rest if colon and flag.startswith("--") and flag not in flags() else message


def flags() -> set[str]:
    """All flags of the command."""
    by_field = [(field, flag_of(field)) for kind in (Command, Wishes) for field in fields(kind)]
    return {name_of(field, flag) for field, flag in by_field if flag is not None}


def read_arguments(argv: Sequence[str] | None, prog: str) -> tuple[Command, Wishes]:
    """The command and the wishes. Raises ValueError for arguments that are wrong."""
    words = with_data_flag(sys.argv[1:] if argv is None else argv)
    text = Help(prog, (__doc__ or "").split("\n")[0], EXAMPLE, NOTES)
    command, given = parse(Command, words, text, Settings({Wishes: "Choices of the plan"}, Wishes()))
    return command, Wishes(**given)


def with_data_flag(words: Sequence[str]) -> list[str]:
    """The words with --data before a first one that is no flag.

    >>> with_data_flag(["D", "--minutes", "9"]), with_data_flag([]), with_data_flag(["--plan"])
    (['--data', 'D', '--minutes', '9'], [], ['--plan'])
    """
    return ["--data", *words] if words and not words[0].startswith("-") else list(words)


def examined(command: Command, wishes: Wishes) -> tuple[Dataset, Survey]:
    """The data set and what it holds. Raises ValueError where there is nothing to learn from, or nowhere to write."""
    folds.refuse_file(command.runs)
    groups_setting(wishes.groups)
    refuse_missing(Path(wishes.pretrained))
    refuse_own("--pretrained", Path(wishes.pretrained), command.runs)
    dataset = read(command.data)
    found = survey(dataset)
    exif.convention(dataset)  # else refused only after the folds are trained
    if wishes.crops == "both" and not found.studio_photos:
        raise ValueError(f"--crops both: {command.data} has no studio photos of its products; --crops shelf needs none")
    with_boxes = sum(len(photo.boxes) > 0 for photo in dataset.photos if photo.part != "test")
    if with_boxes < (wishes.folds or 2):
        need = f"need {wishes.folds or 2} or more, to leave some out in turn"
        raise ValueError(f"{command.data}: {counted(with_boxes, 'photo')} with boxes to train on, {need}")
    return dataset, found


def remarks(dataset: Dataset) -> Iterator[str]:
    """What of the set its user may not know, and what the fit makes of it."""
    bare = without_boxes([photo for photo in dataset.photos if photo.part != "test"])
    if bare.guess in ("empty", "unlabelled"):
        looks = f"; they look unlabelled, as {bare.why}: label them, or take them out" if bare.guess == "unlabelled" else ""
        photos = counted(len(bare.names), "photo")
        yield f"{photos} without boxes (the first is {bare.names[0]}), taken for shelves without products{looks}"
    yield from (f"labels in doubt: {line}; hylle data {dataset.root} tells more" for line in doubtful_labels(dataset))
    if without := told_without_photos(dataset.root):
        yield without
    yield from exif.summary(dataset.photos)
    yield from judge_ids.compare(dataset).lines()


def record_of(command: Command, dataset: Dataset, wishes: Wishes) -> Ledger:
    """The record of the fit in R, or a new one. Raises ValueError where R is of something else."""
    runs, made_from = command.runs, fingerprints_of(dataset, wishes.crops != "shelf")
    ledger = ledgers.load(runs)
    new = Ledger(made_from, ledgers.comparable(asdict(wishes)), command.minutes)
    if ledger is None:
        if (runs / folds.NAME).is_file():
            raise ValueError(f"--out: {runs} holds {folds.NAME} of other commands and no {ledgers.NAME}; take another --out")
        refuse_models(runs)
        return new
    try:
        ledgers.refuse_other(runs, ledger, made_from, wishes)
    except ValueError:
        if (runs / folds.NAME).is_file() or ledger.is_begun:
            raise
        refuse_models(runs)
        say(f"fit: {runs} holds the plan of another fit, of which nothing was begun: this one takes its place")
        return new
    if ledger.minutes != command.minutes:
        give(ledger, command.minutes, dealt=(runs / folds.NAME).is_file())
    return ledger


def refuse_models(runs: Path) -> None:
    """Raises ValueError where RUNS, in which nothing was begun, holds models: else one is only met when its turn comes."""
    folders = (*DETECTORS, *(run_name(None, crops) for crops in CROPS), SECOND, FOLDER)
    if left := [name for name in folders if (runs / name).is_dir() and any((runs / name).iterdir())]:
        raise ValueError(
            f"--out: {runs} holds {', '.join(left)} of another fit or of other commands, and no {ledgers.NAME} of them; "
            "remove them, or take another --out"
        )


def give(ledger: Ledger, minutes: float, dealt: bool) -> None:
    """Change the minutes of a fit, and say what that changes; a plan goes of which nothing was begun, nor its folds `dealt`."""
    say(f"fit: {minutes:g} minutes in all, {ledger.minutes:g} before, of which {ledger.spent / 60:.1f} are spent")
    ledger.minutes = minutes
    if ledger.parts and all(part.decided for part in ledger.parts.values() if part.epochs):
        say("fit: all trainings were begun, and keep their epochs: for longer ones fit into another folder, by --out")
    elif dealt or ledger.is_begun:
        say("fit: canvas, crops and folds stay as they were planned: for others fit into another folder, by --out")
    elif ledger.parts:
        say("fit: of the plan nothing was begun: it is made anew")
        ledger.parts = {}


if __name__ == "__main__":
    raise SystemExit(main())

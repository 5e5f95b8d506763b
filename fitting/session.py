"""One fit from labels to a checked zip: survey, measurement, plan, procedure, zip. A stopped one goes on where it was."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fitting import cross_fit, machine, report, starts
from fitting.ledger import Ledger
from fitting.plan import AIM, LEFT_OUT_PHOTOS, SANDBOX_PHOTOS, candidates, fixed_parts, fixed_stages, lay_out
from fitting.procedure import Fitted, Procedure, Say, procedure_from
from fitting.run import refuse_unplanned, run_procedure
from fitting.speeds import Speeds
from fitting.survey import Survey
from fitting.time_keeper import TimeKeeper
from fitting.wishes import Wishes
from fitting.workload import Share, trainings
from photos import folds
from photos.data import Dataset, Photo, read_image
from photos.photo_file import photo_kind
from runs import process, record
from runs.counted import counted
from runs.model_files import files_of
from runs.pretrained import WORDS
from stage1_detector.synthesis.coco_writer import write_jpeg
from submission import judge_machine, sandbox
from submission.build import build
from submission.rules import MAX_WEIGHTS

ZIP = "submission.zip"
JPEG_QUALITY = 95  # chosen: of photos of other kinds, where the zip is tried on them
SOON = 60.0  # chosen: seconds; no longer does --plan, which measures for about as long, look for the scenes
SANDBOX = "sandbox.json"  # beside the zip: how long it took there


class Order(NamedTuple):
    """What is asked: the data set, the run folder, the minutes, what the user decides, and when (by `time.monotonic`)."""

    dataset: Dataset
    survey: Survey
    runs: Path
    minutes: float
    wishes: Wishes
    started: float


class Session(NamedTuple):
    """A fit whose plan is made: what was asked, the record of it, and the machine's speeds."""

    order: Order
    ledger: Ledger
    speeds: Speeds

    @property
    def procedure(self) -> Procedure:
        """The procedure as it was decided; the files that it names under their paths of now (`ledger.comparable`)."""
        wishes = self.order.wishes
        files = {name: getattr(wishes, name) for name in ("groups", "pretrained", "crop_pretrained")}
        now = {name: path for name, path in files.items() if path not in WORDS and Path(path).is_file()}
        return replace(procedure_from(self.ledger.procedure), **now, trust=wishes.trust)


def begin(order: Order, ledger: Ledger, say: Say) -> Session:
    """Measure the machine and lay out the plan, or take both as they were decided.

    Raises ValueError where the minutes are too few, a network is unknown, another process is at work on the run folder, or an
    ensemble.json there names models that are not planned.
    """
    wishes, of_which = starts.settled(order.survey, order.wishes)
    order = order._replace(wishes=wishes)
    if of_which:
        say(f"fit: start: {of_which}")
    wanted = next(candidates(order.survey, order.wishes)).procedure
    machine.refuse_unknown(wanted, wishes.crop_size)
    process.claim(order.runs)
    try:
        allowed = machine.SHARE * order.minutes * 60
        speeds = machine.measured(order.runs, order.dataset.photos, wanted, allowed, say, wishes.crop_size)
        if not ledger.parts:
            spent = ledger.spent + time.monotonic() - order.started
            ledger.take(lay_out(order.survey, speeds, order.wishes, order.minutes * 60 * AIM, spent))
        session = Session(order, ledger, speeds)
        refuse_unplanned(order.runs, session.procedure, order.dataset)
    except BaseException:
        leave(order.runs)
        raise
    return session


def leave(runs: Path) -> None:
    """Note that this process is no more at work on the run folder: it may go on with something else."""
    process.release(runs)


def show_folds(session: Session, say: Say) -> None:
    """Say what the folds of a plan would hold where that is soon known, and leave the run folder.

    Raises ValueError where the photos have too few scenes to carry the plan out.
    """
    order, procedure = session.order, session.procedure
    leave(order.runs)
    found = procedure.groups != "auto" or session.speeds.scenes(order.survey) <= SOON
    if not found or (order.runs / folds.NAME).is_file():
        return
    try:
        whole = cross_fit.dealt(order.dataset, procedure, least_left_out(order.wishes))
    except cross_fit.TooFewLeftOut as error:
        plan_anew(session, error, say)
        whole = cross_fit.dealt(order.dataset, session.procedure)
    for line in cross_fit.in_words(whole, session.procedure.folds):
        say(line)


def least_left_out(wishes: Wishes) -> int:
    """Labelled photos that a fold which is left out for good must have, unless the user wants it so."""
    return LEFT_OUT_PHOTOS if wishes.refit == "auto" else 0


def finish(session: Session, say: Say) -> Fitted:
    """Carry the plan out, and pack, check and try the zip."""
    order, keeper = session.order, dealt(session, say)
    fitted = run_procedure(order.dataset.root, order.runs, session.procedure, say, keeper, session.ledger.made_from)
    with keeper.timed("zip"):
        too_many = len(set(files_of(fitted.ensemble))) > MAX_WEIGHTS
        sha = build(order.runs, order.runs / ZIP, join=too_many)
        say(f"zip: {order.runs / ZIP}, checked, sha256 {sha}")
        say(f"zip: {tried(order.runs / ZIP, order.dataset.photos)}")
    leave(order.runs)
    return fitted


def dealt(session: Session, say: Say) -> TimeKeeper:
    """Deal the photos into folds, and foresee the trainings by what each really leaves out; returns who keeps their time.

    Planned anew, with a refit, where the plan was to leave one fold out for good and no scenes make one that is enough.
    """
    try:
        return _dealt(session, session.order.started, say)
    except cross_fit.TooFewLeftOut as error:
        plan_anew(session, error, say)
    return _dealt(session, time.monotonic(), say)


def plan_anew(session: Session, error: cross_fit.TooFewLeftOut, say: Say) -> None:
    """Lay out a plan with a refit, and say so. Raises ValueError where the minutes are too few for it."""
    order, ledger = session.order, session.ledger
    say(f"fit: {error}: planned anew, with a refit")
    wishes = replace(order.wishes, refit="yes")
    ledger.take(lay_out(order.survey, session.speeds, wishes, ledger.minutes * 60 * AIM, ledger.spent))
    ledger.changes.append(f"a refit, as {error}")
    for line in report.plan_lines(ledger):
        say(f"fit: {line}")


def _dealt(session: Session, since: float, say: Say) -> TimeKeeper:
    """The same by the plan as it is; its time counts `since` then. TooFewLeftOut where it leaves too few out for good."""
    order, procedure, fixed = session.order, session.procedure, fixed_stages(session.order.wishes)
    keeper = TimeKeeper(order.runs, session.ledger, list(trainings(procedure, order.survey, fixed)), session.speeds, say)
    keeper.last = since
    with keeper.timed("scenes"):  # what they hold is told when they are dealt again
        _, *by_fold = cross_fit.deal(order.dataset, order.runs, procedure, lambda line: None, least_left_out(order.wishes))
    shares = [share_of(fold.photos("valid")) for fold in by_fold]
    entries = trainings(procedure, order.survey, fixed, shares)
    keeper.as_dealt(list(entries), fixed_parts(procedure, order.survey, session.speeds, shares))
    return keeper


def share_of(photos: Sequence[Photo]) -> Share:
    """What a fold that leaves these photos out holds."""
    return Share(len(photos), sum(len(photo.boxes) for photo in photos))


def lay_as_the_judge(photos: Sequence[Photo], folder: Path) -> None:
    """Put the photos into FOLDER under the judge's names, as JPEG: run.py looks at no other kind, as the judge has no other."""
    for i, photo in enumerate(photos):
        place = folder / f"img_{i + 1:05d}.jpg"
        if photo_kind(photo.path) == "JPEG":
            shutil.copyfile(photo.path, place)
        else:
            write_jpeg(place, read_image(photo.path, photo.width, photo.height), JPEG_QUALITY)


def tried(archive: Path, photos: Sequence[Photo]) -> str:
    """Run the zip on a few photos in the sandbox, note the times beside it, and say what came of it.

    Raises ValueError with the first problem.
    """
    if not judge_machine.is_set_up():
        return "not run: there is no environment of the judge here; hylle sandbox --set-up makes it"
    shown = [photo for photo in photos if photo.part == "test"][:SANDBOX_PHOTOS] or photos[:SANDBOX_PHOTOS]
    with tempfile.TemporaryDirectory() as folder:
        lay_as_the_judge(shown, Path(folder))
        python = judge_machine.Machine(judge_machine.judge_python())
        outcome = sandbox.execute(archive, Path(folder), Path(folder) / "predictions.json", python)
    told = {"photos": len(shown), "seconds": outcome.seconds, "peak_mb": outcome.peak_mb, "by_part": outcome.by_part}
    told |= {"zip": record.fingerprint(archive)}
    record.write_json(archive.with_name(SANDBOX), told)
    if outcome.problems:
        raise ValueError(f"{archive}: in the sandbox: {outcome.problems[0]}")
    came_of_it = f"{counted(outcome.predictions, 'prediction')} on {counted(len(shown), 'photo')}"
    warnings = "".join(f"; warning: {warning}" for warning in outcome.warnings)
    return f"run in the sandbox: {came_of_it} in {outcome.seconds:.1f} s{warnings}"

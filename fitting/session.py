"""One fit from labels to a checked zip: survey, measurement, plan, procedure, zip. A stopped one goes on where it was."""

import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fitting import cross_fit, machine, starts
from fitting.ledger import Ledger
from fitting.plan import AIM, SANDBOX_PHOTOS, candidates, fixed_stages, lay_out, procedure_from
from fitting.procedure import Fitted, Procedure, Say
from fitting.run import run_procedure
from fitting.speeds import Speeds
from fitting.survey import Survey
from fitting.time_keeper import TimeKeeper
from fitting.wishes import Wishes
from fitting.workload import trainings
from photos.data import Dataset, Photo, read_image
from photos.photo_file import photo_kind
from runs import process, record
from runs.counted import counted
from runs.pretrained import WORDS
from stage1_detector.synthesis.coco_writer import write_jpeg
from submission import judge_machine, sandbox
from submission.build import build

ZIP = "submission.zip"
JPEG_QUALITY = 95  # chosen: of photos of other kinds, where the zip is tried on them
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

    Raises ValueError where the minutes are too few, a network is unknown, or another process is at work on the run folder.
    """
    wishes, of_which = starts.settled(order.survey, order.wishes)
    order = order._replace(wishes=wishes)
    if of_which:
        say(f"fit: start: {of_which}")
    wanted = next(candidates(order.survey, order.wishes)).procedure
    machine.refuse_unknown(wanted)
    order.runs.mkdir(parents=True, exist_ok=True)
    process.refuse_second(order.runs)
    process.note(order.runs)
    speeds = machine.measured(order.runs, order.dataset.photos, wanted, machine.SHARE * order.minutes * 60, say)
    if not ledger.parts:
        spent = ledger.spent + time.monotonic() - order.started
        ledger.take(lay_out(order.survey, speeds, order.wishes, order.minutes * 60 * AIM, spent))
    return Session(order, ledger, speeds)


def finish(session: Session, say: Say) -> Fitted:
    """Carry the plan out, and pack, check and try the zip."""
    order, procedure = session.order, session.procedure
    entries = list(trainings(procedure, order.survey, fixed_stages(order.wishes)))
    keeper = TimeKeeper(order.runs, session.ledger, entries, session.speeds, say)
    keeper.last = order.started
    with keeper.timed("scenes"):
        _, *by_fold = cross_fit.deal(order.dataset, order.runs, procedure, lambda line: None)  # told when it is dealt again
    if procedure.refit:
        keeper.keep_folds(len(by_fold))
    fitted = run_procedure(order.dataset.root, order.runs, procedure, say, keeper)
    with keeper.timed("zip"):
        sha = build(order.runs, order.runs / ZIP)
        say(f"zip: {order.runs / ZIP}, checked, sha256 {sha}")
        say(f"zip: {tried(order.runs / ZIP, order.dataset.photos)}")
    (order.runs / process.NAME).unlink(missing_ok=True)  # the process may go on with something else
    return fitted


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
    return f"run in the sandbox: {came_of_it} in {outcome.seconds:.1f} s"

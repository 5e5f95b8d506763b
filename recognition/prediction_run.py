"""Predict on all inputs, one after the other: into the journal and the pictures first, into the tables at the end."""

import errno
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import cv2
import numpy as np

import recognition
from fusion.boxes import xywh_to_xyxy
from fusion.ensemble import Part
from photos.code_version import code_version
from recognition import journal as journal_file
from recognition import openvino_session
from recognition.drawing import Mark, annotated, colour_of
from recognition.fonts import undrawn
from recognition.frames import Frame, estimated_frames, read_photo, read_video
from recognition.inputs import PICTURES, Input, Inputs
from recognition.journal import Entry, Journal, stamp_of
from recognition.margin import Line
from recognition.recogniser import ONNXRUNTIME, Recogniser
from recognition.tables import HEADERS, JSON, Products, Totals, write_tables
from runs import process
from runs.command import in_words
from runs.named_file import naming

QUALITY = 90  # chosen: of the pictures' JPEG
JPEG = (".jpg", ".jpeg")
LONGEST_NAME = 255  # taken: bytes of a file name
OF_NAMES = (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)  # some disks take no ?
UNREADABLE = (ValueError, OSError, MemoryError, cv2.error)
Tell = Callable[[int, float], None]


@dataclass(frozen=True)
class Job:
    """What is predicted with, and how: the least score that counts, frames a second of a video, whether pictures are drawn."""

    recogniser: Recogniser
    min_score: float
    fps: float
    pictures: bool

    @property
    def products(self) -> Products:
        """The products that the model knows."""
        return Products(self.recogniser.pipeline.ensemble.categories, self.recogniser.names)

    def settings(self, folder: str) -> dict[str, object]:
        """All that decides what a photo's entry and picture are, for --resume to compare; names begin at `folder`."""
        exif = self.recogniser.pipeline.ensemble.exif
        engine = self.recogniser.engine
        version = code_version(recognition, engine="" if engine == ONNXRUNTIME else openvino_session.version())
        return {"model": self.recogniser.fingerprint, "min_score": self.min_score, "fps": self.fps, "exif": exif,
                "pictures": self.pictures, "folder": folder, "engine": engine, "version": version}  # fmt: skip


@contextmanager
def claimed_output(out: Path, resume: bool, force: bool) -> Iterator[None]:
    """A block in which this process alone predicts into OUT. Raises ValueError where another does, or as `refuse_output`."""
    with process.claimed(out, "is predicting into it; wait until it is done, or end it first"):
        refuse_output(out, resume, force)
        yield


def refuse_output(out: Path, resume: bool, force: bool) -> None:
    """Raises ValueError where the folder OUT holds what would be overwritten."""
    begun = (out / journal_file.NAME).is_file()
    if begun and not (resume or force):
        raise ValueError(f"--out {out}: holds predictions; --resume goes on with them, --force starts again")
    if resume and not begun:
        raise ValueError(f"--resume: {out} holds no predictions that were begun")
    if not begun and (there := next((name for name in (*HEADERS, JSON, PICTURES) if (out / name).exists()), "")):
        raise ValueError(f"--out {out}: holds a {there} that is of no prediction; choose another folder")


def clear(out: Path) -> None:
    """Remove the predictions that OUT holds."""
    shutil.rmtree(out / PICTURES, ignore_errors=True)
    for name in (journal_file.NAME, *HEADERS, JSON):
        (out / name).unlink(missing_ok=True)


class Finished(NamedTuple):
    """A finished run: what all photos came to, how many were predicted now, and counts of a run that was gone on with.

    `changed` are photos and videos that are not as they were when they were predicted, and were predicted again; `retried`
    those that failed before, and were tried again; `earlier` those that were predicted before and are not among the inputs any
    more, which stay in the tables.
    """

    totals: Totals
    now: int
    changed: int
    retried: int
    earlier: int


def predict_all(inputs: Inputs, job: Job, out: Path, tell: Tell) -> Finished:
    """Predict what OUT/journal.jsonl does not have yet and write the tables; in `claimed_output`.

    `tell` is called after each photo with the photos done now and the share of all inputs that is behind.
    """
    with Journal(out / journal_file.NAME, job.settings(folder_of(out / journal_file.NAME, inputs))) as journal:
        done, retried = _predict_missing(inputs, job, out, journal, tell)
        earlier = len(set(journal.stamps) - {source.name for source in inputs.items})
        return Finished(write_tables(out, journal, job.products), done, journal.changed, retried, earlier)


def folder_of(journal: Path, inputs: Inputs) -> str:
    """The folder that names begin at, as the file JOURNAL has it where all that it has are inputs of now, unchanged.

    So they are known again where they lie on another mount, or were moved, and no others are taken for them.
    """
    now = str(inputs.root)
    try:
        with journal.open("rb") as file:
            settings = json.loads(file.readline())["settings"]
        begun = str(settings["folder"])
    except (OSError, ValueError, KeyError, TypeError):  # a new one, or a damaged one, which Journal refuses
        return now
    if begun == now:
        return now
    with Journal(journal, settings) as own:
        stamps = own.stamps
    here = {source.name: stamp_of(source.path) for source in inputs.items if source.name in stamps}
    return begun if here == stamps else now


def _predict_missing(inputs: Inputs, job: Job, out: Path, journal: Journal, tell: Tell) -> tuple[int, int]:
    """Predict what `journal` does not have; returns how many photos and frames that were, and how many inputs failed before."""
    names, counts = taken_names(source.name for source in inputs.items), [_count(source, job.fps) for source in inputs.items]
    done, retried, behind, total = 0, 0, 0, sum(counts)
    for source, count in zip(inputs.items, counts, strict=True):
        if outdated := journal.outdated(source.name, stamp_of(source.path)):
            for name in outdated:  # first: a kill between the two leaves what the next run forgets again
                remove_picture(out, name, names)
            journal.forget(source.name)
        retried += source.name in journal.failed
        missing = () if journal.done(source.name) else _entries(source, job, journal.done)
        for k, (entry, frame) in enumerate(missing, 1):
            if job.pictures and frame is not None:
                entry = pictured(out / PICTURES / picture_name(entry.name, names), frame, entry, job)
            elif not entry.is_video:
                remove_picture(out, entry.name, names)  # of an earlier try
            journal.add(entry)
            done += frame is not None
            tell(done, (behind + min(k, count)) / total)
        behind += count
    return done, retried


def _count(source: Input, fps: float) -> int:
    return estimated_frames(source.path, fps) if source.is_video else 1


def _entries(source: Input, job: Job, done: Callable[[str], bool]) -> Iterator[tuple[Entry, Frame | None]]:
    """What becomes of a photo, or of the frames of a video that are not `done` and then of the video; with the pixels."""
    stamp = stamp_of(source.path)
    try:
        if not source.is_video:
            frame = read_photo(source, job.recogniser.pipeline.ensemble.exif)
            yield predicted(frame, Entry(source.name, source.name, stamp), job), frame
            return
        for frame in read_video(source, job.fps, done):
            yield predicted(frame, Entry(frame.name, source.name, stamp, True), job), frame
        yield Entry(source.name, source.name, stamp, True), None
    except UNREADABLE as error:
        problem = " ".join(in_words(error).removeprefix(f"{source.path}: ").split())
        yield Entry(source.name, source.name, stamp, source.is_video, problem=problem), None


def predicted(frame: Frame, entry: Entry, job: Job) -> Entry:
    """`entry` with the predictions on a frame: those of run.py, each box once, that reach the least score."""
    pipeline, failures = job.recogniser.pipeline, dict[str, str]()

    def failed(part: Part | str, error: Exception) -> None:
        failures[pipeline.ensemble.name(part)] = str(error) or type(error).__name__

    rows = pipeline(frame.image, 1, failed=failed)
    shown = [row for row in rows if row["score"] >= job.min_score]
    remarks = [frame.remark] * bool(frame.remark)
    remarks += [f"predicted without {part}, which failed: {error}" for part, error in failures.items()]
    problem = remarks.pop() if failures and not rows else ""
    height, width = frame.image.shape[:2]
    return Entry(entry.name, entry.file, entry.stamp, entry.is_video, [width, height], shown, len(rows) - len(shown),
                 problem, remarks, frame.turned)  # fmt: skip


# -- pictures --------------------------------------------------------------------------------------------------------------


def taken_names(names: Iterable[str]) -> set[str]:
    """The `names` of inputs, and of all folders above them.

    >>> sorted(taken_names(["a/b.jpg"]))
    ['.', 'a', 'a/b.jpg']
    """
    own = set(names)
    return own | {str(above) for name in own for above in PurePosixPath(name).parents}


def picture_name(name: str, names: set[str]) -> str:
    """The picture of the photo `name`: its own name if that is of a JPEG, else one that none of `taken_names` has.

    >>> picture_name("a.jpg", {"a.jpg"}), picture_name("a.png", {"a.png", "a.png.jpg"})
    ('a.jpg', 'a.png.jpg.jpg')
    """
    picture = fitting(name if name.lower().endswith(JPEG) else f"{name}.jpg")
    while picture != name and picture in names:
        picture = fitting(f"{picture}.jpg")
    return picture


def fitting(picture: str) -> str:
    """The path of a picture where each part is a name that a disk takes; a hash for one that is too long.

    Names of bytes that are no UTF-8 are written in up to four times as many letters.

    >>> fitting("a/b.jpg"), fitting("a/" + "b" * 252 + ".jpg")
    ('a/b.jpg', 'a/1113a3cc11a9a300adbf50f9e8790ee1.jpg')
    """
    *folders, last = PurePosixPath(picture).parts
    return str(PurePosixPath(*(_short(part, "") for part in folders), _short(last, ".jpg")))


def _short(part: str, suffix: str) -> str:
    data = part.encode("utf-8", "replace")
    return part if len(data) <= LONGEST_NAME else hashlib.sha256(data).hexdigest()[:32] + suffix


def remove_picture(out: Path, name: str, names: set[str]) -> None:
    """Remove the picture of the photo `name`, one of the inputs `names`, where OUT holds one."""
    path = out / PICTURES / picture_name(name, names)
    if path.is_file():  # a video by the name of a JPEG has a folder there
        path.unlink()


def drawable(products: Products) -> list[str]:
    """The products' names; "id 60" for one with letters that no font here draws."""
    foreign = set(undrawn(products.names))
    return [f"id {i}" if name in foreign else name for i, name in zip(products.ids, products.names, strict=True)]


def pictured(path: Path, frame: Frame, entry: Entry, job: Job) -> Entry:
    """`entry`, its picture at `path`; with a remark where that is no name for a picture on this disk: it costs only itself."""
    try:
        write_picture(path, frame, entry, job)
    except OSError as error:
        if error.errno not in OF_NAMES:  # such as of a full disk
            raise
        return replace(entry, remarks=[*entry.remarks, f"no picture of this name can be written: {error.strerror}"])
    return entry


def write_picture(path: Path, frame: Frame, entry: Entry, job: Job) -> None:
    """Draw the entry's boxes and names on the frame, into the JPEG at `path`. Raises OSError where it cannot be written."""
    products = job.products
    labels = products.labels([row["category_id"] for row in entry.rows]).tolist()
    boxes = xywh_to_xyxy(np.array([row["bbox"] for row in entry.rows], np.float64).reshape(-1, 4))
    names = drawable(products) if job.recogniser.knows_names else [""] * len(products.names)
    marks = [Mark(box, label, names[label], colour_of(label)) for box, label in zip(boxes, labels, strict=True)]
    heading = [Line(entry.name), Line(f"{len(marks)} facings from score {job.min_score:.3f}")]
    picture = cv2.cvtColor(annotated(frame.image, marks, heading), cv2.COLOR_RGB2BGR)
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path):
        path.write_bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


class Progress:
    """Counts photos per second, or whatever is `looked_at`. Says a line at most every `seconds`."""

    def __init__(self, say: Callable[[str], None], looked_at: str = "photos", seconds: float = 5.0) -> None:
        self.say, self.looked_at, self.seconds = say, looked_at, seconds
        self.begun = self.last = time.monotonic()

    def __call__(self, done: int, share: float) -> None:
        """Say how far the run is, if it is time."""
        now = time.monotonic()
        if now - self.last >= self.seconds:
            self.last, spent = now, now - self.begun
            what, rate = self.looked_at, done / spent
            self.say(f"predict: {share:.0%}, {done} {what}, {rate:.2f} {what}/s, {self.left(share):.0f} s left")

    def left(self, share: float) -> float:
        """Seconds that the rest takes, if it goes on as fast."""
        return (time.monotonic() - self.begun) * (1 - share) / max(share, 1e-9)

    def per_second(self, done: int) -> float:
        """Photos a second so far."""
        return done / max(time.monotonic() - self.begun, 1e-9)

"""`python -m submission.sandbox ZIP --images DIR [--annotations FILE]`: run a zip as the judge does, and report problems.

Unpacks the zip into an empty folder and calls its run.py from another one: with the packages and within the limits of
`submission.judge_machine`, without a network, in a file system where only the output can be written (`submission.isolation`).
Then checks the output (`submission.predictions`), scores it if the truth is given, and reports where the time went.
"""

import filecmp
import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from fusion.reading import find_photos
from runs.command import Parser, note_result, run
from runs.counted import counted
from runs.output_file import refuse_no_file
from submission import built_of, own_ids
from submission.disk_room import copy_folder
from submission.isolation import Place, isolated
from submission.judge_machine import JUDGE_LIMITS, Limits, Machine, judge_python, shortfalls
from submission.outcome import Outcome, listed, read_exit_code, read_statements
from submission.own_ids import with_own_ids
from submission.packed_code import is_packed_code
from submission.predictions import (
    boxes_beyond,
    category_ids,
    doubts,
    exif_of,
    packed_ensemble,
    score,
    sizes_of,
    violations,
    without_predictions,
    zipped_ensemble,
)
from submission.rules import PIPELINE
from submission.supervision import MAX_WRITTEN, Command, read_log, supervise
from submission.unpacking import unpack

OUTPUT = "sandbox_predictions.json"  # by default, in the current folder: a list of predictions there may be of another command
NO_SOCKETS = """import socket
class Refused(socket.socket):
    def __init__(self, *given, **more):
        raise OSError("no network here")
socket.socket = Refused
"""


def execute(archive: Path, images: Path, output: Path, machine: Machine) -> Outcome:
    """Run the zip on a copy of IMAGES, copy what it writes to OUTPUT (nothing if it wrote nothing), and check it.

    Raises CannotUnpackError for a zip that is too large or cannot be unpacked, ValueError where there is no zip or no folder of
    photos, and where nothing protects this system from the zip's code (`isolated`), unless `machine.unprotected` or it is this
    project's code.
    """
    refuse_missing(archive, images)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        place = Place(Path(name).resolve())
        place.elsewhere.mkdir()
        place.output.mkdir()
        unpack(archive, place.code)
        copy_folder(images, place.images)
        outcome = _run(place, machine)
        _compare_photos(images, place.images, outcome)
        output.unlink(missing_ok=True)
        _take_predictions(place, images, output, outcome)
    return outcome


def refuse_missing(archive: Path, images: Path) -> None:
    """Raises ValueError where there is no zip, or no folder of photos."""
    refuse_no_zip(archive)
    if not images.is_dir():
        raise ValueError(f"{images}: {'a file' if images.exists() else 'no such folder'}, need the folder of photos")


def refuse_no_zip(archive: Path) -> None:
    """Raises ValueError where there is no zip."""
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive}: {'not a zip' if archive.exists() else 'no such file'}; hylle build makes one")


def _run(place: Place, machine: Machine) -> Outcome:
    """Run run.py within the limits; its outcome, except for its output."""
    outcome = Outcome()
    python = machine.python.parent.resolve() / machine.python.name
    written = place.output / "predictions.json"
    words = [str(python), str(place.code / "run.py"), "--input", str(place.images), "--output", str(written)]
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES") if name in os.environ
    }
    variables = kept | {"HOME": str(place.elsewhere), "PYTHONDONTWRITEBYTECODE": "1"}
    is_ours = (place.code / PIPELINE).is_file()  # also of an earlier version
    try:
        prefix = isolated(place, python, machine.gpus)
        outcome.notes.append("no network, a file system of its own: only the output can be written, no home is seen")
    except ValueError as error:
        prefix, more = _unprotected(place, machine, str(error), outcome)
        variables |= more
    command = Command([*prefix, *words], variables, place.elsewhere, place.output, place.root / "log")
    measured = supervise(command, machine.limits, limit_memory=not machine.gpus)
    outcome.seconds, outcome.peak_mb = measured.seconds, measured.peak_mb
    outcome.log = read_log(command.log).replace(f"{place.code}/", "")
    if measured.killed:
        outcome.problems.append(measured.killed)
    else:
        read_exit_code(outcome, measured.exit_code)
    read_statements(outcome, machine.gpus, is_ours)
    return outcome


def _is_own(place: Place) -> bool:
    """Whether the zip holds just the code of this project."""
    code = {str(path.relative_to(place.code)): path.read_bytes() for path in place.code.rglob("*.py") if path.is_file()}
    return is_packed_code(code)


def _unprotected(place: Place, machine: Machine, why: str, outcome: Outcome) -> tuple[list[str], dict[str, str]]:
    """The beginning of the command line and further variables where nothing can be isolated.

    Raises ValueError unless `machine.unprotected`, or the zip holds just the code of this project.
    """
    if not machine.unprotected and not _is_own(place):
        remedy = "hylle sandbox --unprotected runs it all the same, with your rights"
        raise ValueError(f"run.py is not run: this system permits no namespaces that would protect your files: {why}; {remedy}")
    for path in [*place.images.rglob("*"), place.images]:
        path.chmod(path.stat().st_mode & ~0o222)
    sockets = place.root / "no_sockets"
    sockets.mkdir()
    (sockets / "sitecustomize.py").write_text(NO_SOCKETS)
    outcome.notes.append(
        f"no namespaces permitted here ({why}), so your files are not protected; Python's sockets are refused, "
        "photos have no write permission"
    )
    return [], {"PYTHONPATH": str(sockets)}


def _take_predictions(place: Place, images: Path, output: Path, outcome: Outcome) -> None:
    """Copy predictions.json to OUTPUT and check it; a problem where it is missing, no plain file, or too large."""
    written = place.output / "predictions.json"
    photos = find_photos(images)
    outcome.photos = len(photos)
    if written.is_symlink() or (written.exists() and not written.is_file()):
        outcome.problems.append("predictions.json is not a plain file")
    elif not written.is_file():
        outcome.problems.append("no predictions.json was written")
    elif written.stat().st_size > MAX_WRITTEN:
        outcome.problems.append(f"predictions.json: more than {MAX_WRITTEN / 1e6:.0f} MB")
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(written, output)
        text = output.read_text(errors="replace")
        wrong = violations(text, sizes_of(photos, exif_of(place.code)), _ids(place.code))
        outcome.problems += listed("predictions.json", wrong)
        if not wrong:
            rows = json.loads(text)
            outcome.predictions, outcome.without = len(rows), without_predictions(rows, photos)
            outcome.warnings += listed("predictions.json", doubts(rows))


def _compare_photos(before: Path, after: Path, outcome: Outcome) -> None:
    """Add a problem for each photo that run.py changed, added or deleted."""
    names = {path.relative_to(folder) for folder in (before, after) for path in folder.rglob("*") if path.is_file()}
    changed = [str(name) for name in sorted(names) if not _same(before / name, after / name)]
    outcome.problems += listed("the photos' folder was written to", changed)


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False)


def _ids(code: Path) -> frozenset[int] | None:
    """The category ids in the zip's ensemble.json; None where it has none, or one of another method."""
    try:
        return frozenset(packed_ensemble(code)["categories"])
    except (KeyError, TypeError):
        return None


def main(argv: list[str] | None = None, prog: str = "python -m submission.sandbox") -> int:
    """The command; returns its exit code: 0 nothing wrong, 1 problems, 2 nothing to run."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and run the zip. Raises ValueError for what the user can mend."""
    p = Parser(prog=prog, description="Run a zip as the judge does.")
    p.add_argument("zip", type=Path, nargs="?", help="the zip to run")
    p.add_argument("--images", type=Path, help="folder of photos")
    p.add_argument("--annotations", type=Path, help="COCO JSON with the truth, to score the predictions")
    p.add_argument("--output", type=Path, default=Path(OUTPUT), help="where to leave what run.py writes [default %(default)s]")
    p.add_argument("--seconds", type=float, default=Limits.seconds, help="of the whole run [default the judge's]")
    p.add_argument("--gpus", action="store_true", help="with the judge's CUDA packages; falling back to the CPU is an error")
    p.add_argument("--unprotected", action="store_true", help="also where your files cannot be protected from run.py")
    p.add_argument("--set-up", action="store_true", help="make the environment and do nothing else")
    args = p.parse_args(argv)
    if args.gpus and not shutil.which("nvidia-smi"):
        raise ValueError("--gpus: no NVIDIA GPU here")
    if args.set_up:
        judge_python(args.gpus)
        return 0
    if args.zip is None or args.images is None:
        raise ValueError(f"got no ZIP or no --images, need both: {prog} ZIP --images DIR")
    truth = _truth(args.annotations)
    refuse_missing(args.zip, args.images)
    refuse_flags(args.output, args.seconds)
    python = judge_python(args.gpus)
    machine = Machine(python, Limits(seconds=args.seconds), args.gpus, args.unprotected)
    outcome = execute(args.zip, args.images, args.output, machine)
    outcome.notes += shortfalls(python, JUDGE_LIMITS)
    if truth and not outcome.problems:
        add_score(outcome, args.output, truth, args.images, args.zip)
    report(outcome, args.output)
    note_result(**vars(outcome))
    return 1 if outcome.problems else 0


def refuse_flags(output: Path, seconds: float) -> None:
    """Raises ValueError where nothing could be written to OUTPUT after the run, or for a limit that leaves it no time."""
    refuse_no_file("--output", output, OUTPUT)
    if seconds <= 0:
        raise ValueError(f"--seconds: got {seconds:g}, must be above 0")


def add_score(outcome: Outcome, output: Path, truth: dict[str, Any], folder: Path, archive: Path) -> None:
    """Score the predictions on the photos in FOLDER that have annotations, joined by file name; a problem where that fails.

    Category ids of ARCHIVE that the truth lacks, as of a product that was enrolled, are noted; where it lacks all of them, the
    zip is of another data set, which is a problem. How many of these photos ARCHIVE was made from is told, too, and how many
    boxes reach out of their photos.
    """
    numbers, known = find_photos(folder), category_ids(archive)
    try:
        own, notes = own_ids.join(numbers, folder, truth["images"])
        of_truth = {category["id"] for category in truth["categories"]}
        taught = [i for i in known if i not in of_truth]
        more = taught if len(taught) < len(known) else []
        found = sizes_of(numbers, str(zipped_ensemble(archive).get("exif", "stored")))
        scored, sizes = frozenset(own.values()), {own[number]: size for number, size in found.items() if number in own}
        outcome.scores = score(with_own_ids(json.loads(output.read_text()), own), truth, scored, more, sizes)
        beyond = boxes_beyond(truth, scored, sizes)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        outcome.problems.append(f"cannot be scored: {error!r}")
        return
    outcome.seen = built_of.seen_in_words(archive, [numbers[number] for number in own])
    outcome.notes += notes
    if beyond:
        outcome.notes.append(f"{counted(beyond, 'box', 'boxes')} of the annotations reached out of their photos, clipped")
    if more:
        what = f"{counted(len(more), 'category', 'categories')} of the zip that the annotations lack, such as {more[0]}"
        outcome.notes.append(f"scored with {what}: a box of such a name has no right one")
    if len(own) < len(numbers):
        outcome.notes.append(f"scored on {len(own)} of {counted(len(numbers), 'photo')}, of which there are annotations")


def _truth(path: Path | None) -> dict[str, Any] | None:
    """The COCO JSON at `path`, if one is given. Raises ValueError where it is no COCO JSON."""
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"--annotations {path}: no such file")
    try:
        truth = json.loads(path.read_bytes())
        lists = [truth[name] for name in ("images", "annotations", "categories")]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--annotations {path}: not a COCO JSON: {error!r}") from None
    if not all(isinstance(value, list) for value in lists):
        raise ValueError(f"--annotations {path}: images, annotations and categories must be lists")
    return dict(truth)


def report(outcome: Outcome, output: Path) -> None:
    """Print the outcome of a run, problems last."""
    for note in outcome.notes:
        print(f"held: {note}")
    print(f"provider: {', '.join(outcome.providers) or 'not told'}")
    print(f"time: {outcome.seconds:.1f} s{outcome.told_of_planned()}; peak memory: {outcome.peak_mb:.0f} MB")
    for name, seconds in outcome.by_part.items():
        print(f"  {seconds:8.2f} s  {name}")
    if outcome.predictions is not None:
        print(f"predictions: {outcome.told_predictions()}: {output}")
    if outcome.scores:
        s = outcome.scores
        print(f"score: {s.score:.4f} (det mAP50 {s.det_map50:.4f}, cls mAP50 {s.cls_map50:.4f})")
        print(outcome.seen)
    for warning in outcome.warnings:
        print(f"warning: {warning}")
    for problem in outcome.problems:
        print(f"problem: {problem}")
    print(counted(len(outcome.problems), "problem") if outcome.problems else "ok")


if __name__ == "__main__":
    sys.exit(main())

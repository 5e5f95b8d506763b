"""`python -m submission.sandbox ZIP --images DIR [--annotations FILE]`: run a zip as the judge does, and report problems.

Unpacks the zip into an empty folder and calls its run.py from another one: with the packages and within the limits of
`submission.judge_machine`, without a network, and with read-only photos where the system allows that. Then checks the output
(`submission.predictions`), scores it if the truth is given, and reports where the time went.
"""

import filecmp
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from photos.score import Scores
from runs.command import Parser, run
from submission.judge_machine import JUDGE_LIMITS, Limits, judge_python, shortfalls
from submission.predictions import exif_of, score, sizes_of, violations

SHOWN = 10  # chosen: at most this many problems of one kind are listed
POLL = 0.02  # chosen: seconds between two measurements of the memory
EXIT_CODES = {137: "killed: out of memory, or of time", 139: "a crash in native code: at the judge, mostly another version"}
# Makes the photos' folder read-only for the command that follows, in its own mount namespace.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
NO_SOCKETS = """import socket
class Refused(socket.socket):
    def __init__(self, *given, **more):
        raise OSError("no network here")
socket.socket = Refused
"""


@dataclass
class Outcome:
    """The result of one run. `problems` would cost points at the judge; `notes` say how it was isolated."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)  # what run.py logs about itself
    providers: list[str] = field(default_factory=list)
    log: str = ""
    scores: Scores | None = None


def execute(
    archive: Path, images: Path, output: Path, python: Path, limits: Limits = JUDGE_LIMITS, gpus: bool = False
) -> Outcome:
    """Run the zip on a copy of IMAGES, move what it writes to OUTPUT (nothing if it wrote nothing), and check it.

    Raises ValueError where there is no zip, or no folder of photos.
    """
    refuse_missing(archive, images)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        code, photos, written = place / "code", place / "images", place / "output" / "predictions.json"
        (place / "elsewhere").mkdir()
        _unpack(archive, code)
        shutil.copytree(images, photos)
        outcome = _run(
            place, [str(python), str(code / "run.py"), "--input", str(photos), "--output", str(written)], limits, gpus
        )
        _compare_photos(images, photos, outcome)
        output.unlink(missing_ok=True)
        if written.is_file():
            output.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(written, output)
            text = output.read_text(errors="replace")
            outcome.problems += _listed("predictions.json", violations(text, sizes_of(images, exif_of(code)), _ids(code)))
        else:
            outcome.problems.append("no predictions.json was written")
    return outcome


def refuse_missing(archive: Path, images: Path) -> None:
    """Raises ValueError where there is no zip, or no folder of photos."""
    if not zipfile.is_zipfile(archive):
        raise ValueError(f"{archive}: {'not a zip' if archive.is_file() else 'no such file'}; hylle build makes one")
    if not images.is_dir():
        raise ValueError(f"{images}: {'a file' if images.exists() else 'no such folder'}, need the folder of photos")


def _unpack(archive: Path, folder: Path) -> None:
    try:
        with zipfile.ZipFile(archive) as zipped:
            zipped.extractall(folder)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, OSError) as error:  # RuntimeError: encrypted
        raise ValueError(f"{archive}: cannot be unpacked: {error}") from None


def _run(place: Path, command: list[str], limits: Limits, gpus: bool) -> Outcome:
    """Run the command within the limits; its outcome, except for its output."""
    outcome = Outcome()
    prefix, variables = _isolation(place, outcome)
    memory = None if gpus else limits.memory  # CUDA reserves far more address space than memory
    with (place / "log").open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            [*prefix, *command], cwd=place / "elsewhere", env=variables, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=lambda: _apply_limits(memory, limits.threads),
        )  # fmt: skip
        try:
            killed_because = _watch(process, started, limits, outcome)
        finally:
            if process.poll() is None:  # Ctrl-C, or a defect here
                os.killpg(process.pid, signal.SIGKILL)
    outcome.seconds = time.monotonic() - started
    outcome.log = (place / "log").read_text(errors="replace")
    if killed_because:
        outcome.problems.append(killed_because)
    elif process.returncode:
        code = process.returncode if process.returncode > 0 else 128 - process.returncode
        last = "".join(outcome.log.strip().splitlines()[-1:])
        outcome.problems.append(f"exit code {code}, need 0: {EXIT_CODES.get(code, last)}")
    _read_log(outcome, gpus)
    return outcome


def _isolation(place: Path, outcome: Outcome) -> tuple[list[str], dict[str, str]]:
    """The command that isolates the one after it, and the environment variables: as few as at the judge, none of ours.

    Notes the kind of isolation that this system allows in `outcome`.
    """
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES") if name in os.environ
    }
    variables = kept | {"HOME": str(place / "elsewhere"), "PYTHONDONTWRITEBYTECODE": "1"}
    spaces = ["unshare", "--user", "--map-root-user", "--net"]
    lock = [*spaces, "--mount", "sh", "-c", READ_ONLY, "sh", str(place / "images")]
    for command, note in ((lock, ", photos read-only"), (spaces, "; photos cannot be made read-only on this system")):
        if shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True, check=False).returncode == 0:
            outcome.notes.append(f"no network (a namespace of its own){note}")
            return command, variables
    for path in [*(place / "images").rglob("*"), place / "images"]:
        path.chmod(path.stat().st_mode & ~0o222)
    (place / "no_sockets").mkdir()
    (place / "no_sockets" / "sitecustomize.py").write_text(NO_SOCKETS)
    outcome.notes.append("this system allows no namespaces: Python's sockets are refused, photos have no write permission")
    return [], variables | {"PYTHONPATH": str(place / "no_sockets")}


def _apply_limits(memory: int | None, threads: int) -> None:
    """Limit memory and processors of the child process, before it becomes run.py."""
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _watch(process: subprocess.Popen[bytes], started: float, limits: Limits, outcome: Outcome) -> str | None:
    """Wait for the end, noting the peak memory; the reason why the process was killed, or None."""
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = [int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM")]
        except OSError:  # the process has just ended
            peak = []
        outcome.peak_mb = max([outcome.peak_mb, *peak])
        late = time.monotonic() - started > limits.seconds
        if late or outcome.peak_mb * 1e6 > limits.memory:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return (
                f"took longer than {limits.seconds:.0f} s" if late else f"held more than {limits.memory / 1e9:.1f} GB of memory"
            )
        time.sleep(POLL)
    return None


def _read_log(outcome: Outcome, gpus: bool) -> None:
    """Take the report, the providers in use and the errors from the log of run.py."""
    lines = outcome.log.splitlines()
    for line in lines:
        if line.startswith("report: "):
            outcome.report = json.loads(line.removeprefix("report: "))
        elif line.startswith("provider: "):
            outcome.providers.append(line.removeprefix("provider: "))
    outcome.peak_mb = max(outcome.peak_mb, outcome.report.get("peak_mb") or 0.0)
    outcome.problems += _listed("run.py says", [line for line in lines if line.startswith("error: ")])
    if gpus and "CPUExecutionProvider" in [*outcome.providers, *([] if outcome.providers else ["CPUExecutionProvider"])]:
        outcome.problems.append(
            f"provider: got {outcome.providers or 'no word of any'}: fell back to the CPU on a machine with a GPU"
        )


def _compare_photos(before: Path, after: Path, outcome: Outcome) -> None:
    """Add a problem for each photo that run.py changed, added or deleted."""
    names = {path.relative_to(folder) for folder in (before, after) for path in folder.rglob("*") if path.is_file()}
    changed = [str(name) for name in sorted(names) if not _same(before / name, after / name)]
    outcome.problems += _listed("the photos' folder was written to", changed)


def _same(path: Path, other: Path) -> bool:
    return path.is_file() and other.is_file() and filecmp.cmp(path, other, shallow=False)


def _ids(code: Path) -> frozenset[int] | None:
    """The category ids in the zip's ensemble.json; None where it has none."""
    try:
        return frozenset(json.loads((code / "ensemble.json").read_text())["categories"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _listed(title: str, problems: Sequence[str]) -> list[str]:
    more = [f"{title}: ... and {len(problems) - SHOWN} more"] if len(problems) > SHOWN else []
    return [*(f"{title}: {problem}" for problem in problems[:SHOWN]), *more]


def main(argv: list[str] | None = None, prog: str = "python -m submission.sandbox") -> int:
    """The command; returns its exit code: 0 nothing wrong, 1 problems, 2 nothing to run."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and run the zip. Raises ValueError for what the user can mend."""
    p = Parser(prog=prog, description="Run a zip as the judge does.")
    p.add_argument("zip", type=Path, nargs="?", help="the zip to run")
    p.add_argument("--images", type=Path, help="folder of photos")
    p.add_argument("--annotations", type=Path, help="COCO JSON with the truth, to score the predictions")
    p.add_argument("--output", type=Path, default=Path("predictions.json"), help="where to leave what run.py writes")
    p.add_argument("--seconds", type=float, default=Limits.seconds)
    p.add_argument("--gpus", action="store_true", help="with the judge's CUDA packages; falling back to the CPU is an error")
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
    python = judge_python(args.gpus)
    outcome = execute(args.zip, args.images, args.output, python, Limits(seconds=args.seconds), args.gpus)
    outcome.notes += shortfalls(python, JUDGE_LIMITS)
    if truth and not outcome.problems:
        add_score(outcome, args.output, truth, frozenset(sizes_of(args.images)))
    report(outcome, args.output)
    return 1 if outcome.problems else 0


def add_score(outcome: Outcome, output: Path, truth: dict[str, Any], photos: frozenset[int]) -> None:
    """Score the predictions on the photos that have annotations; a problem where that fails."""
    known = photos
    try:
        known = photos & {image["id"] for image in truth["images"]}
        rows = [row for row in json.loads(output.read_text()) if row["image_id"] in known]
        outcome.scores = score(rows, truth, known)
    except (ValueError, KeyError, TypeError) as error:
        outcome.problems.append(f"cannot be scored: {error!r}")
    if len(known) < len(photos):
        outcome.notes.append(f"scored on {len(known)} of {len(photos)} photos, of which there are annotations")


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
    print(f"time: {outcome.seconds:.1f} s; peak memory: {outcome.peak_mb:.0f} MB")
    for name, seconds in outcome.report.get("by_part", {}).items():
        print(f"  {seconds:8.2f} s  {name}")
    if outcome.report:
        print(f"predictions: {outcome.report['predictions']} on {outcome.report['photos']} photos: {output}")
    if outcome.scores:
        s = outcome.scores
        print(f"score: {s.score:.4f} (det mAP50 {s.det_map50:.4f}, cls mAP50 {s.cls_map50:.4f})")
    for problem in outcome.problems:
        print(f"problem: {problem}")
    print(f"{len(outcome.problems)} problems" if outcome.problems else "ok")


if __name__ == "__main__":
    sys.exit(main())

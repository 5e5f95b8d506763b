"""`python -m submission.sandbox ZIP --images DIR [--annotations FILE]`: run a zip as the judge does, and say what it sees.

Unpacks the zip into an empty folder and calls its run.py from elsewhere, in an environment with just the judge's versions (made
on the first call), with 8 GB of address space, 4 processors and 300 s, without a network and the photos read-only where the
system allows that; then holds the output against the contract, scores it if the truth is given, and says where the time went.
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
from submission.predictions import score, sizes_of, violations

HERE = Path(__file__).resolve().parent
SHOWN = 10  # chosen: problems of one kind that are listed
PYTHON = "3.11"  # taken: the judge's
POLL = 0.02  # chosen: seconds between two looks at the memory
MEANINGS = {137: "killed: out of memory, or of time", 139: "a crash in native code: at the judge, mostly another version"}
# The photos' folder becomes read-only, and the call that follows has no network: both in namespaces of its own.
READ_ONLY = 'mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" && shift && exec "$@"'
REFUSING = """import socket
class Refused(socket.socket):
    def __init__(self, *given, **more):
        raise OSError("no network here")
socket.socket = Refused
"""


@dataclass(frozen=True)
class Limits:
    """Of the judge: seconds for the whole run, bytes of memory, processors. Taken: the contest's page."""

    seconds: float = 300.0
    memory: int = 8 * 10**9
    threads: int = 4


@dataclass
class Outcome:
    """What one run did. `problems` are what costs points, or all of them; `notes` are how it was held."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    peak_mb: float = 0.0
    report: dict[str, Any] = field(default_factory=dict)  # what run.py says of itself
    providers: list[str] = field(default_factory=list)
    log: str = ""
    scores: Scores | None = None


def environment(gpus: bool = False) -> Path:
    """The judge's python; its environment is made first where it is missing or of other versions (seconds).

    Raises ValueError where it cannot be made.
    """
    name = "judge-gpu" if gpus else "judge"
    folder, wanted = HERE.parent / f".{name}", HERE / f"{name}-requirements.txt"
    python, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.is_file() or ready.read_text() != wanted.read_text():
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)])
        ready.write_text(wanted.read_text())
    return python


def _call(words: Sequence[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ValueError(f"the judge's environment cannot be made: {''.join(last)}: {' '.join(words)}")


def execute(archive: Path, images: Path, output: Path, python: Path, limits: Limits = Limits(), gpus: bool = False) -> Outcome:
    """Run the zip on a copy of IMAGES, leave what it writes at OUTPUT (nothing if it wrote nothing), and judge it.

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
            outcome.problems += _listed("predictions.json", violations(text, sizes_of(images), _ids(code)))
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


def _run(place: Path, words: list[str], limits: Limits, gpus: bool) -> Outcome:
    """The call itself, held to the limits; everything about it but its output."""
    outcome = Outcome()
    prefix, surroundings = _isolated(place, outcome)
    held = None if gpus else limits.memory  # CUDA reserves far more addresses than memory
    with (place / "log").open("wb") as log:
        started = time.monotonic()
        process = subprocess.Popen(
            [*prefix, *words], cwd=place / "elsewhere", env=surroundings, stdout=log, stderr=log, stdin=subprocess.DEVNULL,
            start_new_session=True, preexec_fn=lambda: _hold(held, limits.threads),
        )  # fmt: skip
        try:
            ended = _watch(process, started, limits, outcome)
        finally:
            if process.poll() is None:  # Ctrl-C, or a defect here
                os.killpg(process.pid, signal.SIGKILL)
    outcome.seconds = time.monotonic() - started
    outcome.log = (place / "log").read_text(errors="replace")
    if ended:
        outcome.problems.append(ended)
    elif process.returncode:
        code = process.returncode if process.returncode > 0 else 128 - process.returncode
        last = "".join(outcome.log.strip().splitlines()[-1:])
        outcome.problems.append(f"exit code {code}, need 0: {MEANINGS.get(code, last)}")
    _read_log(outcome, gpus)
    return outcome


def _isolated(place: Path, outcome: Outcome) -> tuple[list[str], dict[str, str]]:
    """The words before the call, and its environment variables: as few as a judge's, and none of ours."""
    kept = {
        name: os.environ[name] for name in ("PATH", "LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES") if name in os.environ
    }
    surroundings = kept | {"HOME": str(place / "elsewhere"), "PYTHONDONTWRITEBYTECODE": "1"}
    spaces = ["unshare", "--user", "--map-root-user", "--net"]
    lock = [*spaces, "--mount", "sh", "-c", READ_ONLY, "sh", str(place / "images")]
    for words, note in ((lock, ", photos read-only"), (spaces, "; photos cannot be made read-only on this system")):
        if shutil.which("unshare") and subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0:
            outcome.notes.append(f"no network (a namespace of its own){note}")
            return words, surroundings
    for path in [*(place / "images").rglob("*"), place / "images"]:
        path.chmod(path.stat().st_mode & ~0o222)
    (place / "refusing").mkdir()
    (place / "refusing" / "sitecustomize.py").write_text(REFUSING)
    outcome.notes.append("this system allows no namespaces: Python's sockets are refused, photos have no write permission")
    return [], surroundings | {"PYTHONPATH": str(place / "refusing")}


def _hold(memory: int | None, threads: int) -> None:
    """In the child, before it becomes run.py: its memory and processors."""
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _watch(process: subprocess.Popen[bytes], started: float, limits: Limits, outcome: Outcome) -> str | None:
    """Wait for the end, noting the highest memory; why it had to be ended, or None."""
    while process.poll() is None:
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = [int(line.split()[1]) / 1000 for line in status.splitlines() if line.startswith("VmHWM")]
        except OSError:  # it has just ended
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
    """What run.py says: its report, the providers in use, its errors."""
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
    """Whether run.py left the photos as they were."""
    names = {one.relative_to(folder) for folder in (before, after) for one in folder.rglob("*") if one.is_file()}
    changed = [str(name) for name in sorted(names) if not _same(before / name, after / name)]
    outcome.problems += _listed("the photos' folder was written to", changed)


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _ids(code: Path) -> frozenset[int] | None:
    """The category ids that the zip's ensemble.json knows, if it has one."""
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
        environment(args.gpus)
        return 0
    if args.zip is None or args.images is None:
        raise ValueError(f"got no ZIP or no --images, need both: {prog} ZIP --images DIR")
    truth = _truth(args.annotations)
    refuse_missing(args.zip, args.images)
    python = environment(args.gpus)
    outcome = execute(args.zip, args.images, args.output, python, Limits(seconds=args.seconds), args.gpus)
    outcome.notes += shortfalls(python, Limits())
    if truth and not outcome.problems:
        add_score(outcome, args.output, truth, frozenset(sizes_of(args.images)))
    tell(outcome, args.output)
    return 1 if outcome.problems else 0


def shortfalls(python: Path, limits: Limits) -> list[str]:
    """What here is unlike the judge's machine and cannot be mended."""
    asked = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    notes = [f"{cores} processors, the judge has {limits.threads}"] if cores < limits.threads else []
    return [*notes, *([f"Python {version}, the judge has {PYTHON}"] if version != PYTHON else [])]


def add_score(outcome: Outcome, output: Path, truth: dict[str, Any], photos: frozenset[int]) -> None:
    """Score what was written on those photos that the truth knows; a problem where that cannot be done."""
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
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"--annotations {path}: no such file")
    try:
        truth = json.loads(path.read_bytes())
        lists = [truth[name] for name in ("images", "annotations", "categories")]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"--annotations {path}: not a COCO JSON: {error!r}") from None
    if not all(isinstance(one, list) for one in lists):
        raise ValueError(f"--annotations {path}: images, annotations and categories must be lists")
    return dict(truth)


def tell(outcome: Outcome, output: Path) -> None:
    """Print what a run did, problems last."""
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

"""What a finished run leaves beside its weights: run.json with settings, seed, versions, commit and metrics."""

import hashlib
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from fusion.models import read_object
from runs import process, versions
from runs.atomic_write import replacing
from runs.refusal import Refusal

if TYPE_CHECKING:
    from runs.distributed import Distributed

ROOT = Path(__file__).resolve().parents[1]
OF_A_FINISHED_RUN = (
    "run.json",
    "progress.json",
    "model.onnx",
    "model.json",
    "start_share.json",
)  # removed, in this order, where one starts anew


def commit() -> str:
    """The git commit of the code, with `+` when the tree differs from it; "unknown" outside a checkout."""
    head, dirty = (_git("rev-parse", "--short", "HEAD"), _git("status", "--porcelain", "--untracked-files=no"))
    return "unknown" if head is None else head + ("+" if dirty else "")


def machine() -> str:
    """The processor count and kind and the accelerator, in a few words."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else "no GPU"
    return f"{os.cpu_count()} cores {platform.machine()}, {gpu}"


def fingerprint(*paths: Path) -> str:
    """A short hash of the bytes of `paths`, in order: what a later step was made from."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def digest(value: Any) -> str:
    """A short hash of a JSON value.

    >>> digest({"a": 1}) == digest({"a": 1}), digest([1]) == digest([2])
    (True, False)
    """
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def write_json(path: Path, value: Any) -> None:
    """Write `value` to PATH as JSON: beside it first, then renamed, so that a kill leaves the old file or the new one."""
    with replacing(path) as (unfinished,):
        unfinished.write_text(json.dumps(value, indent=1) + "\n")


def write_run(
    out: Path, settings: dict[str, Any], metrics: dict[str, Any], also: Mapping[str, Any] = MappingProxyType({})
) -> None:
    """Write OUT/run.json, and in it what `also` is to be noted; its presence says that the run is finished."""
    made = {"settings": settings, "metrics": metrics, "commit": commit(), "machine": machine()}
    write_json(out / "run.json", made | {"versions": versions.installed()} | also)
    process.release(out)  # the process may go on with something else


def weights_of(out: Path) -> Path:
    """The weights file of the finished run in OUT, for another run to start from."""
    best = out / "weights" / "best.pt"
    return best if read_object(out / "run.json")["settings"]["patience"] else best.with_name("last.pt")


def note(out: Path, line: str, spent: float) -> None:
    """Leave in OUT/progress.json how far a training is: the line it has just said, when (seconds since 1970), and the seconds
    that it has `spent`.
    """
    write_json(out / "progress.json", {"line": line, "at": time.time(), "spent": spent})


def finished(out: Path, settings: dict[str, Any], force: bool) -> bool:
    """Whether OUT holds a finished run of just these settings.

    Raises ValueError, unless `force`, when it holds one of other settings, naming the first that differs, or lost its model.
    """
    path = out / "run.json"
    if force or not path.is_file():
        return False
    difference = first_difference(read_object(path).get("settings", {}), settings)
    if difference:
        raise Refusal(f"{out} holds a finished run with {difference}", "pass --force to replace it, or another --out")
    if not (out / "model.onnx").is_file():
        what = f"{out} holds run.json of a finished run, but no model.onnx"
        raise Refusal(what, "pass --force to train again", f"remove {out} to train it again")
    return True


def begin(out: Path, settings: dict[str, Any], resume: bool, old: Sequence[Path] = ()) -> None:
    """Note in OUT/begun.json what a run is made with, so that `resume` goes on with nothing else, and claim OUT.

    A run that starts anew first removes OUT/run.json, the model and the files `old` of an earlier one: if it is stopped, OUT
    holds a stopped run, and no model that could be taken for its own. Raises ValueError for a run that was begun with other
    settings, naming the first that differs, and for one that another process is making.
    """
    path = out / "begun.json"
    if resume:
        refuse_other_settings(out, read_object(path) if path.is_file() else settings, settings)
    process.claim(out)
    if resume:
        return
    for file in (*(out / name for name in OF_A_FINISHED_RUN), *old):
        file.unlink(missing_ok=True)
    write_json(path, settings)


def first_difference(begun: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first setting, by name, that differs, with both values; empty where all are the same.

    Names of two words, such as "train boxes", are fingerprints (`photos.fingerprint.of_training`), whose values say nothing.

    >>> first_difference({"lr": 0.1, "epochs": 3}, {"lr": 0.2, "epochs": 3})
    'lr 0.1, now 0.2'
    >>> first_difference({"train boxes": "3f"}, {"train boxes": "a0"}), first_difference({}, {"train boxes": "a0"})
    ('boxes of the train photos that changed since', 'boxes of the train photos that it does not record')
    """
    now = json.loads(json.dumps(now))
    by_name = sorted({*begun, *now}, key=lambda name: (name in begun or " " not in name, name))  # first what is not recorded
    names = (name for name in by_name if begun.get(name) != now.get(name))
    return next((_difference(name, begun.get(name), now.get(name)) for name in names), "")


def _difference(name: str, begun: Any, now: Any) -> str:
    """One difference in words."""
    part, _, kind = name.partition(" ")
    if kind:
        return f"{kind} of the {part} photos that {'changed since' if begun else 'it does not record'}"
    return f"{name} {begun!r}, now {now!r}"


def refuse_other_settings(where: Path, begun: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises ValueError where the stopped run in `where` was begun with other settings than it is to go on with."""
    difference = first_difference(begun, now)
    if difference:
        raise Refusal(f"--resume: {where} was begun with {difference}", "pass the same, or --force")


def is_stopped(out: Path) -> bool:
    """Whether OUT holds a training that was stopped: a checkpoint (a detector's, or a classifier's), but no run.json."""
    checkpoint = any((out / name).is_file() for name in ("weights/last.pt", "last.pt"))
    return checkpoint and not (out / "run.json").is_file()


def refuse_unfinished(out: Path, resume: bool, force: bool) -> None:
    """Raises ValueError for a stopped run without --resume or --force, for --resume without a stopped run, and for a run that
    another process is making.
    """
    process.refuse_second(out)
    stopped = is_stopped(out)
    if stopped and not resume and not force:
        raise Refusal(f"{out} holds a stopped run", "pass --resume to go on with it, or --force to start again")
    if resume and not stopped:
        raise ValueError(f"--resume: {out} holds no stopped run (weights, but no run.json)")


@contextmanager
def beginning(out: Path, resume: bool, force: bool, distributed: "Distributed | None" = None) -> Iterator[None]:
    """A block that begins a run in OUT while no other process can; an error in it leaves noted which process made it before.

    Of a `distributed` training the main process claims OUT, once all have looked. Raises ValueError as `refuse_unfinished`.
    """
    refuse_unfinished(out, resume, force)
    if distributed is not None:
        distributed.all_gather(None)
    if distributed is not None and not distributed.is_main:
        yield
        return
    before = process.claim(out)
    try:
        yield
    except BaseException:
        process.release(out, before)
        raise


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
    except OSError:  # there is no git on this machine
        return None
    return done.stdout.strip() if done.returncode == 0 else None

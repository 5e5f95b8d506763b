"""What runs, how far it is and what is finished.

    python -m runs.status R [R ...] [--watch SECONDS]

A training leaves OUT/begun.json and OUT/process.json when it begins, OUT/progress.json at each epoch and OUT/run.json when it
is done. On the machine where it runs, it counts as stopped as soon as its process is gone; elsewhere, after QUIET minutes
without a word.
"""

import time
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fusion.models import read_object
from runs import process
from runs.command import Parser, note_result, run, say
from runs.typed import typed

QUIET = 30.0  # chosen: minutes without a word after which a training counts as stopped where its process is not known
METRICS = (
    "det_map50",
    "cls_map50",
    "valid_accuracy",
    "start_share",
)  # the scores are of weights that keep nothing of the start


class Row(NamedTuple):
    """One training: where, its state (running, stopped or finished), its last progress line or its scores, minutes since."""

    name: str
    state: str
    last_line: str
    minutes: float


def main(argv: list[str] | None = None, prog: str = "python -m runs.status") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and show the table, once or every few seconds until Ctrl-C."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("runs", type=Path, nargs="+", help="run folders")
    p.add_argument("--watch", type=float, help="show it anew every so many seconds")
    args = p.parse_args(argv)
    if args.watch is not None and not args.watch > 0:
        raise ValueError(f"--watch: got {args.watch}, need seconds > 0")
    for runs in args.runs:
        if not runs.is_dir():
            raise ValueError(f"{runs}: {'a file' if runs.exists() else 'no such folder'}, need a run folder")
    while True:
        trainings = [row for runs in args.runs for row in rows(runs, time.time())]
        show(trainings)
        note_result(trainings=trainings)
        for runs in args.runs:
            if not any(training.name.startswith(f"{runs.name}/") for training in trainings):
                say(f"{runs}: no training was begun; {first_command(runs)}")
        if args.watch is None:
            return
        time.sleep(args.watch)


def rows(runs: Path, now: float) -> list[Row]:
    """The trainings in a run folder, the one that moved last first; `now` in seconds since 1970."""
    begun = [path for pattern in ("*/begun.json", "cross_fit/*/*/begun.json") for path in runs.glob(pattern)]
    trainings = [row(path.parent, runs, now) for path in begun]
    return sorted(trainings, key=lambda row: row.minutes)


def first_command(runs: Path) -> str:
    """What comes first in a run folder without a training; folds are never dealt into that of a fit."""
    if (pid := process.other(runs)) is not None:
        return f"process {pid} is at work in it"
    if (runs / "plan.json").is_file():
        return typed("a hylle fit was stopped there, go on with it: hylle fit D --minutes M --out", runs)
    if (runs / "folds.json").is_file():
        return typed("next: hylle train-detector --data D --out", runs, "--classes one")
    return typed("first: hylle folds --data D --out", runs)


def row(out: Path, runs: Path, now: float) -> Row:
    """What the training in OUT has come to."""
    name = f"{runs.name}/{out.relative_to(runs)}"
    done, progress = out / "run.json", out / "progress.json"
    if done.is_file():
        return Row(name, "finished", reached(whole(done).get("metrics", {})), (now - done.stat().st_mtime) / 60)
    line, at = "begun, no epoch done", (out / "begun.json").stat().st_mtime
    if progress.is_file() and {"line", "at"} <= (last := whole(progress)).keys():
        line, at = str(last["line"]), float(last["at"])
    minutes, alive = (now - at) / 60, process.is_alive(out)
    running = minutes < QUIET if alive is None else alive
    return Row(name, "running" if running else "stopped", line, minutes)


def whole(path: Path) -> dict[str, Any]:
    """The object in a JSON file; an empty one where it is damaged, as a loss of power may leave it."""
    try:
        return read_object(path)
    except ValueError:
        return {}


def reached(metrics: dict[str, object]) -> str:
    """The scores of a finished training, as its run.json has them.

    >>> reached({"valid": {"det_map50": 0.75}, "minutes": 3.21})
    'det_map50 0.750, 3.2 min'
    """
    valid = metrics.get("valid")
    flat = {**metrics, **(valid if isinstance(valid, dict) else {})}
    scores = [f"{name} {flat[name]:.3f}" for name in METRICS if isinstance(flat.get(name), float)]
    return ", ".join([*scores, *([f"{flat['minutes']:.1f} min"] if isinstance(flat.get("minutes"), float) else [])])


def show(trainings: list[Row]) -> None:
    """Print the table."""
    titles = ("training", "state", "last word", "minutes ago")
    table = Table(*(Column(title, overflow="fold") for title in titles), box=box.SIMPLE_HEAD, pad_edge=False)
    for training in trainings:
        words = (training.name, training.state, training.last_line, f"{training.minutes:.0f}")
        table.add_row(*(Text(word) for word in words))  # as it is: no markup
    Console().print(table)


if __name__ == "__main__":
    raise SystemExit(main())

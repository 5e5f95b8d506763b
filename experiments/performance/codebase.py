"""How large the code base is for a reader, and how long `hylle VERB` takes to answer.

    python -m experiments.performance.codebase [--root CHECKOUT] [--runs 5] [--record]

Counts the Python files at the top of each package, the words of the README, hand-written flags, and functions with many
arguments of CHECKOUT, and times `--help` and a wrong path of six verbs there, each as a process of its own. The figures' keys
begin with `house`.
"""

import argparse
import ast
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from experiments.figures import records
from runs.command import run, say
from runs.record import ROOT

PACKAGES = ("hylle", "fusion", "photos", "runs", "stage1_detector", "stage2_classifier", "submission", "experiments")
MOST_ARGUMENTS = 6  # taken: the most arguments that the design allows a function
# Verb -> its arguments with a path that does not exist.
WRONG_PATHS = {
    "folds": ["--data", "nowhere", "--out", "nowhere"],
    "train-detector": ["--data", "nowhere", "--out", "nowhere"],
    "train-classifier": ["--data", "nowhere", "--out", "nowhere"],
    "gate": ["--data", "nowhere", "--runs", "nowhere"],
    "build": ["--runs", "nowhere", "--out", "nowhere.zip"],
    "check": ["nowhere.zip"],
}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Count, time, print, and record with --record."""
    p = argparse.ArgumentParser(prog="python -m experiments.performance.codebase", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    p.add_argument("--runs", type=int, default=5, help="timed runs of each call, after one that is not counted")
    p.add_argument("--record", action="store_true", help="write house.* to experiments/results")
    args = p.parse_args(argv)
    for name, count in counts(args.root).items():
        say(f"{name}: {count}")
    calls = {"help_seconds": {verb: ["--help"] for verb in WRONG_PATHS}, "mistake_seconds": WRONG_PATHS}
    timings = {
        figure: {verb: seconds(args.root, [verb, *flags], args.runs) for verb, flags in verbs.items()}
        for figure, verbs in calls.items()
    }
    for figure, verbs in timings.items():
        for verb, times in verbs.items():
            say(f"{figure} of {verb}: median {statistics.median(times):.2f}, {min(times):.2f} to {max(times):.2f}")
    if args.record:
        say(f"figures: {records.write('house', as_records(timings, records.command('performance.codebase', argv)))}")


class Function(NamedTuple):
    """One function: its length in lines and its arguments, `self` and `cls` not counted."""

    lines: int
    arguments: int


def counts(root: Path) -> dict[str, float]:
    """The size of the checkout ROOT for a reader, by name."""
    top = {f"files at the top of {name}": len(list((root / name).glob("*.py"))) for name in PACKAGES if (root / name).is_dir()}
    sources = [path.read_text(encoding="utf-8") for name in PACKAGES for path in (root / name).rglob("*.py")]
    functions = [function for source in sources for function in functions_of(source)]
    return top | {
        "words of README.md": len((root / "README.md").read_text(encoding="utf-8").split()),
        "add_argument lines": sum(source.count("add_argument(") for source in sources),
        "functions": len(functions),
        "median lines of a function": statistics.median(function.lines for function in functions),
        f"functions of more than {MOST_ARGUMENTS} arguments": sum(
            function.arguments > MOST_ARGUMENTS for function in functions
        ),
    }


def functions_of(source: str) -> list[Function]:
    """Every function of a file, those within classes and functions too.

    >>> functions_of("def f(a, *, b):\\n    return a\\n")
    [Function(lines=2, arguments=2)]
    """
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    return [Function((node.end_lineno or node.lineno) - node.lineno + 1, _arguments(node.args)) for node in nodes]


def _arguments(arguments: ast.arguments) -> int:
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return sum(argument.arg not in ("self", "cls") for argument in named)


def seconds(root: Path, arguments: Sequence[str], runs: int) -> list[float]:
    """Wall-clock seconds of `hylle ARGUMENTS` in ROOT, `runs` times after one that is not counted."""
    measured = []
    for _ in range(runs + 1):
        started = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "hylle", *arguments],
            cwd=root, env=os.environ | {"PYTHONPATH": str(root)}, capture_output=True, check=False,
        )  # fmt: skip
        measured.append(time.perf_counter() - started)
    return measured[1:]


def as_records(timings: dict[str, dict[str, list[float]]], command: str) -> list[dict[str, object]]:
    """house.help_seconds and house.mistake_seconds: the slowest verb's median, and those of each verb."""
    rows = []
    for figure, verbs in timings.items():
        slowest = max(verbs, key=lambda verb: statistics.median(verbs[verb]))
        for key, verb in [(figure, slowest), *((f"{figure}.{verb}", verb) for verb in verbs)]:
            times = verbs[verb]
            setting = f"hylle {verb}, median of {len(times)} runs, in brackets the shortest and the longest"
            estimate = records.Estimate(statistics.median(times), len(times), min(times), max(times))
            rows.append(records.figure(f"house.{key}", estimate, "s", setting, command))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

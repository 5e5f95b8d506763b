"""How long the tests take: `python -m experiments.performance.suite_times [--all]` runs the fast ones, or all, and records."""

import argparse
import subprocess
import sys
import time

from experiments.figures import records
from runs.command import run, say
from runs.record import ROOT


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Run the tests once and record tests.fast_seconds or tests.all_minutes. Raises ValueError when one fails."""
    p = argparse.ArgumentParser(
        prog="python -m experiments.performance.suite_times", description=(__doc__ or "").split("\n")[0]
    )
    p.add_argument("--all", action="store_true", help="`make test`: ruff, mypy and every test, on a machine that is set up")
    args = p.parse_args(argv)
    command = ["make", "test"] if args.all else [sys.executable, "-m", "pytest", "-q", "-m", "not slow"]
    started = time.time()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    seconds = time.time() - started
    last = done.stdout.strip().splitlines()[-1].strip("= ")
    if done.returncode:
        raise ValueError(f"{' '.join(command)}: {last}")
    key, value, unit = ("all_minutes", seconds / 60, "minutes") if args.all else ("fast_seconds", seconds, "s")
    setting = f"{last.split(' in ')[0]}; one run, so no interval"
    recorded_call = records.command("performance.suite_times", argv)
    records.write("tests", [records.figure(f"tests.{key}", records.Estimate(value, 1), unit, setting, recorded_call)])
    say(f"{last}; {value:.1f} {unit} in all")


if __name__ == "__main__":
    raise SystemExit(main())

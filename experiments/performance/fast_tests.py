"""How long the fast tests take: `python -m experiments.performance.fast_tests` runs them and records tests.fast_seconds."""

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
    """Run the fast tests once and record the seconds. Raises ValueError when one fails."""
    started = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    seconds = time.time() - started
    last = done.stdout.strip().splitlines()[-1]
    if done.returncode:
        raise ValueError(f"the fast tests: {last}")
    setting = f"{last.split(' in ')[0]}; one run, so no interval"
    command = "python -m experiments.performance.fast_tests"
    records.write("tests", [records.figure("tests.fast_seconds", records.Estimate(seconds, 1), "s", setting, command)])
    say(f"{last}; {seconds:.0f} s with collection")


if __name__ == "__main__":
    raise SystemExit(main())

"""How long the inner loop takes: `python -m experiments.suite` runs pytest -m "not slow" and records tests.fast_seconds."""

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
    records.write(
        "tests",
        [
            records.figure(
                "tests.fast_seconds",
                seconds,
                "s",
                1,
                f"{last.split(' in ')[0]}; one run, so no interval",
                "python -m experiments.suite",
            )
        ],
    )
    say(f"{last}; {seconds:.0f} s with collection")


if __name__ == "__main__":
    raise SystemExit(main())

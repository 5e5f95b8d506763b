"""Whether a `hylle fit` that is killed again and again ends with the very zip of one that was left alone.

    python -m experiments.studies.killed_fits --data D --out OUT [--kills 5] [--seed 0] [--record]

Both fit with the same epochs (FLAGS), as epochs that are planned hang on how fast the machine was. Of the time that the one
took, moments are drawn by chance; the other is killed by kill -9 when it has run that long in all, and begun again by the same
command. The zips are compared file by file and byte by byte, the scores number by number. OUT/alone is not run again.
"""

import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.figures import records
from fusion.models import read_object
from runs import record
from runs.command import Parser, run, say

FLAGS = (
    "--size", "320", "--epochs", "8", "--classifier", "tf_efficientnet_lite0", "--crop-size", "96", "--crop-epochs", "4",
    "--folds", "3", "--refit", "yes", "--aware", "no", "--start-share", "0",
)  # fmt: skip
SCORES = ("cross_fitted", "test", "name_oracle", "box_oracle", "policy")  # of fitted.json
TAKEN = "seconds.json"


class Outcome(NamedTuple):
    """What of two fits differs: members of the zips, and entries of SCORES; and what there was of members."""

    members: list[str]
    scores: list[str]
    n_members: int


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Fit both ways, compare, and record the figure."""
    p = Parser(prog="python -m experiments.studies.killed_fits", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--minutes", type=float, default=60.0, help="of the fit; too many, so that all epochs are done")
    p.add_argument("--kills", type=int, default=5)
    p.add_argument("--seed", type=int, default=0, help="of the moments")
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results")
    args = p.parse_args(argv)
    if (args.out / "killed").exists():
        raise ValueError(f"--out: {args.out / 'killed'} is there already; remove it, or take another --out")
    seconds = left_alone(command(args.data, args.out / "alone", args.minutes), args.out)
    moments = np.sort(np.random.default_rng(args.seed).uniform(0, seconds, args.kills))
    hit = killed_at(command(args.data, args.out / "killed", args.minutes), moments, args.out / "killed")
    found = compare(args.out / "alone", args.out / "killed")
    say(f"killed {args.kills} times: {', '.join(hit)}")
    say(f"of {found.n_members} files of the zip {len(found.members)} differ: {', '.join(found.members) or '-'}")
    say(f"of {len(SCORES)} scores {len(found.scores)} differ: {', '.join(found.scores) or '-'}")
    if args.record:
        setting = (
            f"{args.data.name}, {' '.join(FLAGS)}; kill -9 at {args.kills} random moments of {seconds / 60:.1f} minutes, in "
            f"{', '.join(hit)}; {found.n_members} files of the zip byte by byte and {len(SCORES)} entries of fitted.json, "
            "against one left alone; counted, no interval"
        )
        different = records.Estimate(float(len(found.members) + len(found.scores)), args.kills)
        row = records.figure("fit.killed.different", different, "count", setting, records.command("studies.killed_fits", argv))
        records.write("killed_fits", [row])


def command(data: Path, runs: Path, minutes: float) -> list[str]:
    """`hylle fit` of DATA into RUNS."""
    words = ["--data", str(data), "--out", str(runs), "--minutes", str(minutes), *FLAGS]
    return [sys.executable, "-m", "fitting.fit", *words]


def left_alone(words: list[str], out: Path) -> float:
    """Run it to its end, unless that was done before; returns the seconds that it took."""
    path = out / TAKEN
    if not path.is_file():
        started = time.monotonic()
        subprocess.run(words, check=True)
        record.write_json(path, {"seconds": time.monotonic() - started})
    return float(read_object(path)["seconds"])


def killed_at(words: list[str], moments: np.ndarray, runs: Path) -> list[str]:
    """Run it to its end, killed at each of the `moments`, in seconds that it has run in all; returns what was running then.

    RuntimeError where it ends before it could be killed.
    """
    hit = []
    for life in np.diff(moments, prepend=0.0):
        with subprocess.Popen(words, start_new_session=True) as fit:
            try:
                fit.wait(float(life))
                raise RuntimeError(f"{runs}: the fit was over before it could be killed; take fewer --kills")
            except subprocess.TimeoutExpired:
                os.killpg(fit.pid, signal.SIGKILL)
        hit.append(running(runs))
        say(f"killed after {life:.0f} s, in {hit[-1]}")
    subprocess.run(words, check=True)
    return hit


def running(runs: Path) -> str:
    """The part of the plan that was at work in RUNS."""
    path = runs / "plan.json"
    return str(read_object(path).get("running") or "between two parts") if path.is_file() else "measuring the machine"


def compare(alone: Path, killed: Path) -> Outcome:
    """What differs between the zips and the scores of two fits."""
    archives = [members(runs / "submission.zip") for runs in (alone, killed)]
    names = archives[0].keys() | archives[1].keys()
    different = sorted(name for name in names if archives[0].get(name) != archives[1].get(name))
    scores = [read_object(runs / "fitted.json") for runs in (alone, killed)]
    return Outcome(different, [name for name in SCORES if scores[0][name] != scores[1][name]], len(names))


def members(path: Path) -> dict[str, bytes]:
    """The files of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


if __name__ == "__main__":
    raise SystemExit(main())

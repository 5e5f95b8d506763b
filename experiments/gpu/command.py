"""Check and measure on a CUDA GPU what no other machine can: providers, FP16, run.py, trainings, memory, a fit.

    python -m experiments.gpu --minutes 12 --out OUT [--only NAME ...] [--record]
    python -m experiments.gpu --rehearse --out OUT

Checks are done in order of worth, each in a process of its own. OUT/figures.json has every figure as soon as it is measured,
OUT/checks.json how each check ended, OUT/logs what the libraries said. The same command again does the checks that have not
passed. Weights are random, photos are drawn: nothing is fetched. --rehearse does all of it on a CPU with tiny networks and
photos, and proves nothing about a GPU.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from experiments.gpu.scale import FULL, TINY, Check, Work
from runs.command import Parser, note_result, run, say

LEAST, MOST = 1.0, 600.0  # chosen: minutes
REHEARSAL_MINUTES = 30.0  # chosen: far more than it takes; a check that hangs is cut


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code: 1 where a check failed."""
    return run(body, argv)


def parser() -> Parser:
    """The command line."""
    p = Parser(prog="python -m experiments.gpu", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="folder of the figures; checks that passed there are not repeated")
    p.add_argument("--minutes", type=float, default=12.0, help="what does not fit is skipped, and told")
    p.add_argument("--only", nargs="+", default=[], metavar="NAME", help="these checks alone")
    p.add_argument("--rehearse", action="store_true", help="on a CPU, with tiny networks and photos")
    p.add_argument("--record", action="store_true", help="write experiments/results/gpu.json too")
    return p


def body(argv: list[str] | None) -> int:
    """Read the arguments and check. Raises ValueError for what the user can mend."""
    began = time.monotonic()
    args = parser().parse_args(argv)
    if args.rehearse and args.record:
        raise ValueError("--record: got --rehearse too, whose figures are of no GPU; leave one out")
    if not LEAST <= args.minutes <= MOST:
        raise ValueError(f"--minutes: got {args.minutes:g}, allowed {LEAST:g} to {MOST:g}")
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out: {args.out} is a file, need a folder")
    if not args.rehearse:
        refuse_without_gpu()
    from experiments.figures import records
    from experiments.gpu import checks, schedule  # here: they take seconds to load

    work = Work(args.out.resolve(), TINY if args.rehearse else FULL, args.rehearse)
    chosen = named(checks.CHECKS, args.only)
    kept = schedule.Kept(work, records.command("gpu", argv), args.record)
    seconds = 60 * (REHEARSAL_MINUTES if args.rehearse else args.minutes) - (time.monotonic() - began)
    ended = schedule.run_all(chosen, work, seconds, kept, say)
    counts = {name: sum(how.startswith(name) for how in ended.values()) for name in ("passed", "failed", "skipped")}
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    say(f"{told}; {len(kept.figures)} figures: {work.out / schedule.FIGURES}")
    note_result(checks=ended, figures=work.out / schedule.FIGURES)
    return int(counts["failed"] > 0)


def refuse_without_gpu() -> None:
    """Raises ValueError where torch sees no CUDA GPU."""
    import torch

    if not torch.cuda.is_available():
        raise ValueError(
            f"torch {torch.__version__} sees no CUDA GPU here, and this command measures one; see docs/guide/gpu.md, "
            "or try the command itself on the CPU with --rehearse"
        )


def named(checks: Sequence[Check], names: Sequence[str]) -> list[Check]:
    """The checks of these names, in their own order; all of them where there are no names. ValueError for an unknown name."""
    known = [check.name for check in checks]
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--only: got {unknown[0]!r}, allowed: {', '.join(known)}")
    return [check for check in checks if not names or check.name in names]

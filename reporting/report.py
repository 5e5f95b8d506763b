"""One page that shows what a run can and cannot do: R/report.html, a single file that works offline.

    hylle report R [--data D] [--out FILE]

R is of `hylle fit` or of the separate commands up to `hylle gate`. What a run does not have is said on the page. Outputs of
models are taken from R/raw where they are there, and kept there otherwise.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runs.command import Parser, note_result, run, say
from runs.output_file import refuse_no_file
from runs.typed import typed

if TYPE_CHECKING:
    from photos.data import Dataset
    from photos.folds import Folds

NAME = "report.html"


class Written(NamedTuple):
    """The page, its bytes, the seconds that it took, and what its labels have changed since the run was made."""

    path: Path
    bytes: int
    seconds: float
    label_changes: list[str]

    def __str__(self) -> str:
        """As text, for a command."""
        return f"{self.path}, {self.bytes / 1e6:.1f} MB, in {self.seconds:.1f} s; open it in a browser"


def main(argv: list[str] | None = None, prog: str = "python -m reporting.report") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and write the page."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("runs", type=Path, metavar="R", help="run folder with a fitted gate")
    p.add_argument("--data", type=Path, help="the data set that R was made from; default: where R says it is")
    p.add_argument("--out", type=Path, help=f"the page to write, default R/{NAME}")
    args = p.parse_args(argv)
    out = args.out or args.runs / NAME
    refuse_no_file("--out", out, NAME)
    if not args.runs.is_dir():
        raise ValueError(f"report: got {args.runs}, need a run folder of hylle fit or of hylle folds and what follows it")
    from photos import repairs
    from reporting.data_set import folds_of

    folds = folds_of(args.runs, args.data)
    repairs.tell(folds.dataset)
    out.parent.mkdir(parents=True, exist_ok=True)  # before the work, which takes minutes
    written = write_report(args.runs, folds, out)
    for line in written.label_changes:
        say(f"report: {line}")
    say(f"report: {written}")
    note_result(report=written.path, bytes=written.bytes, seconds=written.seconds, label_changes=written.label_changes)


def after_fit(runs: Path, dataset: "Dataset") -> None:
    """Write the page of a fit that is done, and say so. What hinders the page is told, and does not make the fit fail."""
    from photos import folds

    try:
        written = write_report(runs, folds.load(runs / folds.NAME, dataset), runs / NAME)
    except (ValueError, OSError) as error:
        say(typed(f"report: not written: {error}; hylle report", runs, "tries again"))
        return
    say(f"report: {written}")
    note_result(report=written.path)


def write_report(runs: Path, folds: "Folds", out: Path) -> Written:
    """Judge the run in RUNS on its held-out photos and write the page to OUT. Raises ValueError for what the user can mend."""
    from reporting.held_out import gather_held_out
    from reporting.label_changes import label_changes
    from reporting.page import write_page

    started, held_out = time.perf_counter(), gather_held_out(runs, folds)
    size = write_page(held_out, out)
    return Written(out, size, time.perf_counter() - started, label_changes(held_out))


if __name__ == "__main__":
    raise SystemExit(main())

"""The log of submissions: the local score of each beside the judge's, to learn how well the local score predicts it.

    python -m submission.log add submission.zip --runs R [--notes TEXT]
    python -m submission.log judged SHA SCORE [--notes TEXT]
    python -m submission.log

One line of JSON per submission, in submissions.jsonl of the current folder or --log FILE: date, the zip's sha256, the score on
the test photos of R (of R/ensemble.json, with its 95 % interval), the judge's score once it is known, notes. The file is
replaced as a whole, so that an interrupted write loses no line.
"""

import argparse
import hashlib
import json
import time
import zipfile
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from fusion.ensemble import read_ensemble
from fusion.models import read_object
from photos import folds
from photos.fit_folds import is_of_a_fit_without
from runs.atomic_write import replacing
from runs.command import Parser, note_result, run, say
from runs.counted import counted
from runs.model_files import is_stale
from runs.typed import typed
from submission import built_of

LOG = Path("submissions.jsonl")
ABLATION = "python -m experiments.ablation --data D --runs"
ARM = "gate + further names"  # the row of the ablation's table that scores R/ensemble.json itself
KEYS = ("date", "zip", "sha256", "score", "low", "high", "judge", "notes")
TEXTS = ("date", "zip", "sha256", "notes")  # the others are numbers
SHORT = 12  # chosen: letters of a sha that are shown; any unambiguous beginning is accepted


def main(argv: list[str] | None = None, prog: str = "python -m submission.log") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments; add a line, fill in a judge's score, or show all."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--log", type=Path, default=LOG, help="file of the log; default: %(default)s here")
    commands = p.add_subparsers(dest="what")
    adding = commands.add_parser("add", help="note a zip that is submitted")
    adding.add_argument("zip", type=Path, help="the zip")
    adding.add_argument("--runs", type=Path, help="the run folder it was built from, for its local score; not of hylle fit")
    adding.add_argument("--notes", default="", help="what to remember it by")
    judged = commands.add_parser("judged", help="note what the judge said")
    judged.add_argument("sha", help="the beginning of the zip's sha256")
    judged.add_argument("score", type=float, help="the judge's score, 0 to 1")
    judged.add_argument("--notes", default="", help="to be added to its notes")
    for command in (adding, judged):  # SUPPRESS: without it here, the one before the word counts
        command.add_argument("--log", type=Path, default=argparse.SUPPRESS, help=f"file of the log; default: {LOG} here")
    args = p.parse_args(argv)
    if args.what == "add":
        add(args.log, args.zip, args.runs, args.notes)
    elif args.what == "judged":
        judge(args.log, args.sha, args.score, args.notes)
    show(read(args.log))
    note_result(file=args.log, submissions=read(args.log))


def read(log: Path) -> list[dict[str, Any]]:
    """All lines of the log, none where there is none. Raises ValueError for a line that is no JSON object, with its number."""
    lines = []
    try:
        whole = log.read_text("utf-8").removesuffix("\n") if log.is_file() else ""
    except UnicodeDecodeError:
        raise ValueError(f"{log}: not UTF-8, so not a log of submissions; pass another --log") from None
    for i, text in enumerate(whole.split("\n") if whole else [], 1):  # splitlines would split notes too
        try:
            line = json.loads(text)
        except ValueError as error:
            raise ValueError(f"{log}:{i}: not a JSON object: {error}") from None
        if what := amiss(line):
            raise ValueError(f"{log}:{i}: {what}, so not a line of this log; mend it, or pass another --log")
        lines.append(line)
    return lines


def amiss(line: object) -> str:
    """What a line of JSON lacks to be one of the log; empty for one that is.

    >>> amiss([]), amiss({"zip": "a"} | dict.fromkeys(KEYS[2:])), amiss(dict.fromkeys(KEYS, ""))
    ('not a JSON object', 'lacks date', 'score is "", need a number')
    """
    if not isinstance(line, dict):
        return "not a JSON object"
    if missing := [key for key in KEYS if key not in line]:
        return f"lacks {', '.join(missing)}"
    for key in KEYS:
        empty = key == "judge" or (key not in TEXTS and line["score"] is None)
        if type(line[key]) not in ((str,) if key in TEXTS else (int, float)) and not (empty and line[key] is None):
            return f"{key} is {json.dumps(line[key])}, need a {'text' if key in TEXTS else 'number'}"
    return ""


def write(log: Path, lines: list[dict[str, Any]]) -> None:
    """Replace the log by these lines, in one step. Raises ValueError where its folder is not there, or it is one itself."""
    if not log.parent.is_dir():
        raise ValueError(f"--log {log}: there is no folder {log.parent}; make it first")
    if log.is_dir():
        raise ValueError(f"--log {log}: got a folder, need a file")
    with replacing(log) as (unfinished,):
        unfinished.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))


def add(log: Path, archive: Path, runs: Path | None, notes: str) -> None:
    """Add a line. ValueError for a zip that is missing, noted before, or not of `runs`, or `runs` without its ablation.

    The local score is of the models as they were trained: that the zip's are in FP16 or 8 bits is said, and noted beside it.
    """
    if not archive.is_file():
        raise ValueError(f"{archive}: {'a folder, need a zip' if archive.is_dir() else 'no such file'}")
    sha, lines = hashlib.sha256(archive.read_bytes()).hexdigest(), read(log)
    if any(line["sha256"] == sha for line in lines):
        raise ValueError(f"{archive}: noted before, sha256 {sha[:SHORT]}")
    if runs:
        built_of.refuse_other(archive, runs)
    if runs and zipfile.is_zipfile(archive) and (smaller := built_of.precision_of(archive)):
        other = f"local score of float32 models; in the zip {smaller}"
        say(f"{archive.name}: {other}")
        notes = "; ".join(filter(None, [other, notes]))
    score = local_score(runs) if runs else {"score": None, "low": None, "high": None}
    line = {"date": time.strftime("%Y-%m-%d"), "zip": archive.name, "sha256": sha} | score | {"judge": None, "notes": notes}
    write(log, [*lines, line])
    say(f"noted {archive.name}, sha256 {sha[:SHORT]}")


def local_score(runs: Path) -> dict[str, float]:
    """The score of R/ensemble.json on the test photos of R, and its interval, from R/ablation.json."""
    path = runs / "ablation.json"
    if not path.is_file() and any(is_of_a_fit_without(runs / folds.NAME, part) for part in ("valid", "test")):
        raise ValueError(
            f"--runs {runs}: hylle fit holds no photos out for an ablation, it told its own score; leave out --runs"
        )
    if not path.is_file():
        raise ValueError(typed(f"{path}: no such file; {ABLATION}", runs, "makes it"))
    told = read_object(path)
    if (runs / "ensemble.json").is_file() and is_stale(told, runs, read_ensemble(runs)):
        remedy = typed(ABLATION, runs, "measures it anew")
        raise ValueError(f"{path}: was measured before {runs / 'ensemble.json'} or its models changed; {remedy}")
    rows = {row["arm"]: row["score"] for row in told.get("rows", [])}
    if ARM not in rows:
        raise ValueError(f"{path}: has no arm {ARM!r}, only {', '.join(rows) or 'none'}")
    return dict(zip(("score", "low", "high"), rows[ARM], strict=True))


def judge(log: Path, sha: str, score: float, notes: str) -> None:
    """Fill in the judge's score. Raises ValueError for a score outside [0, 1], and where `sha` does not begin exactly one."""
    if not 0 <= score <= 1:
        raise ValueError(f"the judge's score: got {score}, must be in [0, 1]")
    lines = read(log)
    if not sha:
        raise ValueError("sha: got nothing, need the first letters of a zip's sha256; hylle log shows them")
    matching = [line for line in lines if line["sha256"].startswith(sha)]
    if len(matching) != 1:
        raise ValueError(f"sha {sha}: begins {len(matching)} of {len(lines)} noted zips, must be one; hylle log shows them")
    before = matching[0]["judge"]
    was = f"judged {before:.4f} before" if before not in (None, score) else ""
    if was:
        say(f"{matching[0]['zip']}: {was}, {score:.4f} now")
    matching[0] |= {"judge": score, "notes": "; ".join(filter(None, [matching[0]["notes"], was, notes]))}
    write(log, lines)


def show(lines: list[dict[str, Any]]) -> None:
    """Print the log as a table, and the mean difference between the judge's and the local score."""
    whole, folded = ("date", "sha256"), ("zip", "local score", "judge", "judge minus local", "notes")
    columns = [*(Column(title, no_wrap=True) for title in whole), *(Column(title, overflow="fold") for title in folded)]
    table = Table(*columns, box=box.SIMPLE_HEAD, pad_edge=False)
    gaps = []
    for line in lines:
        local, judged = line["score"], line["judge"]
        gap = None if local is None or judged is None else judged - local
        gaps += [] if gap is None else [gap]
        span = "-" if local is None else f"{local:.4f} [{line['low']:.4f}, {line['high']:.4f}]"
        cells = ("-" if judged is None else f"{judged:.4f}", "-" if gap is None else f"{gap:+.4f}")
        words = (line["date"], line["sha256"][:SHORT], line["zip"], span, *cells, line["notes"])
        table.add_row(*(Text(word) for word in words))  # as it is: no markup
    Console().print(table)
    if gaps:
        count = counted(len(gaps), "submission")
        say(f"the judge gave {sum(gaps) / len(gaps):+.4f} on average against the local score ({count})")


if __name__ == "__main__":
    raise SystemExit(main())

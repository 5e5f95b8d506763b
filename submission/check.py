"""`python -m submission.check ZIP`: would the judge accept this zip, would it run there, and would it find something?

First the rules of the contest (`submission.rules.RULES`, one function each), then what would fail only when the zip runs:

- `submission.packed_imports`: a module is imported, but neither packed nor installed at the judge;
- `malformed_json`: a .json file that `fusion/` reads does not hold one JSON object;
- `submission.packed_models`: the models do not fit together, or the method cannot work;
- `submission.trial`: the zip is run in the sandbox on two drawn photos;
- `submission.pace`: last, on some large ones, which tells how long it would take.
"""

import json
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from runs.command import Parser, note_result, run
from submission import packed_models
from submission.disk_room import DiskFullError
from submission.entries import MAX_BYTES, MAX_ENTRIES, MB, Entry, read_entries
from submission.judge_machine import PYTHON, Machine, judge_python
from submission.packed_imports import unpacked_imports
from submission.packed_models import model_files
from submission.rules import MAX_FILES, WEIGHTS, built_on_fusion
from submission.rules import violations as rule_violations
from submission.violation import Violation

if TYPE_CHECKING:
    from submission.pace import Pace


def check(path: Path) -> list[Violation]:
    """Every violation of the zip at `path`, warnings among them. Raises ValueError where there is no zip."""
    if not zipfile.is_zipfile(path):
        what = "not a zip" if path.is_file() else "a folder, need a zip" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {what}; hylle build makes one")
    try:
        with zipfile.ZipFile(path) as archive:
            entries = read_entries(archive)
            if len(entries) > MAX_ENTRIES:
                return [Violation("the zip", 0, f"more than {MAX_ENTRIES} entries", f"at most {MAX_FILES}; merge or drop some")]
            files = [entry for entry in entries if not entry.is_folder]
            malformed = [*malformed_json(files)] if built_on_fusion(files) else []
            models = [] if malformed else [*model_files(archive, files)]
            return [*rule_violations(entries), *unpacked_imports(files), *malformed, *models]
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise ValueError(f"{path}: not a zip that can be read: {error}") from None


def refused(violations: list[Violation]) -> list[Violation]:
    """The violations that are no mere warnings."""
    return [violation for violation in violations if not violation.warning]


def malformed_json(entries: list[Entry]) -> Iterator[Violation]:
    """JSON files that do not parse, or do not hold one object. Source: `fusion.models.read_object`, which reads UTF-8."""
    for entry in entries:
        if entry.suffix == ".json" and entry.text is not None:
            try:
                if not isinstance(json.loads(entry.text.decode()), dict):
                    yield Violation(entry.name, 1, "is not one JSON object", "begin it with {")
            except UnicodeDecodeError:
                yield Violation(entry.name, 0, "not UTF-8, as the judge reads it", "store it as UTF-8, without a BOM")
            except ValueError as error:
                yield Violation(entry.name, getattr(error, "lineno", 0), f"not JSON: {error}", "write it by json.dump")
            except RecursionError:
                yield Violation(entry.name, 0, "not JSON that can be read: nested too deeply", "write it by json.dump")


def summary(path: Path) -> str:
    """One line on what the zip holds: files, Python files, weight files and megabytes."""
    with zipfile.ZipFile(path) as archive:
        files = [info for info in archive.infolist() if not info.filename.endswith("/")]
    kinds = [PurePosixPath(info.filename).suffix for info in files]
    counts = f"{len(files)} files, {kinds.count('.py')} Python, {sum(kind in WEIGHTS for kind in kinds)} weights"
    return f"{path}: {counts}, {sum(info.file_size for info in files) / MB:.1f} of {MAX_BYTES // MB} MB"


def main(argv: list[str] | None = None, prog: str = "python -m submission.check") -> int:
    """The command; returns its exit code: 0 accepted, 1 violations, 2 nothing to check."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and check. Raises ValueError where there is no zip."""
    parser = Parser(prog=prog, description="Check a zip against the judge's limits, and run it on drawn photos.")
    parser.add_argument("zip", type=Path, help="the zip to check")
    parser.add_argument("--no-run", action="store_true", help="look into the zip, but do not run it")
    args = parser.parse_args(argv)
    found = check(args.zip)
    if (version := f"{sys.version_info[0]}.{sys.version_info[1]}") != PYTHON:
        what = "f-strings and modules that only it knows pass here, and may fail there"
        print(f"note: checked by Python {version}, the judge has {PYTHON}: {what}", file=sys.stderr)
    if not packed_models.can_read_graphs():
        print("note: the package onnx is not installed: graphs were not looked into", file=sys.stderr)
    pace = None
    if not args.no_run and not refused(found):
        more, pace = run_on_drawn_photos(args.zip)
        found += more
    for violation in found:
        print(violation)
    count = len(refused(found))
    note_result(zip=args.zip, accepted=not count, violations=found, seconds=pace and pace.seconds)
    print(f"{count} violations: {summary(args.zip)}" if count else f"ok: {summary(args.zip)}")
    if pace is not None:
        print(f"time: {pace}")
    return 1 if count else 0


def run_on_drawn_photos(path: Path) -> tuple[list[Violation], "Pace | None"]:
    """What runs on two drawn photos and then on some large ones show, and the zip's pace. DiskFullError without room for it."""
    from submission.pace import measured  # here: they load what only a run needs
    from submission.trial import try_zip

    tried = try_zip(path)
    if tried.is_full:
        raise DiskFullError(tried.not_run)
    if tried.not_run:
        print(f"note: the zip was not run: {tried.not_run}", file=sys.stderr)
    if tried.not_run or refused(tried.violations):
        return tried.violations, None
    try:
        pace, more = measured(path, Machine(judge_python()))
    except DiskFullError:
        raise
    except ValueError as error:
        print(f"note: the zip was not timed: {error}", file=sys.stderr)
        return tried.violations, None
    return tried.violations + more, pace


if __name__ == "__main__":
    sys.exit(main())

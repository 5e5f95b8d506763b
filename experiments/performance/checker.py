"""Does `submission.check` tell bad zips from good ones, and does the sandbox hold?

    python -m experiments.performance.checker [--runs R] --record

R is a run folder as `experiments.performance.bad_zips` needs it; without it, one of constant models is made. What shows only
when a zip runs needs the judge's environment: `hylle sandbox --set-up`.
"""

import json
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.performance.bad_zips import BAD, BAD_ARCHIVES, BAD_WHEN_RUN, GOOD, Files
from experiments.performance.endurance import constant_model
from experiments.performance.escapes import ESCAPES, escapes
from runs.command import Parser, run, say
from submission import build
from submission.check import check
from submission.trial import try_zip

CATEGORIES = [7, 3, 40]  # ids of the constant models; neither sorted nor contiguous


def told(path: Path, to_run: bool) -> list[str]:
    """What the checker says of a zip, a line each; with `to_run` also after running it."""
    try:
        found = check(path)
    except ValueError as error:
        return [str(error)]
    if to_run and not [violation for violation in found if not violation.warning]:
        found += try_zip(path).violations
    return [str(violation) for violation in found]


def zips(files: Files, folder: Path, kinds: str) -> Iterator[tuple[str, Path]]:
    """Each zip of a kind ("bad", "run", "archive" or "good"), by what is special about it."""
    spoils = {"bad": BAD, "run": BAD_WHEN_RUN, "good": GOOD, "archive": dict.fromkeys(BAD_ARCHIVES, GOOD["as built"])}[kinds]
    for name, spoil in spoils.items():
        own, path = dict(files), folder / "a.zip"
        spoil(own)
        with warnings.catch_warnings(action="ignore"):
            build.write(own, path)
        if kinds == "archive":
            BAD_ARCHIVES[name](path)
        yield name, path


def constant_runs(folder: Path) -> Path:
    """A run folder of models that answer the same for every photo: a detector of boxes, one of names too, a classifier."""
    boxes = np.array([[16, 48], [32, 32], [16, 8], [32, 32]], np.float32)  # (4, 2): cx cy w h of two, on 64 x 64
    objects, names = np.float32([[0.9, 0.6]]), np.float32([[0.8, 0.1], [0.1, 0.1], [0.0, 0.5]])  # (1, 2), (3, 2): scores
    sides = [{"task": "detector", "family": "yolo", "categories": categories} for categories in (None, CATEGORIES)]
    constant_model(folder / "one" / "model.onnx", np.concatenate([boxes, objects]), sides[0])
    constant_model(folder / "all" / "model.onnx", np.concatenate([boxes, names]), sides[1])
    classifier = {"task": "classifier", "family": "timm", "categories": CATEGORIES}
    constant_model(folder / "shelf" / "model.onnx", np.float32([0, 9, 0]), classifier)
    views = [{"size": 64}]
    detectors = [
        {"file": "one/model.onnx", "weight": 1.0, "views": views},
        {"file": "all/model.onnx", "weight": 0.0, "evidence_weight": 1.0, "views": views},
    ]
    parts = {"merge": {"method": "wbf", "iou": 0.55}, "classifiers": [{"file": "shelf/model.onnx", "batch": 4}]}
    ensemble = {"categories": CATEGORIES, "detectors": detectors, **parts, "gate": {"policy": "raw"}}
    (folder / "ensemble.json").write_text(json.dumps(ensemble))
    return folder


def main(argv: list[str] | None = None, prog: str = "python -m experiments.performance.checker") -> int:
    """The command; returns the exit code: 1 where one was missed, refused wrongly, or left the sandbox."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments, try everything, print what went wrong."""
    parser = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=Path, help="run folder with models and ensemble.json (default: constant models)")
    parser.add_argument("--record", action="store_true", help="write experiments/results/checker.json")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = build.collect(args.runs or constant_runs(folder / "runs"))
        bad = {what: told(path, True) for kinds in ("bad", "run", "archive") for what, path in zips(files, folder, kinds)}
        good = {what: told(path, True) for what, path in zips(files, folder, "good")}
        left = {}
        for i, way in enumerate(ESCAPES):
            (folder / str(i)).mkdir()
            left[way] = escapes(way, folder / str(i))
    missed = [what for what, lines in bad.items() if not lines]
    refused = [what for what, lines in good.items() if lines]
    escaped = [f"{way}: {how}" for way, how in left.items() if how]
    say(f"{len(bad)} bad zips, missed: {missed}; {len(good)} good ones, refused: {refused}")
    say(f"{len(left)} escapes, successful: {escaped}")
    if args.record:
        counts = (len(bad), len(missed), len(refused), len(left), len(escaped))
        command = records.command("performance.checker", argv)
        records.write("checker", _figures(counts, (len(bad), len(good), len(left)), command))
    return 1 if missed or refused or escaped else 0


def _figures(counts: tuple[int, ...], of: tuple[int, int, int], command: str) -> list[dict[str, Any]]:
    keys = ("checker.bad_zips", "checker.missed", "checker.good_zips_refused", "sandbox.escapes_tried", "sandbox.escapes")
    bad, good, tried = of
    setting = "zips spoilt one way each, checked and then run in the sandbox, and ways out of it; counted, no interval"
    return [
        records.figure(*Measured(key, Estimate(value, n), "count", setting), command)
        for key, value, n in zip(keys, counts, (bad, bad, good, tried, tried), strict=True)
    ]


if __name__ == "__main__":
    sys.exit(main())

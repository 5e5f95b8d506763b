"""Run a submission zip as the judge does, in an environment with just the judge's packages, and score what it writes.

    python -m submission.judge ZIP --data D --runs R

Runs ZIP in `submission.sandbox` on the test photos of R/folds.json, scores predictions.json, and compares it with the
predictions of the same pipeline inside the project. Predictions are joined to the set by file; what the judge, who takes image
ids from file names, would do to the set's own ids is told.
"""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fusion.ensemble import read_ensemble
from fusion.models import read_object
from fusion.pipeline import load
from photos import folds, trained_on
from photos.data import Category, Photo, product_key, read_image
from photos.exif import refuse_other
from photos.judge_ids import compare
from photos.repairs import read_and_tell
from photos.score import Scores, Truth, evaluate
from runs.atomic_write import replacing
from runs.command import Parser, note_result, run, say
from runs.counted import counted, named
from runs.model_files import files_of, refuse_changed
from submission import built_of, judge_machine, sandbox
from submission.outcome import Outcome
from submission.own_ids import copy_flat, with_own_ids
from submission.predictions import as_detections, exif_of
from submission.unpacking import unpack


def main(argv: list[str] | None = None, prog: str = "python -m submission.judge") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments, run, print score and parity."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("zip", type=Path, help="the zip to run")
    p.add_argument("--data", type=Path, required=True, help="the labelled set; its test photos are run on")
    p.add_argument("--runs", type=Path, required=True, help="the run folder that the zip was built from; its folds.json")
    args = p.parse_args(argv)
    dataset = read_and_tell(args.data)
    parts = folds.load(args.runs / "folds.json", dataset)
    photos = parts.labelled("test")
    sandbox.refuse_no_zip(args.zip)
    if (args.runs / "ensemble.json").is_file():
        ensemble = read_ensemble(args.runs)
        refuse_changed(args.runs, ensemble)
        built_of.refuse_other(args.zip, args.runs)  # photos that it learned from may be among the test photos of R
        trained_on.refuse_judging([args.runs / file for file in files_of(ensemble)], "test", parts)
    elif built_of.seen_by(args.zip) is None:
        unknown = f"{args.runs} holds no models: whether those of the zip were trained, or chosen, on these photos is not known"
        say(f"judge: warning: {unknown}; name the run folder that it was built from")
    built_of.refuse_seen(args.zip, "test", parts)
    judge(args.zip, photos, dataset.categories, args.runs / "predictions.json")


class Judgement(NamedTuple):
    """The score of a zip's predictions, their number, and their largest difference from those of the same pipeline here."""

    scores: Scores
    predictions: int
    boxes_px: float
    score_difference: float


def judge(zip_path: Path, photos: Sequence[Photo], categories: Sequence[Category], output: Path) -> Judgement:
    """Run ZIP_PATH on `photos`, leave its predictions in OUTPUT, under the set's ids, and judge them.

    Prints time, score and parity, and where the judge would see other ids than the set's.

    DataError where the labels mean other pixels than the zip reads, for photos that EXIF turns.
    """
    outcome = execute(zip_path, photos, output)
    for warning in outcome.warnings:
        say(f"judge: warning: {warning}")
    rows = json.loads(output.read_text())
    with tempfile.TemporaryDirectory() as folder:
        unpacked = Path(folder) / "code"
        unpack(zip_path, unpacked)
        refuse_other(photos, exif_of(unpacked))
        ours, ensemble = predict_here(unpacked, photos), read_object(unpacked / "ensemble.json")
    index = indices(ensemble, categories)
    truths = [Truth.of(photo) for photo in photos]
    result = evaluate(truths, as_detections(rows, [p.id for p in photos], index), len(index))
    say(
        f"judge: {counted(len(photos), 'photo')}, {counted(len(rows), 'prediction')} in {outcome.seconds:.1f} s, "
        f"{outcome.peak_mb:.0f} MB; "
        f"det mAP50 {result.det_map50:.3f}, cls mAP50 {result.cls_map50:.3f}, score {result.score:.3f}"
    )
    covered = {row["image_id"] for row in rows}
    without = [photo.name for photo in photos if photo.id not in covered]
    if without:
        say(f"judge: no predictions on {len(without)} of {counted(len(photos), 'photo')}: {named(without)}")
    for line in compare(photos).lines():
        say(f"{line}; the score here joins by file")
    boxes_px, scores = parity(rows, ours)
    note_result(photos=len(photos), predictions=len(rows), without=without)
    note_result(seconds_of_run=outcome.seconds, peak_mb=outcome.peak_mb)
    note_result(**vars(result), score=result.score, parity_boxes_px=boxes_px, parity_scores=scores, file=output)
    say(f"judge: run.py there and the pipeline here differ by at most {boxes_px:.1e} px and {scores:.1e} in score")
    return Judgement(result, len(rows), boxes_px, scores)


def execute(zip_path: Path, photos: Sequence[Photo], output: Path) -> Outcome:
    """Run ZIP_PATH in the sandbox on a folder of just `photos`; the predictions in OUTPUT have the photos' own ids.

    Raises ValueError with the first problem of the run.
    """
    with tempfile.TemporaryDirectory() as folder, replacing(output) as (written,):
        own = copy_flat(photos, Path(folder))
        outcome = sandbox.execute(zip_path, Path(folder), written, judge_machine.Machine(judge_machine.judge_python()))
        if outcome.problems:
            raise ValueError(f"{zip_path}: {outcome.problems[0]}")
        rows = with_own_ids(json.loads(written.read_text()), own)
        written.write_text("[" + ",\n".join(map(json.dumps, rows)) + "]\n")
    return outcome


def indices(ensemble: dict[str, Any], categories: Sequence[Category]) -> dict[int, int]:
    """The index of each id, of those that only the zip knows, as enrolled ones, last. Tells which are two products."""
    here = {category.id: category.name for category in categories}
    there = dict(zip(ensemble["categories"], ensemble.get("names", []), strict=False))
    both = [(i, name, here[i]) for i, name in there.items() if i in here]
    otherwise = [f"{i} ({a!r}, {b!r})" for i, a, b in both if product_key(a) != product_key(b)]
    if otherwise:
        ids = counted(len(otherwise), "id")
        say(f"judge: warning: under {ids} the zip has another name than the data set, scored as the same: {named(otherwise)}")
    return {i: k for k, i in enumerate(dict.fromkeys([*here, *ensemble["categories"]]))}


def predict_here(unpacked: Path, photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """The predictions of the same models and ensemble.json in this environment."""
    pipeline = load(unpacked)
    rows = []
    for photo in photos:
        image = read_image(photo.path, photo.width, photo.height)
        rows += [{"image_id": photo.id} | row for row in pipeline(image, len(photos))]
    return rows


def parity(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> tuple[float, float]:
    """Largest difference in box (pixels) and score of two prediction lists; infinite where count, photo or category differ."""
    a, b = (sorted(rows, key=lambda row: row["image_id"]) for rows in (a, b))  # run.py predicts large files first
    if [(r["image_id"], r["category_id"]) for r in a] != [(r["image_id"], r["category_id"]) for r in b]:
        return float("inf"), float("inf")
    boxes = np.abs(np.array([r["bbox"] for r in a]) - np.array([r["bbox"] for r in b])).max(initial=0.0)
    return float(boxes), float(np.abs(np.array([r["score"] for r in a]) - np.array([r["score"] for r in b])).max(initial=0.0))


if __name__ == "__main__":
    raise SystemExit(main())

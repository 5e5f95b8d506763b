"""Run a submission zip as the judge does, in an environment with just the judge's packages, and score what it writes.

    python -m experiments.judge ZIP --data D --runs R [--name NAME]

Unpacks ZIP into an empty folder, runs its run.py from elsewhere on the test photos of R/folds.json, scores predictions.json,
and compares it with what the same pipeline says inside the project.
"""

import argparse
import json
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments import figures
from fusion.boxes import Detections, xywh_to_xyxy
from fusion.models import read_object
from fusion.pipeline import load
from stage1_detector import folds
from stage1_detector.command import run, say
from stage1_detector.data import Category, Photo, read, read_image
from stage1_detector.record import ROOT
from stage1_detector.score import Scores, Truth, evaluate

JUDGE = ROOT / ".judge" / "bin" / "python"
SECONDS = 300  # taken: the judge's limit


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, run, print score and parity."""
    p = argparse.ArgumentParser(prog="python -m experiments.judge", description=(__doc__ or "").split("\n")[0])
    p.add_argument("zip", type=Path)
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--runs", type=Path, required=True)
    p.add_argument("--name", help="write the figures to experiments/results under this name")
    args = p.parse_args(argv)
    dataset = read(args.data)
    photos = folds.load(args.runs / "folds.json", dataset).labelled("test")
    judge(
        args.zip,
        photos,
        dataset.categories,
        args.runs / "predictions.json",
        args.name,
        f"python -m experiments.judge {args.zip.name} --data {args.data.name}",
    )


def judge(
    zip_path: Path, photos: Sequence[Photo], categories: Sequence[Category], output: Path, name: str | None, command: str
) -> Scores:
    """Run ZIP_PATH on `photos`, leave its predictions in OUTPUT, and return their score; says time, score and parity."""
    with tempfile.TemporaryDirectory() as folder:
        unpacked, seconds = execute(zip_path, photos, output, Path(folder))
        rows = json.loads(output.read_text())
        ours, ids = in_repo(unpacked, photos), read_object(unpacked / "ensemble.json")["categories"]
    known = {category.id for category in categories}
    every = [*categories, *(Category(i, "") for i in ids if i not in known)]  # those after were enrolled
    result = evaluate([Truth(p.boxes, p.labels) for p in photos], as_detections(rows, photos, every), len(every))
    say(
        f"judge: {len(photos)} photos, {len(rows)} predictions in {seconds:.1f} s; "
        f"det mAP50 {result.det_map50:.3f}, cls mAP50 {result.cls_map50:.3f}, score {result.score:.3f}"
    )
    boxes_px, scores = parity(rows, ours)
    say(f"judge: run.py there and the pipeline here differ by at most {boxes_px:.1e} px and {scores:.1e} in score")
    if name:
        setting = f"{len(photos)} photos, {len(rows)} predictions; a largest difference, so no interval"
        figures.write(
            name,
            [
                figures.figure(f"parity.run_py_{what}", value, unit, len(rows), setting, command)
                for what, value, unit in (("boxes_px", boxes_px, "px"), ("scores", scores, "score"))
            ],
        )
    return result


def execute(zip_path: Path, photos: Sequence[Photo], output: Path, folder: Path) -> tuple[Path, float]:
    """Unpack and run in FOLDER; returns where it was unpacked and the seconds it took. Raises ValueError where it fails."""
    if not JUDGE.is_file():
        raise ValueError(f"{JUDGE.parent.parent.name}: the judge's environment is missing; make it with `make judge`")
    if not zipfile.is_zipfile(zip_path):
        what = "not a zip" if zip_path.is_file() else "not found"
        raise ValueError(f"{zip_path}: {what}; make it with python -m submission.build")
    code, images, elsewhere = folder / "code", folder / "images", folder / "elsewhere"
    for place in (code, images, elsewhere):
        place.mkdir()
    with zipfile.ZipFile(zip_path) as archive:
        archive.extractall(code)
    for photo in photos:
        shutil.copyfile(photo.path, images / photo.path.name)
    started = time.time()
    words = [str(JUDGE), str(code / "run.py"), "--input", str(images), "--output", str(output.resolve())]
    try:
        done = subprocess.run(words, cwd=elsewhere, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ValueError(f"{zip_path}: run.py took longer than the {SECONDS} s that the judge allows") from None
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:]
        raise ValueError(f"{zip_path}: run.py ended with exit code {done.returncode}, need 0: {''.join(last)}")
    return code, time.time() - started


def in_repo(unpacked: Path, photos: Sequence[Photo]) -> list[dict[str, Any]]:
    """What the same models and ensemble.json give in this environment, in run.py's order."""
    pipeline = load(unpacked)
    rows = []
    for photo in sorted(photos, key=lambda p: p.path.name):
        image = read_image(photo.path, photo.width, photo.height)
        rows += [{"image_id": photo.id} | row for row in pipeline(image, len(photos))]
    return rows


def parity(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> tuple[float, float]:
    """Largest difference in box (pixels) and score of two prediction lists; infinite where count, photo or category differ."""
    if [(r["image_id"], r["category_id"]) for r in a] != [(r["image_id"], r["category_id"]) for r in b]:
        return float("inf"), float("inf")
    boxes = np.abs(np.array([r["bbox"] for r in a]) - np.array([r["bbox"] for r in b])).max(initial=0.0)
    return float(boxes), float(np.abs(np.array([r["score"] for r in a]) - np.array([r["score"] for r in b])).max(initial=0.0))


def as_detections(rows: list[dict[str, Any]], photos: Sequence[Photo], categories: Sequence[Category]) -> list[Detections]:
    """Predictions in the contest's JSON form, as one Detections a photo, in the order of `photos`."""
    index = {category.id: i for i, category in enumerate(categories)}
    of_photo: dict[int, list[dict[str, Any]]] = {photo.id: [] for photo in photos}
    for row in rows:
        if row["image_id"] not in of_photo or row["category_id"] not in index:
            what = f"image {row['image_id']}, category {row['category_id']}"
            raise ValueError(f"predictions: got {what}, which the data set lacks; was the zip built for another one?")
        of_photo[row["image_id"]].append(row)
    return [
        _one([r["bbox"] for r in mine], [r["score"] for r in mine], [index[r["category_id"]] for r in mine])
        for mine in of_photo.values()
    ]


def _one(bboxes: list[list[float]], scores: list[float], labels: list[int]) -> Detections:
    boxes = xywh_to_xyxy(np.array(bboxes, np.float32).reshape(-1, 4))
    return Detections(boxes, np.array(scores, np.float32), np.array(labels, np.int64))


if __name__ == "__main__":
    raise SystemExit(main())

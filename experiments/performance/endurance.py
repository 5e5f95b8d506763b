"""run.py in the judge's environment among bad photos, killed at random moments, and on many photos.

Every run here is a process of its own, as at the judge; the models are constant where only the handling of files is tested.
"""

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from experiments.performance.bad_photos import CASES, jpeg, write_mutated
from runs.command import say
from runs.record import ROOT
from submission.judge_machine import judge_python
from submission.predictions import sizes_of, violations

CATEGORIES = [3, 7]
GRACE = 120.0  # chosen: seconds after which a run has failed


def code(folder: Path) -> Path:
    """run.py and fusion/ in FOLDER, beside a detector that finds two boxes on every photo and a classifier."""
    folder.mkdir(parents=True)
    shutil.copy(ROOT / "submission" / "run.py", folder)
    shutil.copytree(ROOT / "fusion", folder / "fusion", ignore=shutil.ignore_patterns("__pycache__"))
    output = np.array([[16, 48], [32, 32], [16, 8], [32, 32], [0.9, 0.6]], np.float32)  # cx cy w h score on 64 x 64
    constant_model(folder / "one.onnx", output, {"task": "detector", "family": "yolo", "categories": None})
    constant_model(
        folder / "shelf.onnx", np.array([0, 3], np.float32), {"task": "classifier", "family": "timm", "categories": CATEGORIES}
    )
    values = {
        "categories": CATEGORIES,
        "detectors": [{"file": "one.onnx", "views": [{"size": 64}]}],
        "classifiers": [{"file": "shelf.onnx"}],
        "gate": {"policy": "raw"},
    }
    (folder / "ensemble.json").write_text(json.dumps(values))
    return folder


def constant_model(path: Path, value: np.ndarray, side: dict[str, object]) -> None:
    """A model that gives `value` for each photo, and its sidecar."""
    constant_graph(path, value, TensorProto.UINT8, ["batch", "height", "width", 3])
    path.with_suffix(".json").write_text(json.dumps({"size": 64, "mean": [0.0] * 3, "std": [1.0] * 3} | side))


def constant_graph(path: Path, value: np.ndarray, kind: int, photos: list[str | int]) -> None:
    """Write a graph that repeats `value` for each of the B photos it is given, of type `kind` and shape `photos` (B first)."""
    ones = np.ones(value.ndim, np.int64)
    nodes = [
        helper.make_node("Shape", ["images"], ["batch"], start=0, end=1),
        helper.make_node("Concat", ["batch", "ones"], ["repeats"], axis=0),
        helper.make_node("Tile", ["value", "repeats"], ["output"]),
    ]
    graph = helper.make_graph(
        nodes,
        "constant",
        [helper.make_tensor_value_info("images", kind, photos)],
        [helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", *value.shape])],
        [numpy_helper.from_array(value.astype(np.float32)[None], "value"), numpy_helper.from_array(ones, "ones")],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def judge_command(folder: Path, photos: Path, output: Path) -> list[str]:
    """The judge's call of run.py."""
    return [str(judge_python()), str(folder / "run.py"), "--input", str(photos), "--output", str(output)]


def problem_of(folder: Path, photos: Path, output: Path) -> str | None:
    """Run on `photos`; the problem with its exit or its output, or None."""
    output.unlink(missing_ok=True)
    try:
        done = subprocess.run(judge_command(folder, photos, output), capture_output=True, check=False, timeout=GRACE)
    except subprocess.TimeoutExpired:
        return f"took longer than {GRACE:.0f} s"
    if done.returncode:
        return f"exit code {done.returncode}: {done.stderr.decode(errors='replace').strip()[-200:]}"
    problems = violations(output.read_text(), sizes_of(photos), frozenset(CATEGORIES)) if output.is_file() else ["no file"]
    return problems[0] if problems else None


def bad_photos(mutated: int) -> Iterator[tuple[str, int, str | None]]:
    """Each case, and `mutated` JPEGs in one folder: its name, how many folders or photos, and what went wrong."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folder, output = code(place / "code"), place / "out.json"
        for case, make in CASES.items():
            photos = place / "photos"
            photos.mkdir()
            make(photos)
            yield case, 1, problem_of(folder, photos, output)
            shutil.rmtree(photos) if photos.is_dir() else photos.unlink(missing_ok=True)
        (place / "mutated").mkdir()
        write_mutated(place / "mutated", mutated)
        problem = problem_of(folder, place / "mutated", output)
        named = {row["image_id"] for row in json.loads(output.read_text())} if problem is None else set()
        say(f"{mutated} mutated photos: {len(named)} can still be decoded and have predictions")
        yield "mutated", mutated, problem


def kills(count: int, seed: int = 0) -> Iterator[tuple[float, bool, str | None]]:
    """Kill -9 at `count` random moments of the same run: when (seconds), whether a file was there, what was wrong with it."""
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folder, photos, output = code(place / "code"), place / "photos", place / "out.json"
        photos.mkdir()
        for i in range(400):
            jpeg(photos / f"img_{i:05d}.jpg")
        started = time.monotonic()
        subprocess.run(judge_command(folder, photos, output), capture_output=True, check=True)
        whole, sizes = time.monotonic() - started, sizes_of(photos)
        for moment in rng.uniform(0, whole, count):
            output.unlink(missing_ok=True)
            process = subprocess.Popen(
                judge_command(folder, photos, output), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            time.sleep(moment)
            process.kill()
            process.wait()
            problems = violations(output.read_text(), sizes, frozenset(CATEGORIES)) if output.is_file() else []
            yield float(moment), output.is_file(), problems[0] if problems else None


def peak_mb(folder: Path, photos: list[Path], count: int) -> float:
    """The peak memory, in MB, of the run.py in FOLDER on `count` photos, which repeat the given ones."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name) / "photos"
        place.mkdir()
        for i in range(count):
            (place / f"img_{i:05d}.jpg").symlink_to(photos[i % len(photos)].resolve())
        done = subprocess.run(judge_command(folder, place, Path(name) / "out.json"), capture_output=True, text=True, check=True)
        (report,) = [line.removeprefix("report: ") for line in done.stderr.splitlines() if line.startswith("report: ")]
        return float(json.loads(report)["peak_mb"])

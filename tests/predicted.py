"""Photos of noise, `hylle predict` of them, and the table that it writes."""

import csv
from pathlib import Path

import numpy as np
from PIL import Image

from recognition.predict import main


def put(folder: Path, *names: str) -> Path:
    """A photo of noise under each name, each of another size."""
    rng = np.random.default_rng(0)
    for i, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (64, 65 + i, 3), np.uint8)).save(folder / name)
    return folder


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def predict(photos: Path, model: Path, out: Path, *flags: str) -> int:
    return main([str(photos), "--model", str(model), "--out", str(out), *flags])

"""Products taught to a classifier of plain colours: studio photos of a colour, the call, and what is named then."""

from pathlib import Path

import cv2
import numpy as np
from cosine_models import flat

from fusion.models import Model, calibrated, read_sidecar
from stage2_classifier import enrolment

IDS = [3, 7]


SCALE = 16.0


def photos_of(folder: Path, *colours: tuple[int, int, int]) -> Path:
    """A folder with a studio photo of each RGB colour on white."""
    folder.mkdir(parents=True)
    for i, rgb in enumerate(colours):
        picture = np.full((50, 60, 3), 255, np.uint8)
        picture[10:40, 20:50] = rgb[::-1]
        cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


def words(shop: Path, runs: Path, *more: str) -> list[str]:
    return ["--data", str(shop), "--runs", str(runs), "--classifier", "eye", *more]


def taught(shop: Path, runs: Path, name: str, rgb: tuple[int, int, int], *more: str) -> int:
    folder = photos_of(shop.parent / f"photos of {name}", rgb)
    return enrolment.main(words(shop, runs, "--photos", str(folder), "--name", name, *more))


def probabilities(runs: Path, *colours: np.ndarray) -> np.ndarray:
    model = Model(runs / "eye" / "model.onnx")
    return calibrated(model(np.concatenate([flat(c) for c in colours])), model.sidecar)


def category(runs: Path, colour: np.ndarray) -> int:
    known = read_sidecar(runs / "eye" / "model.json").categories
    assert known is not None
    return known[int(probabilities(runs, colour)[0, : len(known)].argmax())]


def everything(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}

"""A place to make mistakes in: a data set, a run folder with constant models, every command, and a right call of each."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from constant_models import CANDIDATES, save_model
from PIL import Image

IDS = [3, 7, 40]  # category ids of the shop below
READERS = ("folds", "detector", "classifier", "gate", "ablation", "judge")  # the commands that read a data set
TRAINERS = ("detector", "classifier")


@cache
def mains() -> dict[str, Callable[[list[str]], int]]:
    """The main function of every command. They are imported here, as most tests need none."""
    from experiments import ablation
    from hylle.verbs import VERBS

    verbs = {"detector": "train-detector", "classifier": "train-classifier"}
    names = ("synth", "folds", "detector", "classifier", "gate", "judge", "demo", "build", "check")
    return {name: VERBS[verbs.get(name, name)].main for name in names} | {"ablation": ablation.main}


@dataclass(frozen=True)
class Place:
    """A data set and a run folder to make mistakes with: constant models, an ensemble and a zip."""

    root: Path

    @property
    def data(self) -> Path:
        return self.root / "shop"

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    def words(self, name: str) -> list[str]:
        """A right call of the command; flags that follow override it."""
        data, runs, archive = (str(path) for path in (self.data, self.runs, self.root / "a.zip"))
        return {
            "synth": ["--out", str(self.root / "drawn")],
            "folds": ["--data", data, "--out", runs, "--groups", "photo"],
            "detector": ["--data", data, "--out", runs, "--quick", "--device", "cpu"],
            "classifier": ["--data", data, "--out", runs, "--quick"],
            "gate": ["--data", data, "--runs", runs],
            "ablation": ["--data", data, "--runs", runs],
            "judge": [archive, "--data", data, "--runs", runs],
            "demo": ["--out", str(self.root / "demo"), "--quick"],
            "build": ["--runs", runs, "--out", archive],
            "check": [archive],
        }[name]

    def change(self, change: Callable[[dict], object], name: str = "annotations.json") -> None:
        """Let `change` spoil what a JSON file of the data set says."""
        values = json.loads((self.data / name).read_text())
        change(values)
        (self.data / name).write_text(json.dumps(values))

    def files(self) -> dict[str, str]:
        """Every file and a hash of its bytes."""
        files = (path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(path.relative_to(self.root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def draw_shop(data: Path) -> None:
    """Ten photos of noise with two boxes each, in the contest's layout."""
    (data / "images").mkdir(parents=True)
    rng, images, boxes = np.random.default_rng(0), [], []
    for i in range(1, 11):
        Image.fromarray(rng.integers(0, 255, (64, 96, 3), np.uint8)).save(data / "images" / f"img_{i:05d}.jpg")
        images.append({"id": i, "file_name": f"img_{i:05d}.jpg", "width": 96, "height": 64})
        for j in (0, 1):
            boxes.append({"id": 2 * i + j, "image_id": i, "category_id": IDS[(i + j) % 3], "bbox": [10 + 40 * j, 8, 30, 40]})
    categories = [{"id": i, "name": f"product {i}"} for i in IDS]
    (data / "annotations.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))


def put_models(runs: Path, ids: list[int]) -> None:
    """Constant models that fit the categories `ids`."""
    n = len(ids)
    save_model(runs / "one", CANDIDATES, task="detector")
    save_model(runs / "all", np.concatenate([CANDIDATES[:4], np.full((n, 2), 0.5)]), task="detector", categories=ids)
    save_model(runs / "classifier_shelf", np.arange(n), task="classifier", family="timm", categories=ids)

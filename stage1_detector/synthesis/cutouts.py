"""Studio photos as a stock for composing: every product cut out once, in parallel, onto disk; backgrounds from photos.

OUT/cutouts/PRODUCT/VIEW.png, and OUT/cutouts.json with their proportions, which says that all are made.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fusion.models import read_object
from photos.data import Photo, read_image
from photos.folds import train_photos
from photos.studio import SUFFIXES, cutout, studio_names, studio_photos
from runs import record
from stage1_detector.synthesis import coco_writer
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.compose import Stock, compose
from stage1_detector.synthesis.ground import emptied
from stage1_detector.synthesis.layout import Look
from stage1_detector.synthesis.pack import Image
from stage1_detector.synthesis.studio_shelves import STOCK, any_ground

TALL = 256  # chosen: pixels of a cut-out's longer side; a package seldom takes more of a photo of 1280
FACES = {"main": 4, "front": 4, "left": 1, "right": 1, "back": 0, "top": 0, "bottom": 0}  # chosen: how often a view faces us
UNNAMED = 4  # how often any other view does
LARGEST = 1600  # chosen: pixels of a background's long side; larger ones are shrunk
ALIKE = 0.25  # chosen: largest difference of log width / height of a product's views that stand for one another
MADE_UP_GROUND = 0.4  # chosen: share of photos before made-up ground, though there are photos to take it from
SPREAD = 0.12  # chosen: standard deviation of log size of products; studio photos do not tell it


@dataclass(frozen=True)
class Backs:
    """Where backgrounds come from: photos in a folder, or the train photos of a data set with their products painted over."""

    folder: Path | None = None
    data: Path | None = None
    runs: Path | None = None
    train: str = ""  # tells which photos of `data` these are


@dataclass(frozen=True)
class Studio:
    """Cut-outs in FOLDER before `backs`, or before made-up ground. `labels`: the category of each product, by its folder."""

    folder: Path
    labels: tuple[tuple[str, int], ...]
    backs: Backs

    @property
    def train(self) -> str:
        """Which real photos go into it."""
        return self.backs.train

    def shot(self, look: Look, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """Photo `number`."""
        size = look.sizes[rng.integers(len(look.sizes))]
        return compose(look, _stock(self.folder, self.labels, seed), _back(self.backs, size, rng), rng)


@lru_cache(maxsize=2)
def _stock(folder: Path, labels: tuple[tuple[str, int], ...], seed: int) -> Stock:
    made = read_object(folder / "cutouts.json")["products"]
    pictures, aspects = [], []
    for product, _ in labels:
        views = made[product]
        often = {view: FACES.get(view, UNNAMED) for view in views}
        often = often if any(often.values()) else dict.fromkeys(views, 1)
        aspects.append(views[max(often, key=lambda view: often[view])])
        alike = {view: n for view, n in often.items() if abs(np.log(views[view] / aspects[-1])) < ALIKE}
        pictures.append(tuple(folder / "cutouts" / product / f"{v}.png" for v, n in alike.items() for _ in range(n)))
    rng = np.random.default_rng((seed, STOCK))
    sizes = np.exp(rng.normal(0, SPREAD, len(labels)))
    return Stock(tuple(pictures), np.array(aspects), sizes, np.array([label for _, label in labels], np.int64))


def _back(backs: Backs, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """One of the backgrounds, mirrored or not, or made-up ground."""
    photos = sources(backs)
    if not photos or rng.random() < MADE_UP_GROUND:
        return any_ground(size, rng)
    image = _emptied(backs, int(rng.integers(len(photos))))
    return np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image


@lru_cache(maxsize=16)
def _emptied(backs: Backs, number: int) -> Image:
    source = sources(backs)[number]
    if isinstance(source, Photo):
        image, boxes = read_image(source.path, source.width, source.height), source.boxes
    else:
        read = cv2.imread(str(source), cv2.IMREAD_COLOR)
        if read is None:
            raise ValueError(f"backgrounds: {source} is not a readable photo; mend or remove it")
        image, boxes = np.asarray(cv2.cvtColor(read, cv2.COLOR_BGR2RGB), np.uint8), np.zeros((0, 4), np.float32)
    scale = min(1.0, LARGEST / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return emptied(np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), boxes * np.float32(scale))


@lru_cache(maxsize=2)
def sources(backs: Backs) -> Sequence[Photo | Path]:
    """The photos, of a data set with the boxes that must not be seen again. Raises ValueError where there are none to take."""
    if backs.data is not None:
        return train_photos(backs.data, backs.runs)
    if backs.folder is None:
        return []
    paths = sorted(p for p in backs.folder.glob("*") if p.suffix.lower() in SUFFIXES) if backs.folder.is_dir() else []
    if not paths:
        raise ValueError(f"--backgrounds: got {backs.folder}, need a folder with {', '.join(SUFFIXES)} in it")
    return paths


def cut_all(studio: Path, out: Path, workers: int, tell: Callable[[str], object]) -> dict[str, str]:
    """Cut every studio photo out into OUT, what is there already aside, and return the name of each product's folder.

    A photo that cannot be cut is told of and left out. Raises ValueError where none of a folder's can.
    """
    names = studio_names(studio)
    photos, done = studio_photos(studio), out / "cutouts.json"
    targets = {out / "cutouts" / product / f"{path.stem}.png": path for product, paths in photos.items() for path in paths}
    jobs = [(path, target) for target, path in targets.items()]
    made_of = record.digest([[str(path.relative_to(studio)), path.stat().st_size] for path, _ in jobs])
    if done.is_file() and read_object(done).get("made_of") != made_of:
        raise ValueError(f"--studio: {out} holds cut-outs of other photos than {studio}; remove it or give another --out")
    if not done.is_file():
        made: dict[str, Any] = {}
        with coco_writer.mapper(workers) as mapper:
            for (path, target), aspect in zip(jobs, mapper(_cut, jobs), strict=True):
                if isinstance(aspect, str):
                    tell(f"left out: {path}: {aspect}")
                else:
                    made.setdefault(target.parent.name, {})[target.stem] = aspect
        if not made:
            raise ValueError(f"--studio: {studio}: none of {len(jobs)} photos could be cut out")
        tell(f"cut out {sum(map(len, made.values()))} of {len(jobs)} studio photos of {len(made)} products")
        record.write_json(done, {"made_of": made_of, "products": made})
    return {product: names.get(product, product) for product in read_object(done)["products"]}


def _cut(job: tuple[Path, Path]) -> float | str:
    """Width / height of the cut-out, which is written unless it is there; why not, where it cannot be made."""
    path, target = job
    image = cv2.imread(str(target), cv2.IMREAD_UNCHANGED) if target.is_file() else None
    if image is None:
        photo = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if photo is None:
            return "not a readable photo"
        try:
            whole = cutout(np.asarray(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), np.uint8))
        except ValueError as error:
            return str(error)
        scale = min(1.0, TALL / max(whole.shape[:2]))
        size = max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale))
        image = cv2.cvtColor(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2BGRA)
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_suffix(".part.png")
        cv2.imwrite(str(beside), image)
        beside.replace(target)
    return float(image.shape[1] / image.shape[0])

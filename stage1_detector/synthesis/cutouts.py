"""Composed photos of real products: cut out of their studio photos once, in parallel; before backgrounds from photos.

OUT/cutouts/PRODUCT/VIEW.png are the cut-outs, each called as its photo (`_views`). OUT/cutouts.json has their width / height
and marks them as complete.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from fusion.models import read_object
from photos.data import Photo, read_image
from photos.fingerprint import of_file, of_folder
from photos.folds import train_photos
from photos.photo_file import same_name
from photos.studio import SUFFIXES, cutout, read_studio, studio_names, studio_photos
from runs import record
from runs.atomic_write import replacing
from stage1_detector.synthesis import coco_writer
from stage1_detector.synthesis.backgrounds import remove_products
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.composed_dataset import STOCK, random_background
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.synthesis.pack import Image
from stage1_detector.synthesis.rendering import Stock, render

CUTOUT_SIDE = 256  # chosen: pixels of a cut-out's longer side; a package seldom takes more of a photo of 1280
VIEW_FREQUENCY = {"main": 4, "front": 4, "left": 1, "right": 1, "back": 0, "top": 0, "bottom": 0}  # chosen: relative
OTHER_FREQUENCY = 4  # chosen: of any other view, likewise
MAX_SIDE = 1600  # chosen: pixels of a background's long side; larger ones are shrunk
MAX_ASPECT_DIFFERENCE = 0.25  # chosen: of log width / height, from the main view to others that are used
RANDOM_SHARE = 0.4  # chosen: share of random backgrounds where there are photos for backgrounds, too
SPREAD = 0.12  # chosen: standard deviation of the log size of products, which studio photos do not show


@dataclass(frozen=True)
class Backgrounds:
    """Where backgrounds come from: photos in a folder, or the train photos of a data set with their products removed.

    With neither, all backgrounds are random.
    """

    folder: Path | None = None
    data: Path | None = None
    runs: Path | None = None
    train: str = ""  # `fingerprint.of_labelled` of the photos of `data`

    @property
    def description(self) -> str:
        """See `composed_dataset.Source`; the class was called Backs."""
        return f"Backs(folder={self.folder!r}, data={self.data!r}, runs={self.runs!r}, train={self.train!r})"


@dataclass(frozen=True)
class Studio:
    """A source of photos: the cut-outs in FOLDER before `backgrounds`. `labels`: each product's folder and its category.

    `made_of` is a fingerprint of the studio photos and of the photos for backgrounds that are not a data set's.
    """

    folder: Path
    labels: tuple[tuple[str, int], ...]
    backgrounds: Backgrounds
    made_of: str = ""

    @property
    def train(self) -> str:
        """See `composed_dataset.Source`."""
        return self.backgrounds.train

    @property
    def description(self) -> str:
        """See `composed_dataset.Source`."""
        made_of = f", made_of={self.made_of!r}" if self.made_of else ""
        return f"Studio(folder={self.folder!r}, labels={self.labels!r}, backs={self.backgrounds.description}{made_of})"

    def shot(self, appearance: ShelfAppearance, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """Photo `number`."""
        size = appearance.sizes[rng.integers(len(appearance.sizes))]
        return render(appearance, _stock(self.folder, self.labels, seed), _background(self.backgrounds, size, rng), rng)


def studio_source(folder: Path, labels: tuple[tuple[str, int], ...], backgrounds: Backgrounds) -> Studio:
    """The source of the cut-outs in FOLDER, as `cut_all` has made them."""
    behind = of_folder(backgrounds.folder) if backgrounds.folder is not None else ""
    made_of = record.digest([read_object(folder / "cutouts.json")["made_of"], behind])
    return Studio(folder, labels, backgrounds, made_of)


@lru_cache(maxsize=2)
def _stock(folder: Path, labels: tuple[tuple[str, int], ...], seed: int) -> Stock:
    """The cut-outs of the products in `labels`: each view as often as its frequency, of random size by `seed`."""
    aspects_of = read_object(folder / "cutouts.json")["products"]  # product -> view -> width / height
    pictures, aspects = [], []
    for product, _ in labels:
        views = aspects_of[product]
        frequency = {view: _frequency(view) for view in views}
        frequency = frequency if any(frequency.values()) else dict.fromkeys(views, 1)
        aspects.append(views[max(frequency, key=lambda view: frequency[view])])
        similar = {view: n for view, n in frequency.items() if abs(np.log(views[view] / aspects[-1])) < MAX_ASPECT_DIFFERENCE}
        pictures.append(tuple(folder / "cutouts" / product / f"{v}.png" for v, n in similar.items() for _ in range(n)))
    rng = np.random.default_rng((seed, STOCK))
    sizes = np.exp(rng.normal(0, SPREAD, len(labels)))
    return Stock(tuple(pictures), np.array(aspects), sizes, np.array([label for _, label in labels], np.int64))


def _frequency(view: str) -> int:
    """How often a view is drawn; `main.png`, which `_views` tells from `main`, is as frequent as that.

    >>> _frequency("main.png"), _frequency("back.JPG"), _frequency("v1.2")
    (4, 0, 4)
    """
    while Path(view).suffix.lower() in SUFFIXES:
        view = Path(view).stem
    return VIEW_FREQUENCY.get(view, OTHER_FREQUENCY)


def _background(backgrounds: Backgrounds, size: tuple[int, int], rng: np.random.Generator) -> Image:
    """A random background, or one of `backgrounds`, mirrored or not."""
    photos = background_photos(backgrounds)
    if not photos or rng.random() < RANDOM_SHARE:
        return random_background(size, rng)
    image = _empty_photo(backgrounds, int(rng.integers(len(photos))))
    return np.ascontiguousarray(image[:, ::-1]) if rng.random() < 0.5 else image


@lru_cache(maxsize=16)
def _empty_photo(backgrounds: Backgrounds, number: int) -> Image:
    """Photo `number` of `backgrounds`, its products removed, MAX_SIDE pixels long at most."""
    source = background_photos(backgrounds)[number]
    if isinstance(source, Photo):
        image = read_image(source.path, source.width, source.height)
        boxes = np.concatenate([source.boxes, source.ignored])  # what may be products is removed as well
    else:
        image, boxes = read_studio(source), np.zeros((0, 4), np.float32)
    scale = min(1.0, MAX_SIDE / max(image.shape[:2]))
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    return remove_products(
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8), boxes * np.float32(scale)
    )


@lru_cache(maxsize=2)
def background_photos(backgrounds: Backgrounds) -> Sequence[Photo | Path]:
    """The photos for backgrounds; those of a data set with boxes to be removed. Raises ValueError for an empty folder."""
    if backgrounds.data is not None:
        return train_photos(backgrounds.data, backgrounds.runs)
    if backgrounds.folder is None:
        return []
    paths = (
        sorted(p for p in backgrounds.folder.glob("*") if p.suffix.lower() in SUFFIXES) if backgrounds.folder.is_dir() else []
    )
    if not paths:
        raise ValueError(f"--backgrounds: got {backgrounds.folder}, need a folder with {', '.join(SUFFIXES)} in it")
    return paths


def cut_all(studio: Path, out: Path, workers: int, tell: Callable[[str], object]) -> dict[str, str]:
    """Cut out every studio photo into OUT unless it is there, and return the product name of each folder.

    A photo that cannot be cut out is left out, and `tell` is called with the reason. Raises ValueError where none can be cut
    out, or OUT holds cut-outs of other photos.
    """
    names, photos, index = studio_names(studio), studio_photos(studio), out / "cutouts.json"
    jobs = [
        (path, out / "cutouts" / product / f"{view}.png")
        for product, paths in photos.items()
        for view, path in _views(paths).items()
    ]
    made_of = record.digest([[str(path.relative_to(studio)), of_file(path)] for path, _ in jobs])
    begun = out / "begun.json"  # so that cut-outs which a stopped run has left are known to be of these photos
    if any(read_object(path).get("made_of") != made_of for path in (index, begun) if path.is_file()):
        raise ValueError(f"--studio: {out} holds cut-outs of other photos than {studio}; remove it or give another --out")
    if not index.is_file():
        out.mkdir(parents=True, exist_ok=True)
        record.write_json(begun, {"made_of": made_of})
        aspects = _cut_jobs(jobs, workers, tell)
        if not aspects:
            raise ValueError(f"--studio: {studio}: none of {len(jobs)} photos could be cut out")
        tell(f"cut out {sum(map(len, aspects.values()))} of {len(jobs)} studio photos of {len(aspects)} products")
        record.write_json(index, {"made_of": made_of, "products": aspects})
    return {product: names.get(product, product) for product in read_object(index)["products"]}


def _views(photos: Sequence[Path]) -> dict[str, Path]:
    """The photos of a product by view: the stem of each, and its suffix behind it where the stem is taken, in any case.

    >>> list(_views([Path("left.png"), Path("main.jpg"), Path("main.png")]))
    ['left', 'main', 'main.png']
    """
    views: dict[str, Path] = {}
    taken: set[str] = set()
    for path in photos:
        view = path.stem
        while same_name(view).casefold() in taken:
            view += path.suffix
        taken.add(same_name(view).casefold())
        views[view] = path
    return views


def _cut_jobs(jobs: list[tuple[Path, Path]], workers: int, tell: Callable[[str], object]) -> dict[str, dict[str, float]]:
    """Do all jobs (photo, target); product -> view -> width / height of its cut-out, for those that could be made."""
    aspects: dict[str, dict[str, float]] = {}
    with coco_writer.parallel_map(workers) as mapper:
        for (path, target), result in zip(jobs, mapper(_cut, jobs), strict=True):
            if isinstance(result, str):
                tell(f"left out: {path}: {result}")
            else:
                aspects.setdefault(target.parent.name, {})[target.stem] = result
    return aspects


def _cut(job: tuple[Path, Path]) -> float | str:
    """Write the cut-out unless it is there, and return its width / height; or the reason why it cannot be made."""
    path, target = job
    image = cv2.imread(str(target), cv2.IMREAD_UNCHANGED) if target.is_file() else None
    if image is None:
        try:
            whole = cutout(read_studio(path))
        except ValueError as error:
            return str(error)
        scale = min(1.0, CUTOUT_SIDE / max(whole.shape[:2]))
        size = max(1, round(whole.shape[1] * scale)), max(1, round(whole.shape[0] * scale))
        image = cv2.cvtColor(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGBA2BGRA)
        target.parent.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(".png", image)
        with replacing(target) as (unfinished,):
            unfinished.write_bytes(encoded.tobytes())  # cv2.imwrite says nothing where the disk is full
    return float(image.shape[1] / image.shape[0])

"""A set of composed or pasted photos that is asked for: its arguments checked, its sources and categories put together.

Studio photos are cut out and stand on composed shelves; with `paste`, facings change places between real photos.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from photos.data import Photo, product_key, read
from photos.fingerprint import of_labelled
from photos.folds import train_photos
from photos.repairs import read_and_tell
from runs.command import say, say_progress
from stage1_detector.synthesis import composed_dataset
from stage1_detector.synthesis.composed_dataset import ComposedSet
from stage1_detector.synthesis.cutouts import Backgrounds, background_photos, cut_all, studio_source
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.synthesis.paste import Pasted

SIZES = 8  # chosen: sizes of photos, width x height, that a composed set takes from a data set, the most frequent


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A set of composed or pasted photos that is asked for; each field is a flag of the command."""

    out: Path
    studio: Path | None = None
    paste: bool = False
    data: Path | None = None
    runs: Path | None = None
    backgrounds: Path | None = None
    size: int = 1280
    count: int | None = None
    seed: int = 0


def draw_from_photos(request: Composition) -> bool:
    """Do --paste or --studio; False if the set is there already. Raises ValueError for what the user can correct."""
    _check_arguments(request)
    if request.data is not None:
        read_and_tell(request.data)
    if request.paste:
        train = of_labelled(train_photos(request.data, request.runs))
        source, categories = Pasted(request.data, request.runs, train), categories_of(request.data)
        composed = ComposedSet(source, ShelfAppearance(), categories, request.count, request.seed)
        return composed_dataset.draw(composed, request.out, tell=say_progress)
    photos = () if request.data is None else train_photos(request.data, request.runs)
    backgrounds = Backgrounds(request.backgrounds, request.data, request.runs, of_labelled(photos) if photos else "")
    background_photos(backgrounds)  # refuses an empty folder before the work begins
    cutouts = request.out.with_name(request.out.name + ".cutouts")
    products = cut_all(request.studio, cutouts, 2, say_progress)
    known = categories_of(request.data) if request.data is not None else []
    categories, labels = match_categories(products, known, say)
    source = studio_source(cutouts, labels, backgrounds)
    composed = ComposedSet(source, appearance_of(photos, request.size), categories, request.count, request.seed)
    return composed_dataset.draw(composed, request.out, tell=say_progress)


def _check_arguments(request: Composition) -> None:
    """ValueError for numbers out of range and for arguments of --paste and --studio that do not go together."""
    if request.paste and request.studio is not None:
        raise ValueError("--paste: got --studio too; they make two data sets, give one")
    missing = ["--data is missing: the photos to swap facings between"] if request.paste and request.data is None else []
    missing += ["--count is missing: how many photos to make"] if request.count is None else []
    if missing:
        raise ValueError("; ".join(missing))
    for flag, got, lowest, highest in (
        ("--count", request.count, 1, 10**6),
        ("--size", request.size, 64, 8192),
        ("--seed", request.seed, 0, 2**32),
    ):
        if not lowest <= got <= highest:
            raise ValueError(f"{flag}: got {got}, allowed {lowest} to {highest}")
    if request.backgrounds is not None and (request.data is not None or request.paste):
        raise ValueError("--backgrounds: got --data too, whose photos are the backgrounds; give one")
    if request.runs is not None and request.data is None:
        raise ValueError("--runs: needs --data, whose photos its folds.json deals")


def categories_of(data: Path) -> list[dict[str, Any]]:
    """The categories of a data set as its JSON has them."""
    return [{"id": category.id, "name": category.name, "supercategory": "product"} for category in read(data).categories]


def match_categories(
    products: dict[str, str], known: list[dict[str, Any]], tell: Callable[[str], object] = str
) -> tuple[list[dict[str, Any]], tuple[tuple[str, int], ...]]:
    """The categories of a set of products, and (folder, category id) of each product; `products` is folder -> product name.

    They are those of `known` where at least half of the products have the name of one; the other products are left out.
    Otherwise each product is a category of its own, and the set can train with `--classes one` only.

    >>> products = {"70": "Tea", "71": "Rye"}
    >>> match_categories(products, [{"id": 4, "name": "tea"}])[1], match_categories(products, [])[1]
    ((('70', 4),), (('70', 0), ('71', 1)))
    """
    ids = {product_key(category["name"]): category["id"] for category in known}
    normalised = {folder: product_key(name) for folder, name in products.items()}
    labels = tuple((folder, ids[name]) for folder, name in normalised.items() if name in ids)
    if known:
        rest = "the others are left out" if 2 * len(labels) >= len(products) else "too few: good for --classes one only"
        tell(f"{len(labels)} of {len(products)} products have the name of a category; {rest}")
    if labels and 2 * len(labels) >= len(products):
        return known, labels
    own = [{"id": i, "name": name, "supercategory": "product"} for i, name in enumerate(products.values())]
    return own, tuple((folder, i) for i, folder in enumerate(products))


def appearance_of(photos: tuple[Photo, ...], size: int) -> ShelfAppearance:
    """An appearance with photos of `size` pixels on the long side, as dense and in the proportions of `photos` with boxes."""
    if not any(len(photo.boxes) for photo in photos):
        return ShelfAppearance(sizes=((size, round(0.75 * size)), (round(0.75 * size), size)))
    originals = [original for original, _ in Counter((photo.width, photo.height) for photo in photos).most_common(SIZES)]
    sizes = tuple((round(w * size / max(w, h)), round(h * size / max(w, h))) for w, h in originals)
    heights = [photo.height / np.median(photo.boxes[:, 3] - photo.boxes[:, 1]) for photo in photos if len(photo.boxes)]
    rows = np.clip(np.round(np.quantile(heights, (0.1, 0.9)) * np.mean(ShelfAppearance.fill)), 1, 20).astype(int)
    return ShelfAppearance(sizes=sizes, rows=(int(rows[0]), int(rows[1])))

"""What a data set holds, counted: one record, which is shown as tables and written as JSON."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from photos import judge_ids
from photos.data import PARTS, Category, Dataset, Photo, product_key
from photos.exif import turned_photos
from photos.overview import repeats
from photos.overview.folder import Unlisted, unlisted
from photos.overview.unlabelled import WithoutBoxes, without_boxes

SMALL = 16  # chosen: pixels; a box whose shorter side is less covers two cells of a detector's finest grid at most
CANVASES = (640, 1280)  # chosen: long sides of the canvas that a detector sees, in pixels
BANDS = {"none": 0, "1-4": 1, "5-19": 5, "20 or more": 20}  # the fewest boxes of a product in each
QUANTILES = {"min": 0, "5 %": 5, "median": 50, "95 %": 95, "max": 100}  # percent

Step = Callable[[str, int, int], None]  # what is done, steps done, steps in all


@dataclass(frozen=True)
class Part:
    """Photos, photos without boxes, boxes, products and ignored regions of one part; `unseen`: products train has no box of."""

    photos: int
    without_boxes: int
    boxes: int
    products: int
    ignored: int
    unseen: int


@dataclass(frozen=True)
class Products:
    """The products by number of boxes (BANDS), and what is odd about their names; products are given by their ids.

    `empty_dummy`: category 0, if it has no boxes, as Roboflow writes it for the group that all others belong to.
    """

    by_boxes: dict[str, int]
    of_one_name: tuple[tuple[int, ...], ...]
    without_name: tuple[int, ...]
    empty_dummy: tuple[int, ...]


@dataclass(frozen=True)
class Sizes:
    """Quantiles (QUANTILES): boxes a photo, sides of boxes in pixels, the shorter side in percent of the photo's long side.

    `small` is the share of boxes whose shorter side is under SMALL pixels where a photo's long side fills a canvas of so many.
    """

    quantiles: dict[str, dict[str, float]]
    small: dict[int, float]


@dataclass(frozen=True)
class Turned:
    """Photos that EXIF turns, by what their labels mean: stored pixels, turned pixels, or the size in the set does not tell."""

    stored: int
    turned: int
    undecided: int


@dataclass(frozen=True)
class Repeated:
    """What is there twice: boxes, photos with the same bytes, and the groups of these that stand in more than one part."""

    boxes: repeats.RepeatedBoxes
    photos: tuple[tuple[str, ...], ...]
    photos_across_parts: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Summary:
    """A data set counted; `parts` by name, "all" first; `near_duplicates`: scenes of two photos or more, None if not asked."""

    root: str
    layout: str
    notes: tuple[str, ...]
    parts: dict[str, Part]
    products: Products
    sizes: Sizes
    without_boxes: WithoutBoxes
    unlisted: Unlisted
    repeated: Repeated
    exif: Turned
    judge_ids: judge_ids.Comparison
    near_duplicates: tuple[tuple[str, ...], ...] | None = None
    near_duplicates_across_parts: tuple[tuple[str, ...], ...] | None = None


def summarise(dataset: Dataset, step: Step | None = None) -> Summary:
    """Count what is there; near-duplicates are left out. DataError for a photo whose header is damaged."""
    photos, categories = dataset.photos, dataset.categories
    tell = step or (lambda *_: None)
    return Summary(
        root=str(dataset.root),
        layout=dataset.layout,
        notes=dataset.notes,
        parts=dict(_parts(photos)),
        products=products(dataset),
        sizes=sizes(photos),
        without_boxes=without_boxes(photos),
        unlisted=unlisted(dataset),
        repeated=_repeated(photos, categories, tell),
        exif=_turned(photos, tell),
        judge_ids=judge_ids.compare(photos),
    )


def _parts(photos: Sequence[Photo]) -> Iterator[tuple[str, Part]]:
    """The whole set, then each part that has photos; photos of no part are one too where there are others."""
    train = _labels([photo for photo in photos if photo.part == "train"])
    yield "all", _part(photos, None)
    given = {photo.part for photo in photos}
    for part in (*PARTS, *([None] if given != {None} else [])):
        if part in given:
            own = [photo for photo in photos if photo.part == part]
            yield part or "no part", _part(own, train if part and "train" in given else None)


def _labels(photos: Sequence[Photo]) -> set[int]:
    return {int(label) for photo in photos for label in np.unique(photo.labels)}


def _part(photos: Sequence[Photo], train: set[int] | None) -> Part:
    boxes, ignored = (sum(map(len, lists)) for lists in ([p.boxes for p in photos], [p.ignored for p in photos]))
    labels = _labels(photos)
    bare = sum(not len(photo.boxes) for photo in photos)
    return Part(len(photos), bare, boxes, len(labels), ignored, 0 if train is None else len(labels - train))


def products(dataset: Dataset) -> Products:
    """The products by number of boxes, and their names."""
    counts = np.zeros(len(dataset.categories), np.int64)  # (C,)
    for photo in dataset.photos:
        counts += np.bincount(photo.labels, minlength=len(counts))
    bands = np.searchsorted([*BANDS.values()], counts, "right") - 1  # (C,)
    by_boxes = dict(zip(BANDS, np.bincount(bands, minlength=len(BANDS)).tolist(), strict=True))
    empty = {category.id for category, count in zip(dataset.categories, counts, strict=True) if not count}
    nameless = tuple(category.id for category in dataset.categories if not product_key(category.name))
    dummy = (0,) if 0 in empty and len(dataset.categories) > 1 else ()
    return Products(by_boxes, repeats.products(dataset.categories), nameless, dummy)


def sizes(photos: Sequence[Photo]) -> Sizes:
    """The quantiles and the shares of small boxes; both are empty where there is no box."""
    labelled = [photo for photo in photos if len(photo.boxes)]
    if not labelled:
        return Sizes({}, {})
    boxes = np.concatenate([photo.boxes for photo in labelled]).astype(np.float64)  # (N, 4)
    counts = [len(photo.boxes) for photo in labelled]
    long_side = np.repeat([float(max(photo.width, photo.height)) for photo in labelled], counts)  # (N,)
    sides = boxes[:, 2:] - boxes[:, :2]  # (N, 2)
    relative = sides.min(1) / long_side  # (N,)
    values = {
        "boxes a photo": np.array([len(photo.boxes) for photo in photos]),
        "width, px": sides[:, 0],
        "height, px": sides[:, 1],
        "shorter side, px": sides.min(1),
        "shorter side, % of the photo": 100 * relative,
    }
    return Sizes(
        {
            name: dict(zip(QUANTILES, np.percentile(v, [*QUANTILES.values()]).tolist(), strict=True))
            for name, v in values.items()
        },
        {canvas: float((relative * canvas < SMALL).mean()) for canvas in CANVASES},
    )


def _repeated(photos: Sequence[Photo], categories: Sequence[Category], step: Step) -> Repeated:
    names = defaultdict(list)
    for photo in photos:
        names[photo.path].append(photo.name)
    files = repeats.files(list(names), lambda done, total: step("photos compared byte by byte", done, total))
    groups = tuple(tuple(name for path in group for name in names[path]) for group in files)
    return Repeated(repeats.boxes(photos, categories), groups, across_parts(groups, photos))


def across_parts(groups: Sequence[tuple[str, ...]], photos: Sequence[Photo]) -> tuple[tuple[str, ...], ...]:
    """Those groups of photos, given by name, that are in more than one part."""
    part = {photo.name: photo.part for photo in photos}
    return tuple(group for group in groups if len({part[name] for name in group}) > 1)


def _turned(photos: Sequence[Photo], step: Step) -> Turned:
    """Read the header of each photo, and say how far that is."""

    def headers() -> Iterator[Photo]:
        for done, photo in enumerate(photos):
            step("EXIF read", done, len(photos))
            yield photo

    groups = turned_photos(headers())
    return Turned(len(groups.stored), len(groups.turned), len(groups.undecided))

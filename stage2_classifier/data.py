"""What the classifier learns from: regions of shelf and studio photos, cached once, crops drawn from them anew each time.

A region is the part of a photo around one box, with room to shake the box in. The crop itself is always cut by
`fusion.crops.crop`, the one that cuts at judgment.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fusion.crops import crop
from stage1_detector.data import Category, Photo, read_image

Image = npt.NDArray[np.uint8]
ROOM = 0.4  # chosen: context kept around a box, as a fraction of its sides; holds 4 sigma of the usual box error
TYPICAL_ERROR = (
    0.03,
    0.03,
    0.05,
    0.05,
)  # measured elsewhere: yolov8n on contest photos; used only where no detector is there to measure


@dataclass(frozen=True)
class Region:
    """A cut-out and the box in it: image uint8 (h, w, 3) RGB, box float32 (4,) in its pixels, label an index."""

    image: Image
    box: npt.NDArray[np.float32]
    label: int
    studio: bool = False


def shelf_regions(photos: tuple[Photo, ...], size: int) -> list[Region]:
    """One region for each annotated box of `photos`, shrunk so that the box is at most 2 x `size` pixels."""
    regions = []
    for photo in photos:
        image = read_image(photo.path, photo.width, photo.height)
        regions += [cut(image, box, int(label), size) for box, label in zip(photo.boxes, photo.labels, strict=True)]
    return regions


def cut(image: Image, box: npt.NDArray[np.float32], label: int, size: int, studio: bool = False) -> Region:
    """The region of `image` around `box`, with ROOM on each side where the photo has it."""
    room = ROOM * np.tile(box[2:] - box[:2], 2) * (-1, -1, 1, 1)
    limit = (image.shape[1], image.shape[0]) * 2
    x0, y0, x1, y1 = np.clip(np.rint(box + room), 0, limit).astype(int)
    part, inner = image[y0:y1, x0:x1], box - np.array([x0, y0, x0, y0], np.float32)
    shrink = min(1.0, 2 * size / float((box[2:] - box[:2]).max()))
    if shrink < 1:
        part = np.asarray(cv2.resize(part, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA), np.uint8)
    return Region(np.ascontiguousarray(part), (inner * shrink).astype(np.float32), label, studio)


def studio_folder(data: Path, given: Path | None) -> Path:
    """The folder of studio photos. Raises ValueError where there is none."""
    folder = given or data / "NM_NGD_product_images"
    if not folder.is_dir():
        raise ValueError(f"studio photos: got {folder}, must be a folder with one folder per product; pass --studio DIR")
    return folder


def studio_regions(folder: Path, categories: tuple[Category, ...], size: int) -> list[Region]:
    """One region for each studio photo of a product whose name is a category's. Raises ValueError when none is."""
    names = {category.name.strip().casefold(): i for i, category in enumerate(categories)}
    products = studio_names(folder)
    regions = []
    for path in sorted(p for p in folder.glob("*/*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")):
        label = names.get(products.get(path.parent.name, path.parent.name).strip().casefold())
        if label is not None:
            image = cv2.imread(str(path), cv2.IMREAD_COLOR)
            if image is None:
                raise ValueError(f"studio photos: {path} is not a readable photo; mend or remove it")
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            regions.append(cut(rgb, content_box(rgb), label, size, studio=True))
    if not regions:
        raise ValueError(f"studio photos: got {folder}, none of its {len(products)} products has the name of a category")
    return regions


def studio_names(folder: Path) -> dict[str, str]:
    """Folder name -> product name: by metadata.json (product_code, product_name) where there is one, else the same.

    Raises ValueError for a metadata.json of another form.
    """
    path = folder / "metadata.json"
    if not path.is_file():
        return {p.name: p.name for p in sorted(folder.iterdir()) if p.is_dir()}
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: broken JSON: {error}") from None
    rows = rows.get("products", rows) if isinstance(rows, dict) else rows
    try:
        return {str(row["product_code"]): str(row["product_name"]) for row in rows}
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: each row must have product_code and product_name, got {error!r}") from None


def content_box(image: Image) -> npt.NDArray[np.float32]:
    """The box (4,) of the pixels that differ from the corner's colour by more than 12 of 255; the whole where none does."""
    differs = np.abs(image.astype(np.int16) - image[0, 0].astype(np.int16)).max(2) > 12
    ys, xs = np.nonzero(differs)
    if len(xs) == 0:
        return np.array([0, 0, image.shape[1], image.shape[0]], np.float32)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


def shake(box: npt.NDArray[np.float32], error: npt.NDArray[np.float64], rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """`box` (4,) moved and resized as a detector errs.

    `error` (4,) is the spread of centre x and y, as fractions of the sides, and of log width and height.

    >>> shake(np.array([0, 0, 10, 20], np.float32), np.zeros(4), np.random.default_rng(0)).tolist()
    [0.0, 0.0, 10.0, 20.0]
    """
    centre, sides = (box[:2] + box[2:]) / 2, box[2:] - box[:2]
    noise = np.clip(rng.normal(size=4), -2.5, 2.5) * error
    centre, half = centre + noise[:2] * sides, sides * np.exp(noise[2:]) / 2
    return np.concatenate([centre - half, centre + half]).astype(np.float32)


def crops_of(
    regions: list[Region],
    picks: npt.NDArray[np.int64],
    error: npt.NDArray[np.float64],
    size: int,
    margin: float,
    rng: np.random.Generator,
) -> Image:
    """Crops of `regions[picks]` with their boxes shaken by `error`: uint8 (len(picks), size, size, 3)."""
    chosen = [regions[i] for i in picks]
    crops = [crop(r.image, r.box if r.studio else shake(r.box, error, rng), size, margin) for r in chosen]
    return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)


def box_error(truth: list[npt.NDArray[np.float32]], found: list[npt.NDArray[np.float32]]) -> npt.NDArray[np.float64]:
    """The spread (4,) of a detector's boxes around the true ones, as `shake` wants it: 1.4826 x median |error|.

    `truth[i]` and `found[i]` (N_i, 4) are matched pairs of one photo. TYPICAL_ERROR when there are fewer than 20 pairs.
    """
    pairs = [np.concatenate([t, f], 1).astype(np.float64) for t, f in zip(truth, found, strict=True)]
    both = np.concatenate([np.zeros((0, 8)), *pairs])  # (M, 8)
    if len(both) < 20:
        return np.array(TYPICAL_ERROR)
    t, f = both[:, :4], both[:, 4:]
    sides_t, sides_f = t[:, 2:] - t[:, :2], f[:, 2:] - f[:, :2]
    shift = ((f[:, :2] + f[:, 2:]) - (t[:, :2] + t[:, 2:])) / 2 / sides_t  # (M, 2)
    errors = np.concatenate([shift, np.log(sides_f / sides_t)], 1)  # (M, 4)
    return np.asarray(1.4826 * np.median(np.abs(errors), axis=0))


def draw_order(regions: list[Region], balance: float, n: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """`n` picks from `regions`, each category weighed by its count^-balance."""
    labels = np.array([region.label for region in regions])
    counts = np.bincount(labels)
    weights = counts[labels].astype(np.float64) ** -balance
    return rng.choice(len(regions), size=n, p=weights / weights.sum())

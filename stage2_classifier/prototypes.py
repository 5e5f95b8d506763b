"""Photos of a product become a prototype, and a prototype one more column of a cosine head's ONNX graph.

A cosine head compares a crop's embedding with the columns of the graph's initializers `prototypes.0`, `prototypes.1`, ..., one
for each sub-centre: the mean embedding of a few photos is a column too (Qi et al. 2018, arXiv:1712.07136, "imprinting").
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from fusion.models import Model
from fusion.views import crop
from photos.data import Photo
from photos.jpeg_scan import runs_out
from photos.photo_file import is_cut_off
from photos.studio import FLAT_TOLERANCE, SUFFIXES, content_box, read_studio
from stage2_classifier.crops import Image, Region, cut, shelf_regions
from stage2_classifier.neighbours import Floats, embed, unit

PREFIX = "prototypes."  # of the initializers' names, then 0, 1, ... for the sub-centres
QUARTERS = (25, 50, 75)  # chosen: percentiles of the shelf boxes' sides at which a photo is seen
SMALLEST = 16  # chosen: pixels of a photo's shorter side, and of the longer side of what stands out from its background
TOLERANCE = 1e-4  # of the other names' logits, between the graph before and after


@dataclass(frozen=True)
class Place:
    """Where a column goes: its index, its category id, and whether it takes the place of the one that is there."""

    at: int
    id: int
    replaces: bool


@dataclass(frozen=True, eq=False)
class Column:
    """A new column of the head: its place, its unit direction (D,), and its share in (0, 1] of a column that it replaces."""

    place: Place
    direction: Floats
    blend: float = 1.0


# -- photos -> prototype ---------------------------------------------------------------------------------------------------


def read_photos(folder: Path, size: int) -> list[Region]:
    """The photos in FOLDER, their plain background cut away. Raises ValueError where there is none, or one is unreadable."""
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES) if folder.is_dir() else []
    if not paths:
        raise ValueError(f"--photos: got {folder}, must be a folder with photos ({', '.join(SUFFIXES)}) of the product")
    regions = []
    for path in paths:
        try:
            rgb = read_studio(path)
        except ValueError as error:
            raise ValueError(f"--photos: {error}") from None
        if is_cut_off(path) or runs_out(path.read_bytes(), rgb):
            raise ValueError(
                f"--photos: {path}: the photo is cut off or damaged, part of it is missing; get it again, or remove it"
            )
        if what := shows_nothing(rgb):
            raise ValueError(f"--photos: {path}: {what}: it shows no product; remove it")
        regions.append(cut(rgb, content_box(rgb), 0, size, studio=True))
    return regions


def shows_nothing(rgb: Image) -> str:
    """Why a photo (H, W, 3) shows no product, by its size and by what stands out from its background; empty where one may.

    >>> shows_nothing(np.full((9, 99, 3), 255, np.uint8)), shows_nothing(np.full((99, 99, 3), 255, np.uint8))
    ('99 x 9 pixels, need 16', 'of one colour')
    """
    height, width = rgb.shape[:2]
    if min(height, width) < SMALLEST:
        return f"{width} x {height} pixels, need {SMALLEST}"
    if np.abs(rgb.astype(np.int16) - rgb[0, 0].astype(np.int16)).max() <= FLAT_TOLERANCE:
        return "of one colour"
    x0, y0, x1, y1 = content_box(rgb)
    if max(x1 - x0, y1 - y0) < SMALLEST:
        return f"only {x1 - x0:.0f} x {y1 - y0:.0f} pixels differ from its background, need {SMALLEST}"
    return ""


def box_sides(photos: Sequence[Photo]) -> tuple[int, ...]:
    """The quartiles of the long sides of all boxes, whole pixels; () without a box."""
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *[p.boxes for p in photos]])  # (N, 4)
    sides = (boxes[:, 2:] - boxes[:, :2]).max(1, initial=0.0)
    return tuple(int(np.ceil(np.percentile(sides, q))) for q in QUARTERS) if len(sides) else ()


def at_side(region: Region, side: int) -> Region:
    """`region` shrunk so that its box is `side` pixels long, as a shelf photo shows it; never enlarged."""
    shrink = side / float((region.box[2:] - region.box[:2]).max())
    if shrink >= 1:
        return region
    fy, fx = (max(shrink, 1 / length) for length in region.image.shape[:2])  # a thin one keeps a pixel
    image = np.asarray(cv2.resize(region.image, None, fx=fx, fy=fy, interpolation=cv2.INTER_AREA), np.uint8)
    return Region(image, region.box * np.float32(shrink), region.label, region.studio)


def crops_at(model: Model, regions: Sequence[Region], sides: Sequence[int]) -> Image:
    """Crops of `regions`, each as it is seen at every one of `sides` pixels, or as it is where there are none; uint8."""
    shrunk = [at_side(r, s) for r in regions for s in sides] or regions
    side = model.sidecar
    return np.stack([crop(r.image, r.box, side.size, side.margin, side.fit) for r in shrunk])  # (N x sides, size, size, 3)


def other_crops(model: Model, photos: Sequence[Photo], place: Place) -> Image:
    """Crops (N, size, size, 3) of the boxes on `photos` that show another product than the one at `place`."""
    side = model.sidecar
    regions = [r for r in shelf_regions(photos, side.size) if r.label != place.at or not place.replaces]
    crops = [crop(r.image, r.box, side.size, side.margin, side.fit) for r in regions]
    return np.stack(crops) if crops else np.zeros((0, side.size, side.size, 3), np.uint8)


def prototype(model: Model, regions: Sequence[Region], sides: Sequence[int], shift: Floats | None = None) -> Floats:
    """The unit mean (D,) of the unit embeddings of `regions`, seen at `sides`, moved by `shift` (D,)."""
    mean = unit(unit(embed(model, crops_at(model, regions, sides))).mean(0))  # (D,)
    return mean if shift is None else unit(mean + shift)


def domain_shift(model: Model, studio: Sequence[Region], shelf: Sequence[Region], sides: Sequence[int]) -> Floats | None:
    """How far shelf embeddings lie from studio ones, (D,): the mean over the products that have both; None where none has."""
    both = sorted({r.label for r in studio} & {r.label for r in shelf})
    steps = [
        prototype(model, [r for r in shelf if r.label == n], ()) - prototype(model, [r for r in studio if r.label == n], sides)
        for n in both
    ]
    return np.asarray(np.mean(steps, axis=0), np.float32) if steps else None


# -- prototype -> graph ----------------------------------------------------------------------------------------------------


def prototypes_of(graph: onnx.ModelProto, path: Path) -> list[onnx.TensorProto]:
    """The initializers that hold prototypes, (D, columns) each. Raises ValueError where the head has none."""
    tensors = [tensor for tensor in graph.graph.initializer if tensor.name.startswith(PREFIX)]
    if not tensors:
        raise ValueError(f"{path}: its head is linear and has no prototypes to add to; train it with --head arcface")
    return tensors


def put_column(old: npt.NDArray[np.float32], column: Column, products: int) -> Floats:
    """`old` (D, columns) with `column`, scaled to the mean length of the `products` first columns.

    Where it replaces a column, the two are mixed by `column.blend`.

    >>> old = np.array([[2, 0, 0], [0, 2, 9]], np.float32)
    >>> put_column(old, Column(Place(2, 7, False), np.array([1, 0], np.float32)), 2).tolist()
    [[2.0, 0.0, 2.0, 0.0], [0.0, 2.0, 0.0, 9.0]]
    >>> put_column(old, Column(Place(1, 7, True), np.array([1, 0], np.float32)), 2).tolist()
    [[2.0, 2.0, 0.0], [0.0, 0.0, 9.0]]
    """
    place, direction = column.place, column.direction
    length = np.linalg.norm(old[:, :products], axis=0).mean()
    if place.replaces:
        direction = unit(column.blend * direction + (1 - column.blend) * unit(old[:, place.at]))
    rest = np.delete(old, place.at, axis=1) if place.replaces else old
    return np.asarray(np.insert(rest, place.at, direction * length, axis=1), np.float32)


def with_prototype(graph: onnx.ModelProto, path: Path, column: Column, products: int) -> onnx.ModelProto:
    """A copy of `graph`: every sub-centre has the column, and whose first output is as wide; `products` as in `put_column`."""
    new = onnx.ModelProto()
    new.CopyFrom(graph)
    for tensor in prototypes_of(new, path):
        columns = put_column(numpy_helper.to_array(tensor), column, products)
        tensor.CopyFrom(numpy_helper.from_array(columns, tensor.name))
    new.graph.ClearField("value_info")  # shapes in between, which are no longer true
    width = new.graph.output[0].type.tensor_type.shape.dim[1]
    if width.dim_value:
        width.dim_value = columns.shape[1]
    onnx.checker.check_model(new)
    return new


def refuse_change(before: Model, after: Model, crops: Image, place: Place) -> None:
    """Raises ValueError where a name other than the one at `place` has another logit than before."""
    old, new = before(crops), after(crops)
    new = np.delete(new, place.at, axis=1)
    old = np.delete(old, place.at, axis=1) if place.replaces else old
    if old.shape != new.shape or np.abs(old - new).max(initial=0.0) > TOLERANCE:
        raise ValueError(f"{before.path}: the other names' logits would change; its graph is not as the export writes it")

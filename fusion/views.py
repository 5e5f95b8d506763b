"""A view is an affine map from a photo to the canvas a model sees; the inverse matrix maps boxes back.

Letterboxing, other scales, mirroring and tiling all make such views. Coordinates name edges of pixels, not centres. A crop,
the classifier's input, is the view of the part of a photo under a box.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil, floor
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from fusion.boxes import Floats, clip

PADDING = 114  # taken: the grey around the photo in ultralytics' LetterBox, which its models are trained with
SNAP = 1e-6  # derived: canvas pixels; far above the rounding of float64, far below what changes a pixel

Image = NDArray[np.uint8]
Shape = Literal["square", "rectangle", "stretch"]
SHAPES = ("square", "rectangle", "stretch")
FITS = ("letterbox", "squash")
SHRINKINGS = ("linear", "average")  # how a photo is shrunk to a canvas: linear interpolation alone, or `average` before
DEFAULTS: dict[str, Any] = {"shape": "square", "flip": False, "stride": 32, "tiles": [1, 1], "overlap": 0.2, "weight": 1.0}


@dataclass(frozen=True, eq=False)
class View:
    """One way to show a photo to a model.

    Args:
        matrix: float64 (2, 3), photo to canvas in edge coordinates, pixels.
        width: canvas width in pixels.
        height: canvas height in pixels.
        averaged: whether a photo that becomes half as large or smaller is averaged first (`average`): the linear interpolation
            that follows looks at two by two pixels and leaves the others out.

    Raises:
        ValueError: a matrix of another shape, or one that cannot be inverted.
    """

    matrix: NDArray[np.float64]
    width: int
    height: int
    averaged: bool = False

    def __post_init__(self) -> None:
        m = self.matrix
        if m.shape != (2, 3) or not np.isfinite(m).all() or m[0, 0] * m[1, 1] == m[0, 1] * m[1, 0]:
            raise ValueError(f"matrix of a view: got {self.matrix!r}, must be (2, 3) and invertible")

    @property
    def canvas_box(self) -> NDArray[np.float32]:
        """The canvas as a box (1, 4), in its own pixels."""
        return np.array([[0, 0, self.width, self.height]], np.float32)

    @property
    def whole_shrink(self) -> int:
        """By which whole number the photo is averaged: the largest that leaves a pixel for each of the canvas; 1: it is not."""
        return max(1, int(1 / np.linalg.norm(self.matrix[:, :2], axis=0).max() + SNAP)) if self.averaged else 1

    def warp(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The photo, uint8 (H, W, 3), on its canvas, uint8 (height, width, 3), grey where there is no photo.

        A photo that lands upright on whole pixels is resized and pasted, which equals ultralytics' LetterBox bit for bit.
        """
        if self.whole_shrink > 1:
            return self.warp_averaged(average(image, self.whole_shrink), image.shape[1], image.shape[0])
        if self.matrix[0, 0] < 0:
            return np.asarray(cv2.flip(flip(self).warp(image), 1), np.uint8)
        corners = self._whole_rectangle(image.shape[1], image.shape[0])
        return self._warp_affine(image) if corners is None else self._paste(image, corners)

    def warp_averaged(self, smaller: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
        """As `warp` of a photo of `width` x `height` pixels that `average` has made `smaller`."""
        per_pixel = width / smaller.shape[1], height / smaller.shape[0], 1.0
        return View(self.matrix * per_pixel, self.width, self.height).warp(smaller)

    def to_canvas(self, boxes: Floats) -> NDArray[np.float32]:
        """Boxes (N, 4) on the photo -> float32 (N, 4) on the canvas, each the smallest upright box around its image."""
        return _map_boxes(self.matrix, boxes)

    def to_image(self, boxes: Floats) -> NDArray[np.float32]:
        """Boxes (N, 4) on the canvas -> float32 (N, 4) on the photo; not clipped to it."""
        # np.linalg.inv wakes the threads of its library, which takes it 4 ms where models keep the processors
        return _map_boxes(np.asarray(cv2.invertAffineTransform(self.matrix), np.float64), boxes)

    def _whole_rectangle(self, width: int, height: int) -> tuple[int, int, int, int] | None:
        """Where the photo lands, if that is upright, on whole pixels and within the canvas; otherwise None."""
        (a, b, x), (c, d, y) = self.matrix
        edges = np.array([x, y, x + a * width, y + d * height])
        rounded = np.rint(edges)
        upright = b == 0 and c == 0 and a > 0 and d > 0
        fits = min(rounded[:2]) >= 0 and rounded[2] <= self.width and rounded[3] <= self.height
        if not (upright and fits and np.abs(edges - rounded).max() < SNAP and (rounded[2:] > rounded[:2]).all()):
            return None
        x0, y0, x1, y1 = (int(edge) for edge in rounded)
        return x0, y0, x1, y1

    def _paste(self, image: NDArray[np.uint8], corners: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        x0, y0, x1, y1 = corners
        canvas = np.empty((self.height, self.width, image.shape[2]), np.uint8)
        canvas[:y0] = canvas[y1:] = canvas[y0:y1, :x0] = canvas[y0:y1, x1:] = PADDING
        cv2.resize(image, (x1 - x0, y1 - y0), canvas[y0:y1, x0:x1], interpolation=cv2.INTER_LINEAR)  # a copy would cost more
        return canvas

    def _warp_affine(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """OpenCV's matrix maps centres of pixels, ours maps edges: the centre of the first pixel lies at 0.5."""
        m = self.matrix.copy()
        m[:, 2] += m[:, :2] @ (0.5, 0.5) - 0.5
        size, grey = (self.width, self.height), (PADDING, PADDING, PADDING)
        canvas = cv2.warpAffine(image, m, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=grey)
        return np.asarray(canvas, np.uint8)


def average(image: NDArray[np.uint8], number: int) -> NDArray[np.uint8]:
    """`image` (H, W, 3) at 1 / `number` of its sides, (H // number, W // number, 3): each pixel the mean of all that it covers.

    >>> average(np.array([[[0] * 3, [100] * 3, [200] * 3, [250] * 3]] * 2, np.uint8), 2)[..., 0].tolist()
    [[50, 225]]
    """
    size = max(1, image.shape[1] // number), max(1, image.shape[0] // number)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def _map_boxes(matrix: NDArray[np.float64], boxes: Floats) -> NDArray[np.float32]:
    """The smallest upright boxes, float32 (N, 4), around the images of upright boxes (N, 4) under an affine map."""
    linear, shift = matrix[:, :2], matrix[:, 2]
    low, high = boxes[:, :2].astype(np.float64), boxes[:, 2:].astype(np.float64)
    centre = (low + high) / 2 @ linear.T + shift  # (N, 2)
    half = np.abs(high - low) / 2 @ np.abs(linear).T  # (N, 2)
    mapped: NDArray[np.float64] = np.concatenate([centre - half, centre + half], axis=1)  # (N, 4)
    return mapped.astype(np.float32)


def _padding(space: int, stride: int | None) -> tuple[int, int]:
    """Split the `space` left along one axis into padding before and after; with a stride, only the remainder by it."""
    half = (space if stride is None else space % stride) / 2
    return round(half - 0.1), round(half + 0.1)  # taken: the 0.1 is from LetterBox, an odd pixel goes to the end


def letterbox(width: int, height: int, size: int, shape: Shape = "square", stride: int = 32) -> View:
    """The whole photo, its sides in proportion, centred on a canvas: the geometry of ultralytics' LetterBox.

    Args:
        width: of the photo, pixels.
        height: of the photo, pixels.
        size: the canvas's side; the photo's longer side fills it, enlarged if need be.
        shape: "square", or "rectangle" for the smallest canvas whose sides are multiples of `stride` (when `size` is one), or
            "stretch" for a square that the photo fills whatever its proportions.
        stride: pixels; unused for a square.

    Raises:
        ValueError: another shape, or a size that is not positive.

    >>> view = letterbox(200, 100, 64)
    >>> view.to_canvas(np.array([[0.0, 0.0, 200.0, 100.0]])).tolist()
    [[0.0, 16.0, 64.0, 48.0]]
    """
    if shape not in SHAPES:
        raise ValueError(f"shape of a view: got {shape!r}, must be one of {', '.join(SHAPES)}")
    if min(width, height, size, stride) <= 0:
        raise ValueError(f"letterbox: got a {width} x {height} photo, size {size}, stride {stride}; all must be > 0")
    if shape == "stretch":
        return View(np.array([[size / width, 0.0, 0.0], [0.0, size / height, 0.0]]), size, size)
    x0, y0, x1, y1 = _centred(width, height, size)
    left, right = _padding(size - (x1 - x0), stride if shape == "rectangle" else None)
    top, bottom = _padding(size - (y1 - y0), stride if shape == "rectangle" else None)
    matrix = np.array([[(x1 - x0) / width, 0.0, left], [0.0, (y1 - y0) / height, top]])  # (2, 3)
    return View(matrix, left + (x1 - x0) + right, top + (y1 - y0) + bottom)


def _centred(width: int, height: int, size: int) -> tuple[int, int, int, int]:
    """Where a width x height picture lies, x0 y0 x1 y1, when its longer side fills a square of `size` pixels."""
    ratio = min(size / height, size / width)
    new_w, new_h = max(round(width * ratio), 1), max(round(height * ratio), 1)
    left, top = _padding(size - new_w, None)[0], _padding(size - new_h, None)[0]
    return left, top, left + new_w, top + new_h


def flip(view: View) -> View:
    """The same view of the photo with its canvas mirrored left to right."""
    matrix = view.matrix * [[-1.0], [1.0]]  # (2, 3)
    matrix[0, 2] += view.width
    return replace(view, matrix=matrix)


def tile(region: tuple[int, int, int, int], size: int, shape: Shape = "square", stride: int = 32) -> View:
    """One region of a photo, x0 y0 x1 y1 in pixels, letterboxed; the padding shows what the photo has beside the region.

    `size`, `shape`, `stride` and errors as in `letterbox`.
    """
    x0, y0, x1, y1 = region
    view = letterbox(x1 - x0, y1 - y0, size, shape, stride)
    matrix = view.matrix.copy()
    matrix[:, 2] -= matrix[:, 0] * x0 + matrix[:, 1] * y0  # a product by @ lets other threads take the interpreter
    return View(matrix, view.width, view.height)


def spans(length: int, count: int, overlap: float) -> list[tuple[int, int]]:
    """Cut 0..length into `count` equal spans; neighbours overlap by the share `overlap` of their length.

    >>> spans(100, 3, 0.25)
    [(0, 40), (30, 70), (60, 100)]
    """
    if count < 1 or not 0 <= overlap < 1:
        raise ValueError(f"tiles: got {count} with overlap {overlap}, must be >= 1 and in [0, 1)")
    span = length / (count - (count - 1) * overlap)
    starts = [k * span * (1 - overlap) for k in range(count)]
    return [(floor(start + SNAP), min(length, ceil(start + span - SNAP))) for start in starts]


def make_views(spec: dict[str, Any], width: int, height: int, shrinking: str = "linear") -> list[View]:
    """The views of a width x height photo that one entry of ensemble.json asks for; several when it asks for tiles.

    Args:
        spec: "size" and, where they differ from DEFAULTS, "shape", "flip" (mirrored), "stride", "tiles" ([rows, columns])
            "overlap" (of neighbouring tiles, as a share of a tile's side) and "weight" (of this view's detections in merging).
        width: of the photo, pixels.
        height: of the photo, pixels.
        shrinking: one of SHRINKINGS, that of the detector's sidecar.

    Raises:
        ValueError: an unknown field, no size, or a value out of its range.
    """
    known = ["size", *DEFAULTS]
    unknown = sorted(set(spec) - set(known))
    if unknown or "size" not in spec:
        raise ValueError(f"view: got fields {sorted(spec)}, must have size and nothing but {', '.join(known)}")
    if shrinking not in SHRINKINGS:
        raise ValueError(f"shrinking of a sidecar: got {shrinking!r}, must be one of {', '.join(SHRINKINGS)}")
    full = {**DEFAULTS, **spec}
    rows, columns = full["tiles"]
    regions = [
        (x0, y0, x1, y1) for y0, y1 in spans(height, rows, full["overlap"]) for x0, x1 in spans(width, columns, full["overlap"])
    ]
    plain = (tile(region, full["size"], full["shape"], full["stride"]) for region in regions)
    views = [replace(view, averaged=shrinking == "average") for view in plain]
    return [flip(view) for view in views] if full["flip"] else views


def crop(image: Image, box: Floats, size: int, margin: float, fit: str = "letterbox") -> Image:
    """The part of `image` under `box` (4,), letterboxed or, by `fit`, squashed to uint8 (size, size, 3).

    The box is widened by `margin` of its width and height on each side, then cut to the photo and rounded outwards to whole
    pixels. Shrinking averages over area, so that fine print does not alias. A box without area gives grey. ValueError for a
    `fit` that is not one of FITS.
    """
    crops, _ = next(crop_batches(image, box[None], size, margin, 1, fit))
    return np.asarray(crops[0], np.uint8)


def crop_batches(
    image: Image, boxes: Floats, size: int, margin: float, batch: int, fit: str = "letterbox"
) -> Iterator[tuple[Image, int]]:
    """Batches of crops of `boxes` (N, 4), cut as by `crop`: uint8 (batch, size, size, 3), and how many of them are real.

    The last batch is filled up with grey crops.
    """
    if fit not in FITS:
        raise ValueError(f"fit: got {fit!r}, allowed: {', '.join(FITS)}")
    grow = margin * (boxes[:, 2:] - boxes[:, :2])  # (N, 2)
    grown = clip(np.concatenate([boxes[:, :2] - grow, boxes[:, 2:] + grow], 1), image.shape[1], image.shape[0])
    edges = np.concatenate([np.floor(grown[:, :2]), np.ceil(grown[:, 2:])], 1).astype(int).tolist()
    for start in range(0, len(boxes), batch):
        crops = np.full((batch, size, size, 3), PADDING, np.uint8)  # (batch, size, size, 3)
        for canvas, (left, top, right, bottom) in zip(crops, edges[start : start + batch], strict=False):
            if right > left and bottom > top:
                _fit(image[top:bottom, left:right], canvas, fit)
        yield crops, min(batch, len(boxes) - start)


def _fit(part: Image, canvas: Image, fit: str) -> None:
    """Scale `part` (h, w, 3) onto the grey `canvas` (size, size, 3), in place."""
    height, width = part.shape[:2]
    size = len(canvas)
    interpolation = cv2.INTER_AREA if max(height, width) > size else cv2.INTER_LINEAR
    x0, y0, x1, y1 = (0, 0, size, size) if fit == "squash" else _centred(width, height, size)
    canvas[y0:y1, x0:x1] = cv2.resize(part, (x1 - x0, y1 - y0), interpolation=interpolation)

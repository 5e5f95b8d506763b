"""Augmented photos for the detectors that torchvision trains: colour, a mirror, one affine map, the boxes with them."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from fusion.boxes import area, clip
from fusion.views import PADDING, Image
from stage1_detector.torch_engine.svhn import ColourPolicy

MIN_SIDE = 2  # chosen: pixels; a box that keeps less on the canvas, in width or height, is dropped
MIN_VISIBLE = 0.3  # chosen: share of its area that a box must keep on the canvas, or it is dropped


class Strengths(Protocol):
    """What `transform` reads: four probabilities in [0, 1], and how far each change goes at most, either way."""

    hsv_p: float  # probability: of the next three together
    hue: float  # of the colour circle, in [0, 0.5]
    saturation: float  # share, >= 0
    value: float  # share, >= 0: the brightness
    flip_lr: float  # probability
    affine_p: float  # probability: of the next four together
    rotate: float  # degrees, >= 0
    translate: float  # share of the canvas's width and of its height, in [0, 1]
    scale: float  # share, in [0, 1)
    shear: float  # degrees, >= 0: along x and along y
    colour_policy: float  # probability


def transform(config: Strengths) -> v2.Transform:
    """Colour jitter, mirror, affine map around the canvas's middle, colour policy, in this order and each by chance.

    What the affine map uncovers is grey. A mapped box is the upright one around its four corners. ValueError, from
    torchvision, for a strength out of its range.
    """
    jitter = v2.ColorJitter(brightness=config.value, saturation=config.saturation, hue=config.hue)
    affine = v2.RandomAffine(
        config.rotate,
        translate=(config.translate, config.translate),
        scale=(1 - config.scale, 1 + config.scale),
        shear=(-config.shear, config.shear, -config.shear, config.shear),
        interpolation=v2.InterpolationMode.BILINEAR,
        fill=PADDING,
    )
    return v2.Compose(
        [
            v2.RandomApply([jitter], config.hsv_p),
            v2.RandomHorizontalFlip(config.flip_lr),
            v2.RandomApply([affine], config.affine_p),
            v2.RandomApply([ColourPolicy()], config.colour_policy),
        ]
    )


def augmented(
    image: Image, boxes: npt.NDArray[np.float32], labels: npt.NDArray[np.int64], transform: v2.Transform, seed: int
) -> tuple[Image, npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """A photo augmented at random by `seed`, on a canvas of the same size; torch's global generators stay as they were.

    Args:
        image: uint8 (H, W, 3) RGB.
        boxes: float32 (N, 4), x0 y0 x1 y1 in edges.
        labels: int64 (N,).
        transform: of an image and its boxes, as `transform` makes it.
        seed: equal seeds give equal photos.

    Returns:
        image, boxes (M, 4) cut to the canvas and labels (M,) of the `visible_boxes`, in their order; new arrays.
    """
    height, width = image.shape[:2]
    frame = tv_tensors.Image(torch.from_numpy(image.copy()).permute(2, 0, 1))  # (3, H, W)
    # Boxes are not clamped before the end, where the area that a box loses is measured.
    edges = tv_tensors.BoundingBoxes(boxes.copy(), format="XYXY", canvas_size=(height, width), clamping_mode=None)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would reset the GPU's generator too
        frame, edges = transform(frame, edges)
    cut, kept = visible_boxes(edges.numpy(), width, height)
    return np.ascontiguousarray(frame.permute(1, 2, 0).numpy()), cut[kept], labels[kept]


def visible_boxes(
    boxes: npt.NDArray[np.float32], width: int, height: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
    """Boxes (N, 4) cut to the canvas, and of which of them, bool (N,), enough lies on it: MIN_SIDE and MIN_VISIBLE.

    >>> visible_boxes(np.array([[-6.0, 0.0, 4.0, 9.0], [-8.0, 0.0, 2.0, 9.0]], np.float32), 50, 50)[1].tolist()
    [True, False]
    """
    cut = clip(boxes, width, height)
    large = (cut[:, 2:] - cut[:, :2] >= MIN_SIDE).all(1)  # (N,)
    return cut, large & (area(cut) >= MIN_VISIBLE * area(boxes))

"""The colour part of AutoAugment's policy for house numbers, SVHN (Cubuk et al. 2019, arXiv:1805.09501). Moves nothing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

Operation = tuple[str, float, int | None]  # name, probability, step of the magnitude or None where there is none

MAX_STEP = 9  # taken: the largest step of a magnitude in torchvision's AutoAugment
MAX_CONTRAST_CHANGE = 0.9  # taken: torchvision's, how far contrast goes from 1 at the largest step
# Taken: names, probabilities and steps from the table of torchvision's AutoAugmentPolicy.SVHN. Chosen: the pairs.
SUB_POLICIES: tuple[tuple[Operation, Operation], ...] = (
    (("Equalize", 0.6, None), ("Solarize", 0.6, 6)),
    (("Invert", 0.9, None), ("Equalize", 0.6, None)),
    (("Invert", 0.9, None), ("AutoContrast", 0.8, None)),
    (("Invert", 0.9, None), ("Equalize", 0.6, None)),
    (("Invert", 0.2, None), ("Invert", 0.7, None)),
    (("Equalize", 0.6, None), ("AutoContrast", 0.8, None)),
    (("Invert", 0.4, None), ("Solarize", 0.2, 6)),
    (("Equalize", 0.6, None), ("Solarize", 0.3, 3)),
    (("Invert", 0.7, None), ("Equalize", 0.9, None)),
    (("Contrast", 0.3, 3), ("Invert", 0.8, None)),
    (("Solarize", 0.4, 8), ("Invert", 0.6, None)),
    (("Invert", 0.6, None), ("Solarize", 0.7, 2)),
    (("Invert", 0.8, None), ("AutoContrast", 0.7, None)),
)


class ColourPolicy(torch.nn.Module):
    """One of SUB_POLICIES for each image, all equally likely, and each of its two operations with its own probability.

    The table's rows of two colour operations are sub-policies as they are: the first four. Of a row with one colour operation
    that one is taken, and in the table's order each two such make a sub-policy: the other nine. The pairs are ours, not the
    paper's. Left out are the rows without colour operations and the last such operation, Invert with 0.1, which has no partner.
    """

    def forward(self, image: Tensor, *others: Any) -> Any:
        """`image`, uint8 (3, H, W), in other colours: alone, or in front of `others` (boxes, labels), which are not touched.

        Raises:
            ValueError: an image of another dtype or shape.
        """
        if image.dtype != torch.uint8 or image.ndim != 3 or len(image) != 3:
            raise ValueError(f"image: got {image.dtype} of shape {tuple(image.shape)}, must be uint8 (3, H, W)")
        for name, probability, step in SUB_POLICIES[int(torch.randint(len(SUB_POLICIES), ()))]:
            if torch.rand(()) < probability:
                image = OPERATIONS[name](image, step)
        return (image, *others) if others else image


def solarized(image: Tensor, step: int) -> Tensor:
    """Values from a threshold on are inverted: from 255 on at step 0, all at the largest step."""
    return functional.solarize(image, 255 * (MAX_STEP - step) / MAX_STEP)


def contrasted(image: Tensor, step: int) -> Tensor:
    """More or less contrast, equally likely, by MAX_CONTRAST_CHANGE at the largest step."""
    sign = 1 if torch.rand(()) < 0.5 else -1
    return functional.adjust_contrast(image, 1 + sign * MAX_CONTRAST_CHANGE * step / MAX_STEP)


OPERATIONS: dict[str, Callable[[Tensor, Any], Tensor]] = {
    "Invert": lambda image, _: functional.invert(image),
    "Equalize": lambda image, _: functional.equalize(image),
    "AutoContrast": lambda image, _: functional.autocontrast(image),
    "Solarize": solarized,
    "Contrast": contrasted,
}

"""Boxes under EXIF's eight orientations: from the pixels as stored to the photo as viewers show it, and back."""

import numpy as np

BACK = {6: 8, 8: 6}  # derived: the orientation that undoes one; the others undo themselves


def turn_boxes(boxes: np.ndarray, width: int, height: int, orientation: int) -> np.ndarray:
    """Boxes (N, 4), x0 y0 x1 y1 in a photo of this size, as they lie when EXIF's `orientation` (1..8) has turned it.

    >>> turn_boxes(np.array([[0, 0, 10, 20]]), 80, 60, 6).tolist(), turn_boxes(np.array([[0, 0, 10, 20]]), 80, 60, 3).tolist()
    ([[40, 0, 60, 10]], [[70, 40, 80, 60]])
    """
    x0, y0, x1, y1 = boxes.T  # (N,) each
    across, down = (x0, x1), (y0, y1)
    mirrored, flipped = (width - x1, width - x0), (height - y1, height - y0)
    (left, right), (top, bottom) = {
        1: (across, down),
        2: (mirrored, down),
        3: (mirrored, flipped),
        4: (across, flipped),
        5: (down, across),
        6: (flipped, across),
        7: (flipped, mirrored),
        8: (down, mirrored),
    }[orientation]
    return np.stack([left, top, right, bottom], 1)  # (N, 4)


def turn_back(boxes: np.ndarray, width: int, height: int, orientation: int) -> np.ndarray:
    """Boxes (N, 4) of a photo of this size, as shown, in its pixels as stored: what `turn_boxes` does undone.

    >>> turn_back(np.array([[40, 0, 60, 10]]), 60, 80, 6).tolist()
    [[0, 0, 10, 20]]
    """
    return turn_boxes(boxes, width, height, BACK.get(orientation, orientation))

"""Photos with boxes and names drawn on them, the worst first."""

from pathlib import Path

import cv2
import numpy as np

from fusion.boxes import Detections, iou
from photos.data import Photo, read_image
from recognition.drawing import Mark, annotated
from recognition.margin import Line

RIGHT, WRONG_NAME, NO_PRODUCT, MISSED = (40, 170, 40), (240, 140, 0), (220, 30, 30), (60, 60, 230)  # RGB
SHOWN = 0.2  # chosen: lowest score that is drawn where no gate says better
UNNAMED = -1  # the key of marks without a label


def mistakes(photo: Photo, detections: Detections, min_score: float = SHOWN) -> float:
    """How bad a photo is: true boxes missed or misnamed and shown boxes without a product, over the true boxes."""
    shown = detections.take(detections.scores >= min_score)
    missed, wrong, extra = tally(photo, shown)
    return (missed.sum() + wrong.sum() + extra.sum()) / max(1, len(photo.boxes))


def tally(photo: Photo, shown: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bool arrays: true boxes missed (T,), shown boxes with a wrong name (N,), shown boxes without a product (N,)."""
    if len(photo.boxes) == 0 or len(shown) == 0:
        return np.ones(len(photo.boxes), bool), np.zeros(len(shown), bool), np.ones(len(shown), bool)
    overlap = iou(shown.boxes, photo.boxes)  # (N, T)
    on_product = overlap.max(1) >= 0.5
    wrong = on_product & (photo.labels[overlap.argmax(1)] != shown.labels)
    return overlap.max(0) < 0.5, wrong, ~on_product


def draw(photo: Photo, detections: Detections, names: list[str], min_score: float = SHOWN) -> np.ndarray:
    """The photo, uint8 RGB, with detections: green right, orange misnamed, red no product; blue missed; a margin of names."""
    image = read_image(photo.path, photo.width, photo.height)
    shown = detections.take(detections.scores >= min_score)
    missed, wrong, extra = tally(photo, shown)
    marks = [Mark(box, UNNAMED, "", MISSED) for box in photo.boxes[missed]]
    for box, label, misnamed, empty in zip(shown.boxes, shown.labels.tolist(), wrong, extra, strict=True):
        colour = NO_PRODUCT if empty else WRONG_NAME if misnamed else RIGHT
        marks.append(Mark(box, label, names[label] or f"product {label}", colour))
    counts = {"right": (RIGHT, len(shown) - wrong.sum() - extra.sum()), "another name": (WRONG_NAME, wrong.sum()),
              "no product": (NO_PRODUCT, extra.sum()), f"missed at {min_score:.2g}": (MISSED, missed.sum())}  # fmt: skip
    heading = [Line(photo.path.name), *(Line(f"{count} {text}", colour) for text, (colour, count) in counts.items())]
    return annotated(image, marks, heading)


def write_worst(
    photos: list[Photo],
    detections: list[Detections],
    names: list[str],
    folder: Path,
    min_score: float = SHOWN,
    n: int = 12,
) -> list[Path]:
    """Draw the `n` worst photos into FOLDER as 01_NAME.png, 02_..., the worst first; return their paths.

    What scores less than `min_score` is not shown, nor counted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]_*.png"):
        old.unlink()
    order = sorted(range(len(photos)), key=lambda i: -mistakes(photos[i], detections[i], min_score))[:n]
    paths = [folder / f"{rank + 1:02d}_{photos[i].path.stem}.png" for rank, i in enumerate(order)]
    for path, i in zip(paths, order, strict=True):
        cv2.imwrite(str(path), cv2.cvtColor(draw(photos[i], detections[i], names, min_score), cv2.COLOR_RGB2BGR))
    return paths

"""Photos with boxes and names drawn on them, the worst first."""

from pathlib import Path

import cv2
import numpy as np

from fusion.boxes import Detections, iou
from photos.data import Photo, read_image

RIGHT, WRONG_NAME, NO_PRODUCT, MISSED = (40, 170, 40), (240, 140, 0), (220, 30, 30), (60, 60, 230)  # RGB
SHOWN = 0.2  # chosen: lowest score that is drawn


def mistakes(photo: Photo, detections: Detections) -> float:
    """How bad a photo is: true boxes missed or misnamed and shown boxes without a product, over the true boxes."""
    shown = detections.take(detections.scores >= SHOWN)
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


def draw(photo: Photo, detections: Detections, names: list[str]) -> np.ndarray:
    """The photo, uint8 RGB, at least 1000 px, with detections: green right, orange misnamed, red no product; blue missed."""
    image = read_image(photo.path, photo.width, photo.height)
    zoom = max(1.0, 1000 / max(image.shape[:2]))
    canvas = np.asarray(cv2.resize(image, None, fx=zoom, fy=zoom), np.uint8)
    shown = detections.take(detections.scores >= SHOWN)
    missed, wrong, extra = tally(photo, shown)
    for box in photo.boxes[missed]:
        _box(canvas, box * zoom, MISSED, "missed")
    for box, label, misnamed, empty, score in zip(shown.boxes, shown.labels, wrong, extra, shown.scores, strict=True):
        colour = NO_PRODUCT if empty else WRONG_NAME if misnamed else RIGHT
        _box(canvas, box * zoom, colour, f"{names[label][:22]} {score:.2f}")
    return canvas


def _box(canvas: np.ndarray, box: np.ndarray, colour: tuple[int, int, int], text: str) -> None:
    x0, y0, x1, y1 = (int(v) for v in box)
    cv2.rectangle(canvas, (x0, y0), (x1, y1), colour, 2)
    cv2.putText(canvas, text, (x0 + 2, y0 + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (255, 255, 255), 3, cv2.LINE_AA)
    cv2.putText(canvas, text, (x0 + 2, y0 + 12), cv2.FONT_HERSHEY_SIMPLEX, 0.38, colour, 1, cv2.LINE_AA)


def write_worst(photos: list[Photo], detections: list[Detections], names: list[str], folder: Path, n: int = 12) -> list[Path]:
    """Draw the `n` worst photos into FOLDER as 01_NAME.png, 02_..., the worst first; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9]_*.png"):
        old.unlink()
    order = sorted(range(len(photos)), key=lambda i: -mistakes(photos[i], detections[i]))[:n]
    paths = [folder / f"{rank + 1:02d}_{photos[i].path.stem}.png" for rank, i in enumerate(order)]
    for path, i in zip(paths, order, strict=True):
        cv2.imwrite(str(path), cv2.cvtColor(draw(photos[i], detections[i], names), cv2.COLOR_RGB2BGR))
    return paths

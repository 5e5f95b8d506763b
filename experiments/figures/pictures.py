"""Photos with boxes and names drawn on them, the worst first."""

from pathlib import Path

import cv2
import numpy as np

from fusion.boxes import Detections
from photos.data import Photo, read_image
from photos.score import Truth
from recognition.drawing import Mark, annotated
from recognition.margin import Line
from reporting import verdicts
from reporting.verdicts import Verdicts

RIGHT, WRONG_NAME, NO_PRODUCT, MISSED = (40, 170, 40), (240, 140, 0), (220, 30, 30), (60, 60, 230)  # RGB
COLOURS = {verdicts.RIGHT: RIGHT, verdicts.WRONG_NAME: WRONG_NAME, verdicts.INVENTED: NO_PRODUCT, verdicts.MISSED: MISSED}
SHOWN = 0.2  # chosen: lowest score that is drawn where no gate says better
UNNAMED = -1  # the key of marks without a label


def mistakes(photo: Photo, detections: Detections, min_score: float = SHOWN) -> float:
    """How bad a photo is: true boxes missed or misnamed and shown boxes without a product of their own, over the true boxes."""
    counts = judged(photo, detections, min_score).counts
    return (sum(counts.values()) - counts[verdicts.RIGHT]) / max(1, len(photo.boxes))


def judged(photo: Photo, detections: Detections, min_score: float) -> Verdicts:
    """What became of each box that is shown and of each product, as the report counts them; not of regions to ignore."""
    return verdicts.verdicts(Truth.of(photo), detections.take(detections.scores >= min_score))


def draw(photo: Photo, detections: Detections, names: list[str], min_score: float = SHOWN) -> np.ndarray:
    """The photo, uint8 RGB: green right, orange misnamed, red no product of its own, blue missed; with a margin of names."""
    image = read_image(photo.path, photo.width, photo.height)
    own = judged(photo, detections, min_score)
    marks = [Mark(box, UNNAMED, "", MISSED) for box in photo.boxes[own.missed]]
    for i, label in enumerate(own.shown.labels.tolist()):
        marks.append(Mark(own.shown.boxes[i], label, names[label], COLOURS[own.kind(i)]))
    said = {verdicts.RIGHT: "right", verdicts.WRONG_NAME: "another name",
            verdicts.INVENTED: "no product, or a second box", verdicts.MISSED: f"missed at {min_score:.2g}"}  # fmt: skip
    heading = [Line(photo.path.name), *(Line(f"{own.counts[kind]} {text}", COLOURS[kind]) for kind, text in said.items())]
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

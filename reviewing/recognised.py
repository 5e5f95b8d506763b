"""One recognised photo: what the page shows of it at a floor of the score, and the files that it gives."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from recognition.facings import shares
from recognition.frames import Frame
from recognition.journal import Entry, Journal
from recognition.prediction_run import Job, write_picture
from recognition.tables import Products, shelf_of, write_tables
from reviewing.evidence import Box

Image = npt.NDArray[np.uint8]
QUALITY = 90  # chosen: of the photo's JPEG
SHOWN_SIDE = 1600  # chosen: pixels of the photo on the page
LEAST = 0.01  # chosen: score; boxes below are not sent to the page, unless the fitted floor is lower
DOWNLOADS = {
    "predictions.csv": "text/csv; charset=utf-8",
    "facings.csv": "text/csv; charset=utf-8",
    "predictions.json": "application/json",
    "picture.jpg": "image/jpeg",
}


class Recognised(NamedTuple):
    """A photo, as JPEG of its own size and of the page's, its width and height, its boxes, and what was odd about it."""

    name: str
    jpeg: bytes
    shown: bytes
    size: tuple[int, int]
    boxes: list[Box]
    remark: str = ""

    @property
    def bytes(self) -> int:
        """How much memory it takes, about."""
        return len(self.jpeg) + len(self.shown) + 2000 * len(self.boxes)  # measured: a Box with its rows takes about 2 kB

    def rows(self, floor: float) -> list[dict[str, Any]]:
        """The predictions from `floor` on, as run.py gives them."""
        return [box.row for box in self.boxes if box.row["score"] >= floor]


def recognised(frame: Frame, boxes: list[Box]) -> Recognised:
    """The photo with its boxes, its pixels compressed."""
    height, width = frame.image.shape[:2]
    return Recognised(frame.name, jpeg_of(frame.image), jpeg_of(fitted(frame.image)), (width, height), boxes, frame.remark)


def fitted(image: Image, side: int = SHOWN_SIDE) -> Image:
    """`image` (H, W, 3), scaled down where its longer side has more than `side` pixels."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image
    size = [max(1, round(length * scale)) for length in image.shape[1::-1]]
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def jpeg_of(image: Image) -> bytes:
    """An RGB image as JPEG."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not done:
        raise ValueError(f"got {image.shape[1]} x {image.shape[0]} pixels, which JPEG cannot hold")
    return bytes(data.tobytes())


# -- what is shown -----------------------------------------------------------------------------------------------------------


def boxes_as_json(photo: Recognised, names: list[str], floor: float) -> list[dict[str, Any]]:
    """All boxes from LEAST on, or from `floor` where that is lower, best first, with both evidences, for the page."""
    return [
        {
            "bbox": box.row["bbox"],
            "score": box.row["score"],
            "category_id": box.row["category_id"],
            "objectness": round(box.objectness, 4),
            "detector": [[names[label], p] for label, p in box.detector],
            "classifier": [[names[label], p] for label, p in box.classifier],
            "why": box.why,
        }
        for box in photo.boxes
        if box.row["score"] >= min(LEAST, floor)
    ]


def shelf_as_json(photo: Recognised, floor: float, products: Products) -> dict[str, Any]:
    """What stands where from `floor` on: boxes in reading order with names, rows and places, and each product's facings."""
    shelf = shelf_of(photo.rows(floor), products)
    boxes = [
        {
            "name": products.names[label],
            "category_id": products.ids[label],
            "score": score,
            "bbox": [x0, y0, round(x1 - x0, 3), round(y1 - y0, 3)],
            "row": row,
            "place": place,
        }
        for (x0, y0, x1, y1), label, (row, place), score in zip(
            shelf.boxes.round(3).tolist(), shelf.labels.tolist(), shelf.numbers.tolist(), shelf.scores, strict=True
        )
    ]
    facings = [
        {
            "name": products.names[share.label],
            "category_id": products.ids[share.label],
            "facings": share.facings,
            "rows": share.rows,
            "share_by_count": round(share.by_count, 4),
            "share_by_width": round(share.by_width, 4),
        }
        for share in shares(shelf.boxes, shelf.labels, shelf.numbers[:, 0])
    ]
    width, height = photo.size
    return {"photo": photo.name, "width": width, "height": height, "floor": floor, "boxes": boxes, "facings": facings}


# -- what is downloaded ------------------------------------------------------------------------------------------------------


def download(photo: Recognised, file: str, job: Job) -> bytes:
    """One of DOWNLOADS for the photo from `job.min_score` on: the very files of `hylle predict`."""
    rows = photo.rows(job.min_score)
    entry = Entry(photo.name, photo.name, [0, 0], False, list(photo.size), rows, len(photo.boxes) - len(rows))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / file
        if file == "picture.jpg":
            pixels = cv2.imdecode(np.frombuffer(photo.jpeg, np.uint8), cv2.IMREAD_COLOR)
            write_picture(path, Frame(photo.name, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)), entry, job)
        else:
            settings: Mapping[str, Any] = {}
            with Journal(Path(scratch) / "journal.jsonl", settings) as journal:
                journal.add(entry)
                write_tables(Path(scratch), journal, job.products)
        return path.read_bytes()

"""One photo's bytes in, rows of the tables out."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL.Image import DecompressionBombError

from fusion.boxes import Detections, Floats, usable
from fusion.gate import decide
from fusion.pipeline import merge
from fusion.reading import decode_photo
from photos.jpeg_scan import runs_out
from photos.photo_file import DataError, is_cut_off, read_header
from recognition.recogniser import Recogniser
from runs.named_file import naming

# chosen: decoded and in RGB they take 900 MB in all, and several workers share a machine; run.py takes up to 250 megapixels
MOST_PIXELS = 150_000_000
Rows = dict[str, list[dict[str, Any]]]


class DeadLetter(Exception):
    """A photo that cannot be predicted: `reason` is one of a few words, the message tells more."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Predictor(NamedTuple):
    """A loaded model, the sha256 that is written beside its boxes, and a folder for passing files."""

    model: Recogniser
    sha256: str
    scratch: Path


def rows_of(uri: str, data: bytes, predictor: Predictor) -> Rows:
    """The rows of a photo, by table. Raises DeadLetter for one that is broken, or on which a model fails."""
    started, model = time.perf_counter(), predictor.model
    image = pixels(data, model.pipeline.ensemble.exif, predictor.scratch)
    try:
        boxes = box_rows(image, model)
    except Exception as error:
        raise DeadLetter("failed", f"{type(error).__name__}: {error}") from error
    height, width = image.shape[:2]
    seconds = time.perf_counter() - started
    photo = {"photo": uri, "width": width, "height": height, "boxes": len(boxes), "seconds": seconds}
    return {"photos": [photo], "boxes": [{"photo": uri, "model_sha256": predictor.sha256} | row for row in boxes]}


def pixels(data: bytes, exif: str, scratch: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The pixels (H, W, 3), RGB, as run.py reads them. Raises DeadLetter, also where the file is cut off."""
    if not data:
        raise DeadLetter("empty", "0 bytes")
    with _in_a_file(data, scratch) as path:
        _refuse_large(*_size(path))
        if is_cut_off(path):
            raise DeadLetter("truncated", f"the file ends before the photo does, after {len(data)} bytes")
        try:
            image = decode_photo(data, exif)
        except Exception as error:  # OpenCV raises its own
            raise DeadLetter("not a photo", str(error)) from error
        if runs_out(data, image):
            raise DeadLetter("truncated", "bytes are damaged or missing: what could not be decoded is grey")
    return image


@contextmanager
def _in_a_file(data: bytes, scratch: Path) -> Iterator[Path]:
    path = scratch / f"{time.monotonic_ns()}.photo"
    try:
        with naming(path):
            path.write_bytes(data)
        yield path
    finally:
        path.unlink(missing_ok=True)


def _size(path: Path) -> tuple[int, int]:
    """Width and height by the header, before a pixel is decoded.

    DeadLetter where it does not tell, and for what `hylle predict` does not take for a photo, though OpenCV may decode it.
    """
    try:
        return read_header(path)[:2]
    except DataError as error:
        is_large = "megapixels" in str(error) or isinstance(error.__cause__, DecompressionBombError)
        reason = "too large" if is_large else "truncated" if "cut off" in str(error) else "not a photo"
        raise DeadLetter(reason, str(error).partition(": ")[2]) from error


def _refuse_large(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise DeadLetter("too large", f"{width} x {height} pixels, at most {MOST_PIXELS // 10**6} megapixels")


def box_rows(image: np.ndarray[Any, np.dtype[np.uint8]], model: Recogniser) -> list[dict[str, Any]]:
    """A row for each box on a photo uint8 (H, W, 3), best first: what run.py writes, and the best of both evidences."""
    pipeline, ensemble = model.pipeline, model.pipeline.ensemble
    merged = usable(merge(pipeline.detect(pipeline.prepare(image)), ensemble), 0)
    probabilities = model.pipeline.name(image, merged)  # (N, C)
    decided = usable(decide(merged, probabilities, ensemble.gate), 0)
    detected = _best(decided.evidence, model, len(decided))
    evidence = zip(detected, _classified(decided, merged, probabilities, model), strict=True)
    return [
        dict(zip(("x", "y", "width", "height"), row["bbox"], strict=True))
        | {"category_id": row["category_id"], "category_name": model.names[label], "score": row["score"]}
        | {"detector_category_id": detector[0], "detector_score": detector[1]}
        | {"classifier_category_id": classifier[0], "classifier_probability": classifier[1]}
        for row, label, (detector, classifier) in zip(pipeline.rows(decided), decided.labels.tolist(), evidence, strict=True)
    ]


def _classified(
    decided: Detections, merged: Detections, probabilities: Floats | None, model: Recogniser
) -> list[tuple[int | None, float | None]]:
    """The classifier's best for each decided box: the gate reorders boxes, and equal boxes are equal crops."""
    at = {box.tobytes(): i for i, box in enumerate(merged.boxes)}
    order = [at[box.tobytes()] for box in decided.boxes]
    return _best(None if probabilities is None else probabilities[order], model, len(decided))


def _best(evidence: Floats | None, model: Recogniser, count: int) -> list[tuple[int | None, float | None]]:
    """The category id and value of the greatest of each row (N, C); None and None where there is no evidence."""
    if evidence is None or not evidence.shape[1]:
        return [(None, None)] * count
    known = ~np.isnan(evidence).any(1) & (evidence.max(1) > 0)
    ids: Sequence[int] = model.pipeline.ensemble.categories
    best = np.nan_to_num(evidence).argmax(1)
    return [(int(ids[i]), float(row[i])) if ok else (None, None) for row, i, ok in zip(evidence, best, known, strict=True)]

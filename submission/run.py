"""The judge's entry: `python run.py --input FOLDER --output FILE` finds and names every product on every photo of a folder.

It runs beside `fusion/` and the models, offline, under the judge's import rules. A broken photo costs that photo only.
"""

import argparse
import contextlib
import json
import logging
import re
from pathlib import Path
from typing import Any

with contextlib.suppress(ImportError, OSError):  # torch first: onnxruntime finds CUDA and cuDNN through its libraries
    import torch  # noqa: F401

import cv2
import numpy as np

from fusion.pipeline import load


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True, help="folder of photos, .jpg or .jpeg in any case")
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    photos = find_photos(args.input)
    try:
        pipeline = load(Path(__file__).resolve().parent) if photos else None
        lines = [line for image_id, path in photos.items() for line in predict(pipeline, image_id, path, len(photos))]
        write(args.output, lines)
    except (ValueError, OSError) as error:  # a model is missing or broken, or there is no place to write to
        parser.exit(2, f"error: {error}\n")
    logging.info("%d photos, %d predictions: %s", len(photos), len(lines), args.output)


def find_photos(folder: Path) -> dict[int, Path]:
    """Photos by image id (the last number in the name), in the order of their names; of two with one id the first counts."""
    photos: dict[int, Path] = {}
    if not folder.is_dir():
        logging.warning("%s: not a folder", folder)
    for path in sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in {".jpg", ".jpeg"}):
        numbers = re.findall(r"[0-9]+", path.stem)
        if numbers and int(numbers[-1]) not in photos:
            photos[int(numbers[-1])] = path
        else:
            logging.warning("%s: skipped: %s", path.name, "its number came before" if numbers else "no number in its name")
    return photos


def predict(pipeline: Any, image_id: int, path: Path, photos: int) -> list[str]:
    """The predictions of one of `photos` photos, a JSON object each; none, and a note in the log, when anything fails."""
    try:
        return [json.dumps({"image_id": image_id, **found}, allow_nan=False) for found in pipeline(read_photo(path), photos)]
    except Exception as error:
        logging.warning("%s: no predictions: %r", path.name, error)
        return []


def read_photo(path: Path) -> np.ndarray[Any, Any]:
    """The stored pixels whatever EXIF says, uint8 (H, W, 3) RGB. OSError if unreadable, ValueError for what is no photo."""
    data = np.frombuffer(path.read_bytes(), np.uint8)  # (bytes,)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION) if len(data) else None  # (H, W, 3) BGR
    if image is None:
        raise ValueError(f"not a photo: {len(data)} bytes that cannot be decoded")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def write(output: Path, lines: list[str]) -> None:
    """Write a JSON array, one prediction a line, beside `output`, then rename it: no half file is ever there."""
    output.parent.mkdir(parents=True, exist_ok=True)
    partial = output.with_name(output.name + ".partial")
    partial.write_text("[" + ",\n".join(lines) + "]\n", encoding="utf-8")
    partial.replace(output)


if __name__ == "__main__":
    main()

"""A folder of made photos that grows to a data set: claimed once, resumed photo by photo, listed as COCO at the end.

FOLDER/images/NAME.jpg are the photos, drawn/NAME.json says that one is whole and what is on it, annotations.json that all are.
"""

import json
import multiprocessing
import signal
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2

from fusion.models import read_object
from runs.record import write_json
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.pack import Image

WISH = "world.json"  # what was asked for


def claim(out: Path, wish: dict[str, Any], folders: Iterable[str] = ()) -> bool:
    """Make `out` the folder of the data set that `wish` describes; False if it is complete. ValueError if it is another's."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: got {out}, which is a file, need a folder")
    wish, path = json.loads(json.dumps(wish)), out / WISH
    if path.is_file():
        there = read_object(path)
        other = [f"{k} {there.get(k)!r} there, {wish.get(k)!r} asked" for k in {**wish, **there} if there.get(k) != wish.get(k)]
        if other:
            raise ValueError(f"--out: got {out}, which holds another data set ({other[0]}); give another folder or remove it")
        if (out / "annotations.json").is_file():
            return False
    elif out.is_dir() and any(out.iterdir()):
        raise ValueError(f"--out: got {out}, which holds other files, need a new or empty folder")
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, wish)
    for folder in ("images", "drawn", *folders):
        (out / folder).mkdir(exist_ok=True)
    return True


@contextmanager
def mapper(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`with mapper(n) as m: m(f, items)` yields f of each item in order, by n processes; by this one if n is 1."""
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool.map
    except BrokenProcessPool:
        raise OSError("a worker was killed, as happens where memory runs out; run it again and it goes on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker leaves Ctrl-C to its parent and takes one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def name(number: int) -> str:
    """What photo `number` is called, without .jpg."""
    return f"img_{number:05d}"


def is_whole(out: Path, number: int) -> bool:
    """Whether photo `number` is on disk with all that is known of it."""
    return _facts(out, number).is_file()


def add(out: Path, number: int, shot: Shot, quality: int) -> None:
    """Write one photo, and then what is on it."""
    write_jpeg(out / "images" / f"{name(number)}.jpg", shot.image, quality)
    size = [shot.image.shape[1], shot.image.shape[0]]
    write_json(_facts(out, number), {"size": size, "boxes": shot.boxes.tolist(), "labels": shot.labels.tolist()})


def write_jpeg(path: Path, image: Image, quality: int) -> None:
    """Write an RGB image. OSError if it cannot be encoded."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"{path}: could not be encoded")
    path.write_bytes(data.tobytes())


def labels(out: Path, numbers: Iterable[int]) -> list[int]:
    """The label of every box on the photos `numbers`, of a folder that `close` has not yet closed."""
    return [label for number in numbers for label in read_object(_facts(out, number))["labels"]]


def close(out: Path, numbers: list[int], categories: list[dict[str, Any]]) -> None:
    """Write annotations.json, whose presence says that all is done, and remove what drawn/ knew."""
    images, annotations = [], []
    for number in numbers:
        facts = read_object(_facts(out, number))
        width, height = facts["size"]
        images.append({"id": number, "file_name": f"{name(number)}.jpg", "width": width, "height": height})
        annotations += [_annotation(number, box, label) for box, label in zip(facts["boxes"], facts["labels"], strict=True)]
    numbered = [{"id": i, **a} for i, a in enumerate(annotations, 1)]
    write_json(out / "annotations.json", {"images": images, "categories": categories, "annotations": numbered})
    for number in numbers:
        _facts(out, number).unlink()
    (out / "drawn").rmdir()


def _facts(out: Path, number: int) -> Path:
    return out / "drawn" / f"{name(number)}.json"


def _annotation(image_id: int, box: list[float], label: int) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    bbox = [x0, y0, x1 - x0, y1 - y0]
    return {"image_id": image_id, "category_id": label, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0}

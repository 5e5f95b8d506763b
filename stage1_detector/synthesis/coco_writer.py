"""Write a data set of made photos: begun once, resumable after each photo, listed as COCO at the end.

FOLDER/world.json holds what was asked for and FOLDER/images/NAME.jpg are the photos. FOLDER/drawn/NAME.json has the boxes and
labels of one photo, and marks it as written. FOLDER/annotations.json has those of all photos, and marks the set as complete.
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
from runs.atomic_write import replacing
from runs.record import write_json
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.pack import Image

REQUEST_FILE = "world.json"  # holds what was asked for: settings, seed, version


def begin(out: Path, request: dict[str, Any], folders: Iterable[str] = ()) -> bool:
    """Make `out` the folder of the data set that `request` (JSON) describes; False if the set is complete already.

    `folders` are made in it beside images/. Raises ValueError if `out` is a file or holds anything else.
    """
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out: got {out}, which is a file, need a folder")
    path = out / REQUEST_FILE
    if path.is_file():
        _refuse_other_request(out, json.loads(json.dumps(request)))
        if (out / "annotations.json").is_file():
            return False
    elif out.is_dir() and any(out.iterdir()):
        raise ValueError(f"--out: got {out}, which holds other files, need a new or empty folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        write_json(path, json.loads(json.dumps(request)))
    for folder in ("images", "drawn", *folders):
        (out / folder).mkdir(exist_ok=True)
    return True


def _refuse_other_request(out: Path, request: dict[str, Any]) -> None:
    """ValueError where the data set in `out` was asked for otherwise than by `request`."""
    earlier = read_object(out / REQUEST_FILE)
    differing = [key for key in {**request, **earlier} if earlier.get(key) != request.get(key)]
    if differing:
        key = differing[0]
        what = f"{key} {earlier.get(key)!r} there, {request.get(key)!r} asked"
        raise ValueError(f"--out: got {out}, which holds another data set ({what}); give another folder or remove it")


@contextmanager
def parallel_map(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """`with parallel_map(n) as m: m(f, items)` yields f(item) for each item in order, computed by n processes.

    With 1 it is done in this process. Raises OSError where a worker was killed.
    """
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _start_worker)
    try:
        yield pool.map
    except BrokenProcessPool:
        raise OSError("a worker was killed, as happens where memory runs out; run it again and it goes on") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Let a worker ignore Ctrl-C, which its parent handles, and use one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def photo_name(number: int) -> str:
    """The file name of photo `number`, without .jpg."""
    return f"img_{number:05d}"


def is_written(out: Path, number: int) -> bool:
    """Whether photo `number` is on disk, with its boxes and labels."""
    return _facts(out, number).is_file()


def write_photo(out: Path, number: int, shot: Shot, quality: int) -> None:
    """Write one photo, and then its boxes and labels. `quality` is that of the JPEG, 0 to 100."""
    write_jpeg(out / "images" / f"{photo_name(number)}.jpg", shot.image, quality)
    size = [shot.image.shape[1], shot.image.shape[0]]
    write_json(_facts(out, number), {"size": size, "boxes": shot.boxes.tolist(), "labels": shot.labels.tolist()})


def write_jpeg(path: Path, image: Image, quality: int) -> None:
    """Write an RGB image, whole or not at all. OSError if it cannot be encoded."""
    done, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise OSError(f"{path}: could not be encoded")
    with replacing(path) as (unfinished,):
        unfinished.write_bytes(data.tobytes())


def labels(out: Path, numbers: Iterable[int]) -> list[int]:
    """The labels of all boxes on the photos `numbers`, of a set that is not finished yet."""
    return [label for number in numbers for label in read_object(_facts(out, number))["labels"]]


def finish(out: Path, numbers: list[int], categories: list[dict[str, Any]]) -> None:
    """Write annotations.json, which marks the set as complete, and remove drawn/."""
    images, annotations = [], []
    for number in numbers:
        facts = read_object(_facts(out, number))
        width, height = facts["size"]
        images.append({"id": number, "file_name": f"{photo_name(number)}.jpg", "width": width, "height": height})
        annotations += [_annotation(number, box, label) for box, label in zip(facts["boxes"], facts["labels"], strict=True)]
    numbered = [{"id": i, **a} for i, a in enumerate(annotations, 1)]
    write_json(out / "annotations.json", {"images": images, "categories": categories, "annotations": numbered})
    for number in numbers:
        _facts(out, number).unlink()
    (out / "drawn").rmdir()


def _facts(out: Path, number: int) -> Path:
    return out / "drawn" / f"{photo_name(number)}.json"


def _annotation(image_id: int, box: list[float], label: int) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    bbox = [x0, y0, x1 - x0, y1 - y0]
    return {"image_id": image_id, "category_id": label, "bbox": bbox, "area": bbox[2] * bbox[3], "iscrowd": 0}

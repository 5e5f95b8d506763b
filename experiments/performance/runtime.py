"""What run.py costs: its loop over photos against the models alone, and against the libraries' own predict.

Implementations on the same weights and photos, in turns, in one process:

- ours: `submission.run`'s loop, from the JPEG on the disk to the JSON on the disk;
- in turn: the same, but nothing goes on beside the models: reading, canvases and crops wait for their turn;
- floor: nothing but `session.run` on the tensors that ours hands to its models, prepared before;
- peer: ultralytics' `predict` on each detector's ONNX (its own export), then one timm forward for each crop.
"""

import json
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import numpy as np
import timm
import torch
from PIL import Image
from timm.data import create_transform

from fusion.ensemble import Ensemble, read_ensemble
from fusion.models import Model, read_object
from fusion.pipeline import Pipeline, merge
from fusion.reading import Canvases, ReadAhead, read_photo
from runs.record import weights_of
from submission import run

BOXES = 100  # taken: the "100 boxes a photo"
CONF = 0.001  # as in ensemble.json
BLOCK = 10  # chosen: photos; of so many the first, which nothing can be read beside, costs little


def timed_ensemble(runs: Path, size: int) -> Ensemble:
    """R/ensemble.json with one view of `size` pixels for each detector, one classifier, BOXES boxes a photo, no deadline.

    Every box is named, whatever the naming floor, as `Peer` names every one.
    """
    ensemble = read_ensemble(runs)
    detectors = [replace(member, views=[{"size": size}], max_det=BOXES) for member in ensemble.detectors]
    merging = replace(ensemble.merge, max_det=BOXES)
    timed = replace(ensemble, detectors=detectors, merge=merging, classifiers=ensemble.classifiers[:1])
    return replace(timed, naming_floor=0.0, time_budget_s=1e9)


class Ours:
    """run.py's loop, without its start."""

    def __init__(self, runs: Path, ensemble: Ensemble, folder: Path, threads: int = 1) -> None:
        """`threads` read photos ahead; 0 reads each when its turn comes."""
        self.pipeline, self.output, self.threads = Pipeline(ensemble, runs), run.Output(folder / "ours.json"), threads

    def __call__(self, photos: Sequence[Path]) -> None:
        deadline, reader = (
            run.Deadline(self.pipeline, len(photos)),
            ReadAhead(photos, threads=self.threads, prepare=self.pipeline.prepare if self.threads else Canvases),
        )
        run.predict_all(self.pipeline, [1] * len(photos), reader, deadline, self.output)
        reader.close()

    def in_turn(self, photos: Sequence[Path]) -> None:
        """The same, one thing after the other."""
        threads, self.threads = self.threads, 0
        with patch.object(ThreadPoolExecutor, "submit", side_effect=RuntimeError):  # as where no thread can be started
            self(photos)
        self.threads = threads

    def boxes_on(self, photos: Sequence[Path]) -> int:
        """How many boxes it names on all photos together."""
        return sum(len(merge(self.pipeline.detect(read_photo(photo)), self.pipeline.ensemble)) for photo in photos)


class Floor:
    """The sessions of `ours` on the tensors that it gave them for these photos."""

    def __init__(self, ours: Ours, photos: Sequence[Path]) -> None:
        self.calls: dict[Path, list[tuple[Any, list[str], dict[str, Any]]]] = {}
        models = [*ours.pipeline.detectors, *ours.pipeline.classifiers]
        for photo in photos:
            self.calls[photo] = []
            for model in models:
                model.session = Recorded(model.session, self.calls[photo])
            ours([photo])
            for model in models:
                model.session = model.session.session

    def __call__(self, photos: Sequence[Path]) -> None:
        for photo in photos:
            for session, names, feed in self.calls[photo]:
                session.run(names, feed)


class Recorded:
    """A session that records its calls."""

    def __init__(self, session: Any, calls: list[tuple[Any, list[str], dict[str, Any]]]) -> None:
        self.session, self.calls = session, calls

    def run(self, names: list[str], feed: dict[str, Any]) -> Any:
        """As the session's own."""
        self.calls.append((self.session, names, {name: array.copy() for name, array in feed.items()}))
        return self.session.run(names, feed)


class Peer:
    """ultralytics' predict on the same detectors, then one timm forward for each crop of the first one's boxes."""

    def __init__(self, runs: Path, ensemble: Ensemble, size: int, folder: Path) -> None:
        files = [runs / member.file for member in ensemble.detectors]
        self.detectors = [self._export(file.parent, size, folder / file.parent.name) for file in files]
        self.size, self.folder, self.boxes = size, folder, 0
        self.namer, self.transform = self._classifier(runs / ensemble.classifiers[0].file)

    @staticmethod
    def _export(run_folder: Path, size: int, folder: Path) -> Any:
        from ultralytics import YOLO

        folder.mkdir()
        weights = folder / "best.pt"
        weights.write_bytes(weights_of(run_folder).read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            path = YOLO(str(weights)).export(format="onnx", imgsz=size, opset=17, simplify=False, verbose=False)
        return YOLO(path, task="detect")

    @staticmethod
    def _classifier(file: Path) -> tuple[torch.nn.Module, Callable[[Image.Image], torch.Tensor]]:
        side = Model(file).sidecar
        state = torch.load(file.parent / "last.pt", weights_only=True, map_location="cpu")
        net = timm.create_model(state["config"]["model"], pretrained=False, num_classes=len(side.categories or []))
        head = net.pretrained_cfg["classifier"]
        renamed = {name.removeprefix("trunk."): values for name, values in state["model"].items() if name.startswith("trunk.")}
        renamed |= {f"{head}.{name[5:]}": values for name, values in state["model"].items() if name.startswith("head.")}
        net.load_state_dict(renamed)
        transform = create_transform((3, side.size, side.size), is_training=False, mean=side.mean, std=side.std)
        return net.eval(), transform

    @torch.inference_mode()
    def __call__(self, photos: Sequence[Path]) -> None:
        rows = []
        for i, photo in enumerate(photos):
            by_detector = [
                net.predict(str(photo), imgsz=self.size, conf=CONF, iou=0.7, max_det=BOXES, verbose=False)[0].boxes
                for net in self.detectors
            ]
            with Image.open(photo) as image:
                image = image.convert("RGB")
                for box, score in zip(by_detector[0].xyxy.tolist(), by_detector[0].conf.tolist(), strict=True):
                    names = self.namer(self.transform(image.crop(tuple(box)))[None]).softmax(1)[0]
                    rows.append({"image_id": i, "category_id": int(names.argmax()), "bbox": box, "score": score})
        (self.folder / "peer.json").write_text(json.dumps(rows))
        self.boxes += len(rows)


def turns(ways: dict[str, Callable[[Sequence[Path]], None]], photos: Sequence[Path], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way on all photos in each of `rounds` rounds, after one round that does not count.

    In a round the ways take turns, BLOCK photos each, in an order drawn anew each time: a slow moment of the machine, and what
    one way's idle threads take from the next, meet all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    order, rng = list(ways), np.random.default_rng(0)
    for k in range(rounds + 1):
        spent = dict.fromkeys(ways, 0.0)
        for start in range(0, len(photos), BLOCK):
            for name in rng.permutation(order).tolist():
                started = time.perf_counter()
                ways[name](photos[start : start + BLOCK])
                spent[name] += time.perf_counter() - started
        for name in ways if k else ():
            seconds[name].append(spent[name])
    return seconds


def measure(runs: Path, photos: Sequence[Path], size: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each way by round, and the boxes a photo that ours and peer named."""
    ensemble = timed_ensemble(runs, size)
    with tempfile.TemporaryDirectory() as name:
        ours, peer = Ours(runs, ensemble, Path(name)), Peer(runs, ensemble, size, Path(name))
        cv2.setNumThreads(cv2.getNumberOfCPUs())  # ultralytics has set it to 0
        ways = {"ours": ours, "in turn": ours.in_turn, "floor": Floor(ours, photos), "peer": peer}
        seconds = turns(ways, photos, rounds)
        ours.output.close()
        return seconds, {"ours": ours.boxes_on(photos) / len(photos), "peer": peer.boxes / len(photos) / (rounds + 1)}


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """The median of the rounds' ratios, the smallest and the largest.

    >>> ratio([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])
    (3.0, 2.0, 4.0)
    """
    ratios = np.asarray(above) / np.asarray(below)
    return float(np.median(ratios)), float(ratios.min()), float(ratios.max())


def models_of(runs: Path) -> str:
    """The networks that are timed, by name."""
    ensemble = timed_ensemble(runs, 0)
    files = [runs / model.file for model in (*ensemble.detectors, *ensemble.classifiers)]
    return " + ".join(str(read_object(file.parent / "run.json")["settings"]["model"]).removesuffix(".yaml") for file in files)

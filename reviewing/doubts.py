"""Doubtful labels one by one: what a page shows of each proposal of `hylle labels`, and the proposals as a person decided.

OUT/decisions.jsonl holds every decision; OUT/proposals.json is the same list of proposals with them, whole after each decision,
for `hylle labels --data D --apply OUT/proposals.json --out COPY`.
"""

import math
import threading
import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from fusion.boxes import xywh_to_xyxy, xyxy_to_xywh
from photos.data import Dataset, Photo, product_key, read_image
from photos.studio import read_studio, studio_folder, studio_photos, studio_products
from reviewing.decision_log import DecisionLog, Outdated, told_if_not_kept
from reviewing.recognised import Image, fitted
from runs import record
from runs.typed import typed
from stage2_classifier.label_review.contact_sheet import window
from stage2_classifier.label_review.relabel import DECISIONS, read_proposals

ACTIONS = ("accept", "reject", "rename", "redraw", "undo")
FAR = 1e6  # chosen: pixels; further away no photo reaches, and larger whole numbers are no floats
EXAMPLES = 4  # chosen: other crops of a name that are shown
PROPOSALS = "proposals.json"


class Doubts:
    """The proposals about a data set, and what was decided about each so far; `dropped` counts decisions that were cut off."""

    def __init__(self, dataset: Dataset, proposals: Path, out: Path, studio: Path | None = None) -> None:
        """Raises ValueError where the proposals are about other photos, or OUT holds decisions about other proposals."""
        self.dataset, self.path = dataset, out / PROPOSALS
        self.proposals = read_proposals(proposals)
        self.photos = {photo.id: photo for photo in dataset.photos}
        self.names = {category.id: category.name or f"id {category.id}" for category in dataset.categories}
        self.label = {category.id: k for k, category in enumerate(dataset.categories)}
        if other := next((row for row in self.proposals if row["image_id"] not in self.photos), None):
            raise ValueError(f"{proposals}: image {other['image_id']} is not in {dataset.root}; rank its labels: hylle labels")
        self.number = {row["id"]: k for k, row in enumerate(self.proposals)}
        if len(self.number) < len(self.proposals):
            raise ValueError(f"{proposals}: two proposals of one id; rank the labels again: hylle labels")
        self.studio = studio_by_category(dataset, studio)
        self._lock = threading.Lock()
        apply = typed("hylle labels --data", dataset.root, "--apply", self.path, "--out COPY")
        remedy = f"apply them ({apply}), then move it away; or pass another --out"
        self.log = DecisionLog(out / DECISIONS, {"proposals": record.digest(self.proposals)}, remedy)
        self._write()

    @property
    def decided(self) -> dict[int, dict[str, Any]]:
        """The last decision about each proposal, by its id; none where that was undone."""
        last = {row["id"]: row for row in self.log.rows}
        return {number: row for number, row in last.items() if row["action"] != "undo"}

    def decide(self, number: int, asked: Mapping[str, Any]) -> int:
        """Keep a decision about proposal `number`, on the disk before this returns; returns the proposal's revision.

        Raises ValueError for one of no sense, Outdated where another was made since, NotKept where the disk does not take it.

        `asked` holds an `action`, `bbox` (x, y, width, height) or `category_id` to replace what is proposed, and the `revision`
        that was looked at; without it, whatever was decided before is replaced.
        """
        decision = self._checked(number, asked)
        with self._lock, told_if_not_kept(self.log.path):
            if asked.get("revision") not in (None, self.log.revision("id", number)):
                raise Outdated(f"not taken: proposal {number} was decided elsewhere meanwhile; look at it again, then decide")
            self.log.add(decision | {"time": time.strftime("%Y-%m-%dT%H:%M:%S")})
            self._write()
            return self.log.revision("id", number)

    def _checked(self, number: int, asked: Mapping[str, Any]) -> dict[str, Any]:
        action, decision = asked.get("action"), {"id": number, "action": asked.get("action")}
        if number not in self.number:
            raise ValueError(f"proposal {number}: there is none; reload the page")
        if action not in ACTIONS:
            raise ValueError(f"action: got {action!r}, need one of {', '.join(ACTIONS)}")
        if "category_id" in asked or action == "rename":
            if type(category := asked.get("category_id")) is not int or category not in self.names:
                raise ValueError(f"category_id: got {category!r}, which the data set does not have")
            decision["category_id"] = category
        if "bbox" in asked or action == "redraw":
            photo = self.photos[self.proposals[self.number[number]]["image_id"]]
            decision["bbox"] = checked_bbox(asked.get("bbox"), (photo.width, photo.height))
        return decision

    def _write(self) -> None:
        decided = self.decided
        record.write_json(self.path, [with_decision(row, decided.get(row["id"])) for row in self.proposals])

    # -- what is shown ---------------------------------------------------------------------------------------------------

    def as_json(self) -> list[dict[str, Any]]:
        """All proposals, the surest first, as the page wants them."""
        decided = self.decided
        return [self._shown(row, decided.get(row["id"])) for row in self.proposals]

    def _shown(self, row: Mapping[str, Any], decision: Mapping[str, Any] | None) -> dict[str, Any]:
        photo = self.photos[row["image_id"]]
        x, y, side = self.window_of(row)
        sides = [with_name(row[key], self.names) for key in ("current", "proposed")]
        centres = (photo.boxes[:, :2] + photo.boxes[:, 2:]) / 2 if len(photo.boxes) else photo.boxes[:, :2]  # (T, 2)
        near = np.all((centres >= (x, y)) & (centres <= (x + side, y + side)), 1) & (
            photo.annotation_ids != row["annotation_id"]
        )
        neighbours = [
            {"bbox": box, "name": self.names[self.dataset.categories[label].id]}
            for box, label in zip(xyxy_to_xywh(photo.boxes[near]).tolist(), photo.labels[near].tolist(), strict=True)
        ]
        categories = list(dict.fromkeys(side["category_id"] for side in sides if side))
        references = [
            {"category_id": i, "name": self.names.get(i, f"id {i}"), "studio": i in self.studio,
             "examples": len(self.examples(i, row["annotation_id"]))}
            for i in categories
        ]  # fmt: skip
        shown = {key: row[key] for key in ("id", "kind", "score", "why", "file_name")} if "why" in row else dict(row)
        return shown | {
            "current": sides[0], "proposed": sides[1], "window": [x, y, side], "size": [photo.width, photo.height],
            "neighbours": neighbours, "references": references, "decision": decision,
            "revision": self.log.revision("id", row["id"]),
        }  # fmt: skip

    def window_of(self, row: Mapping[str, Any]) -> tuple[float, float, float]:
        """Left, top and side of the square of the photo that shows a proposal and what stands beside it."""
        photo = self.photos[row["image_id"]]
        boxes = [xywh_to_xyxy(np.array(row[key]["bbox"], np.float64)[None])[0] for key in ("current", "proposed") if row[key]]
        return window(boxes, photo.width, photo.height)

    def crop(self, number: int) -> Image:
        """The pixels under the window of a proposal; grey beyond the photo. Raises KeyError for no such proposal."""
        row = self.proposals[self.number[number]]
        return cut(pixels(self.photos[row["image_id"]]), self.window_of(row))

    def examples(self, category: int, without: int | None) -> list[tuple[Photo, int]]:
        """Up to EXAMPLES boxes labelled so, the largest first, without one annotation: (photo, place among its boxes)."""
        label = self.label.get(category)
        places = [
            (float(np.prod(photo.boxes[k, 2:] - photo.boxes[k, :2])), photo, int(k))
            for photo in self.dataset.photos
            for k in np.flatnonzero(photo.labels == label)
            if photo.annotation_ids[k] != without
        ]
        return [place[1:] for place in sorted(places, key=lambda place: -place[0])[:EXAMPLES]]

    def example(self, number: int, category: int, k: int) -> Image:
        """The crop of one of `examples`. Raises KeyError or IndexError for no such one."""
        row = self.proposals[self.number[number]]
        photo, at = self.examples(category, row["annotation_id"])[k]
        x0, y0, x1, y1 = photo.boxes[at].tolist()
        return pixels(photo)[math.floor(y0) : math.ceil(y1), math.floor(x0) : math.ceil(x1)]

    def studio_photo(self, category: int) -> Image:
        """The product's studio photo. Raises KeyError where there is none."""
        return fitted(read_studio(self.studio[category]), 400)


def with_decision(row: Mapping[str, Any], decision: Mapping[str, Any] | None) -> dict[str, Any]:
    """The proposal with what was decided: `apply`, and another box or name where the person gave one.

    >>> row = {"current": None, "proposed": {"bbox": [0, 0, 2, 2], "category_id": 1}, "apply": False}
    >>> with_decision(row, {"action": "rename", "category_id": 5})["proposed"]
    {'bbox': [0, 0, 2, 2], 'category_id': 5}
    """
    if decision is None:
        return dict(row)
    changes = {key: decision[key] for key in ("bbox", "category_id") if key in decision}
    proposed = row["proposed"]
    if changes:
        proposed = (proposed or row["current"]) | changes
    return dict(row) | {"proposed": proposed, "apply": decision["action"] != "reject"}


def checked_bbox(bbox: Any, size: tuple[int, int]) -> list[float]:
    """A box x, y, width, height, cut to a photo of `size` (width, height). Raises ValueError for one that has no area there."""
    if not (isinstance(bbox, list) and len(bbox) == 4 and all(type(v) in (int, float) and abs(v) < FAR for v in bbox)):
        raise ValueError(f"bbox: got {bbox!r}, need four numbers: x, y, width, height")
    x0, y0 = max(0.0, bbox[0]), max(0.0, bbox[1])
    width, height = min(size[0], bbox[0] + bbox[2]) - x0, min(size[1], bbox[1] + bbox[3]) - y0
    if width < 1 or height < 1:
        raise ValueError(f"bbox: got {bbox!r}, need at least one pixel of a photo of {size[0]} x {size[1]}")
    return [round(float(v), 2) for v in (x0, y0, width, height)]


def with_name(side: Mapping[str, Any] | None, names: Mapping[int, str]) -> dict[str, Any] | None:
    """One side of a proposal with its product's name."""
    return None if side is None else dict(side) | {"name": names.get(side["category_id"], f"id {side['category_id']}")}


@lru_cache(maxsize=4)
def pixels(photo: Photo) -> Image:
    """The photo's pixels; the last few are kept, since neighbouring proposals are often of one photo."""
    return read_image(photo.path, photo.width, photo.height)


def cut(image: Image, square: Sequence[float]) -> Image:
    """The square left, top, side of an image, grey beyond its edges."""
    x, y, side = (round(v) for v in square)
    canvas = np.full((max(1, side), max(1, side), 3), 128, np.uint8)
    part = image[max(0, y) : y + side, max(0, x) : x + side]
    top, left = max(0, -y), max(0, -x)
    canvas[top : top + part.shape[0], left : left + part.shape[1]] = part
    return fitted(canvas, 900)


def studio_by_category(dataset: Dataset, given: Path | None) -> dict[int, Path]:
    """The first studio photo of each product, by category id; none where the set has no studio photos."""
    try:
        folder = studio_folder(dataset.root, given)
    except ValueError:
        if given is not None:
            raise
        return {}
    if given is not None:
        studio_photos(folder)  # refuses a folder without photos
    by_name = {product_key(product.name): product.photos[0] for product in studio_products(folder)}
    keys = {category.id: product_key(category.name) for category in dataset.categories}
    return {number: by_name[key] for number, key in keys.items() if key in by_name}

"""Photos without labels: predicted boxes to confirm, the most doubtful photo first; what is confirmed is a COCO data set.

OUT/confirmed.jsonl holds every confirmation; OUT/confirmed is the data set, whole after each: annotations.json and images/.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fusion.boxes import xywh_to_xyxy
from photos.data import product_key
from photos.photo_file import same_name
from recognition.inputs import Input
from recognition.tables import Products
from reviewing.confirmed_photos import BYTES, bytes_of, damage, is_replaced, refuse_unknown, under_confirmed_names, unusable
from reviewing.decision_log import DecisionLog, Outdated, told_if_not_kept
from reviewing.doubts import checked_bbox
from reviewing.evidence import UNNAMED, Box
from reviewing.new_products import free_id, named_ever
from reviewing.recognised import Recognised
from runs import record
from runs.command import in_words
from runs.link import link_or_copy

LOG, SET = "confirmed.jsonl", "confirmed"
LONGEST_NAME = 200  # chosen: letters
FAINT = 0.25  # chosen: of the floor; boxes from there on are offered, unconfirmed
HIDDEN = 200  # chosen: boxes of a photo below that, which the page shows where a person clicks
PAUSE = 0.01  # chosen: seconds between two photos, so that who asks in the browser meanwhile comes first


class Offered(NamedTuple):
    """A predicted box as it is kept: x, y, width, height, score, the labels it may have (none: not asked), its doubt."""

    bbox: tuple[float, ...]
    score: float
    labels: tuple[int, ...]
    doubt: float


class Guess(NamedTuple):
    """What is known of one photo: its size, its boxes by descending score, its doubt, or why it cannot be predicted; `bytes` is
    the fingerprint of the file that was predicted on."""

    size: tuple[int, int] = (0, 0)
    boxes: list[Offered] = []  # noqa: RUF012 (never changed)
    doubt: float = 0.0
    problem: str = ""
    bytes: str = ""


Recognise = Callable[[Input], Recognised]
NameBox = Callable[[Input, npt.NDArray[np.float32]], list[int]]


class Labelling:
    """The photos to label, what was predicted on them, and what is confirmed."""

    def __init__(self, photos: Sequence[Input], products: Products, floor: float, out: Path) -> None:
        """Raises ValueError where OUT holds confirmations of photos in another folder, or photos that its log does not know."""
        self.products, self.floor, self.folder = products, floor, out / SET
        self.label = {number: k for k, number in enumerate(products.ids)}
        self._model = dict(zip(products.ids, products.names, strict=True))
        self.guesses: dict[str, Guess] = {}
        remedy = f"move it and {self.folder} away together, or pass another --out"
        self.log = DecisionLog(out / LOG, {"products": products.ids, "names": products.names}, remedy)
        self._lock = threading.Lock()
        refuse_unknown(self.last, self.folder / "images", self.log.path)
        self.photos = under_confirmed_names(photos, self.last, self.folder / "images")
        self.write()

    # -- what is predicted -------------------------------------------------------------------------------------------------

    def predict(self, recognise: Recognise, is_stopped: Callable[[], bool]) -> None:
        """Predict all photos, one after the other; one that cannot be is told in `guesses`, and costs only itself."""
        for name, photo in self.photos.items():
            if is_stopped():
                return
            if name not in self.guesses:
                self.guesses[name] = self.guess(recognise, photo)
                time.sleep(PAUSE)

    def guess(self, recognise: Recognise, photo: Input) -> Guess:
        """What the models find on a photo."""
        file = bytes_of(photo.path)  # before it is read: where it changes meanwhile, what is confirmed is refused
        try:
            found = recognise(photo)
        except Exception as error:  # OpenCV and onnxruntime raise their own, and the next photo is to be predicted too
            return Guess(problem=" ".join(in_words(error).removeprefix(f"{photo.path}: ").split()))
        if found.remark:  # no data set takes it
            return Guess(problem=found.remark)
        boxes = sorted((self.offered(box) for box in found.boxes), key=lambda box: -box.score)
        shown = [box for box in boxes if box.score >= FAINT * self.floor]
        return Guess(found.size, boxes[: len(shown) + HIDDEN], photo_doubt([box.doubt for box in shown]), bytes=file)

    def offered(self, box: Box) -> Offered:
        """A box with the labels to pick from; where nobody was asked for its name, none, else its own at least."""
        unknown = box.why == UNNAMED and not box.guesses
        own = () if unknown else (self.label[box.row["category_id"]],)
        doubt = doubt_of(box.row["score"], self.floor, sureness(box.classifier))
        return Offered(tuple(box.row["bbox"]), box.row["score"], tuple(box.guesses) or own, round(doubt, 3))

    def named(self, labels: Sequence[int]) -> dict[str, Any]:
        """A box's most probable name, and all that there are to pick from, as [category id, name]; "" where none is known."""
        guesses = [[self.products.ids[k], self.products.names[k]] for k in labels]
        own = {"category_id": guesses[0][0], "name": guesses[0][1]} if guesses else {"name": ""}
        return own | {"guesses": guesses}

    def guesses_of_box(self, name_box: NameBox, name: str, bbox: Any) -> dict[str, Any]:
        """Names for a box that a person drew. Raises KeyError for no such photo, ValueError for no box on it."""
        box = checked_bbox(bbox, self.guesses[name].size)
        return self.named(name_box(self.photos[name], xywh_to_xyxy(np.array([box], np.float32))[0]))

    def queue(self) -> list[dict[str, Any]]:
        """The photos in the order in which to look at them: predicted and not confirmed ones first, the most doubtful first."""
        confirmed = self.confirmed
        rows = [
            {"name": name, "doubt": round(guess.doubt, 4), "problem": guess.problem, "confirmed": name in confirmed,
             "boxes": len(confirmed[name]["boxes"]) if name in confirmed else sum(b.score >= self.floor for b in guess.boxes)}
            for name, guess in list(self.guesses.items())
        ]  # fmt: skip
        return sorted(rows, key=lambda row: (row["confirmed"], bool(row["problem"]), -row["doubt"], row["name"]))

    def photo_as_json(self, name: str) -> dict[str, Any]:
        """One photo: the boxes that were confirmed, else predicted; `hidden` are those too faint to be shown unasked.

        Raises KeyError for one that is not predicted yet.
        """
        guess, confirmed = self.guesses[name], self.confirmed.get(name)
        predicted: list[dict[str, Any]] = [
            {"bbox": box.bbox, "score": box.score, "doubt": box.doubt} | self.named(box.labels) for box in guess.boxes
        ]
        shown = [box for box in predicted if box["score"] >= FAINT * self.floor] if confirmed is None else confirmed["boxes"]
        hidden = [box for box in predicted if box["score"] < FAINT * self.floor]
        return {"name": name, "size": guess.size, "floor": self.floor, "boxes": shown, "hidden": hidden,
                "confirmed": confirmed is not None, "revision": self.log.revision("name", name)}  # fmt: skip

    # -- what is confirmed -------------------------------------------------------------------------------------------------

    @property
    def last(self) -> dict[str, dict[str, Any]]:
        """The last confirmation of each photo, by its name."""
        return {row["name"]: row for row in self.log.rows}

    @property
    def confirmed(self) -> dict[str, dict[str, Any]]:
        """The last confirmation of each photo, by its name; without those that are `replaced`."""
        replaced = set(self.replaced)
        return {name: row for name, row in self.last.items() if name not in replaced}

    @property
    def replaced(self) -> list[str]:
        """The confirmed photos in whose place another file lies now: its pixels are not those that the boxes are of."""
        return [name for name, row in self.last.items() if is_replaced(row, self.place(name))]

    def place(self, name: str) -> Path:
        """Where the file of a photo is: in the data set, else where it was named."""
        kept = self.folder / "images" / name
        return self.photos[name].path if name in self.photos and not kept.exists() else kept

    def confirm(self, name: str, boxes: Any, revision: Any = None) -> int:
        """Keep the boxes of a photo, on the disk before this returns; returns the photo's revision.

        Raises KeyError for no such photo, Outdated where it was confirmed since `revision`, ValueError for boxes of no sense,
        NotKept where the disk does not take it.

        Each of `boxes` has `bbox` and `category_id`, or a new product's `name`.
        """
        size = self.guesses[name].size
        if self.guesses[name].problem or not isinstance(boxes, list):
            raise ValueError(f"{name}: {self.guesses[name].problem or 'boxes: need a list'}")
        if why := damage(self.photos[name].path):  # since it was predicted
            raise ValueError(f"{name}: {why}")
        if (file := bytes_of(self.photos[name].path)) != (self.guesses[name].bytes or file):
            raise ValueError(f"{name}: another file lies there now than its boxes were found on; start hylle review again")
        with self._lock:
            if revision not in (None, self.log.revision("name", name)):
                raise Outdated(f"not taken: {name} was confirmed elsewhere meanwhile; open it again")
            if alike := [own for own in self.confirmed if own != name and same_name(own) == same_name(name)]:
                raise ValueError(f"{name}: {alike[0]} is confirmed, whose name has the same letters; rename one of the photos")
            names = named_ever(self._model, self.log.rows)  # a name that was given once has its id again
            checked = [self._checked(box, size, names) for box in boxes]
            decision = {"name": name, BYTES: file, "size": size, "boxes": checked}
            with told_if_not_kept(self.log.path):
                self.log.add(decision | {"time": time.strftime("%Y-%m-%dT%H:%M:%S")})
                self.write()
            return self.log.revision("name", name)

    @staticmethod
    def _checked(box: Any, size: tuple[int, int], names: dict[int, str]) -> dict[str, Any]:
        """The box as it is kept; a new product's name joins `names`."""
        if not isinstance(box, Mapping):
            raise ValueError(f"boxes: got {box!r}, need objects with bbox and category_id or name")
        bbox, name, number = checked_bbox(box.get("bbox"), size), box.get("name"), box.get("category_id")
        if type(number) is not int or number not in names:
            if not isinstance(name, str) or not name.strip() or len(name) > LONGEST_NAME:
                raise ValueError(f"name: got {name!r}, need 1 to {LONGEST_NAME} letters")
            known = {product_key(own): i for i, own in names.items()}
            number = known[product_key(name)] if product_key(name) in known else free_id(names)
            names.setdefault(number, name.strip())
        elif isinstance(name, str) and name and product_key(name) != product_key(names[number]):
            raise ValueError(f"category_id: got {number}, which is {names[number]}, with the name {name}; send one of the two")
        return {"bbox": bbox, "category_id": number, "name": names[number]}

    @property
    def lost(self) -> list[str]:
        """The confirmed photos that are left out of the data set: not named now, and no longer where they were."""
        there = self.folder / "images"
        return [name for name in self.confirmed if name not in self.photos and not (there / name).exists()]

    @property
    def unusable(self) -> dict[str, str]:
        """The confirmed photos that are left out of the data set because it could not be read with them, and why."""
        lost = set(self.lost)
        return unusable({name: self.place(name) for name in self.last if name not in lost})

    def names(self) -> dict[int, str]:
        """The name of each category id: the model's products, and the new ones that a confirmed box has now."""
        used = {box["category_id"] for row in self.confirmed.values() for box in row["boxes"]}
        known = named_ever(self._model, self.log.rows)
        return {number: name for number, name in known.items() if number in used or number in self._model}

    def write(self) -> None:
        """Write the data set: annotations.json whole, and links to the photos."""
        there = self.folder / "images"  # with photos that were confirmed before and are not named now
        without = {*self.lost, *self.unusable}
        confirmed = {name: row for name, row in self.confirmed.items() if name not in without}
        number = {name: i for i, name in enumerate(confirmed, 1)}
        images = [
            {"id": number[name], "file_name": name, "width": row["size"][0], "height": row["size"][1]}
            for name, row in confirmed.items()
        ]
        boxes = [(number[name], box) for name, row in confirmed.items() for box in row["boxes"]]
        annotations = [
            {"id": i, "image_id": image, "category_id": box["category_id"], "bbox": box["bbox"],
             "area": round(box["bbox"][2] * box["bbox"][3], 2), "iscrowd": 0}
            for i, (image, box) in enumerate(boxes, 1)
        ]  # fmt: skip
        categories = [{"id": i, "name": name} for i, name in sorted(self.names().items())]
        for name in confirmed:
            place = there / name
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists() and name in self.photos:
                place.unlink(missing_ok=True)  # a link to a photo that was moved
                link_or_copy(self.photos[name].path, place)
        if confirmed or (self.folder / "annotations.json").is_file():
            record.write_json(
                self.folder / "annotations.json", {"images": images, "annotations": annotations, "categories": categories}
            )


def sureness(names: Sequence[tuple[int, float]]) -> float:
    """How sure the classifier is of its best name; 1 where there is none to doubt."""
    return names[0][1] if names else 1.0


def doubt_of(score: float, floor: float, sure: float) -> float:
    """How doubtful a box is, in [0, 1]: near the floor whether it counts is doubtful, else its name is.

    >>> round(doubt_of(0.3, 0.3, 1.0), 2), round(doubt_of(0.9, 0.3, 0.8), 2), round(doubt_of(0.0, 0.3, 0.8), 2)
    (1.0, 0.33, 0.0)
    """
    if score <= 0 or floor <= 0:
        return 0.0 if score <= 0 else 1 - sure
    near = math.exp(-abs(math.log(score / floor)))
    return max(near, 1 - sure) if score >= floor else near


def photo_doubt(doubts: Sequence[float]) -> float:
    """The mean doubt of a photo's boxes; 1 where there are none, since every shelf holds something."""
    return sum(doubts) / len(doubts) if doubts else 1.0

"""Copy-paste between real photos: whole facings of a row become facings of another photo, and each box stays right.

A facing is replaced by one of about the same proportions, stretched to exactly its box, in the light of the one it replaces. A
run of the same product is replaced as a whole. Facings that others overlap stay, so that no other annotated facing is covered.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fusion.boxes import intersections
from photos.data import Photo, read
from photos.folds import train_photos
from photos.learnt import learnt_image
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.synthesis.pack import Image

MAX_ASPECT_DIFFERENCE = 0.25  # chosen: of log width / height, between a facing and the one that replaces it
MIN_WIDTH_SHARE = 0.5  # chosen: the new facing is at least this share as wide as the one it replaces
CHANGED_SHARE = (0.2, 0.7)  # chosen: least and most share of a photo's facings that are replaced
MAX_COVERED = 0.15  # chosen: a facing that overlaps another by more than this share of the smaller area is not replaced
MATCH = 0.6  # chosen: exponent; 1 gives a new facing exactly the brightness of the one it replaces, 0 keeps its own
SMALLEST = 4  # derived: pixels of a side; the blended edges leave nothing to see of a smaller facing
FEATHER = 2  # chosen: pixels over which the edge of a new facing is blended
MAX_TRIES = 200  # chosen: facings of a photo that are tried


@dataclass(frozen=True, eq=False)
class Facings:
    """All boxes of several photos: index of the photo (N,), box (N, 4) and label (N,)."""

    photo: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]

    @property
    def aspects(self) -> npt.NDArray[np.float64]:
        """log width / height (N,)."""
        sides = np.maximum(self.boxes[:, 2:] - self.boxes[:, :2], 1).astype(np.float64)
        return np.asarray(np.log(sides[:, 0] / sides[:, 1]))


@dataclass(frozen=True)
class Pasted:
    """A source of photos: the train photos of the data set DATA, by the folds in RUNS, with facings swapped.

    `train` is the `fingerprint.of_labelled` of those photos. Labels are category ids.
    """

    data: Path
    runs: Path | None
    train: str

    @property
    def description(self) -> str:
        """See `composed_dataset.Source`."""
        return f"Pasted(data={self.data!r}, runs={self.runs!r}, train={self.train!r})"

    def shot(self, appearance: ShelfAppearance, seed: int, number: int, rng: np.random.Generator) -> Shot:
        """Photo `number`; `appearance` is not used, as it is that of the real photo."""
        photos, facings, ids = _train_facings(self.data, self.runs)
        shot = swapped(photos, facings, rng)
        return shot._replace(labels=ids[shot.labels])


@lru_cache(maxsize=2)
def _train_facings(data: Path, runs: Path | None) -> tuple[tuple[Photo, ...], Facings, npt.NDArray[np.int64]]:
    """The train photos, their facings, and the category id of each label (C,)."""
    photos = train_photos(data, runs)
    return photos, gather(photos), np.array([category.id for category in read(data).categories], np.int64)


def gather(photos: tuple[Photo, ...]) -> Facings:
    """The facings of `photos`. Raises ValueError where there are fewer than two photos with boxes."""
    if sum(len(photo.boxes) > 0 for photo in photos) < 2:
        raise ValueError(f"--paste: got {len(photos)} train photos, need at least 2 with boxes")
    number = np.repeat(np.arange(len(photos)), [len(photo.boxes) for photo in photos])
    return Facings(number, np.concatenate([p.boxes for p in photos]), np.concatenate([p.labels for p in photos]))


def swapped(photos: tuple[Photo, ...], facings: Facings, rng: np.random.Generator) -> Shot:
    """One of `photos` with some of its facings replaced: the boxes stay, the labels become those of the new facings."""
    number = int(rng.choice(np.unique(facings.photo)))
    photo = photos[number]
    image, labels = _read(photo).copy(), photo.labels.copy()
    free = uncovered(photo.boxes) & ((photo.boxes[:, 2:] - photo.boxes[:, :2]).min(1, initial=np.inf) >= SMALLEST)
    wanted = rng.uniform(*CHANGED_SHARE) * len(labels)
    changed = np.zeros(len(labels), bool)
    for start in rng.permutation(np.flatnonzero(free))[:MAX_TRIES]:
        if changed.sum() >= wanted:
            break
        run = [i for i in run_of(photo, int(start)) if free[i] and not changed[i]]
        donor = _donor(facings, number, photo.boxes[run[0]], rng) if run else None
        for i in run if donor is not None else ():
            _replace(image, photo.boxes[i], _cut_facing(photos[facings.photo[donor]], facings.boxes[donor]))
            labels[i], changed[i] = facings.labels[donor], True
    return Shot(image, photo.boxes, labels)


def uncovered(boxes: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Which of `boxes` (N, 4) share at most MAX_COVERED of the smaller area with any other box: bool (N,)."""
    if len(boxes) == 0:
        return np.zeros(0, bool)
    shared = np.stack([intersections(boxes, box[None]) for box in boxes])  # (N, N)
    area = np.maximum(np.diagonal(shared), 1e-9)  # (N,)
    share = (shared - np.diag(np.diagonal(shared))) / np.minimum(area[:, None], area[None])  # (N, N)
    return np.asarray((share <= MAX_COVERED).all(1))


def run_of(photo: Photo, start: int) -> list[int]:
    """The facings of the same product that stand side by side with facing `start`, itself among them."""
    boxes, same = photo.boxes, photo.labels == photo.labels[start]
    width, height = boxes[start, 2:] - boxes[start, :2]
    level = same & (np.abs(boxes[:, 3] - boxes[start, 3]) < 0.25 * height)
    run, order = [start], np.argsort(boxes[:, 0])
    for way in (order, order[::-1]):
        at = start
        for i in way[list(way).index(start) + 1 :]:
            gap = max(boxes[i, 0] - boxes[at, 2], boxes[at, 0] - boxes[i, 2])
            if level[i] and gap < 0.5 * width:
                run.append(int(i))
                at = i
    return run


def _donor(facings: Facings, number: int, box: npt.NDArray[np.float32], rng: np.random.Generator) -> int | None:
    """A facing of another photo that fits `box`, or None."""
    sides = np.maximum(box[2:] - box[:2], 1)
    widths = facings.boxes[:, 2] - facings.boxes[:, 0]
    fits = np.abs(facings.aspects - np.log(sides[0] / sides[1])) < MAX_ASPECT_DIFFERENCE
    fits &= (facings.photo != number) & (widths >= MIN_WIDTH_SHARE * sides[0])
    return int(rng.choice(np.flatnonzero(fits))) if fits.any() else None


def _cut_facing(photo: Photo, box: npt.NDArray[np.float32]) -> Image:
    """The pixels of a photo in `box` (4,), at least 1 x 1."""
    x0, y0, x1, y1 = np.rint(box).astype(int)
    return _read(photo)[max(0, y0) : max(y1, y0 + 1), max(0, x0) : max(x1, x0 + 1)]


def _replace(image: Image, box: npt.NDArray[np.float32], new: Image) -> None:
    """Stretch `new` to `box` of `image`, in the light of what it replaces, its edge blended over FEATHER pixels."""
    x0, y0 = np.maximum(np.rint(box[:2]).astype(int), 0)
    x1, y1 = np.rint(box[2:]).astype(int)
    old = image[y0:y1, x0:x1]
    if not old.size or not new.size:
        return
    shrinks = new.shape[1] > old.shape[1]
    new = cv2.resize(new, old.shape[1::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    gain = (max(1.0, float(old.mean())) / max(1.0, float(new.mean()))) ** MATCH
    lit = np.clip(new * np.clip(gain, 0.4, 2.5), 0, 255)
    mask = np.zeros(old.shape[:2], np.float32)
    mask[1:-1, 1:-1] = 1
    mask = cv2.blur(mask, (2 * FEATHER - 1, 2 * FEATHER - 1))[..., None]  # (h, w, 1)
    old[:] = (lit * mask + old * (1 - mask)).astype(np.uint8)


@lru_cache(maxsize=24)
def _read(photo: Photo) -> Image:
    return learnt_image(photo)

"""The judge's image ids, which come from file names, against a data set's own.

`submission.run` sees a flat folder of photos and no JSON: it reads the .jpg and .jpeg files in the order of their names; the
last number in a name is the photo's image id; a photo without a number is skipped, and so is one whose number came before.
This is that rule as a function of names, and what it would do to the photos of a data set.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import NamedTuple

from photos.data import Dataset, Photo

SUFFIXES = (".jpg", ".jpeg")  # taken: submission.run, in any case
SHOWN = 3  # chosen: examples in a line


def is_read(file_name: str) -> bool:
    """Whether run.py looks at a file of this name at all.

    >>> is_read("shelf_1.JPG"), is_read("shelf_1.png"), is_read(".shelf_1.jpg")
    (True, False, False)
    """
    path = PurePosixPath(file_name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def judge_id(file_name: str) -> int | None:
    """The image id that run.py gives a photo of this name; None where it skips the photo. Folders before the name do not count.

    >>> judge_id("img_00042.jpg"), judge_id("2024/IMG-20240501-WA0003.jpeg"), judge_id("oslo.jpg"), judge_id("7.png")
    (42, 3, None, None)
    """
    numbers = re.findall(r"[0-9]+", PurePosixPath(file_name).stem) if is_read(file_name) else []
    return int(numbers[-1]) if numbers else None


class OtherId(NamedTuple):
    """A photo whose predictions run.py writes under another image id than its own."""

    name: str
    own: int
    judged: int


class Merged(NamedTuple):
    """A photo that run.py skips, since the number in its name is that of `first`, whose name comes before."""

    name: str
    first: str
    number: int


@dataclass(frozen=True)
class Comparison:
    """What the judge's rule does to the photos of a set, each of which is in exactly one of the fields.

    `same` and `without_number` are names of photos, and so is `not_read`: what run.py does not look at (no .jpg or .jpeg).
    """

    same: tuple[str, ...]
    other_id: tuple[OtherId, ...]
    merged: tuple[Merged, ...]
    without_number: tuple[str, ...]
    not_read: tuple[str, ...]

    @property
    def skipped(self) -> int:
        """How many photos run.py writes no predictions for."""
        return len(self.merged) + len(self.without_number) + len(self.not_read)

    def lines(self) -> Iterator[str]:
        """One line for each kind of photo that would be lost or stand under another id; none where all ids agree."""
        n = self.skipped + len(self.same) + len(self.other_id)
        kinds = {
            "would get another image id": [f"{o.name}: {o.judged} for {o.own}" for o in self.other_id],
            "would be skipped, their number came before": [f"{m.name}: {m.number} as {m.first}" for m in self.merged],
            "would be skipped, no number in their name": list(self.without_number),
            "would not be read, run.py takes .jpg and .jpeg": list(self.not_read),
        }
        for kind, examples in kinds.items():
            if examples:
                more = f" and {len(examples) - SHOWN} more" if len(examples) > SHOWN else ""
                yield f"judge's ids: {len(examples)} of {n} photos {kind} ({', '.join(examples[:SHOWN])}{more})"


def compare(photos: Dataset | Sequence[Photo]) -> Comparison:
    """What run.py would do to these photos, put into one flat folder under their base names; the photos may be none."""
    photos = photos.photos if isinstance(photos, Dataset) else photos
    same, other, merged, unnumbered, not_read = [], [], [], [], []
    first: dict[int, str] = {}  # the photo that has a number
    for photo in sorted(photos, key=lambda photo: (photo.path.name, photo.name)):
        number = judge_id(photo.path.name)
        if number is None:
            (unnumbered if is_read(photo.path.name) else not_read).append(photo.name)
        elif number in first:
            merged.append(Merged(photo.name, first[number], number))
        else:
            first[number] = photo.name
            if number == photo.id:
                same.append(photo.name)
            else:
                other.append(OtherId(photo.name, photo.id, number))
    return Comparison(tuple(same), tuple(other), tuple(merged), tuple(unnumbered), tuple(not_read))

"""The photos that visitors tried, each visitor's apart, in memory, within a bound: the longest unused goes first."""

import secrets
import threading
from collections import OrderedDict
from typing import NamedTuple, TypeVar

from reviewing.recognised import Recognised

MEGABYTE = 1_000_000
Key = tuple[str, str]  # visitor, photo
Value = TypeVar("Value")


class Bounds(NamedTuple):
    """How much is kept: bytes of all visitors' photos, and photos of one visitor."""

    bytes: int = 300 * MEGABYTE  # chosen: some thirty photos of phones
    photos: int = 10  # chosen


class Visitors:
    """Recognised photos by visitor and photo id; safe to be used by several threads."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._photos: OrderedDict[Key, Recognised] = OrderedDict()  # the longest unused first
        self._lock = threading.Lock()

    def keep(self, visitor: str, photo: Recognised) -> str:
        """Keep a photo; returns its id. What exceeds the bounds is dropped, the longest unused first."""
        number = secrets.token_urlsafe(12)
        with self._lock:
            self._photos[visitor, number] = photo
            own = [key for key in self._photos if key[0] == visitor]
            for key in own[: -self.bounds.photos]:
                del self._photos[key]
            while self.bytes > self.bounds.bytes and len(self._photos) > 1:
                self._photos.popitem(last=False)
        return number

    def photo(self, visitor: str, number: str) -> Recognised:
        """A photo of this visitor. Raises KeyError for one that is dropped, and for another visitor's."""
        with self._lock:
            self._photos.move_to_end((visitor, number))
            return self._photos[visitor, number]

    @property
    def bytes(self) -> int:
        """How much memory all photos take."""
        return sum(photo.bytes for photo in self._photos.values())

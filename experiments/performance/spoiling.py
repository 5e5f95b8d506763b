"""Calls made to fail: a function is replaced by one that raises, or spoils what it returns, at one chosen call."""

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import GeneratorType
from typing import Any, NamedTuple

import numpy as np

from fusion.boxes import Detections


class Fault(NamedTuple):
    """One fault: which of the calls, counted from 0, at `site` fails, and in which of KINDS."""

    site: str
    call: int
    kind: str


class Calls:
    """How often each site was called in a run, the fault that is injected, if any, and whether it was; of a run without one,
    which could have been.
    """

    def __init__(self, fault: Fault | None) -> None:
        self.fault, self.applied, self.count = fault, False, Counter[str]()
        self.possible: set[Fault] = set()

    def note(self, site: str, call: int, kinds: Iterable[str]) -> None:
        """Faults of `kinds` make sense for this call of `site`."""
        self.possible |= {Fault(site, call, kind) for kind in kinds}

    def upcoming(self, site: str) -> str | None:
        """The kind of fault that the next call of `site` shall have, if any."""
        return self.fault.kind if self.fault is not None and self.fault[:2] == (site, self.count[site]) else None

    def kind(self, site: str) -> str | None:
        """Count a call of `site`; the kind of fault that it shall have, if any."""
        kind = self.upcoming(site)
        self.count[site] += 1
        return kind


class NotApplicable(Exception):
    """A kind of fault that makes no sense for a value, such as NaN for text."""


def filled(number: float) -> Callable[[Any], Any]:
    """The fault that every number is `number`."""
    return lambda value: with_numbers(value, lambda array: np.full_like(array, number))


def first_nan(value: Any) -> Any:
    """The value with NaN as the first number of each array."""

    def change(array: np.ndarray) -> np.ndarray:
        changed = array.copy()
        changed.flat[:1] = np.nan
        return changed

    return with_numbers(value, change)


def with_numbers(value: Any, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    """The value with each of its float arrays changed."""
    match value:
        case np.ndarray() if np.issubdtype(value.dtype, np.floating):
            return change(value)
        case Detections():
            evidence = None if value.evidence is None else change(value.evidence)
            return replace(value, boxes=change(value.boxes), scores=change(value.scores), evidence=evidence)
        case [_, *_]:
            return [with_numbers(item, change) for item in value]
    raise NotApplicable


def emptied(value: Any) -> Any:
    """Nothing, of the same type."""
    match value:
        case Detections():
            return value.take(np.zeros(0, np.int64))
        case np.ndarray() | list() | bytes():
            return value[:0]
        case GeneratorType():
            return iter(())
    raise NotApplicable


def misshapen(value: Any) -> Any:
    """Another shape: an array transposed, what has one axis cut to its half."""
    match value:
        case np.ndarray() if value.ndim > 1:
            return value.T
        case np.ndarray() | bytes():
            return value[: len(value) // 2]
        case [np.ndarray(), *_]:
            return [misshapen(item) for item in value]
    raise NotApplicable


CHANGES: dict[str, Callable[[Any], Any]] = {
    "NaN": filled(np.nan),
    "first NaN": first_nan,
    "inf": filled(np.inf),
    "-inf": filled(-np.inf),
    "nothing": emptied,
    "another shape": misshapen,
}
ANYWHERE = ("raises", "out of memory", "slow")
KINDS = (*ANYWHERE, *CHANGES)


def faulty(site: str, plain: Callable[..., Any], calls: Calls) -> Callable[..., Any]:
    """`plain`, whose calls are counted, and of which one has the fault of `calls`."""

    def call(*arguments: Any, **options: Any) -> Any:
        number, kind = calls.count[site], calls.kind(site)
        if kind in ("raises", "out of memory"):
            calls.applied = True
            raise MemoryError if kind == "out of memory" else OSError("injected")
        begun = time.perf_counter()
        result = plain(*arguments, **options)
        if calls.fault is None:
            calls.note(site, number, (*ANYWHERE, *(name for name, change in CHANGES.items() if _applies(change, result))))
        if kind == "slow":
            calls.applied = True
            time.sleep(9 * (time.perf_counter() - begun))
        return result if kind not in CHANGES else _changed(result, CHANGES[kind], calls)

    return call


def _applies(change: Callable[[Any], Any], result: Any) -> bool:
    try:
        change(result)
    except NotApplicable:
        return False
    except Exception:  # such as a record that refuses NaN: a fault like any other
        return True
    return True


def _changed(result: Any, change: Callable[[Any], Any], calls: Calls) -> Any:
    try:
        changed = change(result)
    except NotApplicable:
        return result
    calls.applied = True
    return changed


SHARES = {"nothing": 0.0, "another shape": 0.5}  # of its data that a faulty file writes


class FaultyFile:
    """A file that is written: its `write` is the site "write", which may write nothing, or half of what it is given."""

    def __init__(self, file: Any, calls: Calls) -> None:
        self.file, self.calls = file, calls

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)

    def __enter__(self) -> "FaultyFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def write(self, data: bytes) -> int:
        """As `write` of a file, but for the fault."""
        share = SHARES.get(self.calls.upcoming("write") or "", 1.0)
        self.calls.applied |= share < 1
        if self.calls.fault is None:
            self.calls.note("write", self.calls.count["write"], SHARES)
        return int(faulty("write", self.file.write, self.calls)(data[: int(len(data) * share)]))

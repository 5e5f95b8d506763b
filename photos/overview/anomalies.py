"""What is odd about a data set, one line each, and what was looked for in vain."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from photos.data import Dataset
from photos.overview.repeats import SAME_BOX, BoxPair, RepeatedBoxes, boxes, products
from photos.overview.summary import Summary

SHOWN = 3  # chosen: examples in a line


class Anomaly(NamedTuple):
    """What was looked for, and what there is of it; an empty text where there is nothing."""

    looked_for: str
    text: str


def anomalies(summary: Summary) -> Iterator[Anomaly]:
    """One Anomaly for everything that is looked for; the judge's ids may have several."""
    yield from _of_photos(summary)
    yield from _of_boxes(summary.repeated.boxes)
    yield from _of_products(summary)
    ids = list(summary.judge_ids.lines())
    yield from (Anomaly("judge's ids", line.removeprefix("judge's ids: ")) for line in ids or [""])


def _of_photos(summary: Summary) -> Iterator[Anomaly]:
    bare, unlisted, exif = summary.without_boxes, summary.unlisted, summary.exif
    words = {"empty": "they may be empty", "unlabelled": "they look unlabelled", "ignored": "they are labelled", "none": ""}
    yield Anomaly("photos without boxes", _some(bare.names, f"; {words[bare.guess]}: {bare.why}"))
    yield Anomaly("photos in the folder that the set does not list", _some(unlisted.photos))
    yield Anomaly(
        "other files", ", ".join(f"{count} {suffix or 'without suffix'}" for suffix, count in unlisted.others.items())
    )
    yield Anomaly("photos with the same bytes", _groups(summary.repeated.photos))
    yield Anomaly("photos with the same bytes in two parts", _groups(summary.repeated.photos_across_parts))
    if summary.near_duplicates is not None and summary.near_duplicates_across_parts is not None:
        yield Anomaly("near-duplicates", _groups(summary.near_duplicates))
        yield Anomaly("near-duplicates in two parts", _groups(summary.near_duplicates_across_parts))
    turned = {"labels on the stored pixels": exif.stored, "on the turned ones": exif.turned, "not told": exif.undecided}
    words_of = [f"{count} {rule}" for rule, count in turned.items() if count]
    yield Anomaly("photos that EXIF turns", ", ".join(words_of))


def doubtful_labels(dataset: Dataset) -> list[str]:
    """What of the labels is there twice, a line each: boxes in one place, products of one name but for how it is spelt.

    Names that are equal letter by letter are told in reading (`Dataset.notes`).
    """
    names = {category.id: category.name for category in dataset.categories}
    spelt = [group for group in products(dataset.categories) if len({names[number] for number in group}) > 1]
    found = [*_of_boxes(boxes(dataset.photos, dataset.categories)), _of_one_name(spelt)]
    return [f"{anomaly.looked_for}: {anomaly.text}" for anomaly in found if anomaly.text]


def _of_boxes(repeated: RepeatedBoxes) -> Iterator[Anomaly]:
    yield Anomaly(f"boxes listed twice (IoU {SAME_BOX} or more, one name)", _some([_pair(pair) for pair in repeated.one_name]))
    yield Anomaly("boxes with two names", _some([_pair(pair) for pair in repeated.two_names]))


def _pair(pair: BoxPair) -> str:
    """Words for two boxes: their photo and their annotation ids."""
    return f"{pair.photo}: {pair.annotations[0]} and {pair.annotations[1]}"


def _of_one_name(groups: Sequence[tuple[int, ...]]) -> Anomaly:
    return Anomaly("products of one name", _groups([tuple(map(str, ids)) for ids in groups]))


def _of_products(summary: Summary) -> Iterator[Anomaly]:
    yield _of_one_name(summary.products.of_one_name)
    yield Anomaly("products without a name", _some([str(i) for i in summary.products.without_name]))
    dummy = "product 0 has no boxes: if it is Roboflow's name for the group of all others, drop it"
    yield Anomaly("empty dummy category", dummy if summary.products.empty_dummy else "")
    unseen = [f"{part.unseen} in {name}" for name, part in summary.parts.items() if part.unseen]
    yield Anomaly("products that train has no box of", ", ".join(unseen))


def _some(names: Sequence[str], what: str = "") -> str:
    """How many there are, the first few, and `what`; empty where there is none.

    >>> _some(list("abcd"), "; why"), _some([])
    ('4 (a, b, c and 1 more); why', '')
    """
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{len(names)} ({', '.join(names[:SHOWN])}{more}){what}" if names else ""


def _groups(groups: Sequence[tuple[str, ...]]) -> str:
    """How many groups there are, of how many, and the first few; empty where there is none.

    >>> _groups([("a", "b"), ("c", "d", "e", "f")])
    '6 in 2 groups (a = b; c = d = e and 1 more)'
    """
    texts = [" = ".join(g[:SHOWN]) + (f" and {len(g) - SHOWN} more" if len(g) > SHOWN else "") for g in groups[:SHOWN]]
    more = f"; and {len(groups) - SHOWN} more" if len(groups) > SHOWN else ""
    plural = "s" * (len(groups) != 1)
    return f"{sum(map(len, groups))} in {len(groups)} group{plural} ({'; '.join(texts)}{more})" if groups else ""

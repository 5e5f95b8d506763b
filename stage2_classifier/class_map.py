"""Where a new name goes in the class maps of a classifier's sidecar and of ensemble.json, and its calibration there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fusion.models import read_object
from photos.data import Dataset, product_key
from stage2_classifier.neighbours import Floats
from stage2_classifier.prototypes import Place
from stage2_classifier.scaling import Scaling

LARGEST_ID = 2**31 - 1  # chosen: tables and other tools round or refuse larger ones
STOLEN = 0.0025  # taken: half of the 0.5 points by which the others' accuracy may change (issue 3)


def find_place(
    name: str, wanted: int | None, known: Sequence[int], dataset: Dataset, enrolled: Sequence[dict[str, Any]]
) -> Place:
    """Where `name` goes in a class map of ids `known`; `enrolled` are the rows of all classifiers of the run folder.

    Raises ValueError for an id that is taken, or a name whose id is also another one's.
    """
    taught = {product_key(str(row["name"])): int(row["id"]) for row in enrolled}
    trained = {product_key(c.name): c.id for c in dataset.categories if c.id in known}  # it has a column, whatever others got
    ids = {product_key(c.name): c.id for c in dataset.categories} | taught | trained
    own = ids.get(product_key(name))
    alike = [other for other, its in taught.items() if its == own]
    if product_key(name) in alike and len(alike) > 1:
        raise ValueError(f"--name: enrolled as {own} are {' and '.join(map(repr, alike))}; take all but one back with --undo")
    if own is not None and own in known:
        if wanted not in (None, own):
            raise ValueError(f"--id: got {wanted}, but {name!r} has the id {own} already")
        return Place(known.index(own), own, True)
    taken = {*known, *ids.values()} - {own}
    new = wanted if wanted is not None else own if own is not None else max(taken, default=-1) + 1
    if new in taken or new < 0 or (new > LARGEST_ID and new != own):
        raise ValueError(f"--id: got {new}, must be in [0, {LARGEST_ID}] and none of the {len(taken)} ids that are taken")
    return Place(len(known), new, False)


def with_category(sidecar: dict[str, Any], place: Place, blend: float) -> dict[str, Any]:
    """The sidecar's values with the new category, neutral in vector scaling: the entries of a name never seen held out.

    >>> with_category({"categories": [4], "scale": [2.0, 9.0]}, Place(1, 5, False), 1.0)
    {'categories': [4, 5], 'scale': [2.0, 1.0, 9.0]}
    """
    new = dict(sidecar)
    for key, neutral in (("scale", 1.0), ("bias", 0.0)):
        if sidecar.get(key) and (blend == 1 or not place.replaces):
            values = list(sidecar[key])
            values[place.at : place.at + place.replaces] = [neutral]
            new[key] = values
    new["categories"] = [*sidecar["categories"], *([] if place.replaces else [place.id])]
    return new


def with_bias(sidecar: dict[str, Any], place: Place, width: int, bias: float) -> dict[str, Any]:
    """The sidecar's values with the bias of the new name lowered by `bias` <= 0; `width` columns in all.

    >>> with_bias({"bias": None}, Place(1, 5, False), 3, -2.0), with_bias({"bias": [1.0, 0.0]}, Place(1, 5, False), 2, 0.0)
    ({'bias': [0.0, -2.0, 0.0]}, {'bias': [1.0, 0.0]})
    """
    if bias == 0:
        return sidecar
    values = list(sidecar.get("bias") or [0.0] * width)
    values[place.at] += bias
    return sidecar | {"bias": values}


def widened(path: Path, file: str, known: Sequence[int], new: Sequence[int], name: str) -> dict[str, Any] | None:
    """The values of the ensemble at PATH, if it uses `file`, with the class map `new` for `known`; None if nothing changes.

    `name` is that of the last of `new`; it joins the names, where the ensemble has any.

    Raises ValueError where its class map is another than that of the classifier, or the new id is one of another name there.
    """
    values = read_object(path) if path.is_file() else {}
    if file not in [namer.get("file") for namer in values.get("classifiers", [])]:
        return None
    ids, at = values["categories"], len(known)
    if len(new) == at and ids[:at] == list(new):
        return None
    if len(ids) > at and ids[:at] == list(known):  # another classifier was taught a name first: this one, or not
        there = "".join(values.get("names", [])[at : at + 1])
        if ids[at] == new[at] and product_key(there or name) in (product_key(name), f"id {new[at]}"):
            return None
        what = f"category {ids[at]} {there!r}" if there else f"category {ids[at]}"
        raise ValueError(f"{path}: it knows {what}, and {file} does not; enroll that there first")
    if ids != list(known):
        raise ValueError(f"{path}: its {len(ids)} categories do not go on from the {len(known)} of {file}; pass --id as there")
    names = {"names": [*values["names"], name]} if values.get("names") else {}
    return values | {"categories": list(new)} | names


def bias_of(logits: Floats, sidecar: dict[str, Any], place: Place) -> float:
    """The bias <= 0 with which the name at `place` is the first of at most STOLEN of the rows of `logits` (N, C)."""
    if len(logits) == 0:
        return 0.0
    scaled = Scaling(sidecar.get("temperature", 1.0), sidecar.get("scale"), sidecar.get("bias")).scaled(logits)  # (N, C)
    margin = scaled[:, place.at] - np.delete(scaled, place.at, axis=1).max(1, initial=-np.inf)
    return -max(0.0, float(np.quantile(margin, 1 - STOLEN, method="higher")))

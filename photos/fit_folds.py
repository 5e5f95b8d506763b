"""Whether a folds.json is of `hylle fit`, whose models were trained by it, which parts that left empty, and how to get one."""

import json
from pathlib import Path

from runs.typed import typed

CROSS_FIT = "cross_fit"  # below the run folder of a fit: a run folder for each fold, where each is left out once


def is_of_a_fit(path: Path) -> bool:
    """Whether the folds.json at PATH is of a fit; False where it is not there, of `hylle folds`, or damaged."""
    try:
        return bool(json.loads(path.read_bytes())["pooled"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_of_a_fit_without(path: Path, part: str) -> bool:
    """Whether it is of a fit and has no photo in `part`."""
    return is_of_a_fit(path) and all(row.get("part") != part for row in json.loads(path.read_bytes()).get("photos", []))


def fit_above(path: Path) -> Path | None:
    """The run folder of the fit among whose folds the folds.json at PATH is, or would be; None where there is no such fit."""
    fit = path.parent.parent.parent
    return fit if path.parent.parent.name == CROSS_FIT and is_of_a_fit(fit / path.name) else None


def how_to_make(path: Path, data: Path) -> str:
    """What to do where PATH is not there, in words: a fold of a fit can be dealt by nothing but the fit."""
    if fit := fit_above(path):
        return f"{fit} is of hylle fit and has no such fold; name {fit} itself, or one of the folds in {fit / CROSS_FIT}"
    return typed("make it with hylle folds --data", data, "--out", path.parent)


def how_to_make_anew(path: Path, data: Path) -> str:
    """How to get folds that fit the photos, in words: those of a fit cannot be made again without its models."""
    if is_of_a_fit(path) or fit_above(path) or (path.parent / "plan.json").is_file():
        return typed("fit into another folder: hylle fit", data, "--minutes M --out R")
    return typed("make it again: hylle folds --data", data, "--out", path.parent, "--force")

"""Whether a folds.json is of `hylle fit`, whose models were trained by it, which parts that left empty, and how to get one."""

import json
from pathlib import Path

from runs import process
from runs.typed import typed

PLAN = "plan.json"  # what a fit writes before it deals its folds
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


def is_in_a_fit(path: Path) -> bool:
    """Whether the folds.json at PATH is, or would be, that of a fit, which writes its plan first, or among its folds."""
    return is_of_a_fit(path) or (path.parent / PLAN).is_file() or fit_above(path) is not None


def fit_above(path: Path) -> Path | None:
    """The run folder of the fit among whose folds the folds.json at PATH is, or would be; None where there is no such fit."""
    fit = path.parent.parent.parent
    begun = is_of_a_fit(fit / path.name) or (fit / PLAN).is_file()
    return fit if path.parent.parent.name == CROSS_FIT and begun else None


def how_to_make(path: Path, data: Path) -> str:
    """What to do where PATH is not there, in words: a fold of a fit can be dealt by nothing but the fit."""
    if fit := fit_above(path):
        return f"{fit} is of hylle fit and has no such fold; name {fit} itself, or one of the folds in {fit / CROSS_FIT}"
    return undealt(path.parent, data) or typed("make it with hylle folds --data", data, "--out", path.parent)


def undealt(runs: Path, data: Path) -> str:
    """What to do in the run folder of a fit that has not dealt its folds yet, in words; empty where RUNS is of no such fit."""
    if (pid := process.other(runs)) is not None:
        return f"process {pid} is at work in {runs}; wait until it is done, or end it first"
    if (runs / PLAN).is_file():
        return typed("it is of a hylle fit that was stopped; go on with hylle fit", data, "--minutes M --out", runs)
    return ""


def how_to_make_anew(path: Path, data: Path) -> str:
    """How to get folds that fit the photos, in words: those of a fit cannot be made again without its models."""
    if is_in_a_fit(path):
        return typed("fit into another folder: hylle fit", data, "--minutes M --out R")
    return typed("make it again: hylle folds --data", data, "--out", path.parent, "--force")

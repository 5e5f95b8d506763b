"""Whether a folds.json is of `hylle fit`, whose models were trained by it, and which parts that left empty."""

import json
from pathlib import Path


def is_of_a_fit(path: Path) -> bool:
    """Whether the folds.json at PATH is of a fit; False where it is not there, of `hylle folds`, or damaged."""
    try:
        return bool(json.loads(path.read_bytes())["pooled"])
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_of_a_fit_without(path: Path, part: str) -> bool:
    """Whether it is of a fit and has no photo in `part`."""
    return is_of_a_fit(path) and all(row.get("part") != part for row in json.loads(path.read_bytes()).get("photos", []))

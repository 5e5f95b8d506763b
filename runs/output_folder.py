"""Folders that the commands write. Their photos are copies, links and drawings: who reads a folder goes into none below it.

Only names that are hardly anybody else's mark one: a shop's folder may hold a plan.json of its own.
"""

from pathlib import Path

MARKS = frozenset(
    {
        "folds.json", "begun.json",  # of a run, and of each of its trainings
        "journal.jsonl",  # of predictions
        "decisions.jsonl", "confirmed.jsonl",  # of a review
    }
)  # fmt: skip


def is_output(folder: Path) -> bool:
    """Whether a command has written `folder`: it holds one of MARKS."""
    return any((folder / mark).is_file() for mark in MARKS)

"""Folders that the commands write. Their photos are copies, links and drawings: who reads a folder goes into none below it."""

from pathlib import Path

MARKS = frozenset(
    {
        "folds.json", "plan.json", "begun.json", "run.json",  # of a run, and of each of its trainings
        "journal.jsonl",  # of predictions
        "decisions.jsonl", "confirmed.jsonl",  # of a review
        "world.json",  # of synthetic photos
    }
)  # fmt: skip


def is_output(folder: Path) -> bool:
    """Whether a command has written `folder`: it holds one of MARKS."""
    return any((folder / mark).is_file() for mark in MARKS)

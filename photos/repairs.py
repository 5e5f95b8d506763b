"""What reading a data set repaired, skipped or renumbered, said by every command that reads one."""

from pathlib import Path

from photos.data import Dataset, read
from runs import command
from runs.opencv import tell_difference

_told: set[tuple[str, ...]] = set()  # what was said in this process: a command that trains several times says it once


def read_and_tell(root: Path) -> Dataset:
    """The data set at `root`, and say what reading it repaired. DataError where it cannot be used as it is."""
    dataset = read(root)
    tell(dataset)
    return dataset


def tell(dataset: Dataset) -> None:
    """Say how the set was read and what was repaired, skipped or renumbered, unless that was said before."""
    lines = (f"{dataset.root} read as {dataset.layout}", *dataset.notes)
    if lines in _told:
        return
    _told.add(lines)
    tell_difference()
    for line in lines:
        command.say(f"data: {line}")


def forget() -> None:
    """Begin anew, as a new process does."""
    _told.clear()

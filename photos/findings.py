"""What reading a data set came upon, each kind told in one line, however often it occurs."""

from collections.abc import Iterable
from typing import NamedTuple

ALONE = 3  # chosen: so many alike are told each in a line of its own; more are one line with a count


class Problem(NamedTuple):
    """One thing that a data set cannot be used with: where it is, what is there, and what is wrong with it, with the remedy.

    `wrong` is the same text for all like problems.
    """

    where: str
    got: str
    wrong: str

    def line(self) -> str:
        """The problem as it is told.

        >>> Problem("annotation 17 (train.json)", "category_id 5", "no category has this id").line()
        'annotation 17 (train.json): category_id 5: no category has this id'
        """
        got = f"{self.got}{', ' if self.wrong.startswith('need') else ': '}" if self.got else ""
        return f"{self.where}: {got}{self.wrong}".removesuffix(": ")


class Note(NamedTuple):
    """One thing that was noticed in reading, at `where`. `what` is the same text for all alike.

    `repaired`: the data set was changed by it, which `--strict` refuses.
    """

    where: str
    what: str
    repaired: bool = True


def problem_lines(problems: Iterable[Problem]) -> list[str]:
    """A line for each problem; of more than ALONE alike one line: the first, how many more, and where the next are."""
    alike: dict[str, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(problem.wrong, []).append(problem)
    return [line for group in alike.values() for line in _group_lines(group)]


def _group_lines(group: list[Problem]) -> list[str]:
    if len(group) <= ALONE:
        return [problem.line() for problem in group]
    return [f"{group[0].line()} ({len(group)} like this; the next: {', '.join(p.where for p in group[1:ALONE])})"]


def note_lines(notes: Iterable[Note]) -> list[str]:
    """One line for each kind of note, with how many there are and the first of them.

    >>> note_lines([Note("box 3", "boxes without area, dropped"), Note("box 5", "boxes without area, dropped")])
    ['boxes without area, dropped: 2 (box 3, box 5)']
    """
    alike: dict[str, list[str]] = {}
    for note in notes:
        alike.setdefault(note.what, []).append(note.where)
    return [f"{what}: {len(at)}{_first(at)}" for what, at in alike.items()]


def _first(where: list[str]) -> str:
    named = [text for text in where[:ALONE] if text]
    more = ", ..." if len(where) > len(named) else ""
    return f" ({', '.join(named)}{more})" if named else ""

"""Progress bars on a terminal, drawn by rich: one a title, below the lines that commands print."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

COUNT = re.compile(r"(\d+)(?:/| of )(\d+)|(\d+)%")  # how far a line says that the work is


class Step(NamedTuple):
    """How far a piece of work is: `done` of `total`, and whether the line says more than that."""

    title: str
    done: int
    total: int
    says_more: bool


def step_of(line: str) -> Step | None:
    """How far `line` says that the work is, by the last count in it; None where it holds none.

    A line whose rest holds figures says more, and is worth keeping.

    >>> step_of("one: epoch 3/40  step 7/20"), step_of("one: epoch 3/40  loss 1.5").says_more, step_of("made 2 photos")
    (Step(title='one: epoch 3/40  step', done=7, total=20, says_more=False), True, None)
    """
    counts = list(COUNT.finditer(line))
    if not counts:
        return None
    last = counts[-1]
    done, total = (int(last[1]), int(last[2])) if last[1] else (int(last[3]), 100)
    rest = line[last.end() :]
    return Step(line[: last.start()].strip(), done, total, any(letter.isdigit() for letter in rest))


class Bars:
    """The bars that are on the terminal now; they are drawn anew at each step, so that no thread runs beside the work."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def show(self, step: Step) -> None:
        """Draw how far a piece of work is; its bar goes when it is done."""
        progress = self._started()
        if step.title not in self._tasks:
            self._tasks[step.title] = progress.add_task(step.title, total=step.total)
        progress.update(self._tasks[step.title], completed=step.done, total=step.total)
        if step.done >= step.total:
            progress.remove_task(self._tasks.pop(step.title))
        progress.refresh()
        if not self._tasks:
            self.stop()

    def stop(self) -> None:
        """Take all bars away and leave the terminal as it was."""
        if self._progress is not None:
            for task in self._tasks.values():
                self._progress.remove_task(task)
            self._progress.stop()
        self._progress, self._tasks = None, {}

    def _started(self) -> Progress:
        """rich's display. What is printed meanwhile, to stdout or stderr, appears above it."""
        if self._progress is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._progress = Progress(*columns, console=Console(file=sys.stdout), auto_refresh=False)
            self._progress.start()
        return self._progress

"""Keeps a fit within its minutes: says before each training how many epochs it gets, from what the ones before really took."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from fitting.ledger import Ledger
from fitting.plan import AIM
from fitting.procedure import Say
from fitting.speeds import Speeds
from fitting.trainings import Clock
from fitting.workload import Training, scale_for, with_epochs
from runs.counted import counted
from stage1_detector.config import Config
from stage2_classifier.config import ClassifierConfig

WORTH_TELLING = 0.1  # chosen: a smaller change of the epochs planned is noted in R/plan.json without a word
# Chosen: how much the trainings before the latest one count for the pace. Of two alike in a fit of 12 minutes the second took
# 0.6 to 0.7 times the first, and with both counted alike the last part ended 48 s early
FADING = 0.25
ALIKE = 0.75  # chosen: fold models stay alike, with the epochs of the first, unless time allows less than this share of them
# Chosen: or more than so many times as many, where minutes were given later, or the fit runs faster than was foreseen: what
# ships gets them too
MORE_THAN_ALIKE = 2.0


class Clocks(NamedTuple):
    """`wall` tells seconds since 1970, as files are stamped; `steady` tells what passed: whatever the wall clock is set to, and
    not while the machine sleeps.
    """

    wall: Callable[[], float] = time.time
    steady: Callable[[], float] = time.monotonic


OF_THE_SYSTEM = Clocks()


class TimeKeeper(Clock):
    """Decides epochs in the course of a fit and notes all of it in R/plan.json, from which a stopped fit goes on.

    A training that was begun once keeps its epochs, so that it can be resumed. The epochs of those still to come are scaled by
    what is left of the minutes; a refit takes what the parts before it have left over. A start that finds everything finished
    spends nothing of them, whatever it looks at again.
    """

    def __init__(
        self, runs: Path, ledger: Ledger, entries: Sequence[Training], speeds: Speeds, say: Say, clocks: Clocks = OF_THE_SYSTEM
    ) -> None:
        super().__init__()
        self.runs, self.ledger, self.speeds, self.say, self.clocks = runs, ledger, speeds, say, clocks
        self.trainings = {entry.name: entry for entry in entries}
        self.last = clocks.steady()
        self.was_finished = ledger.is_finished(runs)

    @property
    def left(self) -> float:
        """Seconds that are left, by now."""
        return self.ledger.minutes * 60 * AIM - self.ledger.spent - (self.clocks.steady() - self.last)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Notes that a part begins, with the epochs that it gets if it is a training, and what it took when it is done."""
        self._note("")
        if name in self.trainings and not self.ledger.parts[name].decided:
            self._decide(name)
        self._note(name)
        try:
            with super().timed(name):
                yield
        except BaseException:  # also Ctrl-C: what was done so far counts
            self._note("")
            raise
        self._note("", done=name)

    def detector(self, name: str, config: Config) -> Config:
        """`config` with the epochs that were decided."""
        return replace(config, **with_epochs(self.ledger.parts[name].epochs))

    def classifier(self, name: str, config: ClassifierConfig) -> ClassifierConfig:
        """`config` with the epochs that were decided."""
        return replace(config, **with_epochs(self.ledger.parts[name].epochs))

    def as_dealt(self, entries: Sequence[Training], rest: Mapping[str, float]) -> None:
        """Foresee all by the folds as they were dealt: their `entries` in place of those of folds alike, and the `rest`.

        Those of folds for which there are no scenes leave the plan.
        """
        dealt = {entry.name: entry for entry in entries}
        gone = [name for name in self.trainings if name not in dealt and self.ledger.parts.pop(name, None)]
        self.trainings = dealt  # what is gone may be so since an earlier start
        for name, seconds in rest.items():
            if name in self.ledger.parts and not self.ledger.parts[name].done:
                self.ledger.parts[name].foreseen = seconds
        if gone:
            count = len({entry.name.rpartition("/")[0] for entry in entries if not entry.refit})
            self._tell(f"{counted(count, 'fold')}, as no more scenes have boxes: {counted(len(gone), 'training')} fewer")

    def _note(self, running: str, done: str = "") -> None:
        """Count the time since the last note, of the part that was running; `running` is at work from now on."""
        now = self.clocks.steady()
        worked, self.last = now - self.last, now
        if self.was_finished:
            worked, running = 0.0, ""
        self.ledger.spent += worked
        if self.ledger.running in self.ledger.parts:
            self.ledger.parts[self.ledger.running].seconds += worked
        if done in self.ledger.parts:
            self.ledger.parts[done].done = True
        self.ledger.running, self.ledger.since = running, self.clocks.wall()
        self.ledger.write(self.runs)

    def _decide(self, step: str) -> None:
        """Fix the epochs of `step`, by the time that is left for all that is still to come."""
        part, entry = self.ledger.parts[step], self.trainings[step]
        scale = scale_for(self._undecided(), self.left - self._rest(), self._cost)
        epochs = self._alike(entry, entry.epochs(scale))
        if abs(epochs - part.epochs) > WORTH_TELLING * part.epochs:
            self._tell(f"{step}: {counted(epochs, 'epoch')}, planned {part.epochs}: {self._reason(step)}")
        if scale == 0.0 and (over := self._overrun()) > 0:
            self._tell(
                f"{step}: what is still to come takes about {over / 60:.1f} minutes more than there are, with 1 epoch each"
            )
        part.epochs, part.decided, part.foreseen = epochs, True, self._cost(entry, epochs)

    def _reason(self, step: str) -> str:
        """Why a training gets other epochs than planned."""
        pace = self._pace(self.trainings[step])
        slower = f"trainings took {pace:.2f} times what was foreseen, " if abs(pace - 1) > 0.05 else ""
        return f"{slower}{self.left / 60:.1f} minutes are left"

    def _alike(self, entry: Training, epochs: int) -> int:
        """The epochs of the first fold's model of this kind, unless the time allows far fewer or far more."""
        group = [self.ledger.parts[name] for name, other in self.trainings.items() if other.group == entry.group]
        first = next((part.epochs for part in group if part.decided), epochs)
        return first if not entry.refit and ALIKE * first <= epochs <= MORE_THAN_ALIKE * first else epochs

    def _undecided(self) -> list[Training]:
        return [entry for name, entry in self.trainings.items() if not self.ledger.parts[name].decided]

    def _cost(self, entry: Training, epochs: int) -> float:
        """What a training will take, at the pace of those of its stage so far."""
        return entry.seconds(self.speeds, epochs) * self._pace(entry)

    def _pace(self, entry: Training) -> float:
        """Seconds that a training takes, as a multiple of what was measured beforehand: as those of its kind did, else as those
        of its stage; 1 before any is finished.

        The latest counts most: what else the machine does changes.
        """
        took = foreseen = 0.0
        of_stage = [other for other in self._finished() if other.stage == entry.stage]
        for other in [other for other in of_stage if other.group[0] == entry.group[0]] or of_stage:
            seconds, expected = (
                self.ledger.parts[other.name].seconds,
                other.seconds(self.speeds, self.ledger.parts[other.name].epochs),
            )
            took, foreseen = FADING * took + seconds, FADING * foreseen + expected
        return took / foreseen if foreseen else 1.0

    def _finished(self) -> Iterator[Training]:
        """The trainings that are finished, in their order."""
        for name, entry in self.trainings.items():
            part = self.ledger.parts[name]
            if part.done and part.seconds:
                yield entry

    def _rest(self) -> float:
        """Seconds foreseen for what is no training and not done yet, and for a training that was begun and stopped."""
        return sum(
            max(0.0, part.foreseen - part.seconds)
            for name, part in self.ledger.parts.items()
            if not part.done and (name not in self.trainings or part.decided)
        )

    def _overrun(self) -> float:
        """Seconds by which 1 epoch of each training that is not begun goes beyond the minutes."""
        return sum(self._cost(entry, entry.epochs(0.0)) for entry in self._undecided()) + self._rest() - self.left

    def _tell(self, line: str) -> None:
        self.ledger.changes.append(line)
        self.say(line)

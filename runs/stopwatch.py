"""How long a training takes, all its starts together."""

import time
from pathlib import Path

from fusion.models import read_object


class Stopwatch:
    """Runs from now on; where a stopped training goes on, from what OUT/progress.json told last (`runs.record.note`)."""

    def __init__(self, out: Path, resume: bool) -> None:
        self.before = spent_in(out / "progress.json") if resume else 0.0
        self.started = time.time()

    @property
    def seconds(self) -> float:
        """Seconds spent so far. What an earlier start did after its last line is not known, and so not counted."""
        return self.before + time.time() - self.started


def spent_in(progress: Path) -> float:
    """The seconds that PROGRESS tells; 0 where it is missing or damaged, or of a version that did not tell them."""
    try:
        return float(read_object(progress).get("spent", 0.0)) if progress.is_file() else 0.0
    except (ValueError, TypeError):
        return 0.0

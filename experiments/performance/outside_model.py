"""Seconds outside `session.run` of one detector on one photo, by whichever checkout's `fusion` is on PYTHONPATH.

    PYTHONPATH=CHECKOUT python experiments/performance/outside_model.py MODEL SIZE MAX_DET ROUNDS

MODEL is an .onnx file with its sidecar, SIZE the side in pixels of its canvas and of a square photo of noise. Prints a JSON
list: for each round, after WARM that do not count, the seconds outside and inside. It imports nothing but `fusion`, so that
an old checkout is measured by the same lines.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from fusion import pipeline  # where every checkout has `run_detector`
from fusion.ensemble import Member
from fusion.models import Model

WARM = 3  # chosen: until memory that is freed and taken again stays with the process, as in a run of 250 photos


class Timed:
    """A session that counts the seconds of its calls."""

    def __init__(self, session: Any) -> None:
        self.session, self.seconds = session, 0.0

    def run(self, *arguments: Any) -> Any:
        """As the session's own."""
        started = time.perf_counter()
        try:
            return self.session.run(*arguments)
        finally:
            self.seconds += time.perf_counter() - started


def main(path: str, size: int, max_det: int, rounds: int) -> None:
    """Measure and print."""
    photo = np.random.default_rng(0).integers(0, 256, (size, size, 3)).astype(np.uint8)
    model, member, told = Model(Path(path)), Member(file=path, views=[{"size": size}], max_det=max_det), []
    session = model.session = Timed(model.session)
    for _ in range(WARM + rounds):
        started, session.seconds = time.perf_counter(), 0.0
        pipeline.run_detector(model, member, photo)
        told.append((time.perf_counter() - started - session.seconds, session.seconds))
    print(json.dumps(told[WARM:]))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))

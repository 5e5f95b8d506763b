"""The share of time in which the GPU computes, as nvidia-smi samples it."""

import shutil
import subprocess
import tempfile
from types import TracebackType

import numpy as np

from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate

INTERVAL_MS = 200  # chosen: nvidia-smi's own counter looks back over 1/6 to 1 s
BLOCK = 25  # chosen: samples of a block (5 s); neighbouring samples are alike, blocks less so


class Sampler:
    """Samples of the first GPU's busy share in percent while it is open; none where there is no nvidia-smi."""

    def __init__(self) -> None:
        self.samples: list[float] = []
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "Sampler":
        program = shutil.which("nvidia-smi")
        self._file = tempfile.TemporaryFile()
        if program:
            query = ["--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", str(INTERVAL_MS), "-i", "0"]
            self._process = subprocess.Popen([program, *query], stdout=self._file, stderr=subprocess.DEVNULL)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
        self._file.seek(0)
        self.samples = parsed(self._file.read().decode(errors="replace"))
        self._file.close()


def parsed(text: str) -> list[float]:
    """The percentages in nvidia-smi's lines; a last line that is cut, and "[N/A]", are left out.

    >>> parsed("97\\n100\\n[N/A]\\n9"), parsed("")
    ([97.0, 100.0], [])
    """
    lines = text.split("\n")[:-1]
    return [float(line) for line in lines if line.strip().isdigit()]


def busy_share(samples: list[float], skipped_s: float) -> Estimate | None:
    """The mean of the samples after the first `skipped_s` seconds, in 0..1, with the 95 % interval over blocks; None of none.

    >>> str(busy_share([0.0] * 10 + [100.0] * 50, 2.0)), busy_share([], 0.0)
    ('1.000 [1.000, 1.000]', None)
    """
    kept = np.array(samples[round(1000 * skipped_s / INTERVAL_MS) :]) / 100
    if not len(kept):
        return None
    return over_seeds([float(block.mean()) for block in np.array_split(kept, max(1, len(kept) // BLOCK))])

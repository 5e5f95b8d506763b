"""The judge's machine: its limits, its packages in an environment here, and in what this machine falls short of it."""

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
PYTHON = "3.11"  # taken: the judge's
# What the judge has installed, by import name; nothing can be installed there. Taken: the contest's page.
INSTALLED = frozenset({
    "torch", "torchvision", "ultralytics", "onnxruntime", "cv2", "albumentations", "PIL", "numpy", "scipy", "sklearn",
    "pycocotools", "ensemble_boxes", "timm", "supervision", "safetensors",
})  # fmt: skip
# What those require in their turn, by import name, so that the judge most likely has it too, in whatever version. Taken: from
# the requirements of torch 2.2, ultralytics 8.1.0, albumentations 1.3.1, ensemble-boxes 1.0.9, timm 0.9.12, supervision,
# sklearn and pycocotools. Not those that the page forbids (requests, yaml).
REQUIRED = frozenset({
    "matplotlib", "tqdm", "pandas", "psutil", "seaborn", "thop", "cpuinfo", "skimage", "qudida", "numba", "llvmlite", "sympy",
    "huggingface_hub", "filelock", "fsspec", "typing_extensions", "jinja2", "networkx", "joblib", "threadpoolctl", "packaging",
    "coloredlogs", "flatbuffers", "defusedxml", "imageio", "tifffile", "pywt", "lazy_loader", "dateutil", "pytz", "mpmath",
})  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """The judge's limits: seconds for the whole run, bytes of memory, processors. Taken: the contest's page."""

    seconds: float = 300.0
    memory: int = 8 * 10**9
    threads: int = 4


JUDGE_LIMITS = Limits()
PLANNED = 250  # taken: photos to plan for; the contest's page does not say how many there are, one estimate is 134, another 250


@dataclass(frozen=True)
class Machine:
    """Where a zip runs: the Python that runs it, within limits, on GPUs or not.

    `unprotected` runs it also where this system permits no file system of its own for it: with the user's rights.
    """

    python: Path
    limits: Limits = JUDGE_LIMITS
    gpus: bool = False
    unprotected: bool = False


def judge_python(gpus: bool = False) -> Path:
    """The python of an environment with just the judge's packages, from judge[-gpu]-requirements.txt.

    The environment is made first (seconds) where it is missing or of other versions. Raises ValueError where that fails.
    """
    folder, wanted = _environment(gpus)
    python = folder / "bin" / "python"
    if not is_set_up(gpus):
        _call([sys.executable, "-m", "venv", "--clear", str(folder)])
        _call([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)])
        (folder / ".ready").write_text(wanted.read_text())
    return python


def is_set_up(gpus: bool = False) -> bool:
    """Whether that environment is there, with those versions."""
    folder, wanted = _environment(gpus)
    ready = folder / ".ready"
    return ready.is_file() and ready.read_text() == wanted.read_text()


def _environment(gpus: bool) -> tuple[Path, Path]:
    """The folder of the environment, and the file with its packages."""
    name = "judge-gpu" if gpus else "judge"
    return HERE.parent / f".{name}", HERE / f"{name}-requirements.txt"


def _call(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        last = (result.stderr.strip() or result.stdout.strip()).splitlines()[-1:]
        raise ValueError(f"the judge's environment cannot be made: {''.join(last)}: {' '.join(command)}")


def shortfalls(python: Path, limits: Limits) -> list[str]:
    """In what this machine falls short of the judge's: processors and version of Python."""
    command = [str(python), "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    version = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    cores = len(os.sched_getaffinity(0))
    notes = [f"{cores} processors, the judge has {limits.threads}"] if cores < limits.threads else []
    return [*notes, *([f"Python {version}, the judge has {PYTHON}"] if version != PYTHON else [])]

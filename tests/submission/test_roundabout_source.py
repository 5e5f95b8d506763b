"""Warnings of ways around what the judge forbids, and none of what only looks like one."""

import pytest

from submission import source
from submission.entries import Entry


def _warned(text: str) -> list[str]:
    entry = Entry("a.py", len(text), 0, b"", text.encode())
    found = [*source.roundabout_source([entry])]
    assert all(violation.warning for violation in found)
    return [violation.what for violation in found]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("import timeit", "imports timeit, which does what refused modules do", id="timeit"),
        pytest.param("from pydoc import locate", "imports pydoc, which does what refused modules do", id="pydoc"),
        pytest.param("import torch.multiprocessing as mp", "reaches multiprocessing through torch", id="torch's processes"),
        pytest.param("from torch.multiprocessing import Pool", "reaches multiprocessing through torch", id="out of torch's"),
        pytest.param("from torch import multiprocessing", "reaches multiprocessing through torch", id="from torch"),
        pytest.param("from scipy.signal import os", "reaches os through scipy.signal", id="behind a harmless one"),
        pytest.param("from pathlib import os", "reaches os through pathlib", id="from pathlib"),
        pytest.param("from operator import attrgetter", "reaches attrgetter through operator", id="by a string"),
        pytest.param(
            "from concurrent.futures import ProcessPoolExecutor",
            "imports concurrent.futures.ProcessPoolExecutor, which starts processes",
            id="processes",
        ),
        pytest.param(
            "import concurrent.futures as f\nf.ProcessPoolExecutor()", "starts processes: .ProcessPoolExecutor", id="renamed"
        ),
    ],
)
def test_ways_around_are_warned_of(text: str, what: str) -> None:
    assert _warned(text) == [what]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("from concurrent.futures import ThreadPoolExecutor", id="threads"),
        pytest.param("import scipy.signal.windows", id="signals of scipy"),
        pytest.param("from scipy.signal import find_peaks", id="from signals of scipy"),
        pytest.param("import numpy as np\nnp.trace(np.eye(2))", id="a function of a module's name"),
    ],
)
def test_what_only_looks_like_one_is_fine(text: str) -> None:
    assert _warned(text) == []

"""Stage 1 takes as many threads as this process may use processors, not as many as the machine has."""

import os
import subprocess
import sys

import pytest


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to processors")
def test_a_process_pinned_to_one_processor_takes_one_thread() -> None:
    pinned = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    shown = "import stage1_detector; print(os.environ['OMP_NUM_THREADS'])"
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        [sys.executable, "-c", f"{pinned}; {shown}"], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"

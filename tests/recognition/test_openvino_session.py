"""OpenVINO's tests, in a process of their own: a training in a process that had loaded it has crashed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).with_name("openvino_cases.py")


@pytest.mark.slow
def test_all_cases_pass_in_a_process_of_their_own() -> None:
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(CASES)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(words, cwd=CASES.parents[2], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


def test_openvino_is_not_loaded_in_the_process_of_other_tests() -> None:
    assert sys.modules.get("openvino") is None

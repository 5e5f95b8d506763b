"""What the inner loop of one package pays for: tests of fusion/ are collected without importing torch or ultralytics."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "torchvision", "ultralytics", "timm", "transformers", "sklearn", "matplotlib", "experiments")
CONFTEST = "sys.path.insert(0, 'tests'); import conftest"
DOCTESTS = "import pytest; assert pytest.main(['-q', '-p', 'no:cacheprovider', 'fusion']) == 0"


@pytest.mark.parametrize("code", [CONFTEST, DOCTESTS], ids=["conftest", "doctests of fusion"])
def test_nothing_heavy_is_imported_for(code: str) -> None:
    script = f"import sys; {code}; print('heavy:', *sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "heavy:", done.stdout

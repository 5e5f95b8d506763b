"""What the tests of `hylle predict` share."""

import json
from pathlib import Path

import pytest


@pytest.fixture
def named(runs: Path) -> Path:
    """R with names of products."""
    path = runs / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"names": ["Müsli", "Blåbær", "Te"]}))
    return runs

"""When a stopped fit was last at work: by the files that it wrote, without what was done there a day later."""

import os
from pathlib import Path

import pytest

from fitting.ledger import GAP, last_sign

SINCE = 1_000_000_000.0


@pytest.mark.parametrize(
    ("stamps", "seconds"),
    [
        pytest.param([], 0, id="nothing written"),
        pytest.param([60, 120], 120, id="the last file"),
        pytest.param([120, 60], 120, id="whatever they are called"),
        pytest.param([60, 120, 90_000], 120, id="another file a day later"),
        pytest.param([GAP, 2 * GAP], 2 * GAP, id="pauses that are just short enough"),
        pytest.param([GAP + 1], 0, id="one that is too long"),
        pytest.param([-60, 60], 60, id="a file from before"),
    ],
)
def test_the_last_sign_of_work_is_before_the_first_long_pause(tmp_path: Path, stamps: list[float], seconds: float) -> None:
    for k, stamp in enumerate(stamps):
        path = tmp_path / "part" / str(k)
        path.parent.mkdir(exist_ok=True)
        path.touch()
        os.utime(path, (SINCE + stamp, SINCE + stamp))
    if stamps:
        os.utime(tmp_path / "part", (SINCE - 1, SINCE - 1))
    assert last_sign(tmp_path, SINCE) == SINCE + seconds

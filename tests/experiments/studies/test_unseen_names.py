"""Names without shelf crops: which names are left out, what is refused; the command on a small set."""

from pathlib import Path

import numpy as np
import pytest

from experiments.studies import unseen_names
from experiments.studies.unseen_names import Crops, Shop
from fusion.models import read_object
from stage2_classifier.crops import Region

IMAGE, BOX = np.zeros((8, 8, 3), np.uint8), np.array([0, 0, 8, 8], np.float32)


def shop(names: int, without_studio: int) -> Shop:
    """A region of each kind for each name; the first ones have no studio photo."""
    shelf = [Region(IMAGE, BOX, n) for n in range(names)]
    crops = Crops(shelf, np.arange(names), {n: n for n in range(names)})
    return Shop(names, shelf + [Region(IMAGE, BOX, n, studio=True) for n in range(without_studio, names)], crops, crops)


def test_names_left_out_have_studio_photos_and_are_of_two_kinds() -> None:
    out = unseen_names.left_out(shop(20, 8), 0.15, np.random.default_rng(0))
    assert len(out.judged) == len(out.fitted_on) == 3 and not out.judged & out.fitted_on
    assert min(out.judged | out.fitted_on) >= 8


def test_too_few_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"--share: got 0\.15, 8 names have studio, shelf and test crops, need 9"):
        unseen_names.left_out(shop(20, 12), 0.15, np.random.default_rng(0))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--seeds", "0", "--only", "drawn"], "--seeds: got 0", id="no seed"),
        pytest.param([], "--grocery: got none", id="no grocery"),
        pytest.param(["--quick", "--record", "--only", "drawn"], "--record is not for --quick", id="record of a rehearsal"),
    ],
)
def test_refused_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str) -> None:
    assert unseen_names.main(["--out", str(tmp_path / "out"), *flags]) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_on_a_rehearsal_and_again(tmp_path: Path) -> None:
    flags = ["--out", str(tmp_path), "--only", "drawn", "--seeds", "1", "--quick", "--share", "0.05"]
    assert unseen_names.main(flags) == 0
    path = tmp_path / "drawn" / "seed0" / "result.json"
    result, written = read_object(path), path.stat().st_mtime_ns
    assert 0 <= result["ap_before"] <= 1 and result["n_left_out"] == 3 and result["choice"]["names_without"] > 0
    assert result["adopted"] or result["others_change"] == 0
    assert unseen_names.main(flags) == 0 and path.stat().st_mtime_ns == written
    rows = unseen_names.as_records({"drawn": [result]}, "command")
    assert [row["key"] for row in rows] == [f"unseen.drawn.{name}" for name in ("ap_before", "ap_after", "others_change")]

"""Each measurement of `hylle scale` in its smallest form, from its command line to its figures."""

from pathlib import Path

import pytest

for name in ("ray", "pyarrow"):
    pytest.importorskip(name, reason="the extra [scale] is not installed")

from experiments.figures import records  # noqa: E402
from experiments.performance import bad_photos, scale_cost  # noqa: E402
from submission import build  # noqa: E402

SAMPLE = ("different", "most_px", "most_score")


@pytest.fixture
def words(runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What every call says: a zip, two photos under few names, and results that go to a folder of the test."""
    build.build(runs, tmp_path / "a.zip")
    (tmp_path / "photos").mkdir()
    for i in (1, 2):
        bad_photos.jpeg(tmp_path / "photos" / f"{i}.jpg", bad_photos.picture(64 * i, 48))
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return ["--zip", str(tmp_path / "a.zip"), "--photos", str(tmp_path / "photos"), "--record"]


def recorded(words: list[str], *more: str) -> dict[str, float]:
    """The values that the command records, by key."""
    assert scale_cost.main([*words, *more]) == 0
    return {key: figure["value"] for key, figure in records.load().items()}


def test_nothing_to_measure_is_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert scale_cost.main([*words, "--count", "0", "--kills", "0"]) == 2
    assert "error: --count 0, --kills 0: must be at least 1" in capsys.readouterr().err


@pytest.mark.slow
def test_the_shares_of_a_worker_are_all_of_its_time(words: list[str]) -> None:
    found = recorded(words, "--only", "cost")
    shares = [value for key, value in found.items() if key.startswith("cost.share.")]
    assert len(shares) == 5 and sum(shares) == pytest.approx(1, abs=1e-4) and min(shares) > 0
    assert found["cost.core_hours_per_million"] > 0


@pytest.mark.slow
def test_kills_lose_nothing_and_rows_are_those_of_run_py(words: list[str]) -> None:
    found = recorded(words, "--only", "kills", "--count", "30", "--kills", "1", "--part", "1")
    assert found.pop("scale.kills.tried") == 2
    assert set(found) == {f"scale.{key}" for key in ("kills.rows_lost", "kills.rows_twice", *(f"sample.{k}" for k in SAMPLE))}
    assert set(found.values()) == {0}


@pytest.mark.slow
def test_six_broken_photos_have_their_reasons(words: list[str]) -> None:
    found = recorded(words, "--only", "broken", "--count", "12", "--fast")
    assert found == {"scale.dead_letters.right": 6, "scale.dead_letters.others_touched": 0}


@pytest.mark.slow
def test_memory_is_seen_at_a_tenth_and_at_all(words: list[str]) -> None:
    found = recorded(words, "--only", "memory", "--count", "10")
    assert set(found) == {"scale.rss_mb.1", "scale.rss_mb.10"}
    assert all(100 < value < 2000 for value in found.values())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")  # Ray's own, in this process
def test_sleeping_workers_are_kept_busy(words: list[str]) -> None:
    found = recorded(words, "--only", "simulated", "--sleeping", "2", "--part", "50")
    assert 0 < found["scale.simulated_2.busy"] <= 1


@pytest.mark.slow
def test_time_over_run_py_is_told_for_one_and_two_workers(words: list[str]) -> None:
    found = recorded(words, "--only", "overhead", "--count", "4", "--part", "2")
    assert set(found) == {"scale.overhead_over_run_py.1worker", "scale.overhead_over_run_py.2workers"}
    assert min(found.values()) > 1  # of four photos

"""The command that measures `hylle data`: its photos differ in bytes alone, and it refuses a count that is wrong."""

from pathlib import Path

import pytest

from experiments.performance import large_set
from photos.formats.writing import write
from photos.photo_file import read_header


def test_no_photos_are_drawn(tmp_path: Path) -> None:
    assert large_set.draw(tmp_path, 0, 5).photos == ()


def test_photos_differ_in_bytes_but_not_in_size(tmp_path: Path) -> None:
    photos = large_set.draw(tmp_path, 6, 3).photos
    data = [photo.path.read_bytes() for photo in photos]
    assert len(set(data)) == 6 and len({len(each) for each in data}) == 1
    assert {read_header(photo.path)[:2] for photo in photos} == {large_set.SIZE}
    assert all((photo.boxes[:, 2:] <= large_set.SIZE).all() for photo in photos)
    assert {photo.part for photo in photos} == {"train", "valid", "test"}


@pytest.mark.slow
def test_a_call_is_measured_and_checked(tmp_path: Path) -> None:
    write(large_set.draw(tmp_path / "D", 6, 3), "csv", tmp_path / "csv")
    cost = large_set.look(tmp_path / "csv", 6, 18)
    assert cost.seconds > 0 and 20 < cost.peak_mb < 2000
    with pytest.raises(ValueError, match="need 7 photos"):
        large_set.look(tmp_path / "csv", 7, 18)


def test_the_worst_layout_is_recorded() -> None:
    costs = {"coco": large_set.Cost(3.0, 200.0), "voc": large_set.Cost(5.0, 100.0)}
    made = {record["key"]: record for record in large_set.figures(costs, ["--record"])}
    assert (made["data.seconds_20000"]["value"], made["data.rss_mb_20000"]["value"]) == (5.0, 200.0)
    assert "coco 3, voc 5 s" in made["data.seconds_20000"]["setting"]


def test_only_the_set_of_the_key_is_recorded(capsys: pytest.CaptureFixture[str]) -> None:
    assert large_set.main(["--photos", "5", "--record"]) == 2
    assert "--record: the keys are of 20000 photos" in capsys.readouterr().err

"""The drawn data set as files: reproducible, in the contest's layout, reused, continued, and refused where it must be."""

import csv
import errno
import json
from collections import Counter
from dataclasses import replace
from itertools import count
from pathlib import Path

import cv2
import pytest
from small_shop import SMALL, digests

from photos.data import read
from photos.studio import STUDIO
from stage1_detector.synthesis import make_photos
from stage1_detector.synthesis.shelf import ShelfConfig


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "shelf"
    assert make_photos.draw(SMALL, out, seed=3, workers=1)
    return out


# --- refusals


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--count", "0"], "--count: got 0", id="no photos"),
        pytest.param(["--count", "-2"], "--count: got -2", id="less than no photos"),
        pytest.param(["--recipe", "corner"], "--recipe: got 'corner', allowed: demo, contest", id="unknown recipe"),
        pytest.param(["--seed", "-1"], "--seed: got -1", id="negative seed"),
    ],
)
def test_a_bad_argument_is_one_line(flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert make_photos.main(["--out", str(tmp_path / "new"), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_out_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("mine")
    assert make_photos.main(["--out", str(tmp_path / "f")]) == 2
    assert "which is a file" in capsys.readouterr().err
    assert (tmp_path / "f").read_text() == "mine"


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        make_photos.draw(SMALL, tmp_path)
    assert digests(tmp_path).keys() == {"thesis.txt"}


@pytest.mark.parametrize(
    ("config", "seed", "message"),
    [
        pytest.param(replace(SMALL, count=6), 3, "count 5 there, 6 asked", id="another count"),
        pytest.param(replace(SMALL, tint=0.3), 3, "tint 0.1 there, 0.3 asked", id="another light"),
        pytest.param(SMALL, 4, "seed 3 there, 4 asked", id="another seed"),
    ],
)
def test_another_data_set_is_not_drawn_over_this_one(config: ShelfConfig, seed: int, message: str, drawn: Path) -> None:
    before = digests(drawn)
    with pytest.raises(ValueError, match=message):
        make_photos.draw(config, drawn, seed=seed, workers=1)
    assert digests(drawn) == before


# --- again, on, elsewhere


def test_the_same_request_reuses_what_is_there(drawn: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in drawn.rglob("*")}
    assert make_photos.draw(SMALL, drawn, seed=3, workers=1) is False
    assert {p: p.stat().st_mtime_ns for p in drawn.rglob("*")} == before


def test_the_command_reuses(drawn: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(make_photos.RECIPES, "demo", SMALL)
    assert make_photos.main(["--out", str(drawn), "--count", "5", "--seed", "3"]) == 0
    assert capsys.readouterr().out.endswith(f"reuses {drawn}\n")


@pytest.mark.slow
def test_two_processes_draw_the_same_bytes_as_one(drawn: Path, tmp_path: Path) -> None:
    make_photos.draw(SMALL, tmp_path / "b", seed=3, workers=2)
    assert digests(tmp_path / "b") == digests(drawn)


def test_a_stopped_run_goes_on_and_keeps_whole_photos(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def stop(text: str) -> None:
        heard.append(text)
        if "photos" in text and "studio" not in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(make_photos, "PROGRESS_STEP", 2)
    with pytest.raises(KeyboardInterrupt):
        make_photos.draw(SMALL, tmp_path / "c", seed=3, workers=1, tell=stop)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "c" / "images").iterdir()}
    assert 0 < len(kept) < SMALL.count
    assert make_photos.draw(SMALL, tmp_path / "c", seed=3, workers=1)
    assert digests(tmp_path / "c") == digests(drawn)
    assert all(p.stat().st_mtime_ns == t for p, t in kept.items())


# --- the layout


def test_a_disk_that_was_full_leaves_no_half_of_a_photo(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, write, photos = tmp_path / "shelf", Path.write_bytes, count()

    def full(path: Path, data: bytes) -> int:
        if next(photos) != 5:  # a studio photo
            return write(path, data)
        write(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        make_photos.draw(SMALL, out, seed=3, workers=1)
    assert make_photos.draw(SMALL, out, seed=3, workers=1)
    assert digests(out) == digests(drawn)


def test_the_drawn_set_is_read_without_a_complaint(drawn: Path) -> None:
    data = read(drawn)
    assert [c.id for c in data.categories] == list(range(9))
    assert [p.path.name for p in data.photos] == [f"img_{i:05d}.jpg" for i in range(1, 6)]
    assert not (drawn / "drawn").exists()
    for photo in data.photos:
        image = cv2.imread(str(photo.path))
        assert image.shape == (photo.height, photo.width, 3) and image.std() > 10


def test_every_product_has_its_studio_photos_and_its_count(drawn: Path) -> None:
    content = json.loads((drawn / "annotations.json").read_text())
    counts = Counter(a["category_id"] for a in content["annotations"])
    entries = json.loads((drawn / STUDIO / "metadata.json").read_text())
    assert [e["product_name"] for e in entries] == [c["name"] for c in content["categories"]]
    assert [e["annotation_count"] for e in entries] == [counts[c["id"]] for c in content["categories"]]
    for entry in entries:
        assert len(entry["product_code"]) == 13 and entry["has_images"] and entry["image_types"] == list(make_photos.VIEWS)
        for view in entry["image_types"]:
            image = cv2.imread(str(drawn / STUDIO / entry["product_code"] / f"{view}.jpg"))
            assert image.shape == (make_photos.STUDIO_SIDE, make_photos.STUDIO_SIDE, 3)
            assert image[0].min() > 245 and image.min() < 200  # on white, and something there


def test_scenes_name_each_photo_once_and_their_photos_look_alike(drawn: Path) -> None:
    rows = list(csv.DictReader((drawn / "scenes.csv").read_text().splitlines()))
    assert [r["file_name"] for r in rows] == sorted(p.name for p in (drawn / "images").iterdir())
    sizes = Counter(r["scene"] for r in rows)
    assert sorted(map(int, sizes)) == list(range(len(sizes))) and max(sizes.values()) <= 3
    names = {p.path.name: set(p.labels.tolist()) for p in read(drawn).photos}
    for a, b in [(a, b) for a in rows for b in rows if a["scene"] == b["scene"]]:
        assert names[a["file_name"]] & names[b["file_name"]]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_plan_gives_each_photo_to_one_scene(count: int) -> None:
    scenes = make_photos.plan(replace(SMALL, count=count), seed=1)
    assert sorted(n for s in scenes for n in s) == list(range(1, count + 1))
    assert all(1 <= len(s) <= 3 for s in scenes)

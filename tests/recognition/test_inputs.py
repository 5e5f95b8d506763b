"""Every photo and video that is meant is found once, under a name of its own; what is left out is told."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from recognition.file_kind import file_kind
from recognition.inputs import find_inputs

GREY = np.full((8, 8, 3), 128, np.uint8)


def put(path: Path, suffix: str = ".jpg") -> Path:
    """A photo at `path`, coded as `suffix` says whatever it is called."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(cv2.imencode(suffix, GREY)[1].tobytes())
    return path


def names(found: object) -> list[str]:
    return [item.name for item in found.items]


def test_an_empty_folder_and_what_means_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for word, message in (
        (str(tmp_path / "empty"), "no photo and no video"),
        (str(tmp_path / "gone"), "no such file or folder"),
        (str(tmp_path / "*.jpg"), "the pattern matches nothing"),
        (str(tmp_path / "notes.txt"), "neither a photo"),
    ):
        with pytest.raises(ValueError, match=message):
            find_inputs([word], tmp_path / "out")


def test_names_begin_at_the_folder_that_all_have_in_common(tmp_path: Path) -> None:
    for name in ("a/1.jpg", "a/deep/1.jpg", "b/1.jpg"):
        put(tmp_path / name)
    assert names(find_inputs([str(tmp_path / "a")], tmp_path / "out")) == ["1.jpg", "deep/1.jpg"]
    both = find_inputs([str(tmp_path / "a"), str(tmp_path / "b" / "1.jpg")], tmp_path / "out")
    assert names(both) == ["a/1.jpg", "a/deep/1.jpg", "b/1.jpg"] and both.notes == []


def test_a_file_named_twice_is_taken_once_and_told(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    twice = find_inputs([str(tmp_path), str(tmp_path / "a.jpg"), str(tmp_path / "*.jpg")], tmp_path / "out")
    assert names(twice) == ["a.jpg"]
    assert twice.notes == ["2 files named twice, taken once"]


def test_other_files_are_told_and_hidden_ones_and_the_output_are_not_looked_at(tmp_path: Path) -> None:
    for name in ("a.jpg", ".hidden.jpg", ".cache/b.jpg", "out/pictures/a.jpg"):
        put(tmp_path / name)
    (tmp_path / "list.csv").write_text("a.jpg")
    found = find_inputs([str(tmp_path)], tmp_path / "out")
    assert names(found) == ["a.jpg"]
    assert found.notes == ["1 file neither photo nor video, such as list.csv"]


def test_pictures_of_predictions_are_no_photos_and_what_is_left_out_is_told(tmp_path: Path) -> None:
    for name in ("D/a.jpg", "D/out/pictures/a.jpg", "D/sure/pictures/a.jpg"):
        put(tmp_path / name)
    (tmp_path / "D" / "sure" / "journal.jsonl").write_text("")
    whole = find_inputs([str(tmp_path / "D")], tmp_path / "D" / "out")
    assert names(whole) == ["a.jpg"]
    assert whole.notes == [f"files and folders of predictions and runs, left out: 1, the first is {tmp_path / 'D' / 'sure'}"]
    pattern = find_inputs([str(tmp_path / "D" / "**" / "*.jpg")], tmp_path / "D" / "out")
    assert names(pattern) == ["a.jpg"]
    assert pattern.notes[0].startswith("files and folders of predictions and runs, left out: 2, the first is ")


def test_photos_that_a_run_below_links_to_are_predicted_once(tmp_path: Path) -> None:
    for name in ("D/a.jpg", "D/run/one/photos/train/images/00000001.jpg"):
        put(tmp_path / name)
    (tmp_path / "D" / "run" / "folds.json").write_text("{}")
    found = find_inputs([str(tmp_path / "D")], tmp_path / "out")
    assert names(found) == ["a.jpg"] and "predictions and runs, left out: 1" in found.notes[0]
    assert len(find_inputs([str(tmp_path / "D" / "run")], tmp_path / "out").items) == 1  # the folder itself was named


@pytest.mark.parametrize("by_shell", [False, True])
def test_what_a_pattern_matches_besides_photos_is_told(tmp_path: Path, by_shell: bool) -> None:
    put(tmp_path / "D" / "a.jpg")
    (tmp_path / "D" / "labels.csv").write_text("a.jpg")
    os.mkfifo(tmp_path / "D" / "b.jpg")
    words = [str(tmp_path / "D" / name) for name in ("a.jpg", "labels.csv")] if by_shell else [str(tmp_path / "D" / "*")]
    found = find_inputs(words, tmp_path / "out")
    pipe = [] if by_shell else ["pipes, sockets and devices, left out: 1, the first is b.jpg"]
    assert names(found) == ["a.jpg"] and found.notes == [*pipe, "1 file neither photo nor video, such as labels.csv"]
    with pytest.raises(ValueError, match=r"labels\.csv: neither a photo"):
        find_inputs([str(tmp_path / "D" / "*.csv")], tmp_path / "out")
    with pytest.raises(ValueError, match="the pattern matches nothing"):
        find_inputs([str(tmp_path / "D" / "b*")], tmp_path / "out")


@pytest.mark.parametrize("out", ["D", "."])
def test_results_are_not_written_where_the_photos_lie(tmp_path: Path, out: str) -> None:
    put(tmp_path / "D" / "a.jpg")
    with pytest.raises(ValueError, match=r"D: lies in --out .* name photos, and an --out beside them"):
        find_inputs([str(tmp_path / "D")], tmp_path / out)


def test_a_pattern_finds_what_lies_deep(tmp_path: Path) -> None:
    put(tmp_path / "x" / "y" / "a.png", ".png")
    put(tmp_path / "b.jpg")
    assert names(find_inputs([str(tmp_path / "**" / "*.png")], tmp_path / "out")) == ["a.png"]


@pytest.mark.skipif(os.name != "posix", reason="names of bytes are Linux's")
def test_a_name_that_is_no_text_is_kept_apart(tmp_path: Path) -> None:
    for name in (b"\xff.jpg", b"\xfe.jpg"):
        put(Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)))
    assert names(find_inputs([str(tmp_path)], tmp_path / "out")) == ["\\xfe.jpg", "\\xff.jpg"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_a_photo_is_known_by_its_bytes(tmp_path: Path, suffix: str) -> None:
    assert file_kind(put(tmp_path / "IMG_2041", suffix)) == "photo"
    assert file_kind(put(tmp_path / "wrong.txt", suffix)) == "photo"


def test_a_file_of_unknown_bytes_is_what_its_suffix_says(tmp_path: Path) -> None:
    kinds = {}
    for name in ("empty.jpg", "empty.MP4", "empty.txt", "empty"):
        (tmp_path / name).write_bytes(b"")
        kinds[name] = file_kind(tmp_path / name)
    assert kinds == {"empty.jpg": "photo", "empty.MP4": "video", "empty.txt": "other", "empty": "other"}


def test_a_pipe_in_a_folder_is_told(tmp_path: Path) -> None:
    put(tmp_path / "a.jpg")
    os.mkfifo(tmp_path / "b.jpg")
    assert find_inputs([str(tmp_path)], tmp_path / "out").notes == [
        "pipes, sockets and devices, left out: 1, the first is b.jpg"
    ]


@pytest.mark.parametrize("suffix", [".mjpeg", ".MJPG", ".jpg"])
def test_jpegs_one_after_the_other_are_a_video_where_the_file_is_called_one(tmp_path: Path, suffix: str) -> None:
    put(tmp_path / "one.jpg")
    jpeg = (tmp_path / "one.jpg").read_bytes()
    for name, count in (("one", 1), ("three", 3)):
        (tmp_path / f"{name}{suffix}").write_bytes(jpeg * count)
    is_video = suffix != ".jpg"
    found = find_inputs([str(tmp_path)], tmp_path / "out")
    assert {item.name: item.is_video for item in found.items if item.path.suffix == suffix} == {
        f"one{suffix}": False,
        f"three{suffix}": is_video,
    }
    assert found.notes == ["videos that are JPEGs without times, taken for 25 a second: 1"] * is_video


def test_a_thumbnail_is_no_second_jpeg(tmp_path: Path) -> None:
    put(tmp_path / "one.jpg")
    jpeg = (tmp_path / "one.jpg").read_bytes()
    segment = b"\xff\xe1" + (len(jpeg) + 2).to_bytes(2, "big") + jpeg
    (tmp_path / "a.mjpeg").write_bytes(jpeg[:2] + segment + jpeg[2:])
    assert file_kind(tmp_path / "a.mjpeg") == "photo"


def test_a_text_that_begins_with_the_name_of_a_box_is_no_video(tmp_path: Path) -> None:
    starts = {"README": b"The free samples", "b.txt": b"Far wide shelves", "c": b"\0\0\0\x07free", "d": b"\0\0\x10\0free"}
    for name, start in starts.items():
        (tmp_path / name).write_bytes(start)
    assert [file_kind(tmp_path / name) for name in starts] == ["other", "other", "other", "video"]


def test_links_to_folders_are_followed_after_real_ones_and_rings_are_told(tmp_path: Path) -> None:
    photos, shop = tmp_path / "P", tmp_path / "shop"
    for place in (photos / "x.jpg", photos / "monday" / "m.jpg", shop / "a.jpg", tmp_path / "private.jpg"):
        put(place)
    (photos / "latest").symlink_to(photos / "monday")
    (photos / "shop").symlink_to(shop)
    (photos / "up").symlink_to(tmp_path)
    (shop / "back").symlink_to(photos)
    put(shop / "deep" / "d.jpg")
    (photos / "a_deep").symlink_to(shop / "deep")
    found = find_inputs([str(photos)], tmp_path / "out")
    assert names(found) == ["a_deep/d.jpg", "monday/m.jpg", "shop/a.jpg", "x.jpg"]
    assert any(note.startswith("folders that are in it already by another name, taken once: 4") for note in found.notes)


def test_links_that_lead_nowhere_are_told(tmp_path: Path) -> None:
    put(tmp_path / "P" / "x.jpg")
    (tmp_path / "P" / "dead.jpg").symlink_to(tmp_path / "nothing.jpg")
    found = find_inputs([str(tmp_path / "P")], tmp_path / "out")
    assert (names(found), found.notes) == (["x.jpg"], ["links that lead nowhere, left out: 1, the first is dead.jpg"])

"""A run that is killed loses nothing that was written, and does nothing twice; another run's journal is refused."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from recognition.journal import Entry, Journal, stamp_of

SETTINGS = {"model": "abc", "min_score": 0.25}
ENTRY = Entry("a.jpg", "a.jpg", [10, 20], size=[4, 3], rows=[{"category_id": 7, "bbox": [0, 0, 1, 1], "score": 0.5}])


def begun(path: Path, *entries: Entry) -> Path:
    with Journal(path, SETTINGS) as journal:
        for entry in entries:
            journal.add(entry)
    return path


def read(path: Path) -> list[Entry]:
    with Journal(path, SETTINGS) as journal:
        return list(journal.entries())


def test_an_empty_run_has_no_entries_and_goes_on(tmp_path: Path) -> None:
    assert read(begun(tmp_path / "j")) == []
    assert read(tmp_path / "j") == []


def test_entries_come_back_as_they_were_in_their_order(tmp_path: Path) -> None:
    other = replace(ENTRY, name="Å b.jpg", file="Å b.jpg", problem="broken", remarks=["x"])
    assert read(begun(tmp_path / "j", ENTRY, other)) == [ENTRY, other]


def test_a_full_disk_names_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with Journal(tmp_path / "j", SETTINGS) as journal:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left on device") as raised:
            journal.add(ENTRY)
    assert raised.value.filename == str(tmp_path / "j")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_disk_that_is_full_at_the_end_too_names_the_journal(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left on device") as raised, Journal(tmp_path / "j", SETTINGS) as journal:
        journal.file.close()
        journal.file = Path("/dev/full").open("r+b")  # noqa: SIM115  # the journal closes it
        journal.add(ENTRY)
    assert raised.value.filename == str(tmp_path / "j")


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_line_that_was_cut_off_is_dropped_and_written_again(tmp_path: Path, cut: int) -> None:
    path = begun(tmp_path / "j", ENTRY, replace(ENTRY, name="b.jpg", file="b.jpg"))
    path.write_bytes(path.read_bytes()[:-cut])
    assert [entry.name for entry in read(path)] == ["a.jpg"]
    assert [entry.name for entry in read(begun(path, replace(ENTRY, name="b.jpg", file="b.jpg")))] == ["a.jpg", "b.jpg"]


def test_a_kill_before_the_first_line_was_whole_starts_anew(tmp_path: Path) -> None:
    (tmp_path / "j").write_bytes(b'{"settings": {"mod')
    assert read(tmp_path / "j") == []


def test_a_photo_that_changed_is_forgotten_and_its_new_entry_counts(tmp_path: Path) -> None:
    path = begun(tmp_path / "j", ENTRY)
    with Journal(path, SETTINGS) as journal:
        assert journal.outdated("a.jpg", [10, 20]) == [] and journal.done("a.jpg")
        assert journal.outdated("a.jpg", [11, 21]) == ["a.jpg"] and journal.changed == 0
        journal.forget("a.jpg")
        assert not journal.done("a.jpg") and journal.changed == 1
    assert read(path) == []
    assert read(begun(path, replace(ENTRY, stamp=[11, 21]))) == [replace(ENTRY, stamp=[11, 21])]


def test_frames_of_a_video_that_changed_are_forgotten_with_it(tmp_path: Path) -> None:
    frames = [Entry(f"v.mp4/{k}s", "v.mp4", [1, 1], True) for k in range(3)]
    path = begun(tmp_path / "j", *frames, ENTRY)
    with Journal(path, SETTINGS) as journal:
        assert journal.outdated("v.mp4", [2, 2]) == [frame.name for frame in frames]
        journal.forget("v.mp4")
        journal.add(replace(frames[0], stamp=[2, 2]))
    assert [entry.name for entry in read(path)] == ["a.jpg", "v.mp4/0s"]


def test_what_failed_is_not_done_when_the_run_goes_on(tmp_path: Path) -> None:
    failed = replace(ENTRY, name="b.jpg", file="b.jpg", problem="no memory", rows=[])
    frames = [Entry(f"v.mp4/{k}s", "v.mp4", [1, 1], True, problem="no memory" * k) for k in range(2)]
    video = Entry("v.mp4", "v.mp4", [1, 1], True)
    path = tmp_path / "j"
    with Journal(path, SETTINGS) as journal:
        for entry in (ENTRY, failed, *frames, video):
            journal.add(entry)
        assert journal.done("b.jpg") and not journal.failed, "of this run"
    with Journal(path, SETTINGS) as journal:
        assert [name for name in journal.lines if journal.done(name)] == ["a.jpg", "v.mp4/0s"]
        journal.add(replace(failed, problem=""))
        journal.add(replace(frames[1], problem=""))
        journal.add(video)
        assert not journal.failed
    assert read(path) == [ENTRY, replace(failed, problem=""), frames[0], replace(frames[1], problem=""), video]
    with Journal(path, SETTINGS) as journal:
        assert all(map(journal.done, journal.lines))


def test_other_settings_and_another_file_are_refused(tmp_path: Path) -> None:
    begun(tmp_path / "j", ENTRY)
    with pytest.raises(ValueError, match=r"begun with min_score 0\.25, now 0\.5"):
        Journal(tmp_path / "j", SETTINGS | {"min_score": 0.5})
    with pytest.raises(ValueError, match=r"begun with version 'an earlier one', now '3fa'"):  # it did not tell
        Journal(tmp_path / "j", SETTINGS | {"version": "3fa"})
    (tmp_path / "k").write_text("a shopping list\n")
    with pytest.raises(ValueError, match="is damaged"):
        Journal(tmp_path / "k", SETTINGS)


def test_the_stamp_tells_versions_of_a_file_apart(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    first = stamp_of(tmp_path / "a")
    (tmp_path / "a").write_bytes(b"12")
    assert stamp_of(tmp_path / "a") != first
    assert stamp_of(tmp_path / "gone") == [0, 0]

"""Links, and copies where the file system has none."""

import errno
from pathlib import Path

import pytest

from runs import link


@pytest.fixture
def without_links(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link._tell.cache_clear()


def test_a_link_where_there_are_links(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"photo")
    link.link_or_copy(tmp_path / "a.jpg", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").is_symlink()
    with pytest.raises(FileExistsError):
        link.link_or_copy(tmp_path / "a.jpg", tmp_path / "b.jpg")


def test_a_link_to_a_photo_that_is_named_from_here_leads_to_it_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("D", "out"):
        Path(folder).mkdir()
    Path("D/a.jpg").write_bytes(b"photo")
    link.link_or_copy(Path("D/a.jpg"), Path("out/b.jpg"))
    assert Path("out/b.jpg").read_bytes() == b"photo"


@pytest.mark.usefixtures("without_links")
def test_copies_are_made_and_told_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "images").mkdir()
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / "images" / name).write_bytes(name.encode())
    (tmp_path / "out").mkdir()
    for name in ("a.jpg", "b.jpg"):
        link.link_or_copy(tmp_path / "images" / name, tmp_path / "out" / name)
    link.link_or_copy(tmp_path / "images", tmp_path / "out" / "images")
    assert [(tmp_path / "out" / part).read_bytes() for part in ("a.jpg", "images/b.jpg")] == [b"a.jpg", b"b.jpg"]
    assert not (tmp_path / "out" / "a.jpg").is_symlink()
    told = capsys.readouterr()
    assert (told.out + told.err).count("photos are copied instead") == 1

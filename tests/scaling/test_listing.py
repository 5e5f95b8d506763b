"""Which photos a run is of, and how they are dealt into parts."""

from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="the extra [scale] is not installed")
from scaling.listing import Listing, deal, list_photos


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 files, none of them a photo"):
        list_photos(str(tmp_path))


def test_photos_below_a_folder_are_listed_in_order_and_others_counted(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.JPG", "a b#é.jpg", "notes.txt", ".hidden.jpg", "b/1.png"):
        (tmp_path / name).write_bytes(b"xyz")
    listing = list_photos(str(tmp_path))
    assert listing.uris == tuple(sorted(str(tmp_path / name) for name in ("b/2.JPG", "a b#é.jpg", "b/1.png")))
    assert listing.others == 2 and listing.sizes == (3, 3, 3)


def test_a_uri_of_another_file_system_is_listed_by_its_client() -> None:
    import fsspec

    fsspec.filesystem("memory").pipe({"/shelf/1.jpg": b"a", "/shelf/2.jpg": b"ab"})
    listing = list_photos("memory://shelf")
    assert listing.uris == ("memory:///shelf/1.jpg", "memory:///shelf/2.jpg") and listing.sizes == (1, 2)


def test_a_list_that_names_a_photo_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.jpg\n\nb.jpg\na.jpg\n")
    with pytest.raises(ValueError, match=r"names /.*/a\.jpg twice"):
        list_photos(str(tmp_path / "list.txt"))


def test_a_missing_client_is_one_line() -> None:
    with pytest.raises(ValueError, match="Protocol not known: nosuchstore"):
        list_photos("nosuchstore://bucket/shelf")


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11])
def test_each_photo_is_in_one_part(count: int) -> None:
    parts = deal([str(i) for i in range(count)], 5)
    assert [uri for part in parts for uri in part.uris] == [str(i) for i in range(count)]
    assert [part.number for part in parts] == list(range(-(-count // 5)))


def test_another_list_or_size_has_another_digest() -> None:
    one = Listing(("a",), (1,))
    listings = [Listing((), ()), one, Listing(("a",), (2,)), Listing(("b",), (1,)), Listing(("a", "b"), (1, 1))]
    assert len({listing.digest for listing in listings}) == len(listings)
    assert Listing(("a",), (1,), 5).digest == one.digest


def test_a_list_is_of_photos_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("b.jpg\nmemory://shelf/1.jpg\n")
    assert list_photos("list.txt").uris == (str(tmp_path / "b.jpg"), "memory:///shelf/1.jpg")

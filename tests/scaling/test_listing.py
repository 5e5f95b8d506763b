"""Which photos a run is of, and how they are dealt into parts."""

import os
from pathlib import Path

import pytest

pytest.importorskip("fsspec", reason="the extra [scale] is not installed")
import fsspec

from recognition.inputs import find_inputs
from scaling import photo_files
from scaling.listing import Listing, PassedOver, client_errors, deal, filesystem, list_photos


def test_a_folder_without_photos_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="0 files, none of them a photo"):
        list_photos(str(tmp_path))


def test_photos_below_a_folder_are_listed_in_order_and_others_counted(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    for name in ("b/2.JPG", "a b#é.jpg", "notes.txt", ".hidden.jpg", "b/1.png"):
        (tmp_path / name).write_bytes(b"xyz")
    listing = list_photos(str(tmp_path))
    assert listing.uris == tuple(sorted(str(tmp_path / name) for name in ("b/2.JPG", "a b#é.jpg", "b/1.png")))
    assert listing.others == 2 and len(listing.versions) == 3 and listing.unversioned == 0


@pytest.mark.parametrize("name", ["a::b.jpg", "50%20 off.jpg", "[1]*?.jpg", "日本 é.jpg", "back\\slash.jpg", "~a.jpg"])
def test_a_name_is_taken_as_it_is(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"xyz")
    (uri,) = list_photos(str(tmp_path)).uris
    files, path = filesystem(uri)
    assert files.cat_file(path) == b"xyz" and Path(path) == tmp_path / name


def test_equal_names_in_two_folders_are_two_photos(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(b"xyz")
    assert len(set(list_photos(str(tmp_path)).uris)) == 2


def test_a_name_that_is_no_text_is_a_photo_that_cannot_be_read(tmp_path: Path) -> None:
    for name in (b"/\xff.jpg", b"/a.jpg"):
        Path(os.fsdecode(bytes(tmp_path) + name)).write_bytes(b"xyz")
    listing = list_photos(str(tmp_path))
    assert listing.uris == (rf"{tmp_path}/\xff.jpg", f"{tmp_path}/a.jpg") and listing.undecodable == 1
    (tmp_path / r"\xff.jpg").write_bytes(b"xyz")
    with pytest.raises(ValueError, match="two photos have one name"):
        list_photos(str(tmp_path))


def test_photos_are_those_of_hylle_predict(tmp_path: Path) -> None:
    jpeg, png = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"
    photos = {"a.jpg": jpeg, "b.jfif": jpeg, "c": png, "d.jpe": jpeg, "e.JPG_orig": jpeg, "f.webp": b"", "g.jpg ": jpeg}
    others = {
        "jpg": b"",
        "h.mp4": b"",
        "i.txt": b"a.jpg",
        "j": b"text",
        "k.mjpeg": 2 * bytes.fromhex("ffd8ffda000211ffd9"),
        ".l.jpg": jpeg,
    }
    for name, data in (photos | others).items():
        (tmp_path / name).write_bytes(data)
    os.mkfifo(tmp_path / "pipe")
    listing = list_photos(str(tmp_path))
    predicted = [item.name for item in find_inputs([str(tmp_path)], tmp_path / "out").items if not item.is_video]
    assert [Path(uri).name for uri in listing.uris] == predicted == sorted(photos)
    assert (listing.others, listing.such_as) == (len(others) + 1, ("h.mp4", "i.txt", "j"))


def test_only_files_of_an_unknown_suffix_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.jpg", "a.txt", "a.xml", "a.mov", "b.old"):
        (tmp_path / name).write_bytes(b"xyz")
    opened = []
    monkeypatch.setattr(photo_files, "file_kind", lambda path: opened.append(path.name) or "other")
    assert len(list_photos(str(tmp_path)).uris) == 1 and opened == ["b.old"]


def test_a_remote_file_is_a_photo_by_its_suffix(tmp_path: Path) -> None:
    names = ("1.jfif", "2.jpe", "3.JPG", "4", ".5.jpg")
    fsspec.filesystem("memory").pipe({f"{tmp_path}/{name}": b"\xff\xd8\xff" for name in names})
    listing = list_photos(f"memory://{tmp_path}")
    assert [Path(uri).name for uri in listing.uris] == ["1.jfif", "2.jpe", "3.JPG"] and listing.such_as == ("4", ".5.jpg")


def test_a_folder_has_one_name_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.txt" / "deep").mkdir(parents=True)
    (tmp_path / "w.txt" / "a.jpg").write_bytes(b"xyz")
    (tmp_path / "link").symlink_to(tmp_path / "w.txt" / "deep")
    monkeypatch.chdir(tmp_path)
    listing = list_photos(str(tmp_path / "w.txt"))
    assert listing.uris == (f"{tmp_path}/w.txt/a.jpg",), "a folder that is called as a list is one"
    for written in ("w.txt/", "w.txt/../w.txt//", f"{tmp_path}//w.txt", "./w.txt/.", "file://" + str(tmp_path / "w.txt/")):
        assert list_photos(written).digest == listing.digest, written
    assert list_photos("link/..").uris == (f"{tmp_path}/link/../a.jpg",), "the folder above that which the link leads to"


def test_links_to_folders_are_counted_and_links_to_photos_are_photos(tmp_path: Path) -> None:
    for folder in ("shelf", "elsewhere"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "1.jpg").write_bytes(b"xyz")
    (tmp_path / "shelf" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "shelf" / "2.jpg").symlink_to(tmp_path / "elsewhere" / "1.jpg")
    (tmp_path / "shelf" / "3.jpg").symlink_to(tmp_path / "nowhere")
    listing = list_photos(str(tmp_path / "shelf"))
    assert [Path(uri).name for uri in listing.uris] == ["1.jpg", "2.jpg", "3.jpg"]
    assert listing.passed_over.links == 1 and listing.others == 0


@pytest.mark.parametrize("remote", [False, True], ids=["local", "remote"])
def test_hidden_folders_and_those_of_commands_are_counted_and_not_entered(tmp_path: Path, remote: bool) -> None:
    names = (
        "1.jpg",
        "deep/2.jpg",
        ".thumbnails/1.jpg",
        "deep/.cache/x/2.jpg",
        "out/journal.jsonl",
        "out/pictures/1.jpg",
        "R/one/begun.json",
        "R/one/photos/1.jpg",
    )
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"xyz")
    if remote:
        fsspec.filesystem("memory").pipe({f"{tmp_path}/{name}": b"xyz" for name in names})
    root = f"memory://{tmp_path}" if remote else str(tmp_path)
    listing = list_photos(root)
    assert [uri.rpartition("/")[2] for uri in listing.uris] == ["1.jpg", "2.jpg"]
    assert (listing.passed_over, listing.others) == (PassedOver(0, 2, 2), 0)
    inside = ("/out",) if remote else ("/out", "/out/pictures")
    for folder in inside:
        with pytest.raises(ValueError, match="lies among the predictions of hylle predict"):
            list_photos(root + folder)


def test_photos_beside_predictions_are_photos(tmp_path: Path) -> None:
    for name in ("journal.jsonl", "photos/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"xyz")
    assert len(list_photos(str(tmp_path / "photos")).uris) == 1


def test_a_folder_that_cannot_be_read_is_not_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1.jpg").write_bytes(b"xyz")
    (tmp_path / "locked").mkdir()
    scandir = os.scandir

    def locked(path: str) -> object:
        if str(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", locked)
    with pytest.raises(PermissionError, match="locked"):
        list_photos(str(tmp_path))


@pytest.mark.parametrize("listed", [False, True], ids=["a folder", "a list"])
def test_a_photo_that_was_changed_has_another_digest(tmp_path: Path, listed: bool) -> None:
    photo = tmp_path / "1.jpg"
    photo.write_bytes(b"xyz")
    (tmp_path / "list.txt").write_text(f"{photo}\n")
    uri = str(tmp_path / "list.txt" if listed else tmp_path)
    before = list_photos(uri)
    photo.write_bytes(b"abc")  # of the same size
    os.utime(photo, ns=(0, 1))
    assert list_photos(uri).uris == before.uris and list_photos(uri).digest != before.digest


@pytest.mark.parametrize("uri", ["s3:/bucket/shelf", "memory:/shelf", "file:/shelf"])
def test_a_uri_with_one_slash_is_no_local_folder(uri: str) -> None:
    with pytest.raises(ValueError, match=f"{uri}: got .*:/, a URI begins with .*://"):
        list_photos(uri)


def test_a_mistake_of_a_client_names_the_flag() -> None:
    with pytest.raises(ValueError, match="--photos s3://b: RuntimeError: no credentials"), client_errors("--photos", "s3://b"):
        raise RuntimeError("no\n credentials")
    with pytest.raises(RuntimeError), client_errors("--photos", "/local"):
        raise RuntimeError("a defect")


def test_a_uri_of_another_file_system_is_listed_by_its_client() -> None:
    fsspec.filesystem("memory").pipe({"/shelf/1.jpg": b"a", "/shelf/2.jpg": b"ab"})
    listing = list_photos("memory://shelf")
    assert listing.uris == ("memory:///shelf/1.jpg", "memory:///shelf/2.jpg") and listing.unversioned == 0
    fsspec.filesystem("memory").pipe({"/shelf/2.jpg": b"ba"})
    assert list_photos("memory://shelf").digest != listing.digest


def test_a_list_that_names_a_photo_twice_is_refused(tmp_path: Path) -> None:
    for again in ("a.jpg", "./a.jpg", "b/../a.jpg"):
        (tmp_path / "list.txt").write_text(f"a.jpg\n\nb.jpg\n{again}\n")
        with pytest.raises(ValueError, match=r"names /.*a\.jpg twice"):
            list_photos(str(tmp_path / "list.txt"))


def test_a_list_that_is_no_text_is_refused_and_a_byte_order_mark_is_no_name(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("é.jpg".encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.txt: not a text in UTF-8"):
        list_photos(str(tmp_path / "list.txt"))
    (tmp_path / "list.txt").write_text("/a.jpg\r\n", encoding="utf-8-sig")
    assert list_photos(str(tmp_path / "list.txt")).uris == ("/a.jpg",)


def test_a_name_in_a_list_ends_with_its_line_alone(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes("/a\u2028\x0bb.jpg\r\n \n/ c.jpg \n".encode())
    assert list_photos(str(tmp_path / "list.txt")).uris == ("/a\u2028\x0bb.jpg", "/ c.jpg ")


def test_a_missing_client_is_one_line() -> None:
    with pytest.raises(ValueError, match="Protocol not known: nosuchstore"):
        list_photos("nosuchstore://bucket/shelf")


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11])
def test_each_photo_is_in_one_part(count: int) -> None:
    parts = deal([str(i) for i in range(count)], 5)
    assert [uri for part in parts for uri in part.uris] == [str(i) for i in range(count)]
    assert [part.number for part in parts] == list(range(-(-count // 5)))


def test_another_list_or_version_has_another_digest() -> None:
    one = Listing(("a",), ("1",))
    listings = [Listing((), ()), one, Listing(("a",), ("2",)), Listing(("b",), ("1",)), Listing(("a", "b"), ("1", "1"))]
    assert len({listing.digest for listing in listings}) == len(listings)
    assert Listing(("a",), ("1",), 5).digest == one.digest


def test_a_list_is_of_photos_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("b.jpg\nmemory://shelf/1.jpg\n")
    listing = list_photos("list.txt")
    assert listing.uris == (str(tmp_path / "b.jpg"), "memory:///shelf/1.jpg")
    assert listing.unversioned == 1, "the remote one is not asked for"

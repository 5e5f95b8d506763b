"""A photo that was confirmed is known again under whatever name, and no boxes are written beside another one's pixels."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from photos.data import read
from reviewing.access import Access
from reviewing.server import application

Make = Callable[..., object]


def client(desk: object) -> TestClient:
    return TestClient(application(desk, Access()), base_url="http://127.0.0.1:8000")  # type: ignore[arg-type]


@pytest.fixture
def shelves(tmp_path: Path) -> Callable[[str], Path]:
    """Draws a folder of one photo, each of other pixels."""

    def draw(place: str) -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(len(place)).integers(0, 255, (48, 64, 3), np.uint8)).save(path)
        return path.parent

    return draw


BOXES = [{"bbox": [1, 2, 20, 30], "name": "tea"}]


def confirm(visitor: TestClient, name: str) -> None:
    answer = visitor.post("/labelling/photo", json={"name": name, "boxes": BOXES})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("links", [True, False], ids=["links", "copies"])
def test_a_photo_is_asked_for_once_however_many_folders_are_named(
    desk: Make, named: Path, shelves: Callable, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:
        monkeypatch.setattr(Path, "symlink_to", refuse_link)
    new, more = shelves("NEW/a.png"), shelves("MORE/other.png")
    confirm(client(desk("--photos", str(new))), "a.png")
    capsys.readouterr()
    visitor = client(desk("--photos", str(new), str(more)))
    assert "1 of 2 photos confirmed" in capsys.readouterr().out
    assert {row["name"]: row["confirmed"] for row in visitor.get("/labelling").json()["queue"]} == {
        "MORE/other.png": False, "a.png": True,
    }  # fmt: skip
    confirm(visitor, "a.png")
    assert [photo.name for photo in read(named / "review" / "confirmed").photos] == ["a.png"]


@pytest.mark.parametrize("moved", [False, True], ids=["as they were", "moved"])
@pytest.mark.parametrize("confirmed", [["a.png"], ["b.png"], ["a.png", "b.png"]], ids="+".join)
@pytest.mark.parametrize("copy", [False, True], ids=["a link", "a copy"])
def test_photos_that_are_the_same_twice_are_no_others(
    desk: Make, tmp_path: Path, shelves: Callable, copy: bool, confirmed: list[str], moved: bool
) -> None:
    new = shelves("NEW/a.png")
    if copy:
        shutil.copyfile(new / "a.png", new / "b.png")
    else:
        (new / "b.png").symlink_to("a.png")
    visitor = client(desk("--photos", str(new)))
    for name in confirmed:
        confirm(visitor, name)
    if moved:
        new = new.rename(tmp_path / "ELSEWHERE")
    queue = client(desk("--photos", str(new))).get("/labelling").json()["queue"]
    assert sorted(row["name"] for row in queue) == ["a.png", "b.png"]
    assert sum(row["confirmed"] for row in queue) == len(confirmed)


def refuse_link(*_: object) -> None:
    raise OSError(1, "Operation not permitted")


def test_photos_that_were_moved_are_told_and_found_again_by_their_bytes(
    desk: Make, named: Path, shelves: Callable, capsys: pytest.CaptureFixture[str]
) -> None:
    new, more = shelves("NEW/a.png"), shelves("MORE/other.png")
    confirm(client(desk("--photos", str(new))), "a.png")
    moved = new.with_name("DONE")
    new.rename(moved)
    capsys.readouterr()
    desk("--photos", str(more))
    told = capsys.readouterr().out
    assert "1 confirmed photo not found any more, left out of the data set, the first is a.png" in told
    assert "0 of 1 photo confirmed" in told
    with pytest.raises(ValueError, match=r"NEW/a\.png, another photo of the name a\.png; pass another --out"):
        desk("--photos", str(shelves("SHOP2/a.png")))
    desk("--photos", str(moved), str(more))
    assert "1 of 2 photos confirmed" in capsys.readouterr().out
    assert os.path.realpath(named / "review" / "confirmed" / "images" / "a.png") == str(moved / "a.png")


def test_a_log_that_is_moved_away_without_its_photos_is_refused(
    desk: Make, named: Path, shelves: Callable, tmp_path: Path
) -> None:
    """Else boxes of another photo of the name would be written beside the first one's pixels."""
    confirm(client(desk("--photos", str(shelves("NEW/a.png")))), "a.png")
    log = named / "review" / "confirmed.jsonl"
    row, *rest = log.read_text().splitlines()
    log.write_text("\n".join([row.replace("Te", "Tee"), *rest, ""]))
    with pytest.raises(ValueError, match=r"other things than now; move it and .*confirmed away together, or pass another"):
        desk("--photos", str(tmp_path / "NEW"))
    log.rename(tmp_path / "old.jsonl")
    with pytest.raises(
        ValueError, match=r"confirmed: holds 1 photo that .*confirmed\.jsonl does not know, the first is a\.png"
    ):
        desk("--photos", str(shelves("SHOP2/a.png")))
    shutil.move(named / "review" / "confirmed", tmp_path / "old")
    confirm(client(desk("--photos", str(tmp_path / "SHOP2"))), "a.png")


@pytest.mark.parametrize("others", [("good.jpg",), ()], ids=["some whole", "none whole"])
def test_what_was_confirmed_on_photos_of_no_use_is_left_out_and_told(
    desk: Make, named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], others: tuple[str, ...]
) -> None:
    """An earlier version confirmed a cut photo, and two of the same letters; and a file may be damaged afterwards."""
    folder = tmp_path / "photos"
    folder.mkdir()
    names = ("caf\u00e9.jpg", "cafe\u0301.jpg", "cut.jpg", *others)
    for k, name in enumerate(names):
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (48, 64, 3), np.uint8)).save(folder / name)
    visitor = client(desk("--photos", str(folder)))
    for name in ("caf\u00e9.jpg", "cut.jpg", *others):
        confirm(visitor, name)
    log, review = named / "review" / "confirmed.jsonl", named / "review" / "confirmed"
    row = json.loads(log.read_text().splitlines()[-1]) | {"name": "cafe\u0301.jpg", "photo": ""}
    log.write_text(f"{log.read_text()}{json.dumps(row)}\n")
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-2])
    if not others:
        (folder / "caf\u00e9.jpg").write_bytes(b"no photo")
        (folder / "cafe\u0301.jpg").write_bytes(b"no photo")
    answer = visitor.post("/labelling/photo", json={"name": "cut.jpg", "boxes": BOXES})
    assert (answer.status_code, answer.json()["error"]) == (422, "cut.jpg: the file ends early")
    capsys.readouterr()
    desk("--photos", str(folder))
    told = capsys.readouterr().out
    assert f"{2 if others else 3} confirmed photos of no use, left out of the data set, such as " in told
    if others:
        assert {photo.name for photo in read(review).photos} == {"caf\u00e9.jpg", "good.jpg"}
    else:
        assert json.loads((review / "annotations.json").read_text())["images"] == []


@pytest.mark.parametrize("side", [64, 80], ids=["the same size", "another size"])
def test_a_photo_that_is_replaced_while_the_server_runs_keeps_no_box_of_the_one_before(
    desk: Make, named: Path, shelves: Callable, side: int
) -> None:
    new = shelves("NEW/a.png")
    visitor = client(desk("--photos", str(new)))
    Image.fromarray(np.random.default_rng(7).integers(0, 255, (48, side, 3), np.uint8)).save(new / "a.png")
    answer = visitor.post("/labelling/photo", json={"name": "a.png", "boxes": BOXES})
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("a.png: another file lies there now than its boxes were found on; start ")
    assert len((named / "review" / "confirmed.jsonl").read_text().splitlines()) == 1
    confirm(client(desk("--photos", str(new))), "a.png")
    assert [(photo.width, photo.height) for photo in read(named / "review" / "confirmed").photos] == [(side, 48)]


@pytest.mark.parametrize("named_now", ["NEW", "MORE"], ids=["named now", "not named now"])
def test_a_photo_that_was_replaced_after_it_was_confirmed_is_left_out_and_asked_for_again(
    desk: Make, named: Path, shelves: Callable, capsys: pytest.CaptureFixture[str], named_now: str
) -> None:
    folders = {"NEW": shelves("NEW/a.png"), "MORE": shelves("MORE/other.png")}
    shutil.copy(folders["MORE"] / "other.png", folders["NEW"] / "b.png")
    visitor = client(desk("--photos", str(folders["NEW"])))
    confirm(visitor, "a.png")
    Image.fromarray(np.random.default_rng(7).integers(0, 255, (48, 80, 3), np.uint8)).save(folders["NEW"] / "a.png")
    confirm(visitor, "b.png")  # the set that is written then has no box of the one before either
    assert [photo.name for photo in read(named / "review" / "confirmed").photos] == ["b.png"]
    capsys.readouterr()
    visitor = client(desk("--photos", str(folders[named_now])))
    assert "1 confirmed photo replaced by another file, left out of the data set, the first is a.png" in capsys.readouterr().out
    assert [photo.name for photo in read(named / "review" / "confirmed").photos] == ["b.png"]
    if named_now == "NEW":
        assert {row["name"]: row["confirmed"] for row in visitor.get("/labelling").json()["queue"]} == {
            "a.png": False,
            "b.png": True,
        }
        confirm(visitor, "a.png")
        assert len(read(named / "review" / "confirmed").photos) == 2


def test_a_photo_that_made_room_for_another_is_not_mixed_up_with_it(desk: Make, shelves: Callable) -> None:
    new = shelves("NEW/a.png")
    confirm(client(desk("--photos", str(new))), "a.png")
    (new / "a.png").rename(new / "z.png")
    shelves("NEW/a.png")
    Image.fromarray(np.random.default_rng(7).integers(0, 255, (48, 64, 3), np.uint8)).save(new / "a.png")
    with pytest.raises(ValueError, match=r"holds what was confirmed on .*a\.png, another photo of the name a\.png"):
        desk("--photos", str(new))

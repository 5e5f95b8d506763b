"""Decisions about labels and confirmed photos: on the disk before they are answered, whole after a kill, of use afterwards."""

import json
import resource
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image
from starlette.testclient import TestClient
from synced_files import synced_contents

from photos.data import read
from photos.studio import STUDIO
from reviewing import review
from reviewing.access import Access
from reviewing.decision_log import DecisionLog
from reviewing.server import application
from runs import process
from stage2_classifier.label_review.relabel import relabel

HERE = "http://127.0.0.1:8000"
Make = Callable[..., object]


def client(desk: object) -> TestClient:
    return TestClient(application(desk, Access()), base_url=HERE)  # type: ignore[arg-type]


def test_an_empty_log_begins_and_a_cut_off_line_is_dropped_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "decisions.jsonl"
    log = DecisionLog(path, {"a": 1})
    assert (log.rows, log.dropped) == ([], 0)
    log.add({"id": 1})
    with path.open("ab") as file:
        file.write(b'{"id": 2')  # as a kill leaves it
    again = DecisionLog(path, {"a": 1})
    again.add({"id": 3})
    assert (again.rows, again.dropped) == ([{"id": 1}, {"id": 3}], 1)
    assert DecisionLog(path, {"a": 1}).rows == [{"id": 1}, {"id": 3}]
    with pytest.raises(ValueError, match="about other things"):
        DecisionLog(path, {"a": 2})


def test_a_decision_is_on_the_disk_before_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, synced = DecisionLog(tmp_path / "decisions.jsonl", {"a": 1}), synced_contents(monkeypatch)
    log.add({"id": 1})
    assert synced == [b'{"about": {"a": 1}}\n{"id": 1}\n']


def full(size: int) -> None:
    """Let no file of this process grow beyond `size` bytes, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


@pytest.fixture
def room() -> Iterator[Callable[[], None]]:
    """Takes the limit of `full` back, in the end too."""

    def give() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    yield give
    give()


def test_a_decision_that_the_disk_does_not_take_whole_leaves_nothing_for_the_next_to_follow(
    tmp_path: Path, room: Callable[[], None]
) -> None:
    path = tmp_path / "decisions.jsonl"
    log = DecisionLog(path, {"a": 1})
    log.add({"id": 1})
    before = path.read_bytes()
    full(len(before) + 5)
    with pytest.raises(OSError, match="too large"):
        log.add({"id": 2})
    room()
    assert path.read_bytes() == before
    log.add({"id": 3})
    assert DecisionLog(path, {"a": 1}).rows == log.rows == [{"id": 1}, {"id": 3}]


@pytest.mark.parametrize(
    ("route", "body", "file"),
    [
        ("/doubts/1", {"action": "accept"}, "decisions.jsonl"),
        ("/labelling/photo", {"name": "img_3.png", "boxes": []}, "confirmed.jsonl"),
    ],
)
def test_a_full_disk_is_told_as_that(
    desk: Make, named: Path, room: Callable[[], None], route: str, body: dict, file: str
) -> None:
    visitor = client(desk())
    full((named / "review" / file).stat().st_size + 5)
    answer = visitor.post(route, json=body)
    room()
    assert answer.status_code == 507
    assert f"{file}: not kept (File too large); make room for it, then decide again" in answer.json()["error"]
    assert visitor.post(route, json=body).status_code == 200


def test_decisions_survive_and_are_applied_to_a_copy(desk: Make, data: Path, named: Path, tmp_path: Path) -> None:
    visitor = client(desk())
    decisions = {
        1: {"action": "rename", "category_id": 40},
        2: {"action": "accept"},
        3: {"action": "redraw", "bbox": [1, 2, 100, 10]},
    }
    for number, decision in decisions.items():
        assert visitor.post(f"/doubts/{number}", json=decision).status_code == 200
    rows = client(desk()).get("/doubts").json()  # another server on the same files
    assert {row["id"]: row["decision"]["action"] for row in rows} == {1: "rename", 2: "accept", 3: "redraw"}
    assert relabel(read(data), named / "review" / "proposals.json", tmp_path / "copy").total() == 3
    boxes = {a["image_id"]: a for a in json.loads((tmp_path / "copy" / "annotations.json").read_text())["annotations"]}
    assert set(boxes) == {1, 3}
    assert (boxes[1]["category_id"], boxes[3]["bbox"], boxes[3]["category_id"]) == (40, [1, 2, 63, 10], 40)


def test_decisions_about_another_list_are_to_be_applied_first(desk: Make, named: Path) -> None:
    client(desk()).post("/doubts/1", json={"action": "accept"})
    path = named / "labels" / "proposals.json"
    path.write_text(json.dumps(json.loads(path.read_text())[:2]))
    with pytest.raises(
        ValueError, match=r"other things than now; apply them \(hylle labels .* --out COPY\), then move it away"
    ):
        desk()


def test_a_folder_of_no_studio_photos_keeps_nobody_from_the_labels(
    desk: Make, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / STUDIO / "Te").mkdir(parents=True)
    rows = client(desk()).get("/doubts").json()
    assert len(rows) == 3 and "so there are no studio photos" in capsys.readouterr().out
    with pytest.raises(ValueError, match=r"studio photos: got .*, need FOLDER/PRODUCT"):
        desk("--studio", str(data / STUDIO))


@pytest.mark.parametrize("action", ["reject", "undo"])
def test_what_is_rejected_or_undone_is_not_applied(desk: Make, data: Path, named: Path, tmp_path: Path, action: str) -> None:
    visitor = client(desk())
    visitor.post("/doubts/1", json={"action": "accept"})
    visitor.post("/doubts/1", json={"action": action})
    assert relabel(read(data), named / "review" / "proposals.json", tmp_path / "copy").total() == 0


@pytest.mark.parametrize(
    ("number", "decision"),
    [
        pytest.param(9, {"action": "accept"}, id="no such proposal"),
        pytest.param(1, {}, id="no action"),
        pytest.param(1, {"action": "rename", "category_id": 99}, id="no such name"),
        pytest.param(1, {"action": "rename", "category_id": [7]}, id="a list for a name"),
        pytest.param(1, {"action": "rename", "category_id": True}, id="a truth for a name"),
        pytest.param(1, {"action": "redraw", "bbox": [70, 0, 5, 5]}, id="a box beside the photo"),
        pytest.param(1, {"action": "redraw", "bbox": [0, 0, "5", 5]}, id="a box of words"),
        pytest.param(1, {"action": "redraw", "bbox": [0, 0, True, 5]}, id="a box of a truth"),
        pytest.param(1, {"action": "redraw", "bbox": [0, 0, 10**400, 5]}, id="a box of a number that no float holds"),
    ],
)
def test_a_decision_of_no_sense_is_refused_and_not_kept(desk: Make, number: int, decision: dict) -> None:
    made = desk()
    answer = client(made).post(f"/doubts/{number}", json=decision)
    assert answer.status_code == 422 and answer.json()["error"]
    assert made.doubts.log.rows == []  # type: ignore[attr-defined]


def test_pictures_of_a_doubt(desk: Make) -> None:
    visitor = client(desk())
    assert {visitor.get(path).status_code for path in ("/doubts/1/crop.jpg", "/doubts/1/examples/7/0.jpg")} == {200}
    assert {
        visitor.get(path).status_code for path in ("/doubts/9/crop.jpg", "/doubts/1/examples/7/3.jpg", "/studio/7.jpg")
    } == {404}


def test_what_is_confirmed_is_a_data_set(desk: Make, named: Path) -> None:
    visitor = client(desk())
    queue = visitor.get("/labelling").json()
    assert (queue["total"], [row["name"] for row in queue["queue"]]) == (1, ["img_3.png"])
    shown = visitor.get("/labelling/photo", params={"name": "img_3.png"}).json()
    boxes = [*shown["boxes"][:1], {"bbox": [40, 40, 10, 10], "name": "Saft"}, {"bbox": [2, 40, 10, 10], "name": "saft "},
             {"bbox": [20, 1, 10, 10], "name": "te"}]  # fmt: skip
    assert visitor.post("/labelling/photo", json={"name": "img_3.png", "boxes": boxes}).status_code == 200
    dataset = read(named / "review" / "confirmed")
    assert [category.name for category in dataset.categories] == ["Blåbær", "Müsli", "Te", "Saft"]
    labels = [dataset.categories[label].name for label in dataset.photos[0].labels]
    assert labels == [shown["boxes"][0]["name"], "Saft", "Saft", "Te"]
    assert dataset.notes == ()
    again = client(desk())
    assert again.get("/labelling").json()["queue"][0]["confirmed"]
    assert len(again.get("/labelling/photo", params={"name": "img_3.png"}).json()["boxes"]) == 4


def test_the_queue_tells_as_many_boxes_as_were_confirmed(desk: Make) -> None:
    visitor = client(desk())
    assert visitor.get("/labelling").json()["queue"][0]["boxes"] == 2
    boxes = [{"bbox": [x, 40, 10, 10], "name": "Te"} for x in (2, 20, 40)]
    assert visitor.post("/labelling/photo", json={"name": "img_3.png", "boxes": boxes}).status_code == 200
    assert visitor.get("/labelling").json()["queue"][0]["boxes"] == 3


@pytest.mark.parametrize("policy", ["raw", "detector", "product", "agree"])
def test_a_box_that_is_drawn_as_the_models_would_gets_their_names(desk: Make, named: Path, policy: str) -> None:
    path = named / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"gate": {"policy": policy}}))
    visitor = client(desk())
    shown = visitor.get("/labelling/photo", params={"name": "img_3.png"}).json()
    predicted = [*shown["boxes"], *shown["hidden"]]
    asked = [{"name": "img_3.png", "bbox": box["bbox"]} for box in predicted]
    answers = [visitor.post("/labelling/guesses", json=body).json() for body in asked]
    assert len(answers) == 2
    assert answers == [{key: box[key] for key in ("category_id", "name", "guesses")} for box in predicted]
    assert {len(answer["guesses"]) for answer in answers} == {3}
    assert len({answer["name"] for answer in answers}) == (2 if policy == "detector" else 1)


def test_a_drawn_box_has_no_name_where_no_model_knows_names(desk: Make, named: Path) -> None:
    path = named / "ensemble.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"classifiers": [], "detectors": values["detectors"][:1]}))
    answer = client(desk()).post("/labelling/guesses", json={"name": "img_3.png", "bbox": [8, 16, 20, 24]})
    assert (answer.status_code, answer.json()) == (200, {"name": "", "guesses": []})


@pytest.mark.parametrize(
    ("body", "status"),
    [
        pytest.param({}, 404, id="no photo"),
        pytest.param({"name": "other.png", "bbox": [0, 0, 9, 9]}, 404, id="no such photo"),
        pytest.param({"name": "img_3.png"}, 422, id="no box"),
        pytest.param({"name": "img_3.png", "bbox": [70, 0, 5, 5]}, 422, id="a box beside the photo"),
    ],
)
def test_names_of_what_is_no_box_are_refused(desk: Make, body: dict, status: int) -> None:
    answer = client(desk()).post("/labelling/guesses", json=body)
    assert (answer.status_code, bool(answer.json()["error"])) == (status, True)


def test_a_box_that_the_classifier_was_not_asked_about_has_no_name_yet(desk: Make, named: Path) -> None:
    path = named / "ensemble.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"naming_floor": 1.01, "detectors": values["detectors"][:1]}))
    visitor = client(desk())
    boxes = visitor.get("/labelling/photo", params={"name": "img_3.png"}).json()["boxes"]
    assert boxes and [(box["name"], box["guesses"]) for box in boxes] == [("", [])] * len(boxes)
    answer = visitor.post("/labelling/guesses", json={"name": "img_3.png", "bbox": boxes[0]["bbox"]}).json()
    assert answer["name"] == "Blåbær"


def test_a_confirmation_of_no_sense_is_refused(desk: Make) -> None:
    visitor = client(desk())
    for boxes in ("x", [3], [{"bbox": [0, 0, 9, 9]}], [{"bbox": [0, 0, 9, 9], "name": " "}],
                  [{"bbox": [0, 0, 9, 9], "category_id": [7]}]):  # fmt: skip
        assert visitor.post("/labelling/photo", json={"name": "img_3.png", "boxes": boxes}).status_code == 422
    assert visitor.post("/labelling/photo", json={"name": "other.png", "boxes": []}).status_code == 404
    for body in (b"[]", b"[" * 10**6):
        assert visitor.post("/labelling/photo", content=body).status_code == 422


def test_without_data_the_tabs_say_what_to_do(named: Path, tmp_path: Path) -> None:
    from reviewing.review import checked, desk_for, loaded, parser

    args = checked(parser("hylle review").parse_args([str(named)]))
    visitor = client(desk_for(args, loaded(args, tmp_path)))
    assert "--data D" in visitor.get("/state").json()["notes"]["labels"]
    assert "--photos" in visitor.get("/labelling").json()["error"]


def test_a_photo_that_no_data_set_takes_is_not_confirmed(desk: Make, tmp_path: Path, data: Path, named: Path) -> None:
    """One that is cut off, and one whose name has the letters of another's: the set could not be read any more."""
    folder, photo = tmp_path / "photos", Image.open(next((data / "images").glob("*.png"))).convert("RGB")
    folder.mkdir()
    for name in ("caf\u00e9.jpg", "cafe\u0301.jpg", "cut.jpg"):
        photo.save(folder / name)
    (folder / "cut.jpg").write_bytes((folder / "cut.jpg").read_bytes()[:-2])
    visitor = client(desk("--photos", str(folder)))
    boxes = [{"bbox": [1, 2, 20, 30], "name": "tea"}]
    answers = {
        path.name: visitor.post("/labelling/photo", json={"name": path.name, "boxes": boxes}).status_code
        for path in folder.iterdir()
    }
    assert answers["cut.jpg"] == 422 and sorted(answers.values()) == [200, 422, 422]
    assert any("ends early" in row["problem"] for row in visitor.get("/labelling").json()["queue"])
    assert len(read(named / "review" / "confirmed").photos) == 1


def test_photos_of_another_folder_under_the_same_names_are_refused(desk: Make, tmp_path: Path, data: Path, named: Path) -> None:
    """Their boxes would be written beside the pixels of the first folder. Those of other names join the set."""
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    for folder, name in ((first, "IMG_1.png"), (second, "IMG_1.png"), (third, "IMG_2.png")):
        folder.mkdir()
        (folder / name).write_bytes(next((data / "images").glob("*.png")).read_bytes())
    boxes = [{"bbox": [1, 2, 20, 30], "name": "tea"}]
    for folder, name in ((first, "IMG_1.png"), (third, "IMG_2.png")):
        answer = client(desk("--photos", str(folder))).post("/labelling/photo", json={"name": name, "boxes": boxes})
        assert answer.status_code == 200, answer.text
    assert {photo.name for photo in read(named / "review" / "confirmed").photos} == {"IMG_1.png", "IMG_2.png"}
    with pytest.raises(ValueError, match=r"holds what was confirmed on .*first/IMG_1.png, another photo of the name IMG_1.png"):
        desk("--photos", str(second))


def test_a_second_server_on_the_same_decisions_is_refused(
    tmp_path: Path, named: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    review.claim(tmp_path)
    review.claim(tmp_path)  # its own
    monkeypatch.setattr(process.os, "getpid", lambda: 1)
    monkeypatch.setattr(process, "is_alive", lambda out: True)
    assert review.main([str(named), "--data", str(data), "--out", str(tmp_path), "--port", "0"]) == 2
    assert "keeps its decisions there; end it first, or pass another --out" in capsys.readouterr().err


@pytest.mark.parametrize("flag", ["--photos", "--data"])
def test_what_cannot_be_read_is_refused_before_models_are_loaded_and_leaves_nothing(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], flag: str
) -> None:
    monkeypatch.setattr(review, "loaded", lambda args, scratch: pytest.fail("the models were loaded"))
    out = tmp_path / "decisions"
    assert review.main([str(named), flag, str(tmp_path / "none"), "--out", str(out), "--port", "0"]) == 2
    assert "no such" in capsys.readouterr().err and not out.exists()

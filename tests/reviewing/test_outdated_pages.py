"""A page that was loaded from another start of the server, or before somebody else decided, overwrites nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from reviewing.access import Access
from reviewing.server import application

Make = Callable[..., object]
TEA = [{"bbox": [40, 40, 10, 10], "name": "Te"}]


def client(desk: object) -> TestClient:
    return TestClient(application(desk, Access()), base_url="http://127.0.0.1:8000")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("route", "body"),
    [
        ("/doubts/1", {"action": "accept"}),
        ("/labelling/photo", {"name": "img_3.png", "boxes": TEA}),
        ("/labelling/guesses", {"name": "img_3.png", "bbox": [8, 16, 20, 24]}),
        ("/photos", None),  # its names would be those of another model
    ],
)
def test_a_page_of_an_earlier_start_is_refused(desk: Make, named: Path, data: Path, route: str, body: dict | None) -> None:
    before = client(desk()).get("/state").json()["start"]
    visitor = client(desk())  # the server, started anew
    content = json.dumps(body).encode() if body else (data / "images" / "img_1.png").read_bytes()
    old, own, program = ({"x-server-start": before}, {"x-server-start": visitor.get("/state").json()["start"]}, {})
    logs = [path.read_text() for path in (named / "review").glob("*.jsonl")]
    answer = visitor.post(route, content=content, headers=old)
    assert (answer.status_code, "started anew" in answer.json()["error"]) == (409, True)
    assert [path.read_text() for path in (named / "review").glob("*.jsonl")] == logs
    assert [visitor.post(route, content=content, headers=headers).status_code for headers in (own, program)] == [200, 200]


def test_a_decision_on_what_somebody_else_decided_meanwhile_is_refused(desk: Make) -> None:
    made = desk()
    visitor = client(made)
    seen = visitor.get("/doubts").json()[0]["revision"]
    first = visitor.post("/doubts/1", json={"action": "reject", "revision": seen})
    late = visitor.post("/doubts/1", json={"action": "accept", "revision": seen})
    assert (late.status_code, "decided elsewhere meanwhile" in late.json()["error"]) == (409, True)
    assert [row["action"] for row in made.doubts.log.rows] == ["reject"]  # type: ignore[attr-defined]
    shown = visitor.get("/doubts").json()[0]["revision"]
    assert shown == first.json()["revision"] != seen
    assert visitor.post("/doubts/1", json={"action": "undo", "revision": shown}).status_code == 200
    assert visitor.post("/doubts/2", json={"action": "accept", "revision": 0}).status_code == 200  # another proposal


def test_a_confirmation_of_what_somebody_else_confirmed_meanwhile_is_refused(desk: Make) -> None:
    made = desk()
    visitor = client(made)
    seen = visitor.get("/labelling/photo", params={"name": "img_3.png"}).json()["revision"]
    body = {"name": "img_3.png", "boxes": TEA, "revision": seen}
    first, late = (visitor.post("/labelling/photo", json=body) for _ in range(2))
    assert (first.status_code, late.status_code) == (200, 409)
    assert late.json()["error"] == "not taken: img_3.png was confirmed elsewhere meanwhile; open it again"
    assert len(made.labelling.log.rows) == 1  # type: ignore[attr-defined]
    shown = visitor.get("/labelling/photo", params={"name": "img_3.png"}).json()["revision"]
    assert shown == first.json()["revision"] != seen
    assert visitor.post("/labelling/photo", json=body | {"revision": shown}).status_code == 200


@pytest.mark.parametrize("name", ["Te", " te", "", None])
def test_an_id_and_a_name_that_contradict_each_other_are_refused(desk: Make, name: str | None) -> None:
    visitor = client(desk())
    number = {row["name"]: row["id"] for row in visitor.get("/state").json()["products"]}
    box = {"bbox": [40, 40, 10, 10], "category_id": number["Te"], "name": name}
    assert visitor.post("/labelling/photo", json={"name": "img_3.png", "boxes": [box]}).status_code == 200
    wrong = box | {"category_id": number["Müsli"], "name": "Te"}
    answer = visitor.post("/labelling/photo", json={"name": "img_3.png", "boxes": [wrong]})
    assert (answer.status_code, "which is Müsli, with the name Te" in answer.json()["error"]) == (422, True)

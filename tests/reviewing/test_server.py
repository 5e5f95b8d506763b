"""What the server answers: run.py's numbers, limits, strangers, visitors apart from each other."""

import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from fusion.gate import MIN_FIRST_SCORE
from fusion.pipeline import load, merge
from reviewing.access import Access, is_loopback
from reviewing.evidence import UNNAMED, recognised_boxes
from reviewing.server import application
from reviewing.uploads import Limits
from reviewing.visitors import Bounds, Visitors

HERE = "http://127.0.0.1:8000"
SECRET = "a secret of enough letters"
Make = Callable[..., object]


def client(desk: object, access: Access | None = None, base: str = HERE) -> TestClient:
    return TestClient(application(desk, access or Access()), base_url=base)  # type: ignore[arg-type]


def photo(width: int = 64, height: int = 64, form: str = "PNG") -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(1).integers(0, 255, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size; nothing is compressed that large here."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(b"\0" * 1000)
    parts = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (chunk, body, b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def jpeg_bomb(width: int, height: int) -> bytes:
    """A small JPEG whose header claims a huge size."""
    data = bytearray(photo(form="JPEG"))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def test_predictions_are_those_of_the_judged_pipeline(desk: Make, named: Path) -> None:
    data = photo()
    pixels = cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    truth = [row for row in load(named)(np.asarray(pixels, np.uint8)) if row["score"] >= 0.3]
    answer = client(desk()).post("/predict", content=data).json()
    rows = [{key: box[key] for key in ("category_id", "bbox", "score")} for box in answer["boxes"]]
    assert len(truth) == 2
    assert sorted(rows, key=str) == sorted(truth, key=str)
    assert sum(row["facings"] for row in answer["facings"]) == len(truth)


@pytest.mark.parametrize("floor", [0.0, 0.5, 1.01])
def test_boxes_below_the_naming_floor_are_named_as_the_judged_pipeline_names_them(
    floor: float, desk: Make, named: Path
) -> None:
    path = named / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"naming_floor": floor, "min_scores": {"f1": 0.0}}))
    data = photo()
    pixels = np.asarray(
        cv2.cvtColor(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8
    )
    pipeline = load(named)
    merged = merge(pipeline.detect(pixels), pipeline.ensemble)
    faint = int((merged.scores < floor).sum())
    boxes = recognised_boxes(pipeline, pixels, ["a"] * len(pipeline.ensemble.categories))
    assert sum(box.why == UNNAMED and box.classifier == [] for box in boxes) == faint
    firsts = [row for row in pipeline(pixels) if row["score"] >= MIN_FIRST_SCORE]
    assert sorted((box.row for box in boxes), key=str) == sorted(firsts, key=str)


@pytest.mark.parametrize(
    ("content", "status", "told"),
    [
        pytest.param(b"", 400, "no bytes", id="empty"),
        pytest.param(b"a shopping list\n" * 50, 415, "not a photo", id="text"),
        pytest.param(b"\0" * 2_000_001, 413, "at most 2 MB", id="too many bytes"),
        pytest.param(png_header(30_000, 30_000), 413, "at most 60 megapixels", id="a PNG of 900 megapixels"),
        pytest.param(jpeg_bomb(65_000, 65_000), 413, "65000x65000 pixels", id="a JPEG of 4,225 megapixels, by its header"),
        pytest.param(png_header(30_000, 10), 413, "30000x10 pixels", id="a photo of 30,000 pixels a side"),
        pytest.param(png_header(1000, 1000), 422, "cannot be", id="pixels that are missing"),
        pytest.param(photo(form="JPEG")[:40], 422, "cannot be read", id="cut off in the header"),
        pytest.param(b"\0\0\0\x18ftypheic" + b"\0" * 40, 415, "export it as JPEG", id="HEIC"),
        pytest.param(photo(form="GIF"), 415, "export it as JPEG", id="GIF"),
    ],
)
def test_what_is_no_photo_or_too_large_is_refused_and_the_server_lives(
    desk: Make, content: bytes, status: int, told: str
) -> None:
    made = desk()
    made.limits = Limits(bytes=2_000_000)  # type: ignore[attr-defined]
    visitor = client(made)
    answer = visitor.post("/photos", content=content)
    assert (answer.status_code, told in answer.json()["error"]) == (status, True), answer.text
    assert visitor.post("/predict", content=photo()).status_code == 200


@pytest.mark.parametrize("route", ["/photos", "/labelling/photo.jpg?name=img_3.png"])
def test_pixels_that_opencv_gives_up_on_are_told(desk: Make, monkeypatch: pytest.MonkeyPatch, route: str) -> None:
    def too_long(*_: object) -> None:
        raise cv2.error("imdecode: the side\nis too long")

    visitor = client(desk())
    monkeypatch.setattr("reviewing.uploads.read_photo", too_long)
    monkeypatch.setattr("reviewing.routes.confirm.read_photo", too_long)
    answer = visitor.post(route, content=photo()) if route == "/photos" else visitor.get(route)
    assert (answer.status_code, "imdecode: the side" in answer.json()["error"]) == (422, True), answer.text


def test_a_body_without_a_declared_length_is_counted_as_it_comes(desk: Make) -> None:
    made = desk()
    made.limits = Limits(bytes=1000)  # type: ignore[attr-defined]
    answer = client(made).post("/predict", content=(b"x" * 600 for _ in range(3)))
    assert answer.status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        pytest.param({}, 200, id="a program"),
        pytest.param({"origin": HERE, "sec-fetch-site": "same-origin"}, 200, id="the page"),
        pytest.param({"origin": "http://evil.example"}, 403, id="another page"),
        pytest.param({"origin": "null"}, 403, id="a page of no origin"),
        pytest.param({"sec-fetch-site": "cross-site"}, 403, id="another site, by the browser's word"),
        pytest.param({"host": "evil.example:8000"}, 421, id="a name that resolves to this machine"),
        pytest.param({"host": "127.0.0.1:8000@evil.example"}, 421, id="a malformed host"),
        pytest.param({"host": "localhost:8000"}, 200, id="localhost"),
    ],
)
def test_only_its_own_page_and_programs_here_may_ask(desk: Make, headers: dict[str, str], status: int) -> None:
    assert client(desk()).post("/predict", content=photo(), headers=headers).status_code == status


def test_beyond_this_machine_a_token_is_needed(desk: Make) -> None:
    served = application(desk(), Access(token=SECRET))  # type: ignore[arg-type]
    stranger, friend = (TestClient(served, base_url="http://shop.local:8000", follow_redirects=False) for _ in range(2))
    assert stranger.get("/").status_code == stranger.post("/predict", content=photo()).status_code == 401
    assert stranger.get("/?token=wrong").status_code == 401
    assert stranger.get("/state", headers={"authorization": f"Bearer {SECRET}"}).status_code == 200
    opened = friend.get("/", params={"token": SECRET})
    assert (opened.status_code, opened.headers["location"]) == (303, "/")
    assert friend.get("/").status_code == 200
    assert "HttpOnly" in opened.headers["set-cookie"] and "samesite=strict" in opened.headers["set-cookie"].lower()


def test_two_visitors_do_not_see_each_others_photos(desk: Make) -> None:
    served = application(desk(), Access())  # type: ignore[arg-type]
    one, other = TestClient(served, base_url=HERE), TestClient(served, base_url=HERE)
    number = one.post("/photos", content=photo()).json()["id"]
    files = ("shelf", "shown.jpg", "predictions.csv", "facings.csv", "predictions.json", "picture.jpg")
    assert {one.get(f"/photos/{number}/{file}").status_code for file in files} == {200}
    assert {other.get(f"/photos/{number}/{file}").status_code for file in files} == {404}


def test_memory_is_bounded_and_the_longest_unused_photo_goes(desk: Make) -> None:
    made = desk()
    made.visitors = Visitors(Bounds(photos=2))  # type: ignore[attr-defined]
    visitor = client(made)
    numbers = [visitor.post("/photos", content=photo(64 + i)).json()["id"] for i in range(3)]
    assert [visitor.get(f"/photos/{number}/shelf").status_code for number in numbers] == [404, 200, 200]
    made.visitors = Visitors(Bounds(bytes=1))  # type: ignore[attr-defined]
    numbers = [visitor.post("/photos", content=photo()).json()["id"] for _ in range(2)]
    assert [visitor.get(f"/photos/{number}/shelf").status_code for number in numbers] == [404, 200]


def test_the_floor_begins_at_the_fitted_one_and_cuts_everything(desk: Make) -> None:
    visitor = client(desk())
    assert visitor.get("/state").json()["floor"] == 0.3
    number = visitor.post("/photos", content=photo()).json()["id"]
    scores = [box["score"] for box in visitor.get(f"/photos/{number}/shelf?floor=0").json()["boxes"]]
    floor = (min(scores) + max(scores)) / 2
    assert len(visitor.get(f"/photos/{number}/shelf?floor={floor}").json()["boxes"]) == 1
    assert len(json.loads(visitor.get(f"/photos/{number}/predictions.json?floor={floor}").content)["annotations"]) == 1
    assert visitor.get(f"/photos/{number}/predictions.csv?floor={floor}").text.count("\n") == 2
    assert {visitor.get(f"/photos/{number}/shelf?floor={bad}").status_code for bad in ("2", "nan", "x")} == {422}


def test_the_page_has_every_box_that_a_low_fitted_floor_counts(desk: Make, named: Path) -> None:
    path = named / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"min_scores": {"f1": 1e-6}}))
    made = desk()
    recognise = made.recognise  # type: ignore[attr-defined]

    def faint(frame: object) -> object:
        found = recognise(frame)
        return found._replace(boxes=[box._replace(row=box.row | {"score": 0.001}) for box in found.boxes])

    made.recognise = faint  # type: ignore[attr-defined]
    answer = client(made).post("/photos", content=photo()).json()
    assert len(answer["candidates"]) == len(answer["shelf"]["boxes"]) == 2


def test_no_other_origin_is_named(desk: Make) -> None:
    visitor = client(desk())
    page = visitor.get("/")
    assert "default-src 'self'" in page.headers["content-security-policy"]
    static = Path(__file__).resolve().parents[2] / "reviewing" / "static"
    texts = [page.text, *(path.read_text() for path in static.iterdir())]
    assert not any("//" in text.replace("http://www.w3.org/2000/svg", "").replace("// ", "") for text in texts)
    assert {visitor.get(f"/static/{path.name}").status_code for path in static.iterdir()} == {200}
    assert visitor.get("/static/../server.py").status_code == visitor.get("/static/%2e%2e/server.py").status_code == 404


def test_addresses_that_others_reach() -> None:
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "0.0.0.0", "192.168.1.5")] == [True, True, False, False]

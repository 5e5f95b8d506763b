"""The page in Debian's chromium, against a server of its own: what a person does with mouse and keys, and what a kill costs."""

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from page_in_browser import Served, drag, last, needs_browser, seen
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, in [dev]")
pytestmark = needs_browser


def test_a_photo_is_tried(visit: Callable[[], "sync_api.Page"], data: Path) -> None:
    page = visit()
    page.set_input_files("#file", str(data / "images" / "img_1.png"))
    page.wait_for_selector("#try-view rect")
    assert float(page.input_value("#floor")) == pytest.approx(0.3, abs=0.001)
    assert page.locator("#try-view rect").count() == 2
    page.locator("#try-view rect").first.hover()
    told = page.inner_text("#hover")
    assert "detector" in told and "classifier" in told and "the gate always takes the classifier's name" in told
    assert page.locator("#planogram .facing").count() == 2
    page.locator("#floor").fill("0.99")
    sync_api.expect(page.locator("#facings tbody tr")).to_have_count(0)
    assert page.locator("#try-view rect").count() == 0
    page.click("#floor-reset")
    page.wait_for_selector("#facings tbody tr")
    for file, start in (("predictions.csv", b"\xef\xbb\xbfphoto"), ("predictions.json", b"{"), ("picture.jpg", b"\xff\xd8")):
        with page.expect_download() as download:
            page.click(f"[data-file='{file}']")
        assert Path(download.value.path()).read_bytes().startswith(start)


def test_a_kill_in_mid_review_loses_nothing(visit: Callable[[], "sync_api.Page"], served: Served, named: Path) -> None:
    log = named / "review" / "decisions.jsonl"
    page = visit()
    page.click("[data-tab=labels]")
    seen(page, "#label-view")
    page.keyboard.press("a")
    sync_api.expect(page.locator("#label-title")).to_contain_text("2 of 3")
    assert last(log)["action"] == "accept"
    page.click("#tab-labels [data-action=reject]")
    sync_api.expect(page.locator("#label-title")).to_contain_text("3 of 3")
    assert last(log)["action"] == "reject"
    seen(page, "#label-view")
    drag(page, "#label-view", (0.3, 0.3), (0.6, 0.6))
    sync_api.expect(page.locator("#label-decision")).to_have_text("redrawn")
    drawn = last(log)["bbox"]
    page.keyboard.press("n")
    page.keyboard.type("mü")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#label-decision")).to_have_text("renamed")
    served.kill()
    decisions = [json.loads(line) for line in log.read_text().splitlines()[1:]]
    assert [row["action"] for row in decisions] == ["accept", "reject", "redraw", "rename"]
    assert (decisions[3]["category_id"], decisions[3]["bbox"]) == (7, drawn)
    page.keyboard.press("u")
    page.wait_for_selector("#message.error")
    assert "does not answer" in page.inner_text("#message")
    served.start()
    again = visit()
    again.click("[data-tab=labels]")
    assert again.inner_text("#labels-count") == "(0)"
    applied = json.loads((named / "review" / "proposals.json").read_text())
    assert [row["apply"] for row in applied] == [True, False, True]


def test_boxes_of_a_photo_without_labels_are_confirmed(visit: Callable[[], "sync_api.Page"], named: Path) -> None:
    from photos.data import read

    page = visit()
    page.click("[data-tab=confirm]")
    page.wait_for_selector("#confirm-view rect")
    before = page.locator("#confirm-view rect").count()
    page.locator("#confirm-view rect").first.click(button="right")
    assert page.locator("#confirm-view rect").count() == before - 1
    page.keyboard.press("Control+z")
    assert page.locator("#confirm-view rect").count() == before
    page.locator("#confirm-view rect").first.click(button="right")
    drag(page, "#confirm-view", (0.7, 0.05), (0.95, 0.3))
    sync_api.expect(page.locator("#box-name")).to_have_text("Blåbær")  # what the classifier is sure of
    page.keyboard.press("2")
    second = page.inner_text("#box-name")
    assert second != "Blåbær"
    drag(page, "#confirm-view", (0.05, 0.7), (0.2, 0.95))
    sync_api.expect(page.locator("#box-name")).to_have_text("Blåbær")
    page.keyboard.press("0")  # the name that was given last
    drag(page, "#confirm-view", (0.75, 0.75), (0.98, 0.98))
    page.keyboard.type("Saft")
    page.keyboard.press("Enter")
    page.wait_for_selector("#confirm-name", state="hidden")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#confirm-count")).to_have_text("(0)")
    dataset = read(named / "review" / "confirmed")
    names = [dataset.categories[label].name for label in dataset.photos[0].labels]
    assert (len(names), names[-3:]) == (before + 2, [second, second, "Saft"])


def test_a_click_where_the_models_see_nothing_says_so(visit: Callable[[], "sync_api.Page"]) -> None:
    page = visit()
    page.click("[data-tab=confirm]")
    page.wait_for_selector("#confirm-view rect")
    before = page.locator("#confirm-view rect").count()
    place = page.locator("#confirm-view svg").bounding_box()
    page.mouse.click(place["x"] + 0.97 * place["width"], place["y"] + 0.03 * place["height"])
    sync_api.expect(page.locator("#message")).to_contain_text("drag to draw")
    assert page.locator("#confirm-view rect").count() == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_nothing_is_wider_than_the_window(
    visit: Callable[[], "sync_api.Page"], data: Path, width: int, scheme: Literal["light", "dark"]
) -> None:
    page = visit()
    page.set_viewport_size({"width": width, "height": 900})
    page.emulate_media(color_scheme=scheme)
    page.set_input_files("#file", str(data / "images" / "img_1.png"))
    page.wait_for_selector("#try-view rect")
    for tab in ("try", "labels", "confirm"):
        page.click(f"[data-tab={tab}]")
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0, tab
        assert page.locator(f"#tab-{tab}").is_visible()


def test_what_does_harm_is_refused_on_the_page(visit: Callable[[], "sync_api.Page"], served: Served, tmp_path: Path) -> None:
    page = visit()
    with (tmp_path / "large.jpg").open("wb") as file:
        file.truncate(200_000_000)
    (tmp_path / "list.txt").write_text("tea, milk\n")
    Image.new("1", (30_000, 30_000)).save(tmp_path / "wide.png")
    bomb = bytearray(jpeg())
    at = bomb.index(b"\xff\xc0")
    bomb[at + 5 : at + 9] = b"\xfd\xe8\xfd\xe8"  # 65,000 x 65,000
    (tmp_path / "bomb.jpg").write_bytes(bytes(bomb))
    assert "at most 30 MB" in answer_to_200_megabytes(served.base)
    said = {
        "large.jpg": "large.jpg has 200 MB, at most 30 MB",
        "list.txt": "not a photo",
        "wide.png": "at most 60 megapixels",
        "bomb.jpg": "65000x65000 pixels",
    }
    for file, told in said.items():
        page.set_input_files("#file", str(tmp_path / file))
        sync_api.expect(page.locator("#message.error")).to_contain_text(told, timeout=30_000)
    (tmp_path / "right.jpg").write_bytes(jpeg())
    page.set_input_files("#file", str(tmp_path / "right.jpg"))
    page.wait_for_selector("#try-view rect")
    assert served.process.poll() is None


def answer_to_200_megabytes(base: str) -> str:
    """What the server says to a body of 200 MB, which declares its length."""
    connection = http.client.HTTPConnection(base.removeprefix("http://"), timeout=30)
    connection.putrequest("POST", "/photos")
    connection.putheader("content-length", "200000000")
    connection.endheaders(b"\xff\xd8\xff")
    text = connection.getresponse().read().decode()
    connection.close()
    return text


def jpeg() -> bytes:
    import io

    file = io.BytesIO()
    Image.effect_noise((64, 64), 90).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def test_two_visitors_at_once_see_their_own_photos(visit: Callable[[], "sync_api.Page"], data: Path) -> None:
    one, other = visit(), visit()
    one.set_input_files("#file", str(data / "images" / "img_1.png"))
    one.wait_for_selector("#try-view rect")
    address = one.get_attribute("#try-view img", "src")
    assert one.request.get(one.url.rstrip("/") + address).status == 200
    assert other.request.get(other.url.rstrip("/") + address).status == 404

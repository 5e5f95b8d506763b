"""The page in Debian's chromium by keyboard and by fingers, with quick hands, and after the server was started anew."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from page_in_browser import Served, drag, last, needs_browser, seen
from PIL import Image

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, in [dev]")
pytestmark = needs_browser
Visit = Callable[[], "sync_api.Page"]
BOXES, COUNTED = "#confirm-view rect", "#confirm-view rect:not(.faint)"
FOCUSED = "() => document.activeElement.getAttribute('aria-label') ?? document.activeElement.tagName"


@pytest.fixture
def words(named: Path, data: Path, tmp_path: Path) -> list[str]:
    """Three photos to label, two boxes on each: one counts, one is dashed."""
    path = named / "ensemble.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"min_scores": {"f1": 0.75}}))
    (tmp_path / "photos").mkdir()
    for k in (1, 2, 3):
        Image.open(data / "images" / f"img_{k}.png").save(tmp_path / "photos" / f"p{k}.png")
    return [str(named), "--data", str(data), "--photos", str(tmp_path / "photos")]


@pytest.fixture
def labelling(visit: Visit) -> "sync_api.Page":
    """The third tab with its first photo, all photos predicted."""
    page = visit()
    page.wait_for_function("async () => (await (await fetch('/labelling')).json()).queue.length === 3")
    page.click("[data-tab=confirm]")
    seen(page, "#confirm-view")
    page.wait_for_selector(BOXES)
    return page


def test_boxes_are_counted_selected_named_and_removed_by_the_keyboard(labelling: "sync_api.Page") -> None:
    page, title = labelling, labelling.inner_text("#confirm-title")
    counted, boxes = page.locator(COUNTED).count(), page.locator(BOXES).count()
    assert 0 < counted < boxes
    page.locator(f"{BOXES}.faint").first.focus()
    assert "count it" in page.inner_text("#box-names")
    page.keyboard.press("Enter")
    assert (page.locator(COUNTED).count(), page.inner_text("#confirm-title")) == (counted + 1, title)
    page.keyboard.press("Control+z")
    page.locator(f"{BOXES}.faint").first.focus()
    page.keyboard.press("Space")
    assert page.locator(COUNTED).count() == counted + 1
    page.locator(BOXES).first.focus()
    page.keyboard.press("Space")
    own = page.evaluate(FOCUSED)
    while page.evaluate("() => document.activeElement.closest('#box-names') === null"):
        page.keyboard.press("Tab")
    assert page.inner_text("#box-name") == own  # not the box that was passed last
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the second name
    named = page.inner_text("#box-name")
    assert named != own and page.evaluate(FOCUSED) == named
    page.keyboard.type("Saft")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == page.inner_text("#box-name") == "Saft"
    page.keyboard.press("Delete")
    assert page.locator(BOXES).count() == boxes - 1 and page.evaluate(FOCUSED) != "BODY"


def test_the_key_that_ends_a_composition_takes_no_name(labelling: "sync_api.Page") -> None:
    page = labelling
    page.locator(COUNTED).first.focus()
    page.keyboard.press("x")
    page.locator("#confirm-name input").fill("おち")
    key = "{ key: 'Enter', isComposing: true, bubbles: true, cancelable: true }"
    page.locator("#confirm-name input").evaluate(f"input => input.dispatchEvent(new KeyboardEvent('keydown', {key}))")
    assert page.locator("#confirm-name input").input_value() == "おち"


def test_a_double_click_confirms_one_photo_and_undo_is_as_quick_as_the_hand(labelling: "sync_api.Page", named: Path) -> None:
    page, first = labelling, labelling.inner_text("#confirm-title")
    page.dblclick("[data-action=confirm]", delay=100)
    sync_api.expect(page.locator("#confirm-count")).to_have_text("(2)")
    seen(page, "#confirm-view")
    page.wait_for_timeout(500)
    assert [json.loads(row)["name"] for row in (named / "review" / "confirmed.jsonl").read_text().splitlines()[1:]] == [first]
    before = page.locator(BOXES).count()
    for _ in range(2):
        page.locator(BOXES).first.click(button="right")
    page.dblclick("#tab-confirm [data-action=undo]")
    assert page.locator(BOXES).count() == before


def test_a_key_that_is_held_down_on_a_button_confirms_one_photo(labelling: "sync_api.Page", named: Path) -> None:
    page = labelling
    page.locator("[data-action=confirm]").focus()
    for _ in range(8):
        page.keyboard.down("Enter")
        page.wait_for_timeout(100)
    page.keyboard.up("Enter")
    sync_api.expect(page.locator("#confirm-count")).to_have_text("(2)")
    assert len((named / "review" / "confirmed.jsonl").read_text().splitlines()) == 2


def test_two_fingers_enlarge_and_draw_nothing(labelling: "sync_api.Page") -> None:
    page, before = labelling, labelling.locator(BOXES).count()
    place = page.locator("#confirm-view svg").bounding_box()
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    hand = page.context.new_cdp_session(page)

    def fingers(kind: str, *apart: float) -> None:
        points = [{"x": x + by, "y": y + by, "id": k} for k, by in enumerate(apart)]
        hand.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    fingers("touchStart", -20)
    fingers("touchStart", -20, 20)
    for k in range(1, 6):
        fingers("touchMove", -20 - 8 * k, 20 + 8 * k)
    fingers("touchEnd")
    page.wait_for_timeout(300)
    assert page.locator(BOXES).count() == before and page.locator("#confirm-name").is_hidden()
    assert page.evaluate("getComputedStyle(document.getElementById('confirm-view')).touchAction") == "pinch-zoom"


def test_a_page_of_before_a_restart_decides_nothing(visit: Visit, served: Served, named: Path) -> None:
    page = visit()
    page.click("[data-tab=labels]")
    seen(page, "#label-view")
    served.kill()
    log = named / "review" / "decisions.jsonl"
    served.start(served.base.rsplit(":", 1)[1])
    page.keyboard.press("a")
    sync_api.expect(page.locator("#message.error")).to_contain_text("started anew since this page was loaded; reload the page")
    assert len(log.read_text().splitlines()) == 1
    page.reload()
    page.wait_for_selector("body[data-ready]")
    page.click("[data-tab=labels]")
    seen(page, "#label-view")
    page.keyboard.press("a")
    sync_api.expect(page.locator("#label-title")).to_contain_text("2 of 3")
    assert last(log)["action"] == "accept"


def test_who_decides_second_is_told_and_shown_what_was_decided(visit: Visit, named: Path) -> None:
    one, other = visit(), visit()
    for page in (one, other):
        page.click("[data-tab=labels]")
        seen(page, "#label-view")
    one.keyboard.press("r")
    sync_api.expect(one.locator("#label-title")).to_contain_text("2 of 3")
    other.keyboard.press("a")
    sync_api.expect(other.locator("#message.error")).to_contain_text("decided elsewhere meanwhile")
    sync_api.expect(other.locator("#label-decision")).to_have_text("rejected")
    assert last(named / "review" / "decisions.jsonl")["action"] == "reject"
    other.keyboard.press("a")
    sync_api.expect(other.locator("#label-title")).to_contain_text("2 of 3")
    assert last(named / "review" / "decisions.jsonl")["action"] == "accept"


def test_a_picture_that_is_gone_is_told_and_not_decided_about(visit: Visit, data: Path, named: Path) -> None:
    page = visit()
    page.click("[data-tab=labels]")
    (data / "images" / "img_3.png").unlink()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    sync_api.expect(page.locator("#message.error")).to_contain_text("no picture")
    page.keyboard.press("a")
    sync_api.expect(page.locator("#message")).to_contain_text("not taken: the picture is not there")
    drag(page, "#label-view", (0.3, 0.3), (0.6, 0.6))
    page.wait_for_timeout(200)
    assert len((named / "review" / "decisions.jsonl").read_text().splitlines()) == 1

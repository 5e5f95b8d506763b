"""The page in Debian's Chromium: printed, without a script, under fingers, and stepped through from either end."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from experiments.performance import browser as driver

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (make browser)")
pytestmark = [needs_browser, pytest.mark.slow]
BRIGHTNESS = "property => getComputedStyle(document.body)[property].match(/\\d+/g).slice(0, 3).reduce((a, b) => a + +b, 0) / 3"


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with driver.launched() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_printed_is_dark_on_white(browser, page: Path, scheme: str) -> None:
    window, _ = driver.visit(browser, page, 1280, scheme)
    window.emulate_media(media="print")
    assert [window.evaluate(BRIGHTNESS, key) > 128 for key in ("color", "backgroundColor")] == [False, True]
    assert window.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    window.close()


def test_without_a_script_nothing_is_shown_that_needs_one(browser, page: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    window = context.new_page()
    window.goto(page.resolve().as_uri())
    dead = window.locator("button, input, fieldset, .tools")
    assert dead.count() and not any(one.is_visible() for one in dead.all())
    assert "sorts by it" not in window.locator("#products p").first.inner_text()
    assert "step through" not in window.locator("#photos p").first.inner_text()
    assert window.locator("#products th").nth(2).inner_text() == "AP"
    context.close()


def test_the_mistake_before_the_first_is_the_last(browser, page: Path) -> None:
    window, _ = driver.visit(browser, page, 1280, "light")
    viewer = window.locator(".viewer:has(rect:not(.right))").first
    mistakes = viewer.locator("rect:not(.right)").count()
    assert mistakes > 1
    viewer.locator("[data-do=before]").click()
    assert viewer.locator(".said").inner_text().startswith(f"{mistakes} of {mistakes}: ")
    viewer.locator("[data-do=next]").click()
    assert viewer.locator(".said").inner_text().startswith(f"1 of {mistakes}: ")
    window.close()


def test_stepping_goes_on_from_the_same_mistake_where_a_kind_is_hidden(browser, page: Path, tmp_path: Path) -> None:
    kinds = ["missed", "invented", "invented", "invented"]
    rects = [
        f'<rect class="{kind}" x="{9 * k}" y="0" width="5" height="5"><title>{k}</title></rect>' for k, kind in enumerate(kinds)
    ]
    head, figure, rest = page.read_text().partition('<figure class="viewer">')
    photo, end, after = rest.partition("</svg>")
    start = photo.index("<rect")
    (tmp_path / "page.html").write_text(head + figure + photo[:start] + "".join(rects) + end + after)
    window, _ = driver.visit(browser, tmp_path / "page.html", 1280, "light")
    viewer = window.locator(".viewer").first
    for _ in range(2):
        viewer.locator("[data-do=next]").click()
    assert viewer.locator(".said").inner_text() == "2 of 4: 1"
    window.locator("input[data-kind=missed]").uncheck()
    viewer.locator("[data-do=next]").click()
    assert viewer.locator(".said").inner_text() == "2 of 3: 2"
    window.close()


def test_one_finger_moves_a_zoomed_photo_and_not_the_page(browser, page: Path) -> None:
    context = browser.new_context(viewport={"width": 380, "height": 800}, has_touch=True, is_mobile=True)
    window = context.new_page()
    window.goto(page.resolve().as_uri())
    viewer = window.locator(".viewer").first
    for _ in range(3):
        viewer.locator("[data-do=in]").click()
    svg, hand = viewer.locator("svg").first, context.new_cdp_session(window)
    svg.scroll_into_view_if_needed()
    place, before = svg.bounding_box(), (svg.get_attribute("viewBox"), window.evaluate("scrollY"))
    x, y = place["x"] + place["width"] / 2, place["y"] + place["height"] / 2
    hand.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for k in range(1, 9):
        hand.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x, "y": y - 8 * k}]})
        window.wait_for_timeout(20)
    hand.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    window.wait_for_timeout(200)
    left, top, *_ = (float(v) for v in svg.get_attribute("viewBox").split())
    was_left, was_top, *_ = (float(v) for v in before[0].split())
    assert (left, window.evaluate("scrollY")) == (was_left, before[1])
    assert top - was_top == pytest.approx(64 / place["height"] * float(before[0].split()[3]), rel=0.2)
    viewer.locator("[data-do=whole]").click()
    assert svg.evaluate("svg => getComputedStyle(svg).touchAction") == "pan-y"
    context.close()

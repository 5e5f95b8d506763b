"""The page in Debian's Chromium: no complaint, no request, all pictures there, fits a telephone, and its controls work."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from place import mains, put_models

from experiments.performance import browser as driver

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "fridge"
needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed (make browser)")
pytestmark = [needs_browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def browser() -> Iterator:
    with driver.launched() as chromium:
        yield chromium


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_is_whole(browser, page: Path, width: int, scheme: str) -> None:
    window, noticed = driver.visit(browser, page, width, scheme)
    window.close()
    assert noticed == driver.Visit()


def test_what_a_page_does_wrong_is_noticed(browser, tmp_path: Path) -> None:
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<img src="https://example.org/a.png"><svg width="0"></svg><p style="width: 2000px">x</p>'
        "<script>console.log(1); f()</script>"
    )
    window, noticed = driver.visit(browser, bad, 400, "light")
    window.close()
    assert noticed.external == ["https://example.org/a.png"]
    assert noticed.unsized == 2 and noticed.nameless == 2 and noticed.overflow > 1000
    assert any("f is not defined" in line for line in noticed.complaints)


def test_kinds_of_boxes_are_hidden_and_shown_by_the_keyboard(browser, page: Path) -> None:
    window, _ = driver.visit(browser, page, 1280, "light")
    boxes = window.locator(".viewer rect")
    shown = "rects => rects.filter((rect) => getComputedStyle(rect).display !== 'none').length"
    before = boxes.evaluate_all(shown)
    assert before == boxes.count() > 0
    for kind in ("right", "wrong-name", "missed", "invented"):
        window.locator(f"input[data-kind={kind}]").focus()
        window.keyboard.press("Space")
    assert boxes.evaluate_all(shown) == 0
    window.close()


def test_a_photo_is_zoomed_and_stepped_through_by_the_keyboard(browser, page: Path) -> None:
    window, _ = driver.visit(browser, page, 1280, "light")
    photo = window.locator(".viewer svg").first
    width = "svg => Number(svg.getAttribute('viewBox').split(' ')[2])"
    whole = photo.evaluate(width)
    photo.focus()
    window.keyboard.press("+")
    assert photo.evaluate(width) == pytest.approx(whole / 1.5)
    window.keyboard.press("0")
    assert photo.evaluate(width) == whole
    window.keyboard.press("n")
    assert window.locator(".viewer .said").first.inner_text().startswith("1 of ")
    window.close()


def test_the_table_is_sorted_by_a_column_and_back(browser, page: Path) -> None:
    window, _ = driver.visit(browser, page, 1280, "light")
    head = window.locator("table.sortable th button", has_text="Boxes in all")
    column = "rows => rows.map((row) => Number(row.cells[5].dataset.value))"
    head.click()
    up = window.locator("table.sortable tbody tr").evaluate_all(column)
    head.press("Enter")
    down = window.locator("table.sortable tbody tr").evaluate_all(column)
    assert up == sorted(up) and down == sorted(up, reverse=True) and len(up) == 3
    assert head.locator("..").get_attribute("aria-sort") == "descending"
    window.close()


@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos (shared/data/fridge) are not on this machine")
def test_a_page_of_real_photos_is_whole(browser, tmp_path: Path) -> None:
    from hylle import report
    from photos.data import read

    runs = tmp_path / "runs"
    put_models(runs, [category.id for category in read(REAL).categories])
    assert mains()["folds"](["--data", str(REAL), "--out", str(runs), "--groups", "photo"]) == 0
    assert mains()["gate"](["--data", str(REAL), "--runs", str(runs)]) == 0
    assert report.main([str(runs), "--data", str(REAL)]) == 0
    for width in (1280, 400):
        window, noticed = driver.visit(browser, runs / "report.html", width, "light")
        window.close()
        assert noticed == driver.Visit()

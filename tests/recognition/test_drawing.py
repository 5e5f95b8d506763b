"""What a picture shows: boxes where they are, one label for a run, labels that keep off each other, letters of any script."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recognition import drawing, fonts, margin
from recognition.drawing import Mark, annotated, colour_of, label_text, runs_of
from recognition.margin import Line, in_columns, wrapped

RED = (255, 0, 0)


def row_of(count: int, width: int = 60, left: int = 0, top: int = 0) -> list[np.ndarray]:
    return [np.array([left + i * width, top, left + (i + 1) * width, top + 100], np.float32) for i in range(count)]


def marks(boxes: list[np.ndarray], key: int, name: str) -> list[Mark]:
    return [Mark(box, key, name, colour_of(key)) for box in boxes]


def test_a_photo_without_marks_or_heading_is_as_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1000, 1200, 3), np.uint8)
    assert (annotated(image, []) == image).all()
    assert runs_of([], 1.0) == []


@pytest.mark.parametrize(("side", "shown"), [(100, 1000), (1500, 1500), (8000, 2000)])
def test_photos_are_drawn_large_enough_and_not_too_large(side: int, shown: int) -> None:
    image = np.zeros((side, side // 4, 3), np.uint8)
    assert annotated(image, []).shape == (shown, shown // 4, 3)


def test_a_box_is_drawn_in_its_colour_where_it_is() -> None:
    image = np.zeros((1000, 1000, 3), np.uint8)
    picture = annotated(image, [Mark(np.array([200, 300, 400, 700], np.float32), 0, "", RED)])
    coloured = np.argwhere((picture == RED).all(2))
    assert (coloured.min(0).tolist(), coloured.max(0).tolist()) == ([300, 200], [699, 399])


def test_like_facings_side_by_side_are_one_run() -> None:
    shelf = marks(row_of(3), 0, "tea") + marks(row_of(2, left=180), 1, "ris") + marks(row_of(1, left=300), 0, "tea")
    shelf += marks(row_of(2, top=200), 0, "tea")  # the next board
    shelf += marks(row_of(1, left=400, top=200), 0, "tea")  # far off on it
    assert [(len(run.boxes), run.mark.key) for run in runs_of(shelf, 1.0)] == [(3, 0), (2, 1), (1, 0), (2, 0), (1, 0)]


def test_a_label_is_as_long_as_its_run_has_room() -> None:
    run = runs_of(marks(row_of(4), 0, "MÜSLI BLÅBÆR 750 G"), 1.0)[0]
    full = label_text(run, 12, 1000, 14)
    assert full == "12 MÜSLI BLÅBÆR 750 G ×4"
    for room in (40, 80, 120, 160):
        text = label_text(run, 12, room, 14)
        assert text.startswith("12") and fonts.width_of(text, 14) <= room
    assert label_text(run, 12, 120, 14).endswith("… ×4")
    assert label_text(run, 12, 1, 14) == "12"


def test_labels_of_a_crowded_shelf_keep_off_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [row_of(10, 100, top=120 * k) for k in range(8)]
    shelf = [mark for boxes in rows for i, box in enumerate(boxes) for mark in marks([box], i % 7, f"PRODUKT NUMMER {i % 7}")]
    placed: list[tuple[float, ...]] = []
    original = drawing._draw_label
    monkeypatch.setattr(drawing, "_draw_label", lambda *given: placed.append(original(*given)) or placed[-1])
    annotated(np.zeros((1000, 1000, 3), np.uint8), shelf)
    assert len(placed) == 80
    assert not [pair for pair in combinations(placed, 2) if drawing._overlap(*pair)]


def inked(text: str) -> np.ndarray:
    canvas = Image.new("L", (400, 40))
    ImageDraw.Draw(canvas).text((0, 0), text, font=fonts.font_for(text, 24), fill=255)
    return np.asarray(canvas)


@pytest.mark.parametrize("text", ["MÜSLI", "ÆØÅ", "Чай", "Τσάι", "قهوة"])
def test_letters_of_other_scripts_are_drawn(text: str) -> None:
    assert fonts.undrawn([text]) == []
    assert inked(text).any()
    assert (inked(text) != inked("?" * len(text))).any()


def test_letters_that_no_font_draws_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fonts, "system_files", lambda: ())
    fonts._file_for.cache_clear()
    assert fonts.undrawn(["tea", "お茶", ""]) == ["お茶"]
    fonts._file_for.cache_clear()
    assert fonts.letters_of(Path(__file__)) == frozenset()


def test_long_names_are_wrapped_and_very_long_ones_cut() -> None:
    assert wrapped("", 14) == [""]
    assert wrapped("short", 14) == ["short"]
    lines = wrapped("KNEKKEBRØD " * 12, 14)
    assert len(lines) == margin.MOST_LINES and lines[-1].endswith("…")
    unbroken = wrapped("x" * 50, 14)
    assert "".join(unbroken) == "x" * 50 and len(unbroken) > 1


def test_the_margin_has_as_many_columns_as_it_needs() -> None:
    lines = [Line(f"product {i}", RED, str(i)) for i in range(200)]
    picture = Image.new("RGB", (300, 1000))
    few, many = margin.with_margin(picture, lines[:3]), margin.with_margin(picture, lines)
    assert few.height == many.height == 1000 and few.width < many.width
    paragraphs = [margin.Paragraph(line, [line.text]) for line in lines]
    columns = in_columns(paragraphs, 1000, 12)
    assert [p for column in columns for p in column] == paragraphs
    assert all(sum(p.height(12) for p in column) <= 1000 for column in columns)

"""The page holds what it should, says what is not there, and a mistake is one line."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from place import Place

from hylle import report
from photos import trained_on
from photos.score import evaluate
from reporting.data_set import folds_of
from reporting.held_out import gather_held_out
from stage2_classifier.gate.calibrate import n_categories

SECTIONS = ("photos", "names", "products", "measures", "data", "making")


class Elements(HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_has_all_its_parts_and_a_link_to_each(page: Path) -> None:
    tags = Elements(page.read_text(encoding="utf-8")).tags
    assert [a["id"] for tag, a in tags if tag == "section"] == list(SECTIONS)
    assert [a["href"] for tag, a in tags if tag == "a"] == [f"#{name}" for name in SECTIONS]


def test_names_are_text_whatever_they_hold(page: Path) -> None:
    elements = Elements(page.read_text(encoding="utf-8"))
    assert not any("onmouseover" in attributes for _, attributes in elements.tags)
    text = "".join(elements.words)
    assert '<b onmouseover="alert(1)">Müsli</b> & "Co" $x_1$' in text
    assert "緑茶 500ml" in text and "product 40 (no name)" in text


def test_nothing_is_asked_of_another_machine(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    addresses = set(re.findall(r"""(?:src|href)=["']([^"']{0,40})|url\(([^)]{0,40})""", text))
    assert all(re.match(r"data:image/jpeg;base64,|#", a or b) for a, b in addresses)
    assert "default-src 'none'" in text


def test_what_the_run_does_not_have_is_said(page: Path) -> None:
    text = " ".join("".join(Elements(page.read_text(encoding="utf-8")).words).split())
    for words in ("There is no one/run.json", "There is no zip in the run folder", "no times of the judge's sandbox"):
        assert words.lower() in text.lower()


def test_the_score_is_that_of_the_contest_on_the_part_test(reported: Place, page: Path) -> None:
    held_out = gather_held_out(reported.runs, folds_of(reported.runs, reported.data))
    parts = json.loads((reported.runs / "folds.json").read_text())["photos"]
    assert sorted(photo.id for photo in held_out.photos) == sorted(row["image_id"] for row in parts if row["part"] == "test")
    expected = evaluate([e.truth for e in held_out.evidence], held_out.decisions, n_categories(held_out.evidence))
    cards = re.findall(r"<strong>(\d\.\d{3})</strong>", page.read_text(encoding="utf-8"))
    assert [float(card) for card in cards[:3]] == pytest.approx(
        [expected.score, expected.det_map50, expected.cls_map50], abs=6e-4
    )


def test_the_counts_of_the_page_are_those_of_the_products(reported: Place) -> None:
    held_out = gather_held_out(reported.runs, folds_of(reported.runs, reported.data))
    counts = np.sum([[*own.counts.values()] for own in held_out.verdicts], axis=0)  # right, wrong, missed, invented
    assert counts[:3].sum() == sum(len(photo.boxes) for photo in held_out.photos)


def test_the_photos_are_found_again_beside_the_run(copied: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert report.main([str(copied.runs), "--out", str(copied.root / "page.html")]) == 0
    assert (copied.root / "page.html").stat().st_size > 10_000
    copied.data.rename(copied.root / "elsewhere")
    assert report.main([str(copied.runs)]) == 2
    error = capsys.readouterr().err
    assert "pass --data D" in error and error.count("\n") == 1
    assert report.main([str(copied.runs), "--data", str(copied.root / "elsewhere")]) == 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        pytest.param(lambda place: (place.runs / "ensemble.json").unlink(), "hylle gate", id="no gate"),
        pytest.param(lambda place: (place.runs / "folds.json").unlink(), "folds.json not found", id="no folds"),
        pytest.param(lambda place: (place.runs / "page").mkdir(), "need a file", id="--out is a folder"),
    ],
)
def test_a_mistake_is_one_line(copied: Place, capsys: pytest.CaptureFixture[str], spoil, message: str) -> None:
    spoil(copied)
    before = (copied.runs / "report.html").read_bytes()
    flags = ["--out", str(copied.runs / "page")] if (copied.runs / "page").is_dir() else []
    assert report.main([str(copied.runs), *flags]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert (copied.runs / "report.html").read_bytes() == before


def test_photos_that_a_model_was_trained_on_are_not_called_held_out(copied: Place) -> None:
    parts = folds_of(copied.runs, copied.data)
    assert "neither" in gather_held_out(copied.runs, parts).split.words
    trained_on.write(copied.runs / "one", parts.photos("test")[:1], [])
    split = gather_held_out(copied.runs, parts).split
    assert "neither" not in split.words and "one was trained on 1" in split.flatters


def test_without_photos_in_test_it_judges_by_valid_and_says_so(copied: Place) -> None:
    path = copied.runs / "folds.json"
    values = json.loads(path.read_text())
    for row in values["photos"]:
        row["part"] = "train" if row["part"] == "test" else row["part"]
    path.write_text(json.dumps(values))
    held_out = gather_held_out(copied.runs, folds_of(copied.runs, copied.data))
    assert "part valid" in held_out.split.words and held_out.evidence
    assert "trained on" not in held_out.split.flatters
    trained_on.write(copied.runs / "one", held_out.photos[:1], [])
    assert "one was trained on 1" in gather_held_out(copied.runs, held_out.folds).split.flatters

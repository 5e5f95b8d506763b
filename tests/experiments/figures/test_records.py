"""Figures are data: written by key, read back, and the tables of the documentation equal them."""

import json
from pathlib import Path

import pytest

from experiments.figures import figure_text, records, report
from runs.record import ROOT


def test_no_results_give_no_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "none")
    assert records.load() == {}


def test_a_figure_replaces_its_key_and_leaves_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path)
    records.write(
        "demo",
        [
            records.figure(f"demo.{k}", records.Estimate(v, 3, v - 0.1, v + 0.1), "score", "s", "c")
            for k, v in (("a", 1), ("b", 2))
        ],
    )
    records.write("demo", [records.figure("demo.b", records.Estimate(5, 3), "score", "s", "c")])
    known = records.load()
    assert [known[k]["value"] for k in ("demo.a", "demo.b")] == [1, 5]
    assert list(known["demo.a"])[:7] == ["key", "value", "low", "high", "n", "unit", "setting"]


def test_every_recorded_figure_has_an_interval_or_says_why_not() -> None:
    for path in sorted(records.RESULTS.glob("*.json")):
        for f in json.loads(path.read_text()):
            assert (f["low"] is not None and f["low"] <= f["value"] <= f["high"]) or "no interval" in f["setting"], f["key"]


@pytest.mark.parametrize("page", report.PAGES, ids=str)
def test_a_pages_tables_equal_the_figures(page: Path) -> None:
    text = (ROOT / page).read_text()
    assert "<!-- figures:" in text
    assert report.render(text, records.load()) == text


def test_every_table_is_on_a_page() -> None:
    text = "".join((ROOT / page).read_text() for page in report.PAGES)
    assert [name for name in report.TABLES if f"<!-- figures:{name} -->" not in text] == []


def test_every_kind_of_figure_is_in_a_table() -> None:
    def tables(figures: report.Figures) -> list[str]:
        return [table(figures) for table in report.TABLES.values()]

    known = records.load()
    whole, kinds = tables(known), sorted({key.partition(".")[0] for key in known})
    untold = [kind for kind in kinds if tables({k: f for k, f in known.items() if k.partition(".")[0] != kind}) == whole]
    assert untold == []


def test_check_changes_nothing_and_names_the_page_out_of_date(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("by hand\n<!-- figures:naming -->\nold\n<!-- end -->\n")
    before = page.read_text()
    with pytest.raises(ValueError, match=r"page\.md: its tables differ from experiments/results"):
        report.update(page, {}, check=True)
    assert page.read_text() == before
    report.update(page, {}, check=False)
    assert page.read_text().startswith("by hand\n<!-- figures:naming -->\n| names from |")
    assert "page.md: rewritten" in capsys.readouterr().out
    report.update(page, {}, check=True)


def test_an_unknown_table_lists_the_known() -> None:
    with pytest.raises(ValueError, match=r"a\.md: figures:speed, allowed: gate_summary, naming, gates, arms, sabotage"):
        report.render("<!-- figures:speed -->\n<!-- end -->", {}, "a.md")


def known(**values: float) -> dict[str, dict]:
    rest = {"n": 3, "unit": "score", "setting": "3 seeds; t; chosen: agree", "command": "c"}
    return {key.replace("__", "."): {"value": v, "low": v - 0.1, "high": v + 0.1} | rest for key, v in values.items()}


def test_a_set_is_a_line_of_the_gates_and_a_missing_figure_is_a_dash() -> None:
    made = report.gates(known(gate__x__detector__score=0.5, gate__x__gate_minus_detector=0.2, gate__x__studio__chosen=1.0))
    assert made.splitlines()[2:] == [
        "| x | 0.500 [0.400, 0.600] | - | - | - | - | - | +0.200 [+0.100, +0.300] | - | - | 3 seeds |"
    ]


def test_the_summary_of_the_gate_has_a_line_for_each_set() -> None:
    figures = known(gate__x__detector__score=0.5, gate__x__raw_minus_detector=-0.1, gate__x__gate_minus_detector=0.0)
    assert report.gate_summary(figures).splitlines()[2:] == [
        "| x | 0.500 [0.400, 0.600] | -0.100 [-0.200, +0.000] | +0.000 [-0.100, +0.100] | 3 seeds |"
    ]
    assert len(report.gate_summary({}).splitlines()) == 2


def test_figures_that_stand_alone_are_a_line_each() -> None:
    lines = report.TABLES["single"](known(house__help_seconds=1.0, tests__all_minutes=9.0, gate__x__raw=0.5)).splitlines()
    assert [line.split(" | ")[0] for line in lines[2:]] == ["| house.help_seconds", "| tests.all_minutes"]


def test_a_count_has_no_decimals() -> None:
    assert figure_text.span({"value": 10054.0, "low": None, "unit": "count"}) == "10054"
    assert figure_text.span({"value": 0.0, "low": None}) == "0.000"


def test_an_arm_is_a_line_of_the_ablations_and_oracles_come_last() -> None:
    told = {"x__name_oracle": 0.4, "x__raw": 0.2, "y__raw": 0.1}
    made = report.arms(known(**{f"gate__{arm}_minus_detector": value for arm, value in told.items()}))
    assert made.splitlines()[0] == "| names from | x |"
    assert [line.split(" |")[0] for line in made.splitlines()[2:]] == ["| raw", "| name oracle"]


def test_sabotage_tells_what_was_chosen_and_what_it_cost() -> None:
    records = known(
        gate__x__studio__chosen=1.0, gate__x__studio__raw_minus_detector=-0.2, gate__x__studio__gate_minus_detector=0.0
    )
    assert "| x, studio | -0.200 [-0.300, -0.100] | +0.000 [-0.100, +0.100] | chosen: agree |" in report.sabotage(records)


def test_a_table_is_made_from_the_figures_and_a_missing_one_is_a_dash() -> None:
    known = {"demo.score.detector": {"value": 0.5, "low": 0.4, "high": 0.6}}
    made = report.render("<!-- figures:naming -->\nold\n<!-- end -->", known)
    assert "| detector | - | - | 0.500 [0.400, 0.600] | - |" in made
    assert "old" not in made

"""The gate over seeds: what is refused, what is summed up, shuffled names; once, quickly, the whole of one seed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from small_shop import SMALL

from experiments.studies import gates, validation
from photos.data import read
from runs.record import ROOT
from stage1_detector.synthesis import make_photos


@pytest.mark.parametrize(
    "flags",
    [
        pytest.param(["--seeds", "0", "--record"], id="one seed has no interval"),
        pytest.param(["--quick", "--record"], id="a rehearsal is no figure"),
    ],
)
def test_what_cannot_be_recorded_is_refused_before_any_work(tmp_path: Path, capsys: pytest.CaptureFixture, flags: list) -> None:
    assert gates.main(["--set", "few", "--out", str(tmp_path / "s"), *flags]) == 2
    assert "--record: got seeds" in capsys.readouterr().err
    assert not (tmp_path / "s").exists()


def one(detector: float, gate: float, chosen: str) -> dict:
    values = dict.fromkeys([*gates.POLICIES, "further"], gate) | {"detector": detector, "gate": gate, "loader_share": 0.01}
    return values | {"chosen": chosen, "offered": "agree", "gain": None}


def test_figures_are_means_over_seeds_and_tell_what_was_chosen() -> None:
    found = {
        str(seed): {kind: one(0.5, 0.6 + seed / 10, "agree" if kind == "shelf" else "detector") for kind in gates.KINDS}
        for seed in range(3)
    }
    made = {f["key"]: f for f in gates.as_records(found, "few", "command")}
    gain = made["gate.few.gate_minus_detector"]
    assert gain["value"] == pytest.approx(0.2)
    assert gain["high"] - gain["value"] == pytest.approx(4.302653 * 0.1 / np.sqrt(3), abs=1e-5)  # t for 2 degrees of freedom
    assert (made["gate.few.chosen"]["value"], made["gate.few.shuffled.chosen"]["value"]) == (0, 1)
    assert "chosen: agree, agree, agree" in made["gate.few.chosen"]["setting"]
    assert made["gate.few.agree_keeps"]["value"] == 1
    assert made["classifier.few.loader_share"]["value"] == pytest.approx(0.01)


def test_kept_scores_depend_on_all_of_the_project_that_judges_them() -> None:
    """The files are there, and what they import of these packages is among them, but for what only names, writes or tells."""
    assert all(path.is_file() for path in gates.DECIDING_FILES)
    known = {path.relative_to(ROOT) for path in gates.DECIDING_FILES}
    imported: set[Path] = set()
    for path in known:
        lines = re.findall(
            r"^from ((?:fusion|photos|stage2_classifier)\.[\w.]+) import", (ROOT / path).read_text(), re.MULTILINE
        )
        imported |= {Path(*line.split(".")).with_suffix(".py") for line in lines}
    tellers = {"photos/data.py", "photos/fingerprint.py", "photos/folds.py", "photos/exif.py", "photos/code_version.py"}
    tellers |= {"stage2_classifier/enrolment.py"}
    assert {str(path) for path in imported - known} <= tellers


def test_shuffled_names_are_the_same_names_on_other_boxes(tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "images").mkdir(parents=True)
    (data / "images" / "img_00001.jpg").write_bytes(b"")
    boxes = [{"id": i, "image_id": 1, "category_id": i % 7, "bbox": [i, 0, 5, 5], "area": 25, "iscrowd": 0} for i in range(70)]
    content = {"images": [], "annotations": boxes, "categories": []}
    (data / "annotations.json").write_text(json.dumps(content))
    made = json.loads((gates.shuffled(data, tmp_path / "lies", 0) / "annotations.json").read_text())["annotations"]
    names = [a["category_id"] for a in made]
    assert sorted(names) == sorted(a["category_id"] for a in boxes)
    assert np.mean([a == b["category_id"] for a, b in zip(names, boxes, strict=True)]) < 0.5
    assert [a["bbox"] for a in made] == [a["bbox"] for a in boxes]
    assert (tmp_path / "lies" / "images" / "img_00001.jpg").is_file()


@pytest.mark.slow
def test_a_seed_from_nothing_and_again(tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(make_photos.RECIPES, "demo", SMALL)  # but for their number
    out = tmp_path / "s"
    assert gates.main(["--set", "few", "--out", str(out), "--seeds", "1", "--quick"]) == 0
    capsys.readouterr()
    found = json.loads((out / "gates.json").read_text())["1"]
    assert set(found) == set(gates.KINDS)
    assert (out / "gates.png").stat().st_size > 1000
    assert len(read(out / "1" / "shuffled").photos) == len(read(out / "1" / "data").photos)
    assert gates.main(["--set", "few", "--out", str(out), "--seeds", "1", "--quick"]) == 0
    assert "seed 1: reuses" in capsys.readouterr().out
    scenes = [str(out / "1" / "data"), str(out / "1")]
    assert validation.main(["--random", *scenes, "--grouped", *scenes]) == 2
    assert "this side needs --groups photo" in capsys.readouterr().err
    assert validation.main(["--random", *scenes, "--grouped", *scenes, "--record"]) == 2


def test_validation_figures_are_one_a_way() -> None:
    rows = {way: (validation.Interval(v, v - 0.1, v + 0.1, 9), "9 test photos, over scenes; gate: raw")
            for way, v in (("random", 0.9), ("grouped", 0.8), ("nested", 0.7))}  # fmt: skip
    made = {f["key"]: (f["value"], f["n"]) for f in validation.as_records(rows, "x", "command")}
    assert made == {"validation.x.random": (0.9, 9), "validation.x.grouped": (0.8, 9), "validation.x.nested": (0.7, 9)}

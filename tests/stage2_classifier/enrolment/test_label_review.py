"""The label review of a set that lacks an enrolled product which its photos show."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from constant_models import CANDIDATES, save_model
from taught_shop import taught

from photos import folds
from stage2_classifier.label_review import review
from stage2_classifier.label_review.suspicions import Suspicion

BLUE = (230, 20, 20)  # BGR


@pytest.fixture
def blue_shop(shop: Path, runs: Path) -> Path:
    """The shop with blue all around, where the class-agnostic detector finds boxes and nothing is labelled."""
    save_model(runs / "one", CANDIDATES, task="detector")
    content = json.loads((shop / "annotations.json").read_text())
    for a in content["annotations"]:
        a["bbox"] = [60 + 30 * (a["category_id"] == 7), 45, 20, 13]
    for path in (shop / "images").iterdir():
        image = np.full((60, 120, 3), BLUE, np.uint8)
        image[45:58, 60:80], image[45:58, 90:110] = (30, 30, 200), (30, 200, 30)
        cv2.imwrite(str(path), image)
    (shop / "annotations.json").write_text(json.dumps(content))
    return shop


def test_what_the_set_cannot_name_is_left_out_and_told(blue_shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "folds.json").unlink()
    assert folds.main(["--data", str(blue_shop), "--out", str(runs), "--groups", "photo"]) == 0
    assert taught(blue_shop, runs, "Blue Tea", (20, 20, 230)) == 0
    capsys.readouterr()
    words = ["--data", str(blue_shop), "--runs", str(runs), "--classifier", "eye", "--part", "all"]
    assert review.main(words) == 0
    assert "left out, where models see what only hylle enroll taught ('Blue Tea' " in capsys.readouterr().out
    rows = json.loads((runs / "labels" / "proposals.json").read_text())
    assert {row["proposed"]["category_id"] for row in rows if row["proposed"]} <= {3, 7}


def doubt(label: int | None, score: float) -> Suspicion:
    return Suspicion("missing", 0, None, None, label, score, "")


def test_none_and_those_that_are_less_sure_than_the_last_of_the_list_are_not_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert review.surest([], 3, 2, ["a", "b", "Blue Tea"]) == []
    doubts = [doubt(2, 0.9), doubt(0, 0.8), doubt(None, 0.7), doubt(2, 0.6), doubt(1, 0.5)]
    assert review.surest(doubts, 2, 2, ["a", "b", "Blue Tea"]) == doubts[1:3]
    assert "labels: 1 doubt left out" in (out := capsys.readouterr().out) and "('Blue Tea' 1)" in out
    assert review.surest(doubts, 9, 2, ["a", "b", "Blue Tea"]) == [doubts[k] for k in (1, 2, 4)]
    assert "2 doubts left out" in capsys.readouterr().out
    assert review.surest(doubts[1:3], 9, 2, ["a", "b"]) == doubts[1:3] and not capsys.readouterr().out

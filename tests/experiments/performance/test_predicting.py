"""Predictions that differ are noticed, so that speed is not compared between two different works."""

import json
import zipfile
from pathlib import Path

import pytest

from experiments.performance import predicting
from experiments.performance.predicting import refuse_difference

BOX = {"bbox": [1.0, 2.0, 3.0, 4.0], "category_id": 7, "score": 0.5}


def compare(folder: Path, ours: list[dict], theirs: list[dict]) -> None:
    coco = {"images": [{"id": 1, "file_name": "2024/img_00042.jpg"}], "annotations": [{**row, "image_id": 1} for row in ours]}
    (folder / "ours.json").write_text(json.dumps(coco))
    (folder / "theirs.json").write_text(json.dumps([{**row, "image_id": 42} for row in theirs]))
    refuse_difference(folder / "ours.json", folder / "theirs.json")


def test_the_same_boxes_pass_and_second_names_do_not_count(tmp_path: Path) -> None:
    compare(tmp_path, [], [])
    compare(tmp_path, [BOX], [BOX, BOX | {"category_id": 8, "score": 1e-10}])


def test_the_first_round_does_not_count_and_the_order_alternates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each way's first call takes longer, as of files that nothing has read yet."""
    called: list[str] = []

    def seconds(words: list[str]) -> float:
        name = "run.py" if words[0].endswith("run.py") else words[-1] if words[-1] == "--no-pictures" else "predict"
        called.append(name)
        return {"run.py": 2.0, "predict": 4.0, "--no-pictures": 1.0}[name] * (10 if called.count(name) == 1 else 1)

    monkeypatch.setattr(predicting, "seconds", seconds)
    monkeypatch.setattr(predicting, "refuse_difference", lambda *_: None)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("run.py", "")
    ratios, theirs = predicting.measure(tmp_path / "a.zip", tmp_path, 2)
    assert ratios == {"": [0.5, 0.5], "_without_pictures": [2.0, 2.0]} and theirs == [2.0, 2.0]
    once = ["run.py", "predict", "--no-pictures"]
    assert called == [*once[::-1], *once, *once[::-1]]


@pytest.mark.parametrize(
    "theirs",
    [
        pytest.param([], id="a box less"),
        pytest.param([BOX | {"bbox": [1.0, 2.0, 3.0, 4.002]}], id="another box"),
        pytest.param([BOX | {"score": 0.5001}], id="another score"),
    ],
)
def test_a_difference_is_refused(tmp_path: Path, theirs: list[dict]) -> None:
    with pytest.raises(ValueError, match="predictions differ"):
        compare(tmp_path, [BOX], theirs)

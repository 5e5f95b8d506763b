"""Predictions that differ are noticed, so that speed is not compared between two different works."""

import json
from pathlib import Path

import pytest

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

"""The times of the sandbox are told of the zip that was run there, and of no other; a photo's time is of what run.py does."""

from dataclasses import replace
from pathlib import Path

import pytest
from place import Place

from fusion.pipeline import Pipeline
from photos import folds
from photos.data import read
from reporting.held_out import gather_held_out
from reporting.speed import sandbox_times, time_photos
from runs import record
from stage2_classifier.gate.ensemble import load_ensemble, write_ensemble


@pytest.mark.parametrize(
    ("zipped", "told", "expected"),
    [
        pytest.param(b"a", None, {}, id="never run"),
        pytest.param(None, {"by_part": {"load": 1.0}}, {}, id="no zip"),
        pytest.param(b"a", {"by_part": {"load": 1.0}}, {"load": 1.0}, id="an earlier version, which told no zip"),
        pytest.param(b"a", {"by_part": {"load": 1.0}, "zip": "of a"}, {"load": 1.0}, id="this zip"),
        pytest.param(b"b", {"by_part": {"load": 1.0}, "zip": "of a"}, {}, id="another zip"),
    ],
)
def test_times_in_the_sandbox(tmp_path: Path, zipped: bytes | None, told: dict | None, expected: dict[str, float]) -> None:
    archive = tmp_path / "submission.zip"
    if told is not None:
        archive.write_bytes(b"a")
        of_a = {"zip": record.fingerprint(archive)} if "zip" in told else {}
        record.write_json(tmp_path / "sandbox.json", told | of_a)
        archive.unlink()
    if zipped is not None:
        archive.write_bytes(zipped)
    assert sandbox_times(tmp_path, archive) == expected


@pytest.mark.parametrize(("floor", "names"), [(0.0, True), (1.01, False)])
def test_a_photo_is_timed_as_it_is_named_at_judgment(
    copied: Place, monkeypatch: pytest.MonkeyPatch, floor: float, names: bool
) -> None:
    crops, classify = [], Pipeline.classify

    def counting(self: Pipeline, image: object, boxes: list, *rest: object) -> object:
        crops.append(len(boxes))
        return classify(self, image, boxes, *rest)

    write_ensemble(copied.runs, replace(load_ensemble(copied.runs), naming_floor=floor))
    held_out = gather_held_out(copied.runs, folds.load(copied.runs / folds.NAME, read(copied.data)))
    monkeypatch.setattr(Pipeline, "classify", counting)
    _, timed = time_photos(held_out)
    assert timed and crops and bool(sum(crops)) == names

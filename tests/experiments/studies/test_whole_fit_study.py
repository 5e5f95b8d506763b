"""The study of cross-fitting and refitting: its outer split, its figures, and mistakes in its flags."""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place import Place
from simulated_evidence import simulated_photos

from experiments.studies import whole_fit
from fitting.run import has_own_ensemble
from fusion.ensemble import read_ensemble
from fusion.gate import Gate
from photos.data import read
from photos.intervals import Interval
from photos.score import scores
from runs.command import run

ARGS = argparse.Namespace(name="drawn", folds=3)


def gains(refit: float) -> whole_fit.Gains:
    return whole_fit.Gains(Interval(refit, refit - 1, refit + 1, 7), Interval(refit / 2, -1, 1, 7), 0.5, 0.5 + refit)


def test_one_seed_has_the_interval_over_scenes_and_several_over_seeds() -> None:
    refit, cross_fit = whole_fit.as_records(ARGS, [gains(0.25)], "c")
    assert (refit["key"], refit["value"], refit["low"], refit["n"]) == ("refit.drawn.gain", 0.25, -0.75, 7)
    assert (cross_fit["key"], cross_fit["value"]) == ("crossfit.drawn.gain", 0.125)
    assert refit["setting"].endswith("held out 0.500, whole 0.750; over scenes, one seed")
    refit, _ = whole_fit.as_records(ARGS, [gains(0.25), gains(0.5)], "c")
    assert (refit["value"], refit["n"]) == (0.375, 2) and refit["setting"].endswith("over seeds")


def test_the_outer_split_holds_whole_scenes_out(place: Place, tmp_path: Path) -> None:
    scenes = tmp_path / "scenes.csv"
    names = [photo.name for photo in read(place.data).photos]
    scenes.write_text("file_name,scene\n" + "".join(f"{name},{i // 2}\n" for i, name in enumerate(names)))
    split = read(whole_fit.outer_split(place.data, tmp_path / "out", str(scenes), 0))
    test = {photo.name for photo in split.photos if photo.part == "test"}
    assert {photo.part for photo in split.photos} == {"train", "test"}
    assert sorted(photo.name for photo in split.photos) == sorted(names)
    assert all((names[i] in test) == (names[i + 1] in test) for i in range(0, 10, 2))
    assert sum(len(photo.boxes) for photo in split.photos) == 20


def test_parts_whose_boxes_have_the_same_ids_are_joined(place: Place, tmp_path: Path) -> None:
    content = json.loads((place.data / "annotations.json").read_text())
    (place.data / "annotations.json").unlink()
    for part, is_even in (("train", True), ("valid", False)):
        images = [image for image in content["images"] if (image["id"] % 2 == 0) == is_even]
        own = {image["id"] for image in images}
        boxes = [box for box in content["annotations"] if box["image_id"] in own]
        boxes = [box | {"id": number} for number, box in enumerate(boxes, 1)]
        (place.data / f"{part}.json").write_text(json.dumps(content | {"images": images, "annotations": boxes}))
    split = read(whole_fit.outer_split(place.data, tmp_path / "out", "photo", 0))
    assert sum(len(photo.boxes) for photo in split.photos) == len(content["annotations"])


@pytest.mark.parametrize("flags", [["--record"], ["--record", "--name", "drawn", "--quick"]])
def test_figures_without_a_name_or_of_a_rehearsal_are_not_recorded(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(whole_fit.body, ["--data", "D", "--out", "X", *flags]) == 2
    stderr = capsys.readouterr().err
    assert "--record: needs --name" in stderr and stderr.count("\n") == 1


def test_the_procedure_keeps_no_share_and_joins_models_as_the_step_by_step_commands_do(place: Place, tmp_path: Path) -> None:
    words = argparse.Namespace(epochs=1, steps=None, size=96, quick=False, aware=False, folds=2, groups="photo")
    procedure = whole_fit.procedure_of(words, 0)
    assert procedure.start_share == 0
    whole = tmp_path / "whole"
    whole_fit.join_alike(place.runs, whole)
    assert not has_own_ensemble(whole)  # so that no other way of merging is chosen
    assert read_ensemble(whole).merge == read_ensemble(place.runs).merge


def test_photos_are_judged_by_the_naming_floor_of_the_ensemble(place: Place) -> None:
    evidence = [
        replace(e, probabilities=e.probabilities[:, ::-1]) for e in simulated_photos(np.random.default_rng(0), 6, 0.9, 0.9)
    ]
    named, unnamed = (replace(read_ensemble(place.runs), gate=Gate("raw"), naming_floor=floor) for floor in (0.0, np.inf))
    detector = scores(whole_fit.matched(evidence, replace(named, gate=Gate("detector")))).score
    assert scores(whole_fit.matched(evidence, named)).score < detector
    assert scores(whole_fit.matched(evidence, unnamed)).score == pytest.approx(detector)

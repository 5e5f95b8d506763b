"""Recipes are data: every one has a quick mode, an unknown one is refused, only what is given overrides it."""

import json
from dataclasses import asdict

import pytest

from stage1_detector import config as settings
from stage1_detector import recipes as detector
from stage1_detector import train as detector_train
from stage1_detector.torch_engine.schedules import SCHEDULES
from stage2_classifier import config as classifier

ALL_RECIPES = [(module, name) for module in (detector, classifier) for name in module.RECIPES]


@pytest.mark.parametrize(("module", "name"), ALL_RECIPES, ids=[f"{m.__name__.split('.')[0]} {n}" for m, n in ALL_RECIPES])
def test_every_recipe_says_what_it_costs_and_has_a_quick_mode(module: object, name: str) -> None:
    quick = module.recipe(name, quick=True)
    assert quick.epochs == 1
    assert quick.size <= 160
    assert len(module.RECIPES[name].__doc__) > 60


@pytest.mark.parametrize("module", [detector, classifier], ids=["detector", "classifier"])
def test_an_unknown_recipe_lists_the_known(module: object) -> None:
    with pytest.raises(ValueError, match="got 'smal', allowed: small, demo"):
        module.recipe("smal")


def test_only_given_values_override() -> None:
    changed = settings.override(detector.recipe("small"), {"epochs": 3, "lr": None, "data": "D"})
    assert (changed.epochs, changed.lr) == (3, detector.recipe("small").lr)


def test_another_family_starts_from_its_own_defaults() -> None:
    changed = settings.override(detector.recipe("small"), {"family": "retinanet", "head": "pisa", "batch": 2})
    assert changed == settings.TorchvisionConfig(family="retinanet", head="pisa", batch=2)
    assert settings.override(detector.recipe("small"), {"family": "rtdetr", "model": "rtdetr-l.yaml"}).epochs == 40


@pytest.mark.parametrize(
    ("recipe", "values", "message"),
    [
        pytest.param("small", {"neck": "fpg"}, "--neck: not a setting of family yolo", id="another engine's setting"),
        pytest.param("fasterrcnn", {"mosaic": 1.0}, "--mosaic: not a setting of family rcnn", id="the other way round"),
        pytest.param("fasterrcnn", {"head": "pisa"}, "--head: got 'pisa', allowed: v1, v2", id="another family's head"),
        pytest.param("retinanet", {"optimizer": "MuSGD"}, "--optimizer: got 'MuSGD'", id="another engine's optimizer"),
        pytest.param("retinanet", {"hue": 0.7}, "--hue: got 0.7, allowed 0.0 to 0.5", id="more than torchvision turns"),
        pytest.param("small", {"family": "ssd"}, "--family: got 'ssd', allowed: yolo, rtdetr, rcnn, retinanet", id="unknown"),
    ],
)
def test_a_setting_that_the_family_does_not_have_is_refused(recipe: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        settings.override(detector.recipe(recipe), values)


@pytest.mark.parametrize("name", detector.RECIPES)
def test_settings_survive_a_run_json(name: str) -> None:
    config = detector.recipe(name)
    assert settings.from_settings(json.loads(json.dumps(asdict(config) | {"classes": "one"}))) == config


@pytest.mark.parametrize("start", ["small", "retinanet"])
def test_a_schedule_given_sets_the_length(start: str) -> None:
    changed = settings.override(detector.recipe(start), {"family": "retinanet", "schedule": "1x"})
    assert (changed.epochs, changed.min_steps) == (12, 0)
    long = settings.override(detector.recipe(start), {"family": "retinanet", "schedule": "90k"})
    assert (long.epochs, long.min_steps) == (1, 90_000)
    told = settings.override(detector.recipe(start), {"family": "retinanet", "schedule": "1x", "epochs": 3})
    assert told.epochs == 3


@pytest.mark.parametrize("schedule", ["1x", "90k"])
def test_steps_given_beside_a_schedule_are_kept(schedule: str) -> None:
    changed = settings.override(detector.recipe("fasterrcnn-small"), {"schedule": schedule, "min_steps": 5000})
    assert (changed.epochs, changed.min_steps) == (SCHEDULES[schedule].epochs, 5000)


def test_a_family_alone_is_enough() -> None:
    assert settings.override(detector.recipe("fasterrcnn"), {"family": "retinanet"}).head == "plain"
    assert settings.override(detector.recipe("small"), {"family": "retinanet"}).head == "plain"
    assert settings.override(detector.recipe("retinanet"), {"family": "rcnn", "head": "v2"}).head == "v2"


def test_a_rehearsal_of_another_family_is_one() -> None:
    flags = ["--data", "D", "--out", "R", "--quick", "--family", "rcnn", "--epochs", "2"]
    config = detector_train.config_of(*detector_train.read_arguments(flags, "train"))
    assert (config.family, config.size, config.epochs) == ("rcnn", 160, 2)


@pytest.mark.parametrize(("more", "min_steps"), [([], 0), (["--min-steps", "7"], 7)])
@pytest.mark.parametrize("schedule", ["ms3x", "90k"])
def test_a_rehearsal_of_a_schedule_is_no_longer_than_others(schedule: str, more: list[str], min_steps: int) -> None:
    flags = ["--data", "D", "--out", "R", "--quick", "--recipe", "retinanet-small", "--schedule", schedule, *more]
    config = detector_train.config_of(*detector_train.read_arguments(flags, "train"))
    assert (config.schedule, config.size, config.epochs, config.min_steps) == (schedule, 160, 1, min_steps)


def test_a_schedule_says_how_long_it_is_unless_told() -> None:
    assert settings.TorchvisionConfig(schedule="50e").epochs == 50
    assert settings.TorchvisionConfig(schedule="50e", epochs=7).epochs == 7
    assert settings.TorchvisionConfig(batch=2, accumulate=4).photos_a_step == 8

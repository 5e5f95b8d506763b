"""Recipes are data: the command line equals their fields, every recipe has a quick mode, an unknown one is refused."""

from collections.abc import Callable
from dataclasses import fields

import pytest

from stage1_detector import config as detector
from stage1_detector import train as detector_train
from stage2_classifier import config as classifier
from stage2_classifier import train as classifier_train

OWN_OF_DETECTOR = {"help", "data", "out", "classes", "recipe", "quick", "pretrained", "resume", "force", "synthetic"}
OWN_OF_CLASSIFIER = (OWN_OF_DETECTOR - {"classes", "synthetic"}) | {"crops", "studio", "name", "folds", "detector_weights"}


@pytest.mark.parametrize(
    ("parser", "kind", "own"),
    [
        pytest.param(detector_train.parser, detector.DetectorConfig, OWN_OF_DETECTOR, id="detector"),
        pytest.param(classifier_train.parser, classifier.ClassifierConfig, OWN_OF_CLASSIFIER, id="classifier"),
    ],
)
def test_the_command_line_equals_the_fields(parser: Callable, kind: type, own: set[str]) -> None:
    arguments = {action.dest for action in parser()._actions} - own
    assert arguments == {field.name for field in fields(kind)}


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
    changed = detector.override(detector.recipe("small"), {"epochs": 3, "lr": None, "data": "D"})
    assert (changed.epochs, changed.lr) == (3, detector.recipe("small").lr)

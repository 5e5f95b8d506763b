"""Two classifiers of one ensemble never give one id to two products."""

import json
import shutil
from pathlib import Path

import pytest
from taught_shop import everything, taught, words

from fusion.models import read_sidecar
from fusion.pipeline import load
from stage2_classifier import enrolment


def test_two_classifiers_of_one_ensemble_are_taught_one_after_the_other(
    shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with_second(runs)
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert "enroll it there with --id 8" in capsys.readouterr().out
    again = [*words(shop, runs), "--photos", str(shop.parent / "photos of Blue Tea"), "--name", "Blue Tea", "--id", "8"]
    assert enrolment.main([*again, "--classifier", "second"]) == 0
    assert load(runs).ensemble.categories == [3, 7, 8]
    assert enrolment.main(words(shop, runs, "--undo")) == 0
    assert load(runs).ensemble.categories == [3, 7, 8]  # the second still knows it


def with_second(runs: Path) -> None:
    """A second classifier, untaught, joins the ensemble."""
    shutil.copytree(runs / "eye", runs / "second")
    ensemble = json.loads((runs / "ensemble.json").read_text())
    ensemble["classifiers"].append({"file": "second/model.onnx"})
    (runs / "ensemble.json").write_text(json.dumps(ensemble))


def test_two_classifiers_never_give_two_products_one_id(shop: Path, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with_second(runs)
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    before = everything(runs)
    capsys.readouterr()
    for flags, told in (([], "knows category 8 'Blue Tea', and second/model.onnx does"), (["--id", "8"], "--id: got 8")):
        shutil.rmtree(shop.parent / "photos of Pink Tea", ignore_errors=True)
        assert taught(shop, runs, "Pink Tea", (230, 20, 230), "--classifier", "second", *flags) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and told in error, error
        assert everything(runs) == before
    shutil.rmtree(shop.parent / "photos of Blue Tea")
    assert taught(shop, runs, "blue tea", (20, 20, 230), "--classifier", "second") == 0  # one name, one id, without --id
    shutil.rmtree(shop.parent / "photos of Pink Tea")
    assert taught(shop, runs, "Pink Tea", (230, 20, 230), "--classifier", "second") == 0
    assert load(runs).ensemble.names == ["Red Tea", "Green Tea", "Blue Tea", "Pink Tea"]
    assert [read_sidecar(runs / name / "model.json").categories for name in ("eye", "second")] == [[3, 7, 8], [3, 7, 8, 9]]


def test_without_an_ensemble_too_a_second_classifier_gives_another_product_another_id(shop: Path, runs: Path) -> None:
    with_second(runs)
    (runs / "ensemble.json").unlink()
    assert taught(shop, runs, "Blue Tea", (20, 20, 230)) == 0
    assert taught(shop, runs, "Pink Tea", (230, 20, 230), "--classifier", "second") == 0
    assert read_sidecar(runs / "second" / "model.json").categories == [3, 7, 9]

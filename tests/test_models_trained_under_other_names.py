"""Labels exported again may number the products in another order: models of before are refused."""

from collections.abc import Callable

import pytest
from place import IDS, Place, mains
from test_what_runs_are_made_from import rename
from tiny_nets import run_of

from fusion.models import read_object
from hylle import distill, labels, report
from photos import fingerprint, folds, trained_names
from photos.data import read
from runs import record

NAMING = ("all", "classifier_shelf")
WRONG = "category 3: got 'product 7' in {data}, but {runs}/{folder} was trained with 'product 3' under this id, and 'product 7'"


@pytest.fixture
def noted(place: Place) -> Place:
    """A place whose models note the names that they were trained under, as a training leaves them."""
    for folder in NAMING:
        record.write_run(place.runs / folder, {}, {}, trained_names.noted(read(place.data).categories))
    return place


def exchange(place: Place) -> None:
    """The same labels with two ids exchanged, in the list of products and of every box."""
    other = {IDS[0]: IDS[1], IDS[1]: IDS[0], IDS[2]: IDS[2]}
    place.change(lambda v: [a.update(category_id=other[a["category_id"]]) for a in v["annotations"]])
    place.change(lambda v: [c.update(id=other[c["id"]]) for c in v["categories"]])


def call_it(place: Place, name: str) -> None:
    """Another name for product 3."""
    place.change(lambda v: v["categories"][0].update(name=name))


@pytest.mark.parametrize("name", ["gate", "ablation"])
@pytest.mark.parametrize("folder", NAMING)
def test_exchanged_ids_are_refused(noted: Place, refused: Callable, name: str, folder: str) -> None:
    if folder != "all":
        (noted.runs / "all" / "run.json").unlink()
    exchange(noted)
    refused(name, [], WRONG.format(data=noted.data, runs=noted.runs, folder=folder))


def test_exchanged_ids_are_refused_by_what_shows_names(noted: Place, capsys: pytest.CaptureFixture[str]) -> None:
    assert mains()["gate"](noted.words("gate")) == 0
    exchange(noted)
    capsys.readouterr()
    data_and_runs = ["--data", str(noted.data), "--runs", str(noted.runs)]
    assert report.main([str(noted.runs), "--data", str(noted.data)]) == 2
    assert labels.main([*data_and_runs, "--classifier", "classifier_shelf"]) == 2
    told = WRONG.format(data=noted.data, runs=noted.runs, folder="all")
    assert capsys.readouterr().err.count(told) == 2


def test_a_product_that_is_only_called_otherwise_is_told(noted: Place, capsys: pytest.CaptureFixture[str]) -> None:
    call_it(noted, "Product 3 ")  # the same by its key
    rename(noted, "train")  # labels mended
    assert mains()["gate"](noted.words("gate")) == 0
    assert "called otherwise" not in capsys.readouterr().out
    call_it(noted, "tea")
    assert mains()["gate"](noted.words("gate")) == 0
    said = capsys.readouterr().out
    for folder in NAMING:
        assert f"1 product is called otherwise than when {noted.runs / folder} was trained: 'product 3', now 'tea'" in said


def test_models_that_note_no_names_are_told_where_those_of_their_photos_changed(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = folds.load(place.runs / folds.NAME, read(place.data))
    made = fingerprint.of_training(parts.photos("train"), (), parts.dataset.categories)
    record.write_run(place.runs / "all", made, {})
    told = f"{place.runs / 'all'} notes no names, and names or boxes of its train photos changed since"
    for change, count in ((lambda _: None, 0), (exchange, 1)):
        change(place)
        assert mains()["gate"](place.words("gate")) == 0
        assert capsys.readouterr().out.count(told) == count


def test_a_teacher_of_the_same_ids_for_other_products_is_refused(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    teacher = place.root / "teacher"
    run_of(teacher, IDS)
    names = {str(number): f"product {other}" for number, other in zip(IDS, IDS[1:] + IDS[:1], strict=True)}
    record.write_json(teacher / "run.json", read_object(teacher / "run.json") | {"names": names})
    order = ["--data", str(place.data), "--out", str(place.runs), "--teacher", str(teacher), "--classes", "all", "--force"]
    tiny = [
        "--size=64",
        "--batch=2",
        "--device=cpu",
        "--student=rtdetr-small",
        "--queries=20",
        "--decoder-layers=1",
        "--min-steps=0",
        "--epochs=1",
    ]
    assert distill.main([*order, *tiny]) == 2
    error = capsys.readouterr().err
    assert "teacher was trained with 'product 7' under this id, and 'product 3' under 40 (3 ids like this)" in error

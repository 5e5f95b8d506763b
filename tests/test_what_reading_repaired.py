"""Every command that reads a data set tells, once, what was repaired in it."""

import shutil

import pytest
from place import READERS, TRAINERS, Place, mains

from hylle.verbs import VERBS
from photos import repairs
from photos.data import Dataset

NOTE = "data: boxes that reach up to 3.0 px out of their photos, clipped: 1 "
OTHERS = {
    "labels": "--data {d} --runs {r}",
    "search": "--data {d} --runs {r}",
    "enroll": "--data {d} --runs {r} --classifier none --photos {d}/images --name tea",
    "synth": "--paste --count 1 --data {d} --runs {r} --out {d}_pasted",
}


@pytest.fixture
def repaired(place: Place) -> Place:
    """A data set with a box 3 px out of its photo, and a run folder without what comes after reading: all else is refused."""
    place.change(lambda values: values["annotations"][0].update(bbox=[-3, 8, 30, 40]))
    (place.root / "a.zip").unlink()
    shutil.rmtree(place.runs / "one")
    return place


def refused_after_reading(name: str, place: Place) -> None:
    """Call a command: it reads, and then finds no model, no zip, or weights that are none; folds are reused."""
    weights = ["--pretrained", str(place.data / "annotations.json")] if name in TRAINERS else []
    assert mains()[name]([*place.words(name), *weights]) == (0 if name == "folds" else 2)


@pytest.mark.parametrize("name", READERS)
def test_a_reader_tells_what_was_repaired(repaired: Place, capsys: pytest.CaptureFixture[str], name: str) -> None:
    refused_after_reading(name, repaired)
    assert capsys.readouterr().out.count(NOTE) == 1


@pytest.mark.parametrize("name", OTHERS)
def test_so_do_the_other_verbs(repaired: Place, capsys: pytest.CaptureFixture[str], name: str) -> None:
    VERBS[name].main(OTHERS[name].format(d=repaired.data, r=repaired.runs).split())
    assert capsys.readouterr().out.count(NOTE) == 1


def test_a_training_tells_it_and_the_next_in_the_same_command_does_not(
    repaired: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    for told in (1, 0):
        refused_after_reading("detector", repaired)
        assert capsys.readouterr().out.count(NOTE) == told
    repairs.forget()
    refused_after_reading("detector", repaired)
    assert capsys.readouterr().out.count(NOTE) == 1


def test_nothing_repaired_is_one_line(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = Dataset(place.data, (), (), (), "COCO")
    repairs.tell(dataset)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.endswith(f"data: {place.data} read as COCO")

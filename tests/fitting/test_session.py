"""The photos that a zip is tried on are such as run.py looks at, whatever kind the data set has."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from fitting import session
from fitting.ledger import Ledger
from fitting.plan import planned
from fitting.procedure import Procedure
from fitting.session import Order, Session, dealt, lay_as_the_judge, show_folds
from fitting.trainings import Clock
from fitting.wishes import Wishes
from fusion.ensemble import ClassifierMember, Ensemble, Member
from fusion.reading import find_photos
from photos import folds
from photos.data import Category, Dataset, Photo, read, read_image
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig
from submission.outcome import Outcome
from tests.fitting.sets import FRIDGE, SPEEDS
from tests.fitting.test_survey import write


def pixels(path: Path, photo: Photo) -> np.ndarray:
    """The pixels of `photo` in the file PATH, int (H, W, 3)."""
    return read_image(path, photo.width, photo.height).astype(int)


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".png", ".webp", ".tif"])
def test_run_py_finds_every_photo(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20)]), (48, 64, [(0, 20, 20)])])
    photos = [replace(photo, path=tmp_path / f"{photo.id}{suffix}") for photo in read(tmp_path / "data").photos]
    for photo in photos:
        Image.new("RGB", (photo.width, photo.height), (10 * photo.id, 200, 90)).save(photo.path)
    (place := tmp_path / "place").mkdir()
    lay_as_the_judge([], place)
    assert find_photos(place) == {}
    lay_as_the_judge(photos, place)
    laid = list(find_photos(place).values())
    assert len(laid) == len(photos)
    for path, photo in zip(laid, photos, strict=True):
        assert np.abs(pixels(path, photo) - pixels(photo.path, photo)).mean() < 3


def test_a_fit_goes_on_with_a_table_of_groups_from_another_folder(tmp_path: Path) -> None:
    """The path in the record is as it was written once, perhaps from another folder."""
    (tmp_path / "g.csv").write_text("file_name,scene\n")
    decided = Procedure(DetectorConfig(), ClassifierConfig(), groups="g.csv", pretrained="starter")
    wishes = Wishes(groups=str(tmp_path / "g.csv"), pretrained="auto")  # of an earlier version, whose auto was the starter
    order = Order(Dataset(tmp_path, (), ()), FRIDGE, tmp_path, 9.0, wishes, 0.0)
    ledger = Ledger({}, {}, 9.0, procedure=decided.settings())
    assert Session(order, ledger, SPEEDS).procedure == replace(decided, groups=str(tmp_path / "g.csv"))


def session_of(runs: Path, sizes: list[int], procedure: Procedure, wishes: Wishes, minutes: float = 45.0) -> Session:
    """A session before anything is begun, of scenes of so many photos with 9 boxes each, which exist only on paper."""
    boxes, scenes = np.zeros((9, 4), np.float32), [k for k, size in enumerate(sizes) for _ in range(size)]
    labels, numbers = np.zeros(9, np.int64), np.arange(9)
    names = [f"{i}.jpg" for i in range(len(scenes))]
    photos = tuple(Photo(i, Path(name), 99, 99, boxes, labels, numbers, None, name=name) for i, name in enumerate(names))
    table = runs.with_name("g.csv")
    table.write_text("".join(["file_name,scene\n", *(f"{i}.jpg,{scene}\n" for i, scene in enumerate(scenes))]))
    survey = replace(FRIDGE, photos=len(photos), boxes=9 * len(photos))
    wishes = replace(wishes, groups=str(table))
    order = Order(Dataset(runs.parent, (Category(0, "tea"),), photos), survey, runs, minutes, wishes, time.monotonic())
    procedure, ledger = replace(procedure, groups=str(table)), Ledger({}, {}, minutes)
    ledger.take(planned(procedure, survey, SPEEDS, wishes, 0.5))
    return Session(order, ledger, SPEEDS)


FEW = Procedure(DetectorConfig(), ClassifierConfig(), folds=5, refit=False)


def test_one_scene_of_nearly_all_photos_is_planned_with_a_refit(tmp_path: Path) -> None:
    told: list[str] = []
    session = session_of(tmp_path / "run", [120, 1, 1, 1, 1, 1], FEW, Wishes())
    keeper = dealt(session, told.append)
    assert session.procedure.refit and session.procedure.folds == 3
    assert "the folds hold 1, 1, 1, 2, 120 labelled photos" in told[0] and "planned anew, with a refit" in told[0]
    assert any("refit: on all photos" in line for line in told)
    assert set(keeper.trainings) <= set(session.ledger.parts)
    assert sorted(entry.held_out for name, entry in keeper.trainings.items() if name.endswith("one")) == [0, 2, 3, 120]


def test_what_the_folds_hold_is_told_of_a_plan_where_it_is_soon_known(tmp_path: Path) -> None:
    of_one: list[str] = []
    of_two: list[str] = []
    show_folds(session_of(tmp_path / "one", [120, 1, 1, 1, 1, 1], FEW, Wishes()), of_one.append)
    show_folds(session_of(tmp_path / "two", [40, 40, 30, 10, 5], FEW, Wishes()), of_two.append)
    assert "planned anew, with a refit" in of_one[0] and any("each left out once" in line for line in of_one)
    assert not any("and not" in line for line in of_one)  # there are scenes for all of the folds that are planned now
    assert len(of_two) == 1 and "one left out for good, 30 photos" in of_two[0]
    assert not (tmp_path / "one").exists() and not (tmp_path / "two").exists()
    slow = session_of(tmp_path / "three", [10**3], FEW, Wishes())
    by_looks = slow._replace(ledger=Ledger({}, {}, 9.0, procedure=slow.ledger.procedure | {"groups": "auto"}))
    by_looks = by_looks._replace(order=slow.order._replace(wishes=Wishes()))
    show_folds(by_looks, pytest.fail)  # one scene: refused, had it been looked for


def test_a_refit_for_which_there_are_too_few_minutes_is_refused_with_the_least(tmp_path: Path) -> None:
    session, told = session_of(tmp_path / "run", [120, 1, 1, 1, 1, 1], FEW, Wishes(), 1.0), []
    for command in (show_folds, dealt):  # what --plan does, and a fit
        with pytest.raises(ValueError, match="--minutes: too few for 125 photos here, the least is about"):
            command(session, told.append)
    assert told and not (tmp_path / "run" / folds.NAME).exists()  # so that it goes on with more minutes


def test_a_fold_left_out_by_the_users_word_or_large_enough_stays_out(tmp_path: Path) -> None:
    by_word = session_of(tmp_path / "word", [120, 1, 1, 1, 1, 1], FEW, Wishes(refit="no"))
    assert dealt(by_word, pytest.fail).trainings["one"].held_out == 2
    enough = session_of(tmp_path / "enough", [40, 40, 30, 10, 5], FEW, Wishes())
    assert dealt(enough, pytest.fail).trainings["one"].held_out == 30
    assert enough.ledger.parts["evidence"].foreseen > enough.ledger.parts["figures"].foreseen > 0


def test_trainings_are_foreseen_by_what_the_folds_leave_out(tmp_path: Path) -> None:
    session = session_of(tmp_path / "run", [6, 14], replace(FEW, refit=True, folds=3), Wishes())
    keeper = dealt(session, lambda line: None)
    assert {name: entry.photos for name, entry in keeper.trainings.items() if name.endswith("one")} == {
        "cross_fit/0/one": 14, "cross_fit/1/one": 6, "one": 20,
    }  # fmt: skip
    first, second = (keeper.trainings[f"cross_fit/{k}/classifier_shelf"] for k in range(2))
    assert first.epoch_steps > second.epoch_steps and first.boxes == second.boxes == 9
    assert dealt(session, pytest.fail).trainings == keeper.trainings  # as a stopped fit goes on


@pytest.mark.parametrize(("detectors", "joined"), [(1, False), (2, True)])
def test_more_weight_files_than_a_judge_allows_are_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, detectors: int, joined: bool
) -> None:
    names = ["one", "all"][:detectors]
    namers = [ClassifierMember(f"{name}/model.onnx") for name in ("classifier_shelf", "second")]
    ensemble = Ensemble([1], [Member(f"{name}/model.onnx") for name in names], classifiers=namers)
    packed: list[bool] = []
    monkeypatch.setattr(session, "dealt", lambda *_: Clock())
    monkeypatch.setattr(session, "run_procedure", lambda *_: SimpleNamespace(ensemble=ensemble))
    monkeypatch.setattr(session, "build", lambda runs, out, join: packed.append(join) or "sha")
    monkeypatch.setattr(session, "tried", lambda *_: "tried")
    order = SimpleNamespace(dataset=SimpleNamespace(root=tmp_path, photos=[]), runs=tmp_path)
    session.finish(SimpleNamespace(order=order, procedure=None, ledger=SimpleNamespace(made_from={})), lambda line: None)
    assert packed == [joined]


def test_what_is_doubtful_about_the_zips_run_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.zip").write_bytes(b"zip")
    outcome = Outcome(predictions=3, photos=1, seconds=0.5, warnings=["boxes are small"])
    monkeypatch.setattr(session.judge_machine, "is_set_up", lambda: True)
    monkeypatch.setattr(session.judge_machine, "judge_python", lambda: Path("python"))
    monkeypatch.setattr(session.sandbox, "execute", lambda *_: outcome)
    monkeypatch.setattr(session, "lay_as_the_judge", lambda photos, folder: None)
    told = session.tried(tmp_path / "a.zip", [])
    assert told == "run in the sandbox: 3 predictions on 0 photos in 0.5 s; warning: boxes are small"

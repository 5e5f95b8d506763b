"""Every labelled photo is left out once, with all of its scene; what was given as test stays out of everything."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from place import Place

from fitting import cross_fit
from fitting.procedure import Procedure
from photos import folds
from photos.data import Category, DataError, Dataset, Photo, read
from photos.folds import Settings
from stage1_detector.config import DetectorConfig
from stage2_classifier.config import ClassifierConfig


def photos(boxes: list[int], part: str | None = None, start: int = 0) -> tuple[Photo, ...]:
    """Photos that exist only on paper, with that many boxes each."""
    return tuple(
        Photo(
            start + i, Path(f"{start + i}.jpg"), 99, 99, np.zeros((n, 4), np.float32), np.zeros(n, np.int64), np.arange(n), part
        )
        for i, n in enumerate(boxes)
    )


def dealt(of: tuple[Photo, ...], scene: np.ndarray, count: int = 3, seed: int = 0) -> folds.Folds:
    dataset = Dataset(Path("shop"), (Category(0, "tea"),), of)
    return cross_fit.all_in_train(dataset, scene, Settings("shop", "photo", count, seed, pooled=True))


def procedure(**values: object) -> Procedure:
    return Procedure(DetectorConfig(), ClassifierConfig(), groups="photo", **values)


@pytest.mark.parametrize(
    ("of", "scene"),
    [
        pytest.param((), np.zeros(0, int), id="no photos"),
        pytest.param(photos([0, 0, 0]), np.arange(3), id="no boxes"),
        pytest.param(photos([3, 3]), np.zeros(2, int), id="one scene"),
        pytest.param((*photos([3, 0]), *photos([4], "test", 2)), np.arange(3), id="the other scenes empty or test"),
    ],
)
def test_less_than_two_scenes_with_boxes_are_refused(of: tuple[Photo, ...], scene: np.ndarray) -> None:
    with pytest.raises(DataError, match=r"^fit: .* scenes?: need 2 or more"):
        dealt(of, scene)


@pytest.mark.parametrize("seed", range(10))
def test_names_of_two_scenes_are_in_two_folds(seed: int) -> None:
    names = np.arange(12) // 2  # each on two photos
    whole = dealt(tuple(replace(p, labels=names[[i]]) for i, p in enumerate(photos([1] * 12))), np.arange(12), 3, seed)
    assert all(whole.fold[2 * k] != whole.fold[2 * k + 1] for k in range(6))


@pytest.mark.parametrize("seed", range(20))
def test_every_photo_is_left_out_once_with_its_scene(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(8, 60))
    scene = rng.integers(0, rng.integers(4, 30), n)
    boxes = rng.integers(0, 40, n) * rng.integers(0, 2, n)
    boxes[[int(np.flatnonzero(scene == s)[0]) for s in np.unique(scene)[:2]]] = 5  # two scenes with boxes at least
    whole = dealt(photos(boxes.tolist()), scene, int(rng.integers(2, 6)), seed)
    by_fold = [cross_fit.left_out(whole, k) for k in range(cross_fit.count_of(whole))]
    assert sorted(photo.id for fold in by_fold for photo in fold.photos("valid")) == list(range(n))
    assert len(whole.photos("train")) == n
    for fold in by_fold:
        held_out, rest = ({fold.scene[photo.id] for photo in fold.photos(part)} for part in ("valid", "train"))
        assert not held_out & rest
        assert all(any(len(photo.boxes) for photo in fold.photos(part)) for part in ("valid", "train"))


def test_a_scene_of_many_empty_photos_does_not_fill_a_fold() -> None:
    whole = dealt(photos([0] * 50 + [1, 1, 1]), np.array([0] * 50 + [1, 2, 3]))
    assert all(any(len(p.boxes) for p in cross_fit.left_out(whole, k).photos("valid")) for k in range(3))


def test_given_train_and_valid_are_pooled_and_test_stays_out() -> None:
    of = (*photos([3] * 4, "train"), *photos([3] * 4, "valid", 4), *photos([3] * 2, "test", 8))
    whole = dealt(of, np.arange(10))
    assert [photo.id for photo in whole.photos("test")] == [8, 9]
    assert whole.fold[8] is whole.fold[9] is None
    left_out = [photo.id for k in range(3) for photo in cross_fit.left_out(whole, k).photos("valid")]
    assert sorted(left_out) == list(range(8))
    assert {8, 9} == {photo.id for photo in cross_fit.left_out(whole, 0).photos("test")}
    lines = cross_fit.in_words(whole, 5)
    assert any("3 folds and not 5" in line for line in lines)
    assert any("test and train and valid are dealt anew" not in line and "stays out" in line for line in lines)


def test_folds_are_written_and_reused(place: Place) -> None:
    runs, dataset, told = place.root / "fit", read(place.data), []
    whole, *by_fold = cross_fit.deal(dataset, runs, procedure(), told.append)
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.json")}
    assert len(before) == 4 and len(by_fold) == 3
    again = cross_fit.deal(dataset, runs, procedure(), told.append)
    assert [fold.part for fold in again] == [fold.part for fold in (whole, *by_fold)]
    assert {path: path.stat().st_mtime_ns for path in runs.rglob("*.json")} == before
    for k, fold in enumerate(by_fold):
        assert folds.load(runs / "cross_fit" / str(k) / folds.NAME, dataset).part == fold.part


def test_folds_of_a_folder_that_was_renamed_are_reused(place: Place) -> None:
    """A fit of hours is not lost by another name of the same photos."""
    runs, renamed = place.root / "fit", place.data.with_name("shop-2026")
    whole, *_ = cross_fit.deal(read(place.data), runs, procedure(), lambda line: None)
    before = {path: path.read_bytes() for path in runs.rglob("*.json")}
    place.data.rename(renamed)
    assert cross_fit.deal(read(renamed), runs, procedure(), lambda line: None)[0].part == whole.part
    assert {path: path.read_bytes() for path in runs.rglob("*.json")} == before  # so what was trained by them is still theirs


def test_a_test_part_that_is_dissolved_is_refused(place: Place) -> None:
    runs, dataset = place.root / "fit", read(place.data)
    given = replace(dataset, photos=tuple(replace(p, part="test" if k < 2 else "train") for k, p in enumerate(dataset.photos)))
    cross_fit.deal(given, runs, procedure(), lambda line: None)
    with pytest.raises(DataError, match=r"does not match .* in 2 photos, .*fit into another folder"):
        cross_fit.deal(dataset, runs, procedure(), lambda line: None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"folds": 4}, r"--folds 3 \(now asked: 4\)", id="another number of folds"),
        pytest.param({"seed": 1}, r"--seed 0 \(now asked: 1\)", id="another seed"),
        pytest.param({"refit": False}, "was made with a refit", id="no refit"),
    ],
)
def test_folds_of_other_settings_are_refused(place: Place, values: dict, message: str) -> None:
    runs, dataset = place.root / "fit", read(place.data)
    cross_fit.deal(dataset, runs, procedure(), lambda line: None)
    with pytest.raises(DataError, match=message):
        cross_fit.deal(dataset, runs, procedure(**values), lambda line: None)


def test_without_a_refit_one_fold_is_left_out_for_good(place: Place) -> None:
    runs, dataset, told = place.root / "fit", read(place.data), []
    whole, *by_fold = cross_fit.deal(dataset, runs, procedure(refit=False), told.append)
    assert by_fold == [whole] and cross_fit.folders(runs, by_fold) == [runs]
    held_out = {photo.id for photo in whole.photos("valid")}
    assert held_out == {i for i, fold in whole.fold.items() if fold == cross_fit.for_good(whole)}
    assert held_out.isdisjoint(photo.id for photo in whole.photos("train")) and not any((runs / cross_fit.FOLDER).iterdir())
    assert any(f"one left out for good, {len(held_out)} photos" in line for line in told)
    assert [fold.part for fold in cross_fit.deal(dataset, runs, procedure(refit=False), told.append)] == [whole.part] * 2
    with pytest.raises(DataError, match="was made without a refit"):
        cross_fit.deal(dataset, runs, procedure(), told.append)


@pytest.mark.parametrize("seed", range(5))
def test_photos_without_boxes_are_spread_over_the_folds(seed: int) -> None:
    whole = dealt(photos([9] * 12 + [0] * 12), np.arange(24), 3, seed)
    assert [sum(whole.fold[photo] == number for photo in range(12, 24)) for number in range(3)] == [4, 4, 4]


def test_names_that_the_models_that_ship_never_see_are_told() -> None:
    shop = tuple(replace(photo, labels=np.array([0, 0, int(photo.id == 7)])) for photo in photos([3] * 15))
    dataset = Dataset(Path("shop"), (Category(0, "tea"), Category(1, "mint")), shop)
    whole = cross_fit.all_in_train(dataset, np.arange(15), Settings("shop", "photo", 5, 0, pooled=True))
    number = whole.fold[7]
    assert number is not None
    told = [
        cross_fit.in_words(part, 5) for part in (whole, *(cross_fit.left_out(whole, k) for k in (number, (number + 1) % 5)))
    ]
    lost = (
        "fit: 1 name (mint) is only on photos that are left out: no shelf shows it to the models that ship; "
        "--refit yes trains on all"
    )
    assert [lost in lines for lines in told] == [False, True, False]


@pytest.mark.parametrize(
    ("sizes", "empty", "held"),
    [
        pytest.param([9, 10, 11, 10, 10], 0, 10, id="scenes alike"),
        pytest.param([60, 60], 0, 60, id="two scenes"),
        pytest.param([40, 60], 0, 40, id="no more than half"),
        pytest.param([1, 1, 1, 60, 62], 0, 60, id="twice a fifth is nearer than a photo"),
        pytest.param([120, 1, 1, 1, 1, 1], 0, 2, id="one scene of nearly all"),
        pytest.param([9, 10, 11, 10, 3], 60, 9, id="photos without boxes do not count"),
    ],
)
def test_the_fold_left_out_for_good_is_the_nearest_to_a_fifth(sizes: list[int], empty: int, held: int) -> None:
    boxes = [1] * sum(sizes) + [0] * empty
    scene = np.array([k for k, size in enumerate(sizes) for _ in range(size)] + [len(sizes) - 1] * empty)
    whole = dealt(photos(boxes), scene, 5)
    out = cross_fit.left_out(whole, cross_fit.for_good(whole)).photos("valid")
    assert sum(len(photo.boxes) > 0 for photo in out) == held
    if held < 15:
        with pytest.raises(cross_fit.TooFewLeftOut, match="none has 15 or more, and no more than half of all, to be left out"):
            cross_fit.for_good(whole, 15)
    else:
        assert cross_fit.for_good(whole, 15) == cross_fit.for_good(whole)


def test_a_fold_that_is_large_enough_is_left_out_where_the_nearest_to_a_fifth_is_not() -> None:
    sizes = [14, 14, 14, 14, 22]
    whole = dealt(photos([1] * sum(sizes)), np.repeat(np.arange(5), sizes), 5)
    assert sum(fold == cross_fit.for_good(whole, 15) for fold in whole.fold.values()) == 22
    assert sum(fold == cross_fit.for_good(whole) for fold in whole.fold.values()) == 14


def test_folds_that_hold_photos_out_are_refused(place: Place) -> None:
    with pytest.raises(DataError, match="as hylle folds deals them; fit into another folder"):
        cross_fit.deal(read(place.data), place.runs, procedure(), lambda line: None)


def test_one_fold_leaves_nothing_out() -> None:
    with pytest.raises(ValueError, match="--folds: got 1, must be at least 2"):
        procedure(folds=1)


@pytest.mark.parametrize("flags", [[], ["--force"]])
def test_folds_do_not_replace_those_of_a_fit(place: Place, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    runs = place.root / "fit"
    cross_fit.deal(read(place.data), runs, procedure(folds=3), str)
    before = (runs / folds.NAME).read_bytes()
    assert folds.main(["--data", str(place.data), "--out", str(runs), "--groups", "photo", *flags]) == 2
    assert "is of hylle fit" in capsys.readouterr().err and (runs / folds.NAME).read_bytes() == before
    with pytest.raises(DataError, match="need at least 1 box; hylle fit holds none out"):
        folds.load(runs / folds.NAME, read(place.data)).labelled("valid")

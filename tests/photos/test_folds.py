"""No scene is ever on two sides, parts that were given stay, and folds.json is read back only for the photos it is of."""

from pathlib import Path

import numpy as np
import pytest

from photos.data import PARTS, Category, DataError, Dataset, Photo
from photos.folds import Folds, Settings, deal, leaks, load, save, summary

ROOT = Path("shop")


def photos(boxes: list[int], part: str | None = None, start: int = 0) -> tuple[Photo, ...]:
    """Photos that exist only on paper, with that many boxes each."""
    one = [
        Photo(start + i, ROOT / "images" / f"{start + i}.jpg", 99, 99, np.zeros((n, 4), np.float32), np.zeros(n, np.int64),
              np.arange(n), part, f"{start + i}.jpg")
        for i, n in enumerate(boxes)
    ]  # fmt: skip
    return tuple(one)


def dataset(*parts: tuple[Photo, ...]) -> Dataset:
    return Dataset(ROOT, (Category(0, "tea"),), sum(parts, ()))


def settings(folds: int = 5, seed: int = 0) -> Settings:
    return Settings("shop", "photo", folds, seed)


def scene_parts(folds: Folds) -> dict[int, set[str]]:
    """The parts in which each scene is seen, by a slow loop."""
    seen: dict[int, set[str]] = {}
    for photo in folds.dataset.photos:
        seen.setdefault(folds.scene[photo.id], set()).add(folds.part[photo.id])
    return seen


def test_no_boxes_at_all() -> None:
    with pytest.raises(DataError, match=r"^folds: none of 3 photos to train on has a box$"):
        deal(dataset(photos([0, 0, 0])), np.arange(3), settings())


@pytest.mark.parametrize("seed", range(25))
def test_no_scene_is_on_two_sides(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(20, 200))
    scene = rng.integers(0, rng.integers(8, 60), n)
    folds = deal(dataset(photos(rng.integers(0, 90, n).tolist())), scene, settings(int(rng.integers(3, 8)), seed))
    assert all(len(parts) == 1 for parts in scene_parts(folds).values())
    assert not list(leaks(folds))
    assert sorted(p.id for part in PARTS for p in folds.photos(part)) == list(range(n))
    for part in PARTS:
        assert sum(len(photo.boxes) for photo in folds.photos(part)) > 0
    fold_of = {"test": {0}, "valid": {1}}
    for part, numbers in fold_of.items():
        assert {folds.fold[photo.id] for photo in folds.photos(part)} == numbers


def test_folds_are_balanced_in_boxes() -> None:
    rng = np.random.default_rng(0)
    boxes = rng.integers(14, 236, 248)
    folds = deal(dataset(photos(boxes.tolist())), np.arange(248) // 2, settings())
    filled = np.bincount([folds.fold[i] for i in range(248)], boxes)
    assert np.ptp(filled) < 0.03 * filled.mean()


def test_a_scene_that_outweighs_all_others_is_trained_on() -> None:
    for seed in range(10):
        folds = deal(dataset(photos([5] * 30)), np.array([0] * 20 + list(range(1, 11))), settings(seed=seed))
        assert folds.part[0] == "train"


def test_unlabelled_photos_are_spread() -> None:
    folds = deal(dataset(photos([10] * 10 + [0] * 40)), np.arange(50), settings())
    assert np.bincount([folds.fold[i] for i in range(10, 50)], minlength=5).tolist() == [8] * 5


@pytest.mark.parametrize(
    ("boxes", "scene"),
    [
        pytest.param([20] * 3 + [0] * 200, [0, 1, 2] + [3] * 200, id="a long scene without boxes"),
        pytest.param([20] * 6 + [0] * 350, [*range(6)] + [6] * 200 + [7] * 150, id="two of them"),
        pytest.param([1] * 5 + [0] * 900, [*range(5)] + [5 + i // 30 for i in range(900)], id="many of them"),
    ],
)
def test_every_part_has_a_box_however_many_photos_have_none(boxes: list[int], scene: list[int]) -> None:
    for seed in range(5):
        folds = deal(dataset(photos(boxes)), np.array(scene), settings(seed=seed))
        assert all(folds.labelled(part) for part in PARTS)


def test_a_seed_deals_labelled_photos_as_it_always_did() -> None:
    rng = np.random.default_rng(0)
    boxes, scene = rng.integers(1, 30, 24), rng.integers(0, 12, 24)
    folds = deal(dataset(photos(boxes.tolist())), scene, settings(seed=7))
    assert [folds.fold[i] for i in range(24)] == [2, 0, 1, 4, 1, 0, 0, 3, 2, 0, 4, 1, 4, 3, 3, 3, 2, 4, 4, 2, 4, 0, 1, 3]


def test_the_seed_decides() -> None:
    data, scene = dataset(photos([7] * 40)), np.arange(40)
    assert deal(data, scene, settings(seed=3)).part == deal(data, scene, settings(seed=3)).part
    assert deal(data, scene, settings(seed=3)).part != deal(data, scene, settings(seed=4)).part


@pytest.mark.parametrize(
    ("given", "carved"),
    [
        pytest.param(("train",), {"valid", "test"}, id="train alone"),
        pytest.param(("train", "test"), {"valid"}, id="no valid"),
        pytest.param(("train", "valid"), {"test"}, id="no test"),
        pytest.param(("train", "valid", "test"), set(), id="all given"),
    ],
)
def test_given_parts_are_kept(given: tuple[str, ...], carved: set[str]) -> None:
    data = dataset(*(photos([4] * 20, part, 20 * i) for i, part in enumerate(given)))
    folds = deal(data, np.arange(len(data.photos)) // 2, settings())
    for photo in data.photos:
        assert folds.part[photo.id] == photo.part or (photo.part == "train" and folds.part[photo.id] in carved)
        assert (folds.fold[photo.id] is None) == (photo.part != "train")
    assert all(folds.photos(part) for part in PARTS)
    assert all(len(folds.photos(part)) == 4 for part in carved)
    assert not list(leaks(folds))


def test_given_parts_that_share_scenes_are_told() -> None:
    data = dataset(photos([4] * 6, "train"), photos([4] * 4, "test", 6))
    folds = deal(data, np.array([0, 0, 0, 1, 2, 3, 0, 0, 4, 5]), settings(2))
    assert folds.part[0] == "train"
    assert list(leaks(folds)) == ["leak: 2 of 4 test photos show a scene that is also in train"]


@pytest.mark.parametrize(
    ("parts", "scene", "count", "message"),
    [
        pytest.param((None,), [0] * 20, 5, r"20 photos form 1 scene, need >= 3 to hold 2 out; pass --groups photo or ",
                     id="one scene"),
        pytest.param(("train", "test"), [0] * 20 + [1] * 20, 5, r"20 photos form 1 scene, need >= 2 to hold one out; pass",
                     id="one scene in train"),
        pytest.param((None,), list(range(20)), 2, r"got --folds 2, need >= 3", id="too few folds"),
        pytest.param(("valid", "test"), list(range(40)), 5, "has no part train", id="nothing to train on"),
    ],
)  # fmt: skip
def test_refused(parts: tuple[str | None, ...], scene: list[int], count: int, message: str) -> None:
    data = dataset(*(photos([4] * 20, part, 20 * i) for i, part in enumerate(parts)))
    with pytest.raises(DataError, match=message):
        deal(data, np.array(scene), settings(count))


def test_unknown_part() -> None:
    with pytest.raises(ValueError, match="part: got 'dev', need one of train, valid, test"):
        deal(dataset(photos([1] * 5)), np.arange(5), settings()).photos("dev")


def test_summary_counts() -> None:
    lines = summary(deal(dataset(photos([2] * 10)), np.arange(10) // 2, settings())).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["all", "10", "20", "5"], ["train", "6", "12", "3"], ["valid", "2", "4", "1"], ["test", "2", "4", "1"]]  # fmt: skip


# -- the file ------------------------------------------------------------------------------------------------------------


def test_saved_and_loaded(tmp_path: Path) -> None:
    data = dataset(photos([4] * 20, "train"), photos([4] * 20, "test", 20))
    folds = deal(data, np.arange(40) // 2, settings())
    save(tmp_path / "run" / "folds.json", folds)
    again = load(tmp_path / "run" / "folds.json", data)
    assert (again.settings, again.part, again.scene, again.fold) == (folds.settings, folds.part, folds.scene, folds.fold)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["folds.json"]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not found: make it with hylle folds --data shop --out "):
        load(tmp_path / "folds.json", dataset(photos([1])))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(photos([4] * 21), id="a photo more"),
        pytest.param(photos([4] * 19), id="a photo less"),
        pytest.param(photos([4] * 20, None, 1), id="other names"),
        pytest.param(photos([4] * 20, "test"), id="other parts"),
    ],
)
def test_file_of_another_set(tmp_path: Path, other: tuple[Photo, ...]) -> None:
    save(tmp_path / "folds.json", deal(dataset(photos([4] * 20)), np.arange(20), settings()))
    with pytest.raises(DataError, match=r"does not match shop in \d+ photos?, the first is \d+.jpg") as caught:
        load(tmp_path / "folds.json", dataset(other))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("given", ["valid", "test"])
@pytest.mark.parametrize("now", ["train", None])
def test_a_given_part_that_is_dissolved(tmp_path: Path, given: str, now: str | None) -> None:
    """The same photos, of which the file would hold some out that nobody asks to be."""
    train = photos([4] * 20, "train")
    save(tmp_path / "folds.json", deal(dataset(train, photos([4] * 5, given, 20)), np.arange(25), settings()))
    load(tmp_path / "folds.json", dataset(train, photos([4] * 5, given, 20)))
    with pytest.raises(DataError, match=r"does not match shop in 5 photos, the first is 20\.jpg; .*hylle folds .* --force"):
        load(tmp_path / "folds.json", dataset(train, photos([4] * 5, now, 20)))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": "a", "groups": "auto", "folds": 5, "seed": 0, "photos": [3]}'])
def test_damaged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path / "folds.json", dataset(photos([1])))

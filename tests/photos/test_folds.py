"""No scene is ever on two sides; parts that were given stay; the command says what it did, or one line of what is wrong."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from place import draw_shop

from photos.data import PARTS, Category, DataError, Dataset, Photo
from photos.folds import Folds, Settings, deal, leaks, load, main, save, summary
from runs.command import INTERRUPTED, run

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
    with pytest.raises(DataError, match=r"does not match shop in \d+ photos, the first is \d+.jpg") as caught:
        load(tmp_path / "folds.json", dataset(other))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"data": "a", "groups": "auto", "folds": 5, "seed": 0, "photos": [3]}'])
def test_damaged_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "folds.json").write_text(text)
    with pytest.raises(DataError, match="damaged"):
        load(tmp_path / "folds.json", dataset(photos([1])))


# -- the command ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Ten photos on disk in the contest's layout, one box each: noise of its own for each."""
    root, rng = tmp_path / "shop", np.random.default_rng(0)
    (root / "images").mkdir(parents=True)
    for i in range(10):
        cv2.imwrite(str(root / "images" / f"{i}.jpg"), cv2.resize(rng.integers(0, 256, (6, 6, 3), np.uint8), (64, 64)))
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 64, "height": 64} for i in range(10)]
    boxes = [{"id": i, "image_id": i, "category_id": 0, "bbox": [1, 1, 20, 20]} for i in range(10)]
    (root / "annotations.json").write_text(
        json.dumps({"images": images, "annotations": boxes, "categories": [{"id": 0, "name": "tea"}]})
    )
    return root


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def call(*flags: str) -> tuple[int, str, str]:
        code = main(["--data", str(shop), "--out", str(tmp_path / "run"), *flags])
        return code, *capsys.readouterr()

    return call


@pytest.mark.parametrize("groups", ["auto", "photo"])
def test_command(command: Command, tmp_path: Path, groups: str) -> None:
    code, out, err = command("--groups", groups)
    assert (code, err) == (0, "")
    assert "folds.json written" in out and "all        10      10      10" in out
    content = json.loads((tmp_path / "run" / "folds.json").read_text())
    assert (content["data"], content["seed"], content["groups"], len(content["photos"])) == ("shop", 0, groups, 10)
    kinds = {"file", "image_id", "scene", "fold", "part"} | ({"sha256"} if groups == "auto" else set())
    assert content["photos"][3].keys() == kinds


def test_photos_of_other_bytes_have_no_scenes(command: Command, shop: Path) -> None:
    """Other labels leave the scenes as they are; scenes that were not found by how photos look do not depend on them."""
    assert command()[0] == 0
    text = (shop / "annotations.json").read_text()
    (shop / "annotations.json").write_text(text.replace("tea", "mint").replace("[1, 1, 20, 20]", "[2, 1, 20, 20]", 3))
    assert command()[0] == 0
    path = shop / "images" / "4.jpg"
    path.write_bytes(path.read_bytes() + b"\0")
    code, _, err = command()
    assert (code, err.count("\n")) == (2, 1)
    assert "1 photo changed since " in err and "the first is 4.jpg" in err and "--force" in err
    assert command("--force")[0] == 0
    assert command("--groups", "photo", "--force")[0] == 0
    path.write_bytes(path.read_bytes() + b"\0")
    assert command("--groups", "photo")[0] == 0


def test_command_with_a_table(command: Command, tmp_path: Path) -> None:
    table = tmp_path / "scenes.csv"
    table.write_text("file_name,scene\n" + "".join(f"{i}.jpg,{i % 4}\n" for i in range(10)))
    assert command("--groups", str(table))[0] == 0
    rows = json.loads((tmp_path / "run" / "folds.json").read_text())["photos"]
    assert [row["scene"] for row in rows] == [i % 4 for i in range(10)]
    assert "reused" in command("--groups", str(table))[1]
    table.write_text(table.read_text().replace("9.jpg,1", "9.jpg,2"))
    assert command("--groups", str(table))[0] == 2


def test_command_twice(command: Command, tmp_path: Path) -> None:
    assert command("--groups", "photo")[0] == 0
    before = (tmp_path / "run" / "folds.json").read_bytes()
    assert "reused, it was made with the same settings" in command("--groups", "photo")[1]
    code, _, err = command("--groups", "photo", "--seed", "1")
    assert (code, err.count("\n")) == (2, 1)
    assert "was made with --seed 0 (now asked: 1); --force makes it again" in err
    assert (tmp_path / "run" / "folds.json").read_bytes() == before
    assert command("--groups", "photo", "--seed", "1", "--force")[0] == 0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(("--data", "nowhere"), "error: nowhere: no such folder", id="no data"),
        pytest.param(("--groups", "none.csv"), "error: --groups: got none.csv, need auto, photo, or a CSV file", id="no table"),
        pytest.param(("--folds", "2", "--groups", "photo"), "error: folds: got --folds 2, need >= 3", id="too few folds"),
    ],
)
def test_command_tells_a_mistake_in_one_line(command: Command, flags: tuple[str, ...], message: str) -> None:
    code, _, err = command(*flags)
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(message)


def test_command_on_one_scene(command: Command, shop: Path) -> None:
    for i in range(10):
        (shop / "images" / f"{i}.jpg").write_bytes((shop / "images" / "0.jpg").read_bytes())
    code, _, err = command()
    assert (code, err.count("\n")) == (2, 1)
    assert "10 photos form 1 scene, need >= 3 to hold 2 out; pass --groups photo or --groups FILE.csv" in err


# -- what all commands share ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        pytest.param(ValueError("seed: got -1"), 2, "error: seed: got -1\n", id="value"),
        pytest.param(NotADirectoryError(20, "Not a directory", "run/x"), 2, "error: run/x: Not a directory\n", id="system"),
        pytest.param(FileNotFoundError("folds: none"), 2, "error: folds: none\n", id="own words"),
        pytest.param(ValueError(), 2, "error: ValueError\n", id="no words"),
        pytest.param(KeyboardInterrupt(), INTERRUPTED, "interrupted\n", id="ctrl-c"),
    ],
)
def test_exit_codes(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def body(argv: list[str] | None) -> None:
        raise error

    assert run(body, None) == code
    assert capsys.readouterr().err == line


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(TypeError):
        run(lambda argv: len(3), None)  # type: ignore[arg-type]


def test_repairs_are_told_and_strict_refuses_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw_shop(tmp_path / "shop")
    path = tmp_path / "shop" / "annotations.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["bbox"] = [-4, 8, 30, 40]
    path.write_text(json.dumps(content))
    words = ["--data", str(path.parent), "--out", str(tmp_path / "R"), "--groups", "photo"]
    assert main([*words, "--strict"]) == 2
    assert "--strict: boxes that reach up to 4.0 px out of their photos, clipped: 1" in capsys.readouterr().err
    assert main(words) == 0
    told = capsys.readouterr().out
    assert "read as COCO, one file (annotations.json)" in told and "data: boxes that reach up to 4.0 px" in told

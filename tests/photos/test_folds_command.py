"""`hylle folds`: it says what it did, or one line of what is wrong."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from place import draw_shop

from photos.data import Dataset
from photos.fit_folds import how_to_make
from photos.folds import main
from runs import identity, process, status


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


def test_the_same_photos_in_a_folder_of_another_name_are_the_same(command: Command, shop: Path, tmp_path: Path) -> None:
    assert command("--groups", "photo")[0] == 0
    shop.rename(tmp_path / "shop-2026")
    before = (tmp_path / "run" / "folds.json").read_bytes()
    assert "reused" in command("--groups", "photo", "--data", str(tmp_path / "shop-2026"))[1]
    assert (tmp_path / "run" / "folds.json").read_bytes() == before


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


def test_no_folds_are_dealt_into_a_fit_that_has_not_dealt_its_own(
    command: Command, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They would hold photos out that the fit trains on at its end, hours later."""
    runs = tmp_path / "run"
    runs.mkdir()
    (runs / "plan.json").write_text("{}")
    for out in (runs, runs / "cross_fit" / "0"):
        for flags in (), ("--force",):
            code, _, err = command("--out", str(out), *flags)
            assert (code, err.count("\n")) == (2, 1) and "is of hylle fit" in err
    assert [path.name for path in runs.iterdir()] == ["plan.json"]
    told = how_to_make(runs / "folds.json", shop)
    assert f"hylle fit {shop} --minutes M --out {runs}" in told and "hylle folds" not in told
    status.main([str(runs)])
    shown = capsys.readouterr().out
    assert "hylle fit D --minutes M --out" in shown and "hylle folds" not in shown


def test_no_folds_are_dealt_where_a_process_is_at_work(
    command: Command, shop: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As that of a fit that measures the machine, and has no plan yet."""
    runs, living = tmp_path / "run", identity.of_process(os.getppid())
    runs.mkdir()
    (runs / process.NAME).write_text(json.dumps(living))
    code, _, err = command()
    assert (code, err) == (2, f"error: {runs}: process {os.getppid()} is at work in it; deal into another folder, by --out\n")
    assert [path.name for path in runs.iterdir()] == [process.NAME]
    status.main([str(runs)])
    for told in how_to_make(runs / "folds.json", shop), capsys.readouterr().out:
        assert f"process {os.getppid()} is at work in" in told and "hylle folds" not in told


def test_a_fit_cannot_begin_while_folds_are_dealt(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs, noted = tmp_path / "run", []
    monkeypatch.setattr("photos.folds.find_scenes", lambda data, groups: noted.append(process.is_alive(runs)) or scenes(data))
    assert command()[0] == 0 and noted == [True]
    assert [path.name for path in runs.iterdir()] == ["folds.json"]


def scenes(dataset: Dataset) -> np.ndarray:
    """Each photo alone, (P,)."""
    return np.arange(len(dataset.photos))

"""Synthetic data sets as commands make them: resumed to the same bytes, with the data set's names, of train photos only."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from small_shop import SMALL, digests

from fusion.models import read_object
from photos import folds
from photos.data import read
from photos.folds import train_photos
from photos.studio import STUDIO
from stage1_detector import detector_run, train
from stage1_detector.synthesis import coco_writer, composed_dataset, composition, cutouts, make_photos
from stage1_detector.synthesis.composed_dataset import ComposedSet
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.ultralytics_engine import callbacks

APPEARANCE = replace(ShelfAppearance(), sizes=((160, 120),), rows=(2, 3))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A drawn shop with its studio photos, and a run folder that deals it."""
    data, runs = tmp_path_factory.mktemp("shop") / "data", tmp_path_factory.mktemp("runs")
    make_photos.draw(replace(SMALL, count=9), data, seed=1, workers=1)
    folds.main(["--data", str(data), "--out", str(runs)])
    return data, runs


def random_set(count: int, seed: int, name: str = "product") -> ComposedSet:
    """A composed data set of random packages, all of the category `name`."""
    return ComposedSet(composed_dataset.RandomPacks(), APPEARANCE, [{"id": 0, "name": name}], count, seed)


def arguments(shop: tuple[Path, Path], out: Path, *more: str) -> list[str]:
    size = ["--size", "160"] if "--studio" in more else []  # photos with swapped facings are as large as the real ones
    return ["--data", str(shop[0]), "--runs", str(shop[1]), "--out", str(out), *size, *more]


@pytest.mark.slow
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    composed = random_set(6, 2)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert composed_dataset.draw(composed, whole, workers=1)

    def stop(line: str) -> None:
        raise KeyboardInterrupt

    step, composed_dataset.PROGRESS_STEP = composed_dataset.PROGRESS_STEP, 3
    try:
        with pytest.raises(KeyboardInterrupt):
            composed_dataset.draw(composed, stopped, workers=1, tell=stop)
    finally:
        composed_dataset.PROGRESS_STEP = step
    assert len(list((stopped / "images").iterdir())) == 3
    assert composed_dataset.draw(composed, stopped, workers=1)
    assert digests(whole) == digests(stopped)
    assert not composed_dataset.draw(composed, whole, workers=1)
    with pytest.raises(ValueError, match="holds another data set"):
        composed_dataset.draw(random_set(6, 3), whole, workers=1)


@pytest.mark.slow
def test_two_workers_draw_what_one_does(tmp_path: Path) -> None:
    for workers in (1, 2):
        composed_dataset.draw(random_set(4, 2), tmp_path / str(workers), workers=workers)
    assert digests(tmp_path / "1") == digests(tmp_path / "2")


@pytest.mark.slow
def test_studio_photos_of_the_shop_become_shelves_with_its_names(shop: tuple[Path, Path], tmp_path: Path) -> None:
    assert make_photos.main(arguments(shop, tmp_path / "s", "--studio", str(shop[0] / STUDIO), "--count", "3")) == 0
    synthetic, real = read(tmp_path / "s"), read(shop[0])
    assert synthetic.categories == real.categories and len(synthetic.photos) == 3
    assert all(max(photo.width, photo.height) == 160 for photo in synthetic.photos)
    assert sum(len(photo.boxes) for photo in synthetic.photos) > 5
    before = digests(tmp_path / "s")
    assert make_photos.main(arguments(shop, tmp_path / "s", "--studio", str(shop[0] / STUDIO), "--count", "3")) == 0
    assert digests(tmp_path / "s") == before


@pytest.mark.slow
def test_swapped_facings_keep_the_boxes_of_a_train_photo(shop: tuple[Path, Path], tmp_path: Path) -> None:
    assert make_photos.main(arguments(shop, tmp_path / "p", "--paste", "--count", "4")) == 0
    real = {photo.boxes.tobytes() for photo in train_photos(*shop)}
    held_out = {photo.boxes.tobytes() for photo in read(shop[0]).photos} - real
    for photo in read(tmp_path / "p").photos:
        assert photo.boxes.tobytes() in real and photo.boxes.tobytes() not in held_out


def test_backgrounds_are_train_photos_without_their_products(shop: tuple[Path, Path]) -> None:
    found = cutouts.background_photos(cutouts.Backgrounds(data=shop[0], runs=shop[1]))
    assert [photo.path for photo in found] == [photo.path for photo in train_photos(*shop)]
    assert len(found) < len(read(shop[0]).photos)


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        pytest.param(["--paste", "--count", "3"], "--data is missing: the photos to swap", id="nothing to paste"),
        pytest.param(["--paste"], "between; --count is missing: how many photos to make", id="nothing to paste, no count"),
        pytest.param(
            ["--paste", "--data", "D", "--size", "320"], "--size: got 320, which goes with --studio", id="paste's size"
        ),
        pytest.param(["--studio", "S", "--recipe", "demo"], "--recipe: got demo, which goes with a drawn", id="two recipes"),
        pytest.param(["--size", "320"], "--size: got 320, which goes with --studio", id="a drawn shop's size"),
        pytest.param(["--studio", "S", "--count", "3", "--runs", "R"], "--runs: needs --data", id="folds of nothing"),
        pytest.param(["--backgrounds", "B"], "--backgrounds: got B, which goes with --studio", id="drawn before B"),
        pytest.param(["--runs", "R"], "--runs: got R, which goes with --studio or --paste", id="drawn by folds"),
        pytest.param(["--studio", "S"], "--count is missing: how many photos", id="no count"),
        pytest.param(["--studio", "S", "--count", "0"], "--count: got 0, allowed 1 to", id="no photos"),
        pytest.param(["--studio", "S", "--count", "3", "--size", "9"], "--size: got 9, allowed 64 to 8192", id="too small"),
        pytest.param(["--studio", "S", "--count", "3", "--paste"], "--paste: got --studio too", id="two in one"),
        pytest.param(["--studio", "S", "--count", "3"], "studio photos: got S, need FOLDER/PRODUCT", id="no studio photos"),
        pytest.param(["--studio", "S", "--backgrounds", "B", "--count", "3"], "--backgrounds: got B, need a folder", id="no B"),
    ],
)
def test_arguments_that_do_not_go_together_are_one_line(
    flags: list[str], error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "S").mkdir()
    assert make_photos.main(["--out", "out", *flags]) == 2
    lines = capsys.readouterr().err
    assert error in lines and lines.count("\n") == 1


def test_photos_without_folds_are_refused(shop: tuple[Path, Path]) -> None:
    with pytest.raises(ValueError, match=r"has no part train; pass --runs R"):
        train_photos(shop[0], None)


def test_names_are_the_data_sets_only_where_most_products_have_one() -> None:
    known = [{"id": 3, "name": "Tea "}, {"id": 9, "name": "rye"}]
    assert composition.match_categories({"a": "tea", "b": "Rye", "c": "oil"}, known) == (known, (("a", 3), ("b", 9)))
    own, labels = composition.match_categories({"a": "tea", "b": "oil", "c": "egg"}, known)
    assert [category["name"] for category in own] == ["tea", "oil", "egg"] and labels == (("a", 0), ("b", 1), ("c", 2))


def test_an_appearance_is_as_dense_as_the_photos(shop: tuple[Path, Path]) -> None:
    look = composition.appearance_of(train_photos(*shop), 320)
    assert all(max(size) == 320 for size in look.sizes)
    assert 1 <= look.rows[0] <= look.rows[1] <= 6  # the shop has two or three shelves to a photo
    assert (
        composition.appearance_of((), 640).sizes == ((640, 480), (480, 640))
        and composition.appearance_of((), 640).rows == ShelfAppearance().rows
    )


def test_a_broken_studio_photo_is_reported_and_left_out(tmp_path: Path) -> None:
    photo = np.full((60, 60, 3), 255, np.uint8)
    photo[10:50, 20:40] = (0, 0, 200)
    for name in ("a/main", "b/main"):
        (tmp_path / "S" / name).parent.mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "S" / f"{name}.png"), photo)
    (tmp_path / "S" / "a" / "front.jpg").write_bytes(b"broken")
    cv2.imwrite(str(tmp_path / "S" / "b" / "front.png"), np.full((60, 60, 3), 255, np.uint8))
    lines: list[str] = []
    assert cutouts.cut_all(tmp_path / "S", tmp_path / "cut", 1, lines.append) == {"a": "a", "b": "b"}
    assert "front.jpg: not a readable photo" in lines[0] and "front.png: no product stands out" in lines[1]
    assert json.loads((tmp_path / "cut" / "cutouts.json").read_text())["products"]["a"]["main"] == pytest.approx(0.5, abs=0.1)


def test_photos_of_one_stem_are_cut_out_each(tmp_path: Path) -> None:
    (tmp_path / "S" / "a").mkdir(parents=True)
    heights = {"back.jpg": 20, "back.png": 25, "Main.webp": 34, "main.jpg": 37, "main.png": 40}
    for name, height in heights.items():
        photo = np.full((60, 60, 3), 255, np.uint8)
        photo[10 : 10 + height, 20:40] = (0, 0, 200)
        cv2.imwrite(str(tmp_path / "S" / "a" / name), photo)
    lines: list[str] = []
    cutouts.cut_all(tmp_path / "S", tmp_path / "cut", 1, lines.append)
    assert lines == ["cut out 5 of 5 studio photos of 1 products"]
    views = json.loads((tmp_path / "cut" / "cutouts.json").read_text())["products"]["a"]
    assert views.keys() == {"back", "back.png", "Main", "main.jpg", "main.png"}
    assert list(views.values()) == pytest.approx([20 / heights[name] for name in sorted(heights)], abs=0.05)
    drawn = {path.name for path in cutouts._stock(tmp_path / "cut", (("a", 0),), 0).pictures[0]}
    assert drawn == {"Main.png", "main.jpg.png", "main.png.png"}


def test_a_folder_of_another_data_set_is_refused(tmp_path: Path) -> None:
    assert coco_writer.begin(tmp_path / "a", {"kind": 1})
    assert coco_writer.begin(tmp_path / "a", {"kind": 1})  # goes on
    with pytest.raises(ValueError, match=r"holds another data set \(kind 1 there, 2 asked\)"):
        coco_writer.begin(tmp_path / "a", {"kind": 2})


@pytest.mark.slow
def test_a_training_takes_them_in_and_says_how_far_it_is(shop: tuple[Path, Path], tmp_path: Path) -> None:
    assert make_photos.main(arguments(shop, tmp_path / "p", "--paste", "--count", "4")) == 0
    runs = tmp_path / "R"
    runs.mkdir()
    (runs / "folds.json").write_bytes((shop[1] / "folds.json").read_bytes())
    flags = ["--data", str(shop[0]), "--out", str(runs), "--classes", "all", "--quick", "--epochs", "2"]
    assert train.main([*flags, "--synthetic", str(tmp_path / "p"), "--synthetic-ratio", "0.5"]) == 0
    linked = [path.name for path in (runs / "all" / "photos" / "train" / "images").iterdir()]
    assert sum(name.startswith("synthetic_") for name in linked) == 4
    rows = (runs / "all" / "results.csv").read_text().splitlines()
    assert len(rows) == 3 and "valid/det_map50" in rows[0] and "valid/cls_map50" in rows[0]
    assert list((runs / "all").glob(callbacks.BOARD))
    assert "det_map50" in read_object(runs / "all" / "progress.json")["line"]


def test_synthetic_photos_of_unknown_names_go_with_one_class_only(shop: tuple[Path, Path], tmp_path: Path) -> None:
    composed_dataset.draw(random_set(2, 0, "thing"), tmp_path / "s", workers=1)
    dataset = read(shop[0])
    assert len(detector_run.synthetic_photos(tmp_path / "s", dataset, "one", "")) == 2
    with pytest.raises(ValueError, match="has the category 'thing', the data set has not"):
        detector_run.synthetic_photos(tmp_path / "s", dataset, "all", "")


@pytest.mark.parametrize("flags", [["--synthetic", "S"], ["--synthetic-ratio", "1"]], ids=["no ratio", "no photos"])
def test_synthetic_photos_and_their_ratio_go_together(
    shop: tuple[Path, Path], flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train.main(["--data", str(shop[0]), "--out", str(shop[1]), *flags]) == 2
    assert "give both or neither" in capsys.readouterr().err


@pytest.mark.slow
def test_photos_made_under_another_deal_are_refused(
    shop: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else photos that are held out now would be trained on."""
    assert make_photos.main(arguments(shop, tmp_path / "p", "--paste", "--count", "4")) == 0
    other = tmp_path / "R"
    assert folds.main(["--data", str(shop[0]), "--out", str(other), "--seed", "5"]) == 0
    assert {p.id for p in train_photos(shop[0], other)} != {p.id for p in train_photos(*shop)}
    flags = ["--data", str(shop[0]), "--out", str(other), "--quick"]
    assert train.main([*flags, "--synthetic", str(tmp_path / "p"), "--synthetic-ratio", "0.5"]) == 2
    assert "is made of other photos than these folds train on" in capsys.readouterr().err
    assert make_photos.main(arguments((shop[0], other), tmp_path / "p", "--paste", "--count", "4")) == 2
    assert "holds another data set" in capsys.readouterr().err


def test_cutouts_of_other_photos_are_refused(tmp_path: Path) -> None:
    for name, side in (("S", 40), ("T", 50)):
        (tmp_path / name / "a").mkdir(parents=True)
        photo = np.full((60, 60, 3), 255, np.uint8)
        photo[5:side, 20:40] = (0, 0, 200)
        cv2.imwrite(str(tmp_path / name / "a" / "main.png"), photo)
    cutouts.cut_all(tmp_path / "S", tmp_path / "cut", 1, print)
    with pytest.raises(ValueError, match="holds cut-outs of other photos"):
        cutouts.cut_all(tmp_path / "T", tmp_path / "cut", 1, print)


def test_cutouts_go_by_the_bytes_of_the_photos_also_where_they_were_stopped(tmp_path: Path) -> None:
    path, (width, height) = tmp_path / "S" / "a" / "main.png", (60, 60)
    path.parent.mkdir(parents=True)

    def paint(side: int) -> None:
        photo = np.full((height, width, 3), 255, np.uint8)
        photo[5:side, 20:40] = (0, 0, 200)
        cv2.imwrite(str(path), photo)
        path.write_bytes(path.read_bytes().ljust(9999, b"\0"))  # all of one size

    paint(40)
    cutouts.cut_all(tmp_path / "S", tmp_path / "cut", 1, print)
    labels, behind = (("a", 0),), tmp_path / "behind"
    behind.mkdir()
    (behind / "b.jpg").write_bytes(b"1")
    source = cutouts.studio_source(tmp_path / "cut", labels, cutouts.Backgrounds(behind))
    (behind / "b.jpg").write_bytes(b"22")
    assert cutouts.studio_source(tmp_path / "cut", labels, cutouts.Backgrounds(behind)).description != source.description
    (tmp_path / "cut" / "cutouts.json").unlink()  # as after a kill
    paint(50)
    with pytest.raises(ValueError, match="holds cut-outs of other photos"):
        cutouts.cut_all(tmp_path / "S", tmp_path / "cut", 1, print)

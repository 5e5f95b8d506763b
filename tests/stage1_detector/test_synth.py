"""The drawn shelves: reproducible, in the contest's layout, with the contest's statistics, and refused where they must be."""

import csv
import hashlib
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from stage1_detector import synth
from stage1_detector.camera import seen
from stage1_detector.command import run
from stage1_detector.data import Dataset, read
from stage1_detector.pack import ICONS, SHAPES, draw_pack
from stage1_detector.shelf import ShelfConfig, arrange, paint
from stage1_detector.world import ACCENTS, BASES, World, make_world

SMALL = replace(synth.RECIPES["demo"], count=5, categories=9, families=3, sizes=((160, 120), (120, 160)), rows=(2, 3), side=0.2)


def digests(out: Path) -> dict[str, str]:
    """Every file below `out` and a hash of its bytes."""
    files = sorted(p for p in out.rglob("*") if p.is_file())
    return {str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "shelf"
    assert synth.draw(SMALL, out, seed=3, workers=1)
    return out


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    out = tmp_path_factory.mktemp("demo") / "shelf"
    synth.draw(synth.recipe("demo", 16), out, workers=1)
    return read(out)


def world(seed: int = 0, categories: int = 24, families: int = 5) -> World:
    return make_world(categories, families, 0.3, np.random.default_rng(seed))


# --- nothing, and refusals


def test_nothing_seen_gives_empty_boxes_of_the_right_form() -> None:
    boxes, facings = seen(np.zeros((8, 8), np.uint16), np.zeros(0), 0.3)
    assert (boxes.shape, boxes.dtype, facings.shape, facings.dtype) == ((0, 4), np.float32, (0,), np.int64)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--count", "0"], "--count: got 0", id="no photos"),
        pytest.param(["--count", "-2"], "--count: got -2", id="less than no photos"),
        pytest.param(["--recipe", "corner"], "--recipe: got 'corner', allowed: demo, contest", id="unknown recipe"),
        pytest.param(["--seed", "-1"], "--seed: got -1", id="negative seed"),
    ],
)
def test_bad_wishes_are_one_line_and_exit_code_2(flags: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(synth.main, ["--out", str(tmp_path / "new"), *flags]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_out_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "f").write_text("mine")
    assert run(synth.main, ["--out", str(tmp_path / "f")]) == 2
    assert "which is a file" in capsys.readouterr().err
    assert (tmp_path / "f").read_text() == "mine"


def test_a_folder_with_other_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        synth.draw(SMALL, tmp_path)
    assert digests(tmp_path).keys() == {"thesis.txt"}


@pytest.mark.parametrize(
    ("config", "seed", "words"),
    [
        pytest.param(replace(SMALL, count=6), 3, "count 5 there, 6 asked", id="another count"),
        pytest.param(replace(SMALL, tint=0.3), 3, "tint 0.1 there, 0.3 asked", id="another light"),
        pytest.param(SMALL, 4, "seed 3 there, 4 asked", id="another seed"),
    ],
)
def test_another_data_set_is_not_drawn_over_this_one(config: ShelfConfig, seed: int, words: str, drawn: Path) -> None:
    before = digests(drawn)
    with pytest.raises(ValueError, match=words):
        synth.draw(config, drawn, seed=seed, workers=1)
    assert digests(drawn) == before


def test_a_family_has_at_most_eight_members() -> None:
    with pytest.raises(ValueError, match="got 2 for 17 categories"):
        world(categories=17, families=2)


# --- again, on, elsewhere


def test_the_same_wish_reuses_what_is_there(drawn: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in drawn.rglob("*")}
    assert synth.draw(SMALL, drawn, seed=3, workers=1) is False
    assert {p: p.stat().st_mtime_ns for p in drawn.rglob("*")} == before


def test_the_command_says_that_it_reuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(synth.RECIPES, "demo", SMALL)
    flags = ["--out", str(tmp_path / "d"), "--count", "1"]
    assert run(synth.main, flags) == run(synth.main, flags) == 0
    assert f"reuses {tmp_path / 'd'}" in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.slow
def test_two_processes_draw_the_same_bytes_as_one(drawn: Path, tmp_path: Path) -> None:
    synth.draw(SMALL, tmp_path / "b", seed=3, workers=2)
    assert digests(tmp_path / "b") == digests(drawn)


def test_a_stopped_run_goes_on_and_keeps_whole_photos(drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []

    def stop(text: str) -> None:
        heard.append(text)
        if "photos" in text and "studio" not in text:
            raise KeyboardInterrupt

    monkeypatch.setattr(synth, "TOLD", 2)
    with pytest.raises(KeyboardInterrupt):
        synth.draw(SMALL, tmp_path / "c", seed=3, workers=1, tell=stop)
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "c" / "images").iterdir()}
    assert 0 < len(kept) < SMALL.count
    assert synth.draw(SMALL, tmp_path / "c", seed=3, workers=1)
    assert digests(tmp_path / "c") == digests(drawn)
    assert all(p.stat().st_mtime_ns == t for p, t in kept.items())


def test_another_seed_draws_other_photos() -> None:
    packs = [draw_pack(world(seed).products[0], 40) for seed in (0, 1)]
    assert packs[0].shape != packs[1].shape or (packs[0] != packs[1]).any()


# --- the layout


def test_the_drawn_set_is_read_without_a_complaint(drawn: Path) -> None:
    data = read(drawn)
    assert [c.id for c in data.categories] == list(range(9))
    assert [p.path.name for p in data.photos] == [f"img_{i:05d}.jpg" for i in range(1, 6)]
    assert not (drawn / "drawn").exists()
    for photo in data.photos:
        image = cv2.imread(str(photo.path))
        assert image.shape == (photo.height, photo.width, 3) and image.std() > 10


def test_boxes_are_whole_and_inside_their_photo(drawn: Path, demo: Dataset) -> None:
    for photo in read(drawn).photos + demo.photos:
        x0, y0, x1, y1 = photo.boxes.T
        assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= photo.width).all() and (y1 <= photo.height).all()
        assert (x1 - x0 >= 4).all() and (y1 - y0 >= 4).all()


def test_every_product_has_its_studio_photos_and_its_count(drawn: Path) -> None:
    content = json.loads((drawn / "annotations.json").read_text())
    counts = Counter(a["category_id"] for a in content["annotations"])
    entries = json.loads((drawn / synth.STUDIO / "metadata.json").read_text())
    assert [e["product_name"] for e in entries] == [c["name"] for c in content["categories"]]
    assert [e["annotation_count"] for e in entries] == [counts[c["id"]] for c in content["categories"]]
    for entry in entries:
        assert len(entry["product_code"]) == 13 and entry["has_images"] and entry["image_types"] == list(synth.VIEWS)
        for view in entry["image_types"]:
            image = cv2.imread(str(drawn / synth.STUDIO / entry["product_code"] / f"{view}.jpg"))
            assert image.shape == (synth.STUDIO_SIDE, synth.STUDIO_SIDE, 3)
            assert image[0].min() > 245 and image.min() < 200  # on white, and something there


def test_scenes_name_each_photo_once_and_their_photos_look_alike(drawn: Path) -> None:
    rows = list(csv.DictReader((drawn / "scenes.csv").open()))
    assert [r["file_name"] for r in rows] == sorted(p.name for p in (drawn / "images").iterdir())
    sizes = Counter(r["scene"] for r in rows)
    assert sorted(map(int, sizes)) == list(range(len(sizes))) and max(sizes.values()) <= 3
    names = {p.path.name: set(p.labels.tolist()) for p in read(drawn).photos}
    for a, b in [(a, b) for a in rows for b in rows if a["scene"] == b["scene"]]:
        assert names[a["file_name"]] & names[b["file_name"]]


@pytest.mark.parametrize("count", [1, 2, 50])
def test_a_plan_gives_each_photo_to_one_scene(count: int) -> None:
    scenes = synth.plan(replace(SMALL, count=count), seed=1)
    assert sorted(n for s in scenes for n in s) == list(range(1, count + 1))
    assert all(1 <= len(s) <= 3 for s in scenes)


# --- the products


def test_names_and_codes_are_unique_and_frequencies_have_a_long_tail() -> None:
    shop = synth.world(synth.RECIPES["contest"], 0)
    assert len({p.name for p in shop.products}) == len({p.code for p in shop.products}) == 356
    assert all(p.name.isascii() for p in shop.products)
    falling = sorted(shop.weights, reverse=True)
    assert sum(falling[:50]) == pytest.approx(0.5, abs=0.1)  # the contest's first 50 hold half of all boxes
    assert falling[0] / falling[100] == pytest.approx(422 / 85, rel=0.3)


def test_every_ground_leaves_eight_colours_for_sisters() -> None:
    for base in BASES:
        assert sum(np.abs(np.subtract(a, base)).sum() > 110 for a in ACCENTS) >= 8


def test_sisters_differ_but_less_than_strangers() -> None:
    products = world(categories=24, families=6).products
    fronts = [cv2.resize(draw_pack(p, 48)[..., :3], (32, 32), interpolation=cv2.INTER_AREA).astype(float) for p in products]
    far = np.array([[np.abs(a - b).mean() for b in fronts] for a in fronts])  # (C, C) grey levels
    sisters = np.array([[a.family == b.family for b in products] for a in products])
    near = far[sisters & ~np.eye(len(products), dtype=bool)]
    assert near.min() > 1.5
    assert near.mean() < 0.6 * far[~sisters].mean()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("view", ["front", "left", "right"])
def test_each_kind_of_pack_has_a_silhouette(shape: str, view: str) -> None:
    product = world().products[0]
    pack = draw_pack(replace(product, family=replace(product.family, shape=shape, aspect=0.8)), 80, view)
    height, width = pack.shape[:2]
    assert pack.dtype == np.uint8 and height == 80 and width in (64, 36)
    assert 0.5 < (pack[..., 3] > 127).mean() <= 1
    assert (pack[..., 3] > 127)[40, width // 2]


def test_icons_stay_inside_their_box() -> None:
    for radius in ICONS.values():
        assert radius.shape == (60,) and 0 < radius.min() and radius.max() <= 1.26


# --- the shelf, against the contest's figures


def test_a_hidden_facing_is_not_annotated_and_a_half_hidden_one_is() -> None:
    owner = np.zeros((20, 40), np.uint16)
    owner[:, :10], owner[:, 10:15], owner[:, 20:22] = 1, 2, 3
    boxes, facings = seen(owner, np.array([200.0, 200.0, 200.0, 200.0]), 0.3)
    assert facings.tolist() == [0]
    boxes, facings = seen(owner, np.array([200.0, 200.0, 200.0, 200.0]), 0.2)
    assert facings.tolist() == [0, 1] and boxes.tolist() == [[0, 0, 10, 20], [10, 0, 15, 20]]


def test_what_the_painting_says_of_a_facing_is_where_it_stands() -> None:
    rng = np.random.default_rng(0)
    shop = synth.world(SMALL, 0)
    scene = arrange(SMALL, shop, rng)
    painting = paint(scene, shop, rng)
    width, height = scene.flat
    assert painting.image.shape == (height, width, 3) and painting.owner.shape == (height, width)
    for i, f in enumerate(scene.facings):
        ys, xs = np.nonzero(painting.owner == i + 1)
        assert len(xs) <= painting.areas[i]
        if len(xs):
            assert f.left - 6 <= xs.min() and xs.max() <= f.left + f.width + 6
            assert f.bottom - f.height - 6 <= ys.min() and ys.max() <= f.bottom + 6


def test_runs_and_gaps_of_an_arrangement_follow_the_contest() -> None:
    config = replace(synth.RECIPES["demo"], stock=(1.0, 1.0))
    shop, runs, gaps = synth.world(config, 0), Counter[int](), []
    for scene in range(12):
        facings = arrange(config, shop, np.random.default_rng(scene)).facings
        for foot in {f.foot for f in facings}:
            row = sorted((f for f in facings if f.foot == foot), key=lambda f: f.left)
            gaps += [(b.left - a.left - a.width) / a.width for a, b in zip(row, row[1:], strict=False)]
            ends = [-1] + [i for i in range(len(row) - 1) if row[i].product != row[i + 1].product] + [len(row) - 1]
            runs.update(np.diff(ends).tolist())
    shares = [runs[n] / sum(runs.values()) for n in (1, 2, 3)]
    assert shares == pytest.approx([0.41, 0.39, 0.13], abs=0.12)
    assert np.percentile(gaps, [10, 50, 90]) == pytest.approx([-0.28, -0.04, 0.37], abs=0.08)


def test_demo_photos_have_the_promised_boxes(demo: Dataset) -> None:
    counts = [len(p.boxes) for p in demo.photos]
    assert 20 <= np.median(counts) <= 50
    sides = np.concatenate([np.sqrt(np.prod(p.boxes[:, 2:] - p.boxes[:, :2], axis=1)) / max(p.width, p.height) for p in demo.photos])
    assert np.median(sides) == pytest.approx(0.09, abs=0.02)
    assert np.median([len(set(p.labels.tolist())) for p in demo.photos]) >= 6
    largest = [np.sort(overlap(p.boxes), axis=1)[:, -1] for p in demo.photos]  # of each box, with its nearest neighbour
    assert np.median(np.concatenate(largest)) < 0.15
    assert 0.1 < np.percentile(np.concatenate(largest), 99) < 0.5


def overlap(boxes: np.ndarray) -> np.ndarray:
    """IoU of each box with each other one (N, N), by a slow loop; 0 with itself."""
    table = np.zeros((len(boxes), len(boxes)))
    for i, a in enumerate(boxes):
        for j, b in enumerate(boxes):
            w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
            if i != j and w > 0 and h > 0:
                table[i, j] = w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)
    return table


@pytest.mark.slow
def test_contest_photos_are_as_dense_as_the_contest(tmp_path: Path) -> None:
    synth.draw(synth.recipe("contest", 10), tmp_path / "d", workers=1)
    photos = read(tmp_path / "d").photos
    assert 50 <= np.median([len(p.boxes) for p in photos]) <= 150
    assert 20 <= np.median([len(set(p.labels.tolist())) for p in photos]) <= 55

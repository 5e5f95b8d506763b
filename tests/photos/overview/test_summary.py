"""What `hylle data` counts: planted oddities are found and named, and a set without any has none."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hylle import data
from photos.data import Category, Dataset, Photo
from photos.overview import repeats
from photos.overview.anomalies import anomalies
from photos.overview.folder import unlisted
from photos.overview.summary import Summary, products, sizes, summarise
from photos.overview.unlabelled import without_boxes

NAMES = ("TE", "kaffe", "malt")
SPREAD = [[10, 5, 30, 35], [40, 5, 60, 35], [70, 5, 90, 35]]


def photo(i: int, boxes: list[list[float]] = SPREAD, part: str | None = None, root: Path = Path("D")) -> Photo:
    """A photo of 96 x 64 pixels, not on disk, with boxes of the products 0, 1, 2, 0 ..."""
    xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    ids = np.arange(len(xyxy))
    name = f"img_{i:05d}.jpg"
    return Photo(i, root / "images" / name, 96, 64, xyxy, ids % 3, 10 * i + ids, part, name)


def dataset(photos: list[Photo], names: tuple[str, ...] = NAMES, root: Path = Path("D")) -> Dataset:
    return Dataset(root, tuple(Category(i + 1, name) for i, name in enumerate(names)), tuple(photos))


def on_disk(root: Path, photos: list[Photo], names: tuple[str, ...] = NAMES) -> Dataset:
    """The set in the contest's layout, each photo of other noise."""
    for one in photos:
        one.path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(one.id).integers(0, 255, (64, 96, 3), np.uint8)).save(one.path)
    images = [{"id": p.id, "file_name": p.name, "width": 96, "height": 64} for p in photos]
    boxes = [
        {
            "id": int(i),
            "image_id": p.id,
            "category_id": int(c) + 1,
            "bbox": [float(x0), float(y0), float(x1 - x0), float(y1 - y0)],
        }
        for p in photos
        for i, c, (x0, y0, x1, y1) in zip(p.annotation_ids, p.labels, p.boxes, strict=True)
    ]
    these = dataset(photos, names, root)
    categories = [{"id": c.id, "name": c.name} for c in these.categories]
    content = {"images": images, "annotations": boxes, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))
    return these


def said(summary: Summary) -> dict[str, str]:
    return {anomaly.looked_for: anomaly.text for anomaly in anomalies(summary) if anomaly.text}


# -- counts --------------------------------------------------------------------------------------------------------------


def test_no_photos_are_summed_up() -> None:
    summary = summarise(dataset([], ()))
    assert (summary.parts["all"].photos, summary.sizes.quantiles, said(summary)) == (0, {}, {})


def test_a_set_without_oddities_has_none(tmp_path: Path) -> None:
    summary = summarise(on_disk(tmp_path, [photo(i, root=tmp_path) for i in (1, 2, 3)]))
    assert said(summary) == {}
    assert (summary.parts["all"].photos, summary.parts["all"].boxes, summary.parts["all"].products) == (3, 9, 3)


def test_parts_are_counted_apart(tmp_path: Path) -> None:
    photos = [photo(1, SPREAD[:1], "train", tmp_path), photo(2, [], "train", tmp_path), photo(3, SPREAD, "test", tmp_path)]
    parts = summarise(on_disk(tmp_path, photos)).parts
    assert list(parts) == ["all", "train", "test"]
    counts = [(part.photos, part.without_boxes, part.boxes, part.products, part.unseen) for part in parts.values()]
    assert counts == [(3, 1, 4, 3, 0), (2, 1, 1, 1, 0), (1, 0, 3, 3, 2)]


def test_products_by_number_of_boxes() -> None:
    labels = [0] * 1 + [1] * 4 + [2] * 5 + [3] * 19 + [4] * 20
    one = replace(photo(1, [[0, 0, 9, 9]] * len(labels)), labels=np.array(labels))
    result = products(dataset([one], ("a", "b", "c", "d", "e", "f")))
    assert result.by_boxes == {"none": 1, "1-4": 2, "5-19": 2, "20 or more": 1}


def test_sizes_against_counting_by_hand() -> None:
    result = sizes([photo(1, [[0, 0, 2, 40], [0, 0, 3, 60], [0, 0, 96, 64], [0, 0, 1, 1]]), photo(2, [])])
    assert result.quantiles["boxes a photo"] == {"min": 0, "5 %": 0.2, "median": 2, "95 %": 3.8, "max": 4}
    assert result.quantiles["width, px"]["max"] == 96
    assert result.quantiles["shorter side, px"]["min"] == 1
    assert result.small == {640: 0.5, 1280: 0.25}  # 2, 3, 64 and 1 of 96 pixels are 13.3, 20, 427 and 6.7 of 640


# -- photos without boxes ------------------------------------------------------------------------------------------------

CROWDED = [[10 * k, 0, 10 * k + 9, 9] for k in range(8)]


@pytest.mark.parametrize(
    ("boxes", "guess", "why"),
    [
        pytest.param([], "none", "every photo", id="no photos"),
        pytest.param([SPREAD, SPREAD], "none", "every photo", id="none"),
        pytest.param([[], []], "unlabelled", "no photo of the set", id="no box at all"),
        pytest.param([CROWDED] * 9 + [[]] + [CROWDED], "unlabelled", "100 % have 8 or more", id="one among crowded shelves"),
        pytest.param(
            [CROWDED[:5], CROWDED[:6], [], *[CROWDED] * 8],
            "unlabelled",
            "100 % have 5 or more",
            id="a share between two photos",
        ),
        pytest.param([SPREAD[:1], SPREAD, [], SPREAD], "empty", "few boxes are common", id="one among sparse photos"),
        pytest.param([SPREAD[:1]] * 4 + [[]] * 3, "unlabelled", "the last photos of the set", id="the last ones"),
        pytest.param([SPREAD[:1]] * 4 + [[]] * 2, "empty", "few boxes are common", id="too few to be no chance"),
    ],
)
def test_are_they_empty_or_unlabelled(boxes: list[list[list[float]]], guess: str, why: str) -> None:
    result = without_boxes([photo(i, each) for i, each in enumerate(boxes)])
    assert (result.guess, why in result.why, len(result.names)) == (guess, True, sum(not each for each in boxes))


def test_photos_with_regions_to_ignore_were_looked_at() -> None:
    looked_at = replace(photo(2, []), ignored=np.float32([[0, 0, 9, 9]]))
    assert without_boxes([photo(1), looked_at]).guess == "ignored"


# -- what is there twice -------------------------------------------------------------------------------------------------


def test_boxes_in_one_place() -> None:
    boxes = [[10, 10, 50, 50], [10, 10, 50, 50.5], [60, 10, 90, 50], [10, 10, 50, 50], [61, 10, 95, 50]]
    result = repeats.boxes([photo(1, boxes)], dataset([]).categories)  # products 1 2 3 1 2
    assert [pair.annotations for pair in result.one_name] == [(10, 13)]
    assert [(pair.annotations, pair.categories) for pair in result.two_names] == [((10, 11), (1, 2)), ((11, 13), (2, 1))]


def test_boxes_in_one_place_of_products_with_one_name() -> None:
    result = repeats.boxes([photo(1, [[10, 10, 50, 50]] * 2)], dataset([], ("te", "TE ", "malt")).categories)
    assert (len(result.one_name), len(result.two_names)) == (1, 0)


def test_boxes_in_one_place_against_every_pair() -> None:
    rng = np.random.default_rng(0)
    base = rng.uniform(0, 60, (40, 2)).repeat(3, 0) + rng.normal(0, 0.3, (120, 2))
    boxes = np.hstack([base, base + rng.uniform(19, 21, (120, 2))])
    slow = 0
    for i, a in enumerate(boxes.astype(np.float32).astype(float)):
        for b in boxes[:i].astype(np.float32).astype(float):
            w, h = (min(a[k + 2], b[k + 2]) - max(a[k], b[k]) for k in (0, 1))
            shared = max(w, 0) * max(h, 0)
            union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
            slow += shared / union >= repeats.SAME_BOX
    result = repeats.boxes([photo(1, boxes.tolist())], dataset([]).categories)
    assert len(result.one_name) + len(result.two_names) == slow > 5


def test_files_with_the_same_bytes(tmp_path: Path) -> None:
    head = b"x" * repeats.HEAD
    content = {"a": b"1", "b": b"2", "c": b"1", "d": head + b"1", "e": head + b"2", "f": head + b"1", "g": b"longer"}
    for name, bytes_of_file in content.items():
        (tmp_path / name).write_bytes(bytes_of_file)
    (tmp_path / "h").hardlink_to(tmp_path / "g")
    groups = repeats.files([tmp_path / name for name in [*content, "h"]])
    assert [[path.name for path in group] for group in groups] == [["a", "c"], ["d", "f"], ["g", "h"]]


def test_no_files_are_alike() -> None:
    assert repeats.files([]) == ()


# -- the rest ------------------------------------------------------------------------------------------------------------


def test_planted_oddities_are_each_told(tmp_path: Path) -> None:
    parts = ("train", "test")
    photos = [photo(i, root=tmp_path, part=parts[i % 2]) for i in (1, 2, 3, 4)] + [photo(7, [], "test", tmp_path)]
    these = on_disk(tmp_path, photos, ("te", "Te ", ""))
    (tmp_path / "images" / "img_00002.jpg").write_bytes((tmp_path / "images" / "img_00001.jpg").read_bytes())
    for name in ("images/unlisted.jpg", "notes.pdf", ".hidden.jpg"):
        (tmp_path / name).touch()
    (tmp_path / "NM_NGD_product_images" / "1").mkdir(parents=True)
    (tmp_path / "NM_NGD_product_images" / "1" / "main.jpg").touch()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (96, 64)).save(photos[3].path, exif=exif)
    these = replace(these, categories=(Category(0, "te"), Category(5, "Te "), Category(8, "")), photos=(
        *photos[:4], replace(photos[4], id=9, labels=photos[4].labels)))  # fmt: skip
    told = said(summarise(these))
    assert told["photos without boxes"].startswith("1 (img_00007.jpg); they may be empty")
    assert told["photos in the folder that the set does not list"] == "1 (images/unlisted.jpg)"
    assert told["other files"] == "1 .pdf"
    assert told["photos with the same bytes"] == "2 in 1 group (img_00001.jpg = img_00002.jpg)"
    assert told["photos with the same bytes in two parts"] == "2 in 1 group (img_00001.jpg = img_00002.jpg)"
    assert told["photos that EXIF turns"] == "1 labels on the stored pixels"
    assert told["products of one name"] == "2 in 1 group (0 = 5)"
    assert told["products without a name"] == "1 (8)"
    assert told["judge's ids"] == "1 of 5 photos would get another image id (img_00007.jpg: 7 for 9)"
    assert unlisted(these).studio == 1


def test_an_empty_category_0_is_told() -> None:
    shop = Dataset(
        Path("D"), (Category(0, "products"), Category(1, "te")), (replace(photo(1, SPREAD[:1]), labels=np.ones(1, int)),)
    )
    assert products(shop).empty_dummy == (0,)
    assert products(replace(shop, categories=shop.categories[:1], photos=())).empty_dummy == ()


# -- the command ---------------------------------------------------------------------------------------------------------


def test_it_prints_tables_of_80_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(tmp_path, [photo(i, root=tmp_path) for i in (1, 2)], ("[bold]te[/]", "kaffe", "malt" * 30))
    assert data.main([str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= 80
    assert "products with boxes" in out and "near-duplicates (--near-duplicates" in out


def test_json_is_one_object_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = [photo(i, root=tmp_path) for i in (1, 2, 3)]
    on_disk(tmp_path, photos)
    Image.open(photos[0].path).save(photos[2].path, quality=90)
    assert data.main([str(tmp_path), "--json", "--near-duplicates"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["parts"]["all"] == {"photos": 3, "without_boxes": 0, "boxes": 9, "products": 3, "ignored": 0, "unseen": 0}
    assert content["judge_ids"]["same"] == [f"img_{i:05d}.jpg" for i in (1, 2, 3)]
    assert content["near_duplicates"] == [["img_00001.jpg", "img_00003.jpg"]]


def test_it_writes_another_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    on_disk(tmp_path / "D", [photo(i, root=tmp_path / "D") for i in (1, 2)])
    assert data.main([str(tmp_path / "D"), "--to", "csv", str(tmp_path / "OUT")]) == 0
    assert "OUT: csv, 2 photos (linked), 6 boxes" in capsys.readouterr().out
    assert data.main([str(tmp_path / "OUT"), "--json"]) == 0


@pytest.mark.parametrize(
    ("words", "error"),
    [
        pytest.param("{d} --to xml OUT", "--to: got 'xml', need one of coco, yolo, voc, csv", id="no such format"),
        pytest.param("{d} --copy", "--copy: needs --to FORMAT OUT", id="copy of nothing"),
        pytest.param("{d} --to voc {d}2 --near-duplicates", "--near-duplicates: got --to too", id="near-duplicates likewise"),
        pytest.param("{d}/none", "no such folder", id="no folder"),
        pytest.param("{d}/file", "a file, need a folder", id="a file"),
        pytest.param("{d}/empty", "an empty folder", id="an empty folder"),
        pytest.param("{d}/bare", "hylle predict", id="photos without labels"),
        pytest.param("{d}/gone", "none of the 8 photos is there", id="all photos missing"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(
    words: str, error: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for name in ("empty", "bare", "gone"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "bare" / "1.jpg")
    for one in on_disk(tmp_path / "gone", [photo(i, root=tmp_path / "gone") for i in range(1, 9)]).photos:
        one.path.unlink()
    assert data.main(words.format(d=tmp_path).split()) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: ") and error in told and told.count("\n") == 1, told

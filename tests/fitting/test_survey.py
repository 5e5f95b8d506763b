"""What a data set holds: counted on sets written by hand."""

import json
from pathlib import Path

import pytest
from PIL import Image

from fitting.fit import remarks
from fitting.plan import canvases
from fitting.survey import survey
from photos.data import DataError, read
from photos.studio import STUDIO
from stage2_classifier.crops import studio_regions

NAMES = ["tea", "coffee", "oats"]


def write(root: Path, part: str, photos: list[tuple[int, int, list[tuple[int, int, int]]]], first: int = 1) -> None:
    """A COCO file of photos (width, height, [(label, box width, box height)])."""
    (root / "images").mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for number, (width, height, boxes) in enumerate(photos, first):
        Image.new("RGB", (width, height)).save(root / "images" / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg", "width": width, "height": height})
        for label, w, h in boxes:
            annotations.append({"id": 1000 * first + len(annotations), "image_id": number, "category_id": label,
                                "bbox": [0, 0, w, h], "area": w * h, "iscrowd": 0})  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in enumerate(NAMES)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (root / f"{part}.json").write_text(json.dumps(content))


def test_boxes_in_the_test_part_alone_are_nothing_to_learn_from(tmp_path: Path) -> None:
    write(tmp_path, "train", [(40, 30, [])])
    write(tmp_path, "test", [(40, 30, [(0, 9, 9)])], first=2)
    with pytest.raises(DataError, match="0 boxes"):
        survey(read(tmp_path))


def test_photos_boxes_names_and_sizes_are_counted_without_the_test_part(tmp_path: Path) -> None:
    write(tmp_path, "train", [(100, 50, [(0, 10, 20), (0, 20, 30)]), (200, 100, [(1, 40, 10)])])
    write(tmp_path, "test", [(100, 50, [(2, 5, 5)] * 7)], first=3)
    found = survey(read(tmp_path))
    assert (found.photos, found.test_photos, found.boxes, found.fullest) == (2, 1, 3, 2)
    assert (found.names, found.silent_names, found.categories, found.median_boxes) == (2, 1, 3, 1.5)
    assert (found.long_side, found.crop_side) == (180.0, 30.0)  # of the three boxes' photos 100, 100, 200: nine tenths up
    # Short sides as shares: 10 / 100, 20 / 100, 10 / 200; a tenth of the way from the least to the next.
    assert found.short_share == pytest.approx(0.05 + 0.2 * 0.05)


def test_nine_in_ten_boxes_are_larger(tmp_path: Path) -> None:
    write(tmp_path, "annotations", [(1000, 800, [(0, 10 * k, 500) for k in range(1, 31)])])
    found = survey(read(tmp_path))
    assert sum(10 * k / 1000 >= found.short_share for k in range(1, 31)) == 27


def test_a_few_large_photos_among_small_ones_that_have_many_boxes_decide_how_large_photos_are(tmp_path: Path) -> None:
    small, large = (300, 200, [(0, 30, 30)] * 4), (4000, 3000, [(0, 180, 180)] * 12)
    write(tmp_path, "annotations", [small] * 6 + [large] * 4)
    assert canvases(survey(read(tmp_path)))[0] == 544  # 24 px of 180 in 4000; the median photo is 300 px long


def test_studio_photos_count_where_their_product_is_on_the_list(tmp_path: Path) -> None:
    write(tmp_path, "annotations", [(40, 30, [(0, 9, 9)])])
    for folder, count in (("tea", 2), ("OATS", 1), ("soap", 3)):
        (tmp_path / STUDIO / folder).mkdir(parents=True)
        for k in range(count):
            Image.new("RGB", (8, 8)).save(tmp_path / STUDIO / folder / f"{k}.jpg")
    found = survey(read(tmp_path))
    assert (found.studio_names, found.studio_photos) == (2, 3)
    assert "3 studio photos of 2 names" in found.summary


@pytest.mark.parametrize("listed", [[], ["tea"], ["tea", "soap"]], ids=str)
@pytest.mark.parametrize("unnamed", [False, True])
def test_studio_photos_are_counted_as_the_classifier_learns_them(tmp_path: Path, listed: list[str], unnamed: bool) -> None:
    """Folders that metadata.json does not list, and a product without a name."""
    write(tmp_path, "annotations", [(40, 30, [(0, 9, 9)])])
    if unnamed:
        content = json.loads((tmp_path / "annotations.json").read_text())
        content["categories"][1]["name"] = ""
        (tmp_path / "annotations.json").write_text(json.dumps(content))
    for folder in ("tea", "oats", "soap"):
        (tmp_path / STUDIO / folder).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / STUDIO / folder / "0.jpg")
    rows = [{"product_code": name, "product_name": name} for name in listed]
    (tmp_path / STUDIO / "metadata.json").write_text(json.dumps(rows))
    dataset = read(tmp_path)
    assert survey(dataset).studio_photos == len(studio_regions(tmp_path / STUDIO, dataset.categories, 32)) == 2


@pytest.mark.parametrize("names", [[], ["tea/notes.txt"], ["0.jpg"]], ids=["empty", "no photo", "of no product"])
def test_a_folder_of_no_studio_photos_counts_as_none(tmp_path: Path, names: list[str]) -> None:
    write(tmp_path, "annotations", [(40, 30, [(0, 9, 9)])])
    (tmp_path / STUDIO / "tea").mkdir(parents=True)
    for name in names:
        (tmp_path / STUDIO / name).write_bytes(b"")
    dataset = read(tmp_path)
    assert (survey(dataset).studio_names, survey(dataset).studio_photos) == (0, 0)
    assert [line for line in remarks(dataset) if "so there are no studio photos" in line]
    Image.new("RGB", (8, 8)).save(tmp_path / STUDIO / "tea" / "0.webp")
    assert survey(dataset).studio_photos == 1 and not [line for line in remarks(dataset) if "studio" in line]

"""Photos that EXIF turns: counted, read by one rule for the whole data set, refused where labels follow two."""

import json
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, save_model
from PIL import Image, ImageOps

from experiments.performance.exif_photos import labelled, product_box, shows_product, stored_picture
from fusion.ensemble import Ensemble, Member, parse
from fusion.pipeline import Pipeline
from fusion.reading import read_photo
from photos.data import DataError, Dataset, read
from photos.exif import convention, refuse_other, summary, turned_photos
from photos.folds import split
from photos.photo_file import Header, read_header, read_image
from submission import run
from submission.predictions import sizes_of, violations


@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_that_boxes_must_lie_in_are_those_of_the_pixels_that_run_reads(tmp_path: Path, orientation: int) -> None:
    (photo,) = labelled(tmp_path, [(orientation, "landscape", "stored")]).photos
    for rule in ("stored", "turned"):
        height, width = read_photo(photo.path, rule).shape[:2]
        assert sizes_of(photo.path.parent, rule) == {0: (width, height)}


def test_photos_are_counted_by_the_rule_that_reads_them(tmp_path: Path) -> None:
    rows = [(1, "landscape", "turned"), (6, "landscape", "turned"), (8, "landscape", "turned"), (3, "landscape", "turned")]
    dataset = labelled(tmp_path, [*rows, (6, "square", "turned")])
    assert [len(group) for group in turned_photos(dataset.photos)] == [0, 2, 2]
    lines = list(summary(dataset.photos))
    assert lines[0] == "EXIF: 2 of 5 photos are read turned: the labels give the size of the turned pixels"
    assert lines[1].startswith("EXIF: 2 of 5 photos are read as stored, since the size in the labels does not tell")
    assert "look at img_3.jpg" in lines[2]
    assert list(summary(dataset.photos[:1])) == []


def without_sizes(folder: Path, kind: str, sizes: list[tuple[int, int] | None]) -> Dataset:
    """A set of photos 64 x 40 that EXIF turns to 40 x 64, in CSV, VOC or COCO; the labels have the sizes that are not None."""
    folder.mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    names = [f"img_{i}.jpg" for i in range(len(sizes))]
    for name in names:
        stored_picture((64, 40)).save(folder / name, exif=exif)
    keys = [dict(zip(("width", "height"), size or (), strict=False)) for size in sizes]
    if kind == "csv":
        rows = [
            f"{name},tea,8,4,24,14,{key.get('width', '')},{key.get('height', '')}"
            for name, key in zip(names, keys, strict=True)
        ]
        (folder / "boxes.csv").write_text("\n".join(["filename,class,xmin,ymin,xmax,ymax,width,height", *rows]))
    elif kind == "voc":
        corners = "<xmin>8</xmin><ymin>4</ymin><xmax>24</xmax><ymax>14</ymax>"
        for name, key in zip(names, keys, strict=True):
            size = "".join(f"<{k}>{v}</{k}>" for k, v in key.items())
            box = f"<object><name>tea</name><bndbox>{corners}</bndbox></object>"
            text = f"<annotation><filename>{name}</filename><size>{size}</size>{box}</annotation>"
            (folder / name).with_suffix(".xml").write_text(text)
    else:
        images = [{"id": i, "file_name": name} | key for i, (name, key) in enumerate(zip(names, keys, strict=True))]
        boxes = [{"id": i, "image_id": i, "category_id": 0, "bbox": [8, 4, 16, 10]} for i in range(len(names))]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 0, "name": "tea"}]}
        (folder / "result.json").write_text(json.dumps(content))
    return read(folder)


@pytest.mark.parametrize("kind", ["csv", "voc", "coco"])
def test_labels_without_sizes_do_not_tell_which_pixels_they_mean(tmp_path: Path, kind: str) -> None:
    dataset = without_sizes(tmp_path / kind, kind, [None, None])
    assert [len(group) for group in turned_photos(dataset.photos)] == [0, 0, 2]
    assert (convention(dataset), convention(dataset, "turned")) == ("stored", "turned")
    assert any("nothing says that the boxes mean them so" in note for note in dataset.notes)
    first, second = summary(dataset.photos)
    assert first == "EXIF: 2 of 2 photos are read as stored, since the labels have no size that tells"
    assert second.startswith("EXIF: look at img_0.jpg: if its labels are for turned pixels, give its width and height")


@pytest.mark.parametrize("kind", ["csv", "voc", "coco"])
@pytest.mark.parametrize(("size", "rule"), [((40, 64), "turned"), ((64, 40), "stored")])
def test_a_photo_without_a_size_is_read_as_the_others_are(tmp_path: Path, kind: str, size: tuple[int, int], rule: str) -> None:
    dataset = without_sizes(tmp_path / kind, kind, [size, None, size])
    assert convention(dataset) == rule
    assert [(photo.width, photo.height) for photo in dataset.photos] == [size] * 3
    assert any("as the others with a size are: 1 (img_1.jpg)" in note for note in dataset.notes)


def test_of_sizes_that_disagree_none_tells_of_a_photo_without(tmp_path: Path) -> None:
    dataset = without_sizes(tmp_path / "csv", "csv", [(40, 64), (64, 40), None])
    assert [len(group) for group in turned_photos(dataset.photos)] == [1, 1, 1]


def test_the_ensemble_reads_photos_as_the_labels_mean_them(tmp_path: Path) -> None:
    assert convention(labelled(tmp_path / "a", [(6, "landscape", "stored"), (3, "landscape", "stored")])) == "stored"
    turned = labelled(tmp_path / "b", [(1, "landscape", "turned"), (6, "landscape", "turned")])
    assert convention(turned) == "turned"
    silent = labelled(tmp_path / "c", [(3, "landscape", "stored"), (6, "square", "stored")])
    assert (convention(silent), convention(silent, "turned")) == ("stored", "turned")
    with pytest.raises(DataError, match=r'ensemble.json has "stored", but the labels of 1 photo .* img_1.jpg'):
        refuse_other(turned.photos, "stored")
    refuse_other(turned.photos, "turned")


def test_a_set_that_mixes_both_conventions_is_refused(tmp_path: Path) -> None:
    mixed = labelled(tmp_path, [(6, "landscape", "stored"), (6, "landscape", "turned")])
    with pytest.raises(DataError, match=r"stored size for 1 .*img_0.jpg.* turned size for 1 .*img_1.jpg"):
        convention(mixed)


def test_an_ensemble_with_another_rule_is_refused() -> None:
    values = {"categories": [0], "detectors": [{"file": "a.onnx", "views": [{"size": 64}]}]}
    assert parse(values | {"exif": "turned"}).exif == "turned"
    with pytest.raises(ValueError, match="exif: got 'upright', known: stored, turned"):
        parse(values | {"exif": "upright"})


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("value", [0, 6, 9, 70])
def test_orientation_from_the_header(tmp_path: Path, order: str, value: int) -> None:
    number = lambda n, size: n.to_bytes(size, order)  # noqa: E731
    tiff = (b"II" if order == "little" else b"MM") + number(42, 2) + number(8, 4) + number(2, 2)
    tiff += number(0x0110, 2) + number(2, 2) + number(1, 4) + bytes(4)  # another tag first
    tiff += number(0x0112, 2) + number(3, 2) + number(1, 4) + number(value, 2) + bytes(2)
    stored_picture((64, 40)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + tiff + bytes(4))
    assert read_header(tmp_path / "a.jpg") == Header(64, 40, value if value == 6 else 1)


def test_damaged_exif_does_not_turn_a_photo(tmp_path: Path) -> None:
    stored_picture((64, 40)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert read_header(tmp_path / "a.jpg") == Header(64, 40, 1)
    assert read_photo(tmp_path / "a.jpg", "turned").shape == (40, 64, 3)


def test_folds_tells_how_many_photos_exif_turns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled(tmp_path / "data", [(orientation, "landscape", "turned") for orientation in (1, 1, 3, 6)])
    split(read(tmp_path / "data"), tmp_path / "R", groups="photo")
    told = "".join(capsys.readouterr())
    assert "EXIF: 1 of 4 photos is read turned" in told
    assert "EXIF: 1 of 4 photos is read as stored, since" in told


@pytest.mark.parametrize(("rule", "size"), [("stored", (64, 40)), ("turned", (40, 64))])
def test_run_reads_photos_by_the_rule_of_the_ensemble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, size: tuple[int, int]
) -> None:
    (photo,) = labelled(tmp_path / "data", [(6, "landscape", rule)]).photos
    save_model(tmp_path / "one", CANDIDATES, task="detector")
    ensemble = Ensemble([0], [Member("one/model.onnx", views=[{"size": 64}])], exif=rule)
    monkeypatch.setattr(run, "start", lambda folder: Pipeline(ensemble, tmp_path))
    run.process({0: photo.path}, tmp_path / "predictions.json")
    text = (tmp_path / "predictions.json").read_text()
    assert violations(text, {0: size}, None) == []
    assert violations(text, {0: size[::-1]}, None)


@pytest.mark.parametrize("kind", ["jpg", "png", "webp", "tiff"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_run_reads_every_kind_of_photo_as_training_does(tmp_path: Path, kind: str, orientation: int) -> None:
    path, exif = tmp_path / f"shelf_1.{kind}", Image.Exif()
    exif[0x0112] = orientation
    how = {"lossless": True} if kind == "webp" else {}
    stored_picture((64, 40)).save(path, exif=exif, **how)
    header = read_header(path)
    for rule, size in (("stored", (header.width, header.height)), ("turned", header.turned())):
        np.testing.assert_array_equal(read_photo(path, rule), read_image(path, *size))
    with Image.open(path) as file:
        shown = ImageOps.exif_transpose(file).convert("RGB")
    if orientation >= 5:  # elsewhere the stored pixels are meant
        assert shows_product(read_photo(path, "turned"), product_box(np.asarray(shown)))

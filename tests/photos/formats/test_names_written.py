"""Odd names of photos and products are read again as they were written, or refused by name before anything is."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from test_writing import dataset

from photos.data import Dataset, read
from photos.formats.writing import FORMATS, write


def renamed(before: Dataset, name: str) -> Dataset:
    """The set with another name of its last photo."""
    last = before.photos[-1]
    moved = replace(last, path=last.path.rename(last.path.with_name(name)), name=name)
    return replace(before, photos=(*before.photos[:-1], moved))


@pytest.mark.parametrize("name", FORMATS)
def test_breaks_of_every_kind_stay_in_products_names(name: str, tmp_path: Path) -> None:
    names = ("te\rgreen", "a\r\nb", "c\nd", "e\tf")
    write(dataset(tmp_path / "D", ("train",), names), name, tmp_path / "OUT")
    assert {category.name for category in read(tmp_path / "OUT").categories} == set(names)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("photo", ["sp .jpg", " sp.jpg", "\u00e5.jpg", "a\u0301.jpg", 'a, "b" <&>.jpg', "a\tb.jpg"])
def test_photos_of_odd_names_are_read_again(name: str, photo: str, tmp_path: Path) -> None:
    before = dataset(tmp_path / "D", ("test", "train"))
    write(renamed(before, photo), name, tmp_path / "OUT")
    after = read(tmp_path / "OUT")
    assert sorted(len(own.boxes) for own in after.photos) == sorted(len(own.boxes) for own in before.photos)
    assert {own.path.name for own in after.photos} == {photo, *(own.path.name for own in before.photos[:-1])}


@pytest.mark.parametrize("name", ["coco", "csv", "yolo"])
@pytest.mark.parametrize("photo", ["a\rb.jpg", "a\nb.jpg", "a\r\nb.jpg"])
def test_photos_with_breaks_in_their_names_are_read_again(name: str, photo: str, tmp_path: Path) -> None:
    write(renamed(dataset(tmp_path / "D", ("train",)), photo), name, tmp_path / "OUT")
    assert photo in {own.path.name for own in read(tmp_path / "OUT").photos}


@pytest.mark.parametrize(
    ("name", "photo", "allowed"),
    [
        pytest.param("coco", os.fsdecode(b"br\xf8d.jpg"), "need UTF-8; rename them", id="coco"),
        pytest.param("csv", os.fsdecode(b"br\xf8d.jpg"), "need UTF-8; rename them", id="csv"),
        pytest.param("voc", os.fsdecode(b"br\xf8d.jpg"), "need characters of XML, without line breaks", id="voc"),
        pytest.param("voc", "a\rb.jpg", "need characters of XML, without line breaks; rename", id="a break"),
        pytest.param("voc", "a\x0bb.jpg", "need characters of XML", id="none of XML's"),
    ],
)
def test_photos_whose_names_a_format_cannot_hold_are_named(name: str, photo: str, allowed: str, tmp_path: Path) -> None:
    before = renamed(dataset(tmp_path / "D", ("train",)), photo)
    with pytest.raises(ValueError) as error:
        write(before, name, tmp_path / "OUT")
    assert str(error.value).startswith(f"{name}: got 1 photo of such names as {photo!r}, {allowed}")
    assert not (tmp_path / "OUT").exists()


@pytest.mark.parametrize("name", ["coco", "csv"])
def test_a_product_whose_name_is_not_utf_8_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"category 2: got name 'te\\udcf8', need UTF-8; mend it in the labels"):
        write(dataset(tmp_path / "D", ("train",), ("te\udcf8", "b", "c", "d")), name, tmp_path / "OUT")

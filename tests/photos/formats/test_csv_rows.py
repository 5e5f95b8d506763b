"""Rows of a table that cannot be meant as they stand are refused with their line: they were cut, shifted or swallowed."""

from pathlib import Path

import pytest
from PIL import Image

from photos.data import DataError, read
from tests.photos.formats.one_photo import csv_of, voc_file, yolo_of

CORNERS = "image,xmin,ymin,xmax,ymax,label"
GOOD = "a.jpg,1,2,30,40,tea\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        pytest.param(f"{CORNERS}\n{GOOD}a.jpg,31,2,60,40,Milk 1,5%\n", "line 3 .*: got 7 cells, need 6", id="comma in a name"),
        pytest.param(
            f"{CORNERS},,\na.jpg,1,2,30,40,Milk 1,5%,\n", "line 2 .*: got 7 cells, need 6", id="comma in a name, saved by Excel"
        ),
        pytest.param(
            "a.jpg,1,2,30,40,tea,80,60\na.jpg,1,2,50,40,Milk 1,5%,80,60\n", "line 2 .*: got 9 cells, need 8", id="no header"
        ),
        pytest.param("image,label,x,y,w,h\na.jpg,tea,10,25,20,75,3,15,4,95\n", "got 10 cells, need 6", id="decimal commas"),
        pytest.param(
            f'{CORNERS}\n{GOOD}a.jpg,1,2,30,40,"rod\n{GOOD}{GOOD}', "line 3: a quote is opened and not closed", id="open quote"
        ),
        pytest.param(
            f'{CORNERS}\na.jpg,1,2,30,40,"rod\n{GOOD * 9000}', "line 2: a quote is opened and not closed", id="open, large"
        ),
        pytest.param(
            f'{CORNERS}\n{GOOD}a.jpg,1,2,30,40,"rod\n{GOOD}a.jpg,1,2,30,40,"x"\n{GOOD}',
            "line 3: a quote is opened and not closed",
            id="closed by that of a later row",
        ),
        pytest.param(
            'image,label,x,y,w,h\na.jpg,"tea,1,2,30,40\na.jpg,"rod",5,5,20,20\n',
            "line 2: a quote is opened",
            id="in the middle",
        ),
        pytest.param(
            'image,xmin,ymin,xmax,ymax,"label\na.jpg,1,2,30,40,"tea"\n', "line 1: a quote is opened", id="opened in the header"
        ),
        pytest.param(
            "filename,width,height,class,x,y,width,height\na.jpg,80,60,te,0,0,20,20\n",
            "the column height stands twice",
            id="a photo's size and a box's",
        ),
        pytest.param(f"{CORNERS},label\na.jpg,1,2,30,40,tea,rod\n", "the column label stands twice", id="two products"),
        pytest.param(
            "a.jpg,1,2,30,40,tea,80,60\na.jpg,10,20,70,50,tea,160,120\n",
            "line 2 .*: got a photo of 160 x 120, before of 80 x 60, need one size",
            id="two sizes",
        ),
        pytest.param(
            "a.jpg,1,2,30,40,tea,,\na.jpg,10,20,70,50,tea,160,120\n",
            "the labels say 160x120, the photo is 80x60",
            id="a wrong size behind none",
        ),
        pytest.param(
            "sep=;\nimage;label;x;y;w;h\na.jpg;tea;1;x;30;40\n", "line 3 .*: got 1, x, 30, 40", id="line below Excel's"
        ),
        pytest.param("a.jpg,,,,,,80,60\n", "got 0 boxes", id="photos without boxes"),
        pytest.param("\n,,\n", "not in a layout that is read", id="empty rows"),
        pytest.param(f"{CORNERS}\na.jpg,1,2,1_0,40,tea\n", "got 1, 2, 1_0, 40", id="an underscore in a number"),
        pytest.param(
            f'{CORNERS}\na.jpg,1,2,30,40,"a\nb\nc"\na.jpg,1,x,30,40,tea\n', "line 5 .*: got 1, x, 30, 40", id="line of the file"
        ),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(DataError, match=told):
        read(csv_of(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param(f"{CORNERS}\na.jpg,1,2,30,40,tea,,\n", ["tea"], id="empty cells at the end"),
        pytest.param(f'{CORNERS}\na.jpg,1,2,30,40,"Milk 1,5%"\n', ["Milk 1,5%"], id="a comma in quotes"),
        pytest.param(f'{CORNERS}\na.jpg,1,2,30,40,"tea" x\n', ["tea x"], id="text after a quote"),
        pytest.param(f'{CORNERS}\na.jpg,1,2,30,40,tea 5"', ['tea 5"'], id="an inch, and no line break at the end"),
        pytest.param(f'{CORNERS}\na.jpg,1,2,30,40,"a\nb"', ["a\nb"], id="a name of two lines at the end"),
        pytest.param(f'{CORNERS},note\na.jpg,1,2,30,40,tea,"one, two,\n3, four,\nfive"\n', ["tea"], id="a note of three lines"),
        pytest.param(f"{CORNERS},mask\na.jpg,1,2,30,40,tea,{'0' * 140_000}\n", ["tea"], id="a cell of 140,000 characters"),
        pytest.param("sep=;\nimage;label;x;y;w;h\na.jpg;tea, 1;1;2;30;40\n", ["tea, 1"], id="Excel's first line"),
        pytest.param('"sep=\t"\r\nimage\tlabel\tx\ty\tw\th\r\na.jpg\ttea\t1\t2\t30\t40\r\n', ["tea"], id="of tabs, in quotes"),
        pytest.param("SEP=|\na.jpg|1|2|30|40|tea|80|60\n", ["tea"], id="of another separator, without a header"),
        pytest.param("a.jpg,1,2,30,40,tea,80,60,\n", ["tea"], id="an empty cell at the end, without a header"),
        pytest.param(f"{CORNERS},note,note\na.jpg,1,2,30,40,tea,x,y\n", ["tea"], id="a column twice that is not used"),
        pytest.param("a.jpg,1,2,30,40,tea,80,60\na.jpg,10,20,70,50,tea,80.0,60\n", ["tea"], id="one size, written twice"),
        pytest.param("a.jpg,1,2,30,40,tea,,\na.jpg,10,20,70,50,tea,80,60\n", ["tea"], id="a size behind none"),
    ],
)
def test_what_is_plain_is_read(tmp_path: Path, text: str, names: list[str]) -> None:
    assert [category.name for category in read(csv_of(tmp_path, text)).categories] == names


def test_a_number_with_an_underscore_is_none_in_other_layouts(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        read(yolo_of(tmp_path / "yolo", "0 0.5 0.5 0.5 0.1_2\n"))
    with pytest.raises(DataError):
        read(voc_file(tmp_path / "voc", "1 2 3_0 40"))


def test_a_part_whose_photos_have_no_box_is_a_part(tmp_path: Path) -> None:
    root = csv_of(tmp_path, "a.jpg,,,,,,80,60\n\n")
    (root / "boxes.csv").rename(root / "annotations_train.csv")
    Image.new("RGB", (80, 60), "white").save(root / "b.jpg")
    (root / "annotations_val.csv").write_text("b.jpg,1,2,30,40,tea,80,60\n")
    (root / "cameras.csv").write_text("file,,,,,,w,h\na.jpg,,,,,,80,60\n")  # a header, though empty cells: no table of boxes
    dataset = read(root)
    assert [(photo.name, photo.part, len(photo.boxes)) for photo in dataset.photos] == [
        ("a.jpg", "train", 0),
        ("b.jpg", "valid", 1),
    ]
    assert list(dataset.notes) == ["CSV files that are no tables of boxes, not read: 1 (cameras.csv)"]

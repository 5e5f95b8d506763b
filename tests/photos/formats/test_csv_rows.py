"""Rows of a table that cannot be meant as they stand are refused with their line: they were cut, shifted or swallowed."""

from pathlib import Path

import pytest

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

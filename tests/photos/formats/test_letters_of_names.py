"""A name with its letters composed means the file whose name has them decomposed, as on macOS, and the other way round."""

import unicodedata
from pathlib import Path

import pytest
from PIL import Image

from photos.data import read

FORMS = [("NFD", "NFC"), ("NFC", "NFD")]
VOC = (
    "<annotation><filename>{0}.jpg</filename><object><name>tea</name><bndbox>"
    "<xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>"
)


def put(path: Path, text: str | None = None) -> None:
    """A text, or a photo of 80 x 60."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if text is None:
        Image.new("RGB", (80, 60)).save(path)
    else:
        path.write_text(text, "utf-8")


@pytest.mark.parametrize(("on_disk", "written"), FORMS)
@pytest.mark.parametrize(
    ("photo", "label", "entry"),
    [
        pytest.param("images/\u00e5.jpg", "labels/\u00e5.txt", "images", id="in labels"),
        pytest.param("\u00e5/\u00e5.jpg", "\u00e5/\u00e5.txt", "\u00e5", id="beside the photo"),
        pytest.param("images/b\u00e5s/a.jpg", "labels/b\u00e5s/a.txt", "images/b\u00e5s", id="a folder"),
        pytest.param("images/\u00e5.jpg", "labels/\u00e5.txt", "train.txt", id="a list"),
    ],
)
def test_labels_of_yolo_are_found(tmp_path: Path, on_disk: str, written: str, photo: str, label: str, entry: str) -> None:
    put(tmp_path / unicodedata.normalize(on_disk, photo))
    beside, folder = Path(label).parent == Path(photo).parent, Path(label).parent.as_posix()
    name = unicodedata.normalize(written, Path(label).name)
    put(tmp_path / unicodedata.normalize(on_disk if beside else written, folder) / name, "0 .5 .5 .25 .5")
    put(tmp_path / "train.txt", unicodedata.normalize(written, photo))
    put(tmp_path / "data.yaml", f"train: {unicodedata.normalize(written, entry)}\nnames: [tea]\n")
    dataset = read(tmp_path)
    assert [one.boxes.tolist() for one in dataset.photos] == [[[30, 15, 50, 45]]] and not dataset.notes


@pytest.mark.parametrize(("on_disk", "written"), FORMS)
def test_lists_of_voc_name_the_file(tmp_path: Path, on_disk: str, written: str) -> None:
    name = unicodedata.normalize(on_disk, "\u00e5")
    put(tmp_path / "JPEGImages" / f"{name}.jpg")
    put(tmp_path / "Annotations" / f"{name}.xml", VOC.format(unicodedata.normalize(written, name)))
    put(tmp_path / "ImageSets" / "Main" / "train.txt", unicodedata.normalize(written, name))
    (photo,) = read(tmp_path).photos
    assert photo.part == "train" and len(photo.boxes) == 1

"""Write a data set in another layout: COCO, YOLO, Pascal VOC or CSV.

Own writers, since those of libraries round: supervision's and hotcoco's to whole pixels in VOC, and to five and six decimals of
the photo's sides in YOLO (0.04 px on a side of 4,000). A format's function makes the texts and says what the format cannot
hold; only `write` touches the disk.
"""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import yaml

from photos.data import PARTS, Dataset, Photo
from photos.exif import Shown, as_shown
from photos.formats.names import flat_names, told_apart
from runs.counted import counted
from runs.link import link_or_copy
from runs.new_folder import whole_folder

COLUMNS = ("image_name", "x1", "y1", "x2", "y2", "class", "image_width", "image_height")  # taken: SKU-110K's, with their names
FOLDERS = {"train": "train", "valid": "val", "test": "test"}  # taken: ultralytics' names of the parts
PIXEL_DIGITS, SHARE_DIGITS = 6, 10  # chosen: decimals of pixels, and of shares of a side; below 1e-3 px in any photo
YAML_BREAKS = re.compile("[\x85\u2028\u2029]")  # taken: PyYAML folds them like ends of lines unless all is escaped
NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # taken: XML 1.0, 2.2
NOT_UTF_8 = re.compile("[\ud800-\udfff]")  # what Python makes of bytes in a file's name that are not UTF-8
NOT_IN_PHOTO_NAMES = {"coco": NOT_UTF_8, "csv": NOT_UTF_8, "voc": re.compile(rf"[\r\n]|{NOT_XML.pattern}")}  # by format


class Texts(NamedTuple):
    """A data set as text: where each photo goes (by `Photo.name`), the files (name, text), and what the format cannot hold.

    All places and names are relative to the new folder, with / between folders.
    """

    places: dict[str, str]
    files: Iterable[tuple[str, str]]
    lost: list[str]


def write(dataset: Dataset, name: str, out: Path, copy: bool = False) -> list[str]:
    """Write the set to OUT in the format `name`: photos as symbolic links unless `copy`, and labels. Nothing else is changed.

    Returns lines that say what was written, and what the format could not hold. ValueError for an OUT that is not empty or lies
    in the set's folder, and for names that the format cannot hold; OSError for a photo that is missing. OUT is written whole or
    not at all.
    """
    _refuse(dataset, out)
    texts = FORMATS[name](dataset)
    _refuse_names(dataset, name, texts)
    with whole_folder(out) as part:
        for photo in dataset.photos:
            place = part / texts.places[photo.name]
            place.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copyfile if copy else link_or_copy)(photo.path, place)
        for file, text in texts.files:
            (part / file).parent.mkdir(parents=True, exist_ok=True)
            (part / file).write_text(text, encoding="utf-8", newline="")
    boxes = sum(len(photo.boxes) for photo in dataset.photos)
    how = "copied" if copy else "linked"
    return [
        f"{out}: {name}, {counted(len(dataset.photos), 'photo')} ({how}), {counted(boxes, 'box', 'boxes')}",
        *(f"{name}: {line}" for line in texts.lost),
    ]


def _refuse(dataset: Dataset, out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise ValueError(f"{out}: {'not empty' if out.is_dir() else 'a file'}, need a new or an empty folder")
    if out.resolve().is_relative_to(dataset.root.resolve()):
        raise ValueError(f"{out}: lies in the data set {dataset.root}, need a folder outside it")


def _refuse_names(dataset: Dataset, name: str, texts: Texts) -> None:
    """ValueError for a photo or a product whose name the format has no characters for."""
    wrong = NOT_IN_PHOTO_NAMES.get(name)
    if wrong is None:
        return
    photos = [photo.name for photo in dataset.photos if wrong.search(texts.places[photo.name])]
    if photos:
        allowed = "need characters of XML, without line breaks" if name == "voc" else "need UTF-8"
        raise ValueError(f"{name}: got {counted(len(photos), 'photo')} of such names as {photos[0]!r}, {allowed}; rename them")
    products = [category for category in dataset.categories if name != "voc" and NOT_UTF_8.search(category.name)]
    if products:
        raise ValueError(f"{name}: category {products[0].id}: got name {products[0].name!r}, need UTF-8; mend it in the labels")


def coco(dataset: Dataset) -> Texts:
    """OUT/annotations.json, or OUT/{train,valid,test}.json where photos have parts, and OUT/images; ids and names are kept."""
    places = {photo.name: f"images/{_inside(photo.name)}" for photo in dataset.photos}
    parts, lost = _parts(dataset)
    next_id = max((int(photo.annotation_ids.max()) for photo in dataset.photos if len(photo.boxes)), default=0) + 1
    files = []
    for part, photos in parts.items():
        records = [_coco_photo(photo, places[photo.name].removeprefix("images/")) for photo in photos]
        boxes = [record for photo in photos for record in _coco_boxes(photo, dataset)]
        crowds = [(photo.id, region) for photo in photos for region in photo.ignored]
        for number, (photo_id, region) in enumerate(crowds, next_id):
            boxes.append(_coco_box(number, photo_id, dataset.categories[0].id, region) | {"iscrowd": 1})
        next_id += len(crowds)
        categories = [{"id": category.id, "name": category.name} for category in dataset.categories]
        content = {"images": records, "annotations": boxes, "categories": categories}
        files.append((f"{part or 'annotations'}.json", json.dumps(content, ensure_ascii=False)))
    return Texts(places, files, lost)


def _coco_photo(photo: Photo, name: str) -> dict:
    return {"id": photo.id, "file_name": name, "width": photo.width, "height": photo.height}


def _coco_boxes(photo: Photo, dataset: Dataset) -> Iterator[dict]:
    for number, label, box in zip(photo.annotation_ids.tolist(), photo.labels.tolist(), photo.boxes, strict=True):
        yield _coco_box(number, photo.id, dataset.categories[label].id, box)


def _coco_box(number: int, photo_id: int, category_id: int, box: np.ndarray) -> dict:
    x0, y0, x1, y1 = box.tolist()
    bbox = [round(value, PIXEL_DIGITS) for value in (x0, y0, x1 - x0, y1 - y0)]
    area = round(bbox[2] * bbox[3], PIXEL_DIGITS)
    return {"id": number, "image_id": photo_id, "category_id": category_id, "bbox": bbox, "area": area, "iscrowd": 0}


def yolo(dataset: Dataset) -> Texts:
    """OUT/data.yaml, OUT/images/{train,val,test} and OUT/labels beside them; the classes are all products, by id.

    The fractions are of the photo as viewers show it: YOLO has no sizes, and ultralytics turns photos by EXIF.
    """
    names = flat_names(photo.name for photo in dataset.photos)
    parts, lost = _parts(dataset, "train")
    folder = {photo.name: FOLDERS[part] for part, photos in parts.items() for photo in photos if part}
    places = {photo.name: f"images/{folder[photo.name]}/{names[photo.name]}" for photo in dataset.photos}
    classes = dict(enumerate(category.name for category in dataset.categories))
    content = {FOLDERS[part]: f"images/{FOLDERS[part]}" for part in parts if part} | {"nc": len(classes), "names": classes}
    plain = not any(YAML_BREAKS.search(name) for name in classes.values())
    files = [("data.yaml", yaml.safe_dump(content, allow_unicode=plain, sort_keys=False))]
    moved = 0
    for photo in dataset.photos:
        stem, shown = PurePosixPath(names[photo.name]).stem, as_shown(photo)
        moved += shown.moved
        files.append((f"labels/{folder[photo.name]}/{stem}.txt", "".join(_yolo_lines(shown, photo.labels))))
    lost += [f"the boxes of {counted(moved, 'photo')} are turned by EXIF, as viewers show the photos"] if moved else []
    renumbered = sum(category.id != i for i, category in enumerate(dataset.categories))
    lost += (
        [f"products are numbered 0 to {len(classes) - 1} by id; {renumbered} ids become other numbers"] if renumbered else []
    )
    return Texts(places, files, [*lost, *_not_held(dataset, names)])


def _yolo_lines(shown: Shown, labels: np.ndarray) -> Iterator[str]:
    """`class x y width height` of each box, the middle and the sides in fractions of the photo's."""
    size = np.array([shown.width, shown.height], np.float64)  # (2,)
    boxes = shown.boxes.astype(np.float64).reshape(-1, 2, 2) / size  # (N, 2, 2)
    rows = np.hstack([boxes.mean(1), boxes[:, 1] - boxes[:, 0]])  # (N, 4)
    for label, row in zip(labels.tolist(), rows.tolist(), strict=True):
        yield f"{label} {' '.join(f'{value:.{SHARE_DIGITS}f}' for value in row)}\n"


def voc(dataset: Dataset) -> Texts:
    """OUT/JPEGImages, OUT/Annotations/*.xml and, where photos have parts, OUT/ImageSets/Main/{train,val,test}.txt.

    Pixels are counted from 1, as the devkit does: xmin 1 is the photo's left edge, xmax its width the right one.
    """
    names = flat_names(photo.name for photo in dataset.photos)
    products, lost = told_apart([(c.id, NOT_XML.sub("?", c.name)) for c in dataset.categories])
    odd = [c.name for c in dataset.categories if NOT_XML.search(c.name)]
    lost += [f"{len(odd)} names with characters that XML cannot hold have ? for them (the first is {odd[0]!r})"] if odd else []
    files = [
        (f"Annotations/{PurePosixPath(names[p.name]).stem}.xml", _voc_xml(p, names[p.name], products)) for p in dataset.photos
    ]
    parts, of_parts = _parts(dataset)
    for part, photos in parts.items():
        stems = [PurePosixPath(names[photo.name]).stem for photo in photos]
        files += [(f"ImageSets/Main/{FOLDERS[part]}.txt", "".join(f"{stem}\n" for stem in stems))] if part else []
    places = {photo.name: f"JPEGImages/{names[photo.name]}" for photo in dataset.photos}
    return Texts(places, files, [*of_parts, *lost, *_without_boxes(dataset), *_not_held(dataset, names)])


def _voc_xml(photo: Photo, name: str, products: list[str]) -> str:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "folder").text = "JPEGImages"
    ElementTree.SubElement(root, "filename").text = name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", photo.width), ("height", photo.height), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    corners_from_1 = photo.boxes.astype(np.float64) + np.array([1.0, 1.0, 0.0, 0.0])  # (N, 4)
    for label, box in zip(photo.labels.tolist(), corners_from_1.tolist(), strict=True):
        item = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(item, "name").text = products[label]
        ElementTree.SubElement(item, "difficult").text = "0"
        corners = ElementTree.SubElement(item, "bndbox")
        for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True):
            ElementTree.SubElement(corners, key).text = _pixels(value)
    ElementTree.indent(root)
    return ElementTree.tostring(root, "unicode").replace("\r", "&#13;") + "\n"  # else it is read as the end of a line


def csv_tables(dataset: Dataset) -> Texts:
    """OUT/annotations.csv, or OUT/annotations_{train,val,test}.csv where photos have parts, with COLUMNS, beside OUT/images.

    A photo without boxes has one row with nothing between its name and its size; a region to ignore has a 1 in a ninth column.
    """
    places = {photo.name: f"images/{_inside(photo.name)}" for photo in dataset.photos}
    products, lost = told_apart([(category.id, category.name) for category in dataset.categories])
    parts, of_parts = _parts(dataset)
    mark = ("ignore",) if any(len(photo.ignored) for photo in dataset.photos) else ()
    files = []
    for part, photos in parts.items():
        lines = [_csv_line([*COLUMNS, *mark])]
        for photo in photos:
            name = places[photo.name].removeprefix("images/")
            for box, product, region in _csv_boxes(photo, products):
                row = (name, *box, product, photo.width, photo.height)
                lines.append(_csv_line([*row, *(region for _ in mark)]))
        files.append((f"annotations_{FOLDERS[part]}.csv" if part else "annotations.csv", "".join(lines)))
    return Texts(places, files, [*of_parts, *lost, *_without_boxes(dataset)])


def _csv_line(cells: Sequence[object]) -> str:
    r"""A row with its end, a newline; a cell with a newline or a carriage return is quoted.

    Python's writer quotes only characters of its own line end: so that is "\r\n" here, and then cut.

    >>> _csv_line(["te\rpose", 1])
    '"te\rpose",1\n'
    """
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n") + "\n"


def _csv_boxes(photo: Photo, products: list[str]) -> Iterator[tuple[Sequence[str], str, str]]:
    """Corners, product and mark of each box and each region to ignore of a photo; one without any of them where it has none."""
    for box, label in zip(photo.boxes.tolist(), photo.labels.tolist(), strict=True):
        yield [*map(_pixels, box)], products[label], ""
    for region in photo.ignored.tolist():
        yield [*map(_pixels, region)], "", "1"
    if not len(photo.boxes) + len(photo.ignored):
        yield ("",) * 4, "", ""


def _pixels(value: float) -> str:
    """The number with no more decimals than it needs.

    >>> _pixels(12.0), _pixels(0.1234567)
    ('12', '0.123457')
    """
    return f"{value:.{PIXEL_DIGITS}f}".rstrip("0").rstrip(".")


def _inside(name: str) -> str:
    """A photo's name without what would lead out of the folder.

    >>> _inside("/a/../shelf.jpg")
    'a/shelf.jpg'
    """
    return "/".join(part for part in PurePosixPath(name).parts if part not in ("/", ".."))


def _parts(dataset: Dataset, otherwise: str | None = None) -> tuple[dict[str | None, list[Photo]], list[str]]:
    """The photos of each part, and a line where photos of no part had to get one: `otherwise`, or train beside other parts."""
    given = {photo.part for photo in dataset.photos}
    home = otherwise if given == {None} else "train"
    parts = {part: [p for p in dataset.photos if (p.part or home) == part] for part in (*PARTS, None)}
    homeless = sum(photo.part is None for photo in dataset.photos) if home else 0
    lost = [f"{counted(homeless, 'photo')} of no part written as {home}"] if homeless else []
    return {part: photos for part, photos in parts.items() if photos}, lost


def _without_boxes(dataset: Dataset) -> list[str]:
    """A line where products have no boxes: a format that names products at boxes alone forgets them."""
    used = {int(label) for photo in dataset.photos for label in np.unique(photo.labels)}
    forgotten = len(dataset.categories) - len(used)
    ids = ["products have no ids in it; read again they are numbered anew"]
    return [*ids, *([f"{forgotten} products without boxes are left out"] if forgotten else [])]


def _not_held(dataset: Dataset, names: dict[str, str]) -> list[str]:
    """Lines on regions to ignore, which only COCO and CSV hold, and on photos that had to get another name."""
    regions = sum(len(photo.ignored) for photo in dataset.photos)
    renamed = [(old, new) for old, new in names.items() if old != new]
    example = f" (the first is {renamed[0][0]}, now {renamed[0][1]})" if renamed else ""
    return [
        *([f"{regions} regions to ignore are left out; only coco and csv hold them"] if regions else []),
        *([f"{len(renamed)} photos get another name, as there are no subfolders{example}"] if renamed else []),
    ]


FORMATS: dict[str, Callable[[Dataset], Texts]] = {"coco": coco, "yolo": yolo, "voc": voc, "csv": csv_tables}

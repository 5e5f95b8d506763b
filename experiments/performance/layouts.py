"""A data set written in ten layouts, as labelling tools write them, with all that differs between tools: names, ids, folders.

YOLO is written by a public library (supervision), the others here, from the tools' documented examples.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2

from photos.data import Dataset, Photo
from photos.photo_file import read_image

Rows = Iterable[Photo]
KINDS = (".png", ".webp", ".bmp", ".tif")  # without loss


def by_part(dataset: Dataset) -> dict[str, list[Photo]]:
    """The photos of each part that has any."""
    parts = dict.fromkeys(str(photo.part) for photo in dataset.photos)
    return {part: [photo for photo in dataset.photos if str(photo.part) == part] for part in parts}


def coco_content(
    dataset: Dataset, photos: list[Photo], name: Callable[[Photo], str], first: int | None = None
) -> dict[str, Any]:
    """COCO's lists; `name` makes a photo's file_name; with `first` ids are numbered from there, else they are the set's own."""
    ids = {photo.id: photo.id if first is None else first + k for k, photo in enumerate(photos)}
    images = [{"id": ids[p.id], "file_name": name(p), "width": p.width, "height": p.height} for p in photos]
    boxes = [
        {"image_id": ids[p.id], "category_id": dataset.categories[label].id, "bbox": [x0, y0, x1 - x0, y1 - y0], "iscrowd": 0}
        for p in photos
        for (x0, y0, x1, y1), label in zip(p.boxes.astype(float).tolist(), p.labels, strict=True)
    ]
    categories = [{"id": category.id, "name": category.name} for category in dataset.categories]
    return {
        "images": images,
        "annotations": [{"id": k} | box for k, box in enumerate(boxes, first or 0)],
        "categories": categories,
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _copy(photos: Rows, folder: Path, name: Callable[[Photo], str] = lambda photo: photo.path.name) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for photo in photos:
        shutil.copyfile(photo.path, folder / name(photo))


def contest(dataset: Dataset, out: Path) -> None:
    """annotations.json and images/."""
    _write(out / "annotations.json", coco_content(dataset, list(dataset.photos), lambda p: p.path.name))
    _copy(dataset.photos, out / "images")


def split(dataset: Dataset, out: Path) -> None:
    """train.json, val.json, test.json, the photos in folders below images/, the same names in each."""
    for part, photos in by_part(dataset).items():
        numbers = {photo.id: k for k, photo in enumerate(photos)}
        content = coco_content(dataset, photos, lambda p, of=numbers, part=part: f"{part}/{of[p.id]:03d}.jpg")  # type: ignore[misc]
        _write(out / f"{'val' if part == 'valid' else part}.json", content)
        _copy(photos, out / "images" / part, lambda p, of=numbers: f"{of[p.id]:03d}.jpg")  # type: ignore[misc]


def roboflow(dataset: Dataset, out: Path) -> None:
    """PART/_annotations.coco.json beside the photos, ids from 0 in each part, a dummy category 0."""
    for part, photos in by_part(dataset).items():
        content = coco_content(dataset, photos, lambda p: p.path.name, first=0)
        for row in content["annotations"] + content["categories"]:
            key = "category_id" if "category_id" in row else "id"
            row[key] += 1
        content["categories"].insert(0, {"id": 0, "name": "shelf-products", "supercategory": "none"})
        _write(out / part / "_annotations.coco.json", content)
        _copy(photos, out / part)


def coco_2017(dataset: Dataset, out: Path) -> None:
    """annotations/instances_train2017.json and train2017/."""
    for part, photos in by_part(dataset).items():
        _write(out / "annotations" / f"instances_{part}2017.json", coco_content(dataset, photos, lambda p: p.path.name))
        _copy(photos, out / f"{part}2017")
    _write(out / "annotations" / "captions_train2017.json", {"images": [], "annotations": []})


def cvat(dataset: Dataset, out: Path) -> None:
    """annotations/instances_default.json, ids as fractions, names of another machine with \\, photos in images/default/."""
    content = coco_content(dataset, list(dataset.photos), lambda p: f"D:\\shop\\default\\{p.path.name}", first=1)
    for image in content["images"]:
        image["id"] = float(image["id"])
    _write(out / "annotations" / "instances_default.json", content)
    _copy(dataset.photos, out / "images" / "default")


def label_studio(dataset: Dataset, out: Path) -> None:
    """result.json, names that begin with images/, no sizes, ids as text; the photos in four other kinds, without loss."""
    photos = list(dataset.photos)
    names = {photo.id: f"{photo.path.stem}{KINDS[k % len(KINDS)]}" for k, photo in enumerate(photos)}
    content = coco_content(dataset, photos, lambda p: f"images/{names[p.id]}", first=0)
    for image in content["images"]:
        image |= {"id": str(image["id"]), "width": None, "height": None}
    _write(out / "result.json", content)
    (out / "images").mkdir()
    for photo in photos:
        image = cv2.cvtColor(read_image(photo.path, photo.width, photo.height), cv2.COLOR_RGB2BGR)
        cv2.imwrite(str(out / "images" / names[photo.id]), image, [cv2.IMWRITE_WEBP_QUALITY, 101])  # above 100: without loss


def _supervision(dataset: Dataset, photos: list[Photo]) -> Any:
    """The photos as the library's data set."""
    import numpy as np
    import supervision

    detections = {
        str(p.path): supervision.Detections(xyxy=p.boxes.copy(), class_id=p.labels.copy()) for p in photos if len(p.boxes)
    }
    empty = {str(p.path): supervision.Detections.empty() for p in photos if not len(p.boxes)}
    for one in empty.values():
        one.class_id = np.zeros(0, int)
    names = [category.name for category in dataset.categories]
    return supervision.DetectionDataset(names, [str(p.path) for p in photos], detections | empty)


def yolo(dataset: Dataset, out: Path) -> None:
    """data.yaml with Roboflow's paths (../train/images), written by supervision, with val for valid."""
    for part, photos in by_part(dataset).items():
        _supervision(dataset, photos).as_yolo(str(out / part / "images"), str(out / part / "labels"), str(out / "data.yaml"))
    names = [category.name for category in dataset.categories]
    lines = [f"{'val' if part == 'valid' else part}: ../{part}/images" for part in by_part(dataset)]
    (out / "data.yaml").write_text("\n".join([*lines, f"nc: {len(names)}", f"names: {json.dumps(names)}", ""]))


def yolo_lists(dataset: Dataset, out: Path) -> None:
    """obj.names, train.txt ... (CVAT's darknet export), boxes as polygons of their corners."""
    out.mkdir(parents=True)
    (out / "obj.names").write_text("".join(f"{category.name}\n" for category in dataset.categories))
    for part, photos in by_part(dataset).items():
        _copy(photos, out / "obj_train_data" / part)
        lines = [f"data/obj_train_data/{part}/{photo.path.name}" for photo in photos]
        (out / f"{part}.txt").write_text("\n".join(lines) + "\n")
        for photo in photos:
            path = out / "obj_train_data" / part / f"{photo.path.stem}.txt"
            path.write_text("".join(_polygon(photo, k) for k in range(len(photo.boxes))))


def _polygon(photo: Photo, k: int) -> str:
    x0, y0, x1, y1 = photo.boxes[k].astype(float) / (photo.width, photo.height, photo.width, photo.height)
    corners = " ".join(f"{value:.8f}" for value in (x0, y0, x1, y0, x1, y1, x0, y1))
    return f"{photo.labels[k]} {corners}\n"


def voc(dataset: Dataset, out: Path) -> None:
    """Annotations/, JPEGImages/ and ImageSets/Main/, pixels counted from 1 (supervision would round them)."""
    _copy(dataset.photos, out / "JPEGImages")
    (out / "Annotations").mkdir()
    for photo in dataset.photos:
        (out / "Annotations" / f"{photo.path.stem}.xml").write_bytes(_xml(dataset, photo))
    (out / "ImageSets" / "Main").mkdir(parents=True)
    for part, photos in by_part(dataset).items():
        lines = "".join(f"{photo.path.stem}\n" for photo in photos)
        (out / "ImageSets" / "Main" / f"{'val' if part == 'valid' else part}.txt").write_text(lines)


def _xml(dataset: Dataset, photo: Photo) -> bytes:
    root = ElementTree.Element("annotation")
    ElementTree.SubElement(root, "filename").text = photo.path.name
    size = ElementTree.SubElement(root, "size")
    for key, value in (("width", photo.width), ("height", photo.height), ("depth", 3)):
        ElementTree.SubElement(size, key).text = str(value)
    for box, label in zip(photo.boxes.tolist(), photo.labels, strict=True):
        one = ElementTree.SubElement(root, "object")
        ElementTree.SubElement(one, "name").text = dataset.categories[label].name
        corners = ElementTree.SubElement(one, "bndbox")
        for key, value, shift in zip(("xmin", "ymin", "xmax", "ymax"), box, (1, 1, 0, 0), strict=True):
            ElementTree.SubElement(corners, key).text = f"{value + shift:.4f}"
    return bytes(ElementTree.tostring(root, "utf-8"))


def sku_110k(dataset: Dataset, out: Path) -> None:
    """annotations/annotations_PART.csv with eight columns and no header, and images/."""
    (out / "annotations").mkdir(parents=True)
    for part, photos in by_part(dataset).items():
        with (out / "annotations" / f"annotations_{part}.csv").open("w", newline="") as file:
            for photo in photos:
                for box, label in zip(photo.boxes.tolist(), photo.labels, strict=True):
                    name = dataset.categories[label].name
                    csv.writer(file).writerow([photo.path.name, *box, name, photo.width, photo.height])
    _copy(dataset.photos, out / "images")


LAYOUTS: dict[str, Callable[[Dataset, Path], None]] = {
    "COCO, one file": contest,
    "COCO, split": split,
    "COCO, Roboflow": roboflow,
    "COCO 2017": coco_2017,
    "COCO, CVAT": cvat,
    "COCO, Label Studio": label_studio,
    "YOLO": yolo,
    "YOLO, lists and polygons": yolo_lists,
    "Pascal VOC": voc,
    "CSV, SKU-110K": sku_110k,
}

"""Sets of one photo, 80 x 60 pixels, in each layout."""

import json
from pathlib import Path

from PIL import Image

TEA = [{"id": 1, "name": "tea"}]


def yolo_of(folder: Path, line: str, names: str = "[tea]") -> Path:
    """A YOLO set of one photo, 80 x 60, with one line of labels."""
    for name in ("images", "labels"):
        (folder / "train" / name).mkdir(parents=True)
    Image.new("RGB", (80, 60), "white").save(folder / "train" / "images" / "a.jpg")
    (folder / "train" / "labels" / "a.txt").write_text(line)
    (folder / "data.yaml").write_text(f"train: train/images\nnames: {names}\n")
    return folder


def csv_of(folder: Path, text: str) -> Path:
    """A table beside one photo, 80 x 60."""
    Image.new("RGB", (80, 60), "white").save(folder / "a.jpg")
    (folder / "boxes.csv").write_text(text)
    return folder


def coco_of(root: Path, box: dict, categories: list[dict]) -> Path:
    """A COCO set with one annotation."""
    (root / "images").mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(root / "images" / "a.jpg")
    lists = {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"id": 1, "image_id": 1} | box]}
    (root / "annotations.json").write_text(json.dumps(lists | {"categories": categories}))
    return root


def voc_file(root: Path, box: str, rest: str = "", encoding: str = "utf-8", name: str = "a.xml") -> Path:
    """A VOC set with one object."""
    (root / "Annotations").mkdir(parents=True)
    Image.new("RGB", (80, 60)).save(root / "a.jpg")
    corners = "".join(
        f"<{key}>{value}</{key}>" for key, value in zip(("xmin", "ymin", "xmax", "ymax"), box.split(), strict=True)
    )
    head = f'<?xml version="1.0" encoding="{encoding}"?>' if encoding != "cp1252" else ""
    text = (
        f"<annotation><filename>a.jpg</filename><object><name>brød</name><bndbox>{corners}</bndbox>{rest}</object></annotation>"
    )
    (root / "Annotations" / name).write_text(head + text, encoding)
    return root

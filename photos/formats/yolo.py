"""YOLO's text labels: a line for each box, class and fractions of the photo, or a polygon, of which the box is taken.

Known: data.yaml, whose train, val and test are folders, lists of photos, or several of them (ultralytics, Roboflow, CVAT);
names in classes.txt or obj.names beside labels/ (Label Studio, CVAT's darknet export) or in it (labelImg), with parts by
folders such as images/val. Of lines with keypoints, which `kpt_shape` in data.yaml announces, the box is taken. The fractions
are of the photo as shown, turned by EXIF, as ultralytics and the tools' browsers mean them. Read as text: ultralytics' reader
drops a photo with one bad line, and supervision decodes every photo and knows no lists.
"""

from pathlib import Path
from typing import Any

import numpy as np

from photos.findings import Note, Problem
from photos.formats.class_names import NAMES, Names, find_names
from photos.formats.label_file import label_file, shared_labels, unused_labels
from photos.formats.photo_places import photos_of
from photos.formats.source import PARTS, WHERE, Layout, Source, as_number, part_of_folders
from photos.photo_file import DataError, Progress, read_header, read_headers
from photos.turning import turn_back

MOST = 1.5  # chosen: a larger fraction is no rounding, but pixels
TRIANGLES = (
    "lines of six numbers, taken for triangles; if they are a tracker's (box, confidence, number), leave out its last two"
)
UNREADABLE = "not a line of class, centre, width and height (or a polygon), as fractions of the photo; mend or remove it"


def find(root: Path, progress: Progress | None = None) -> Layout | None:
    """The YOLO set at `root`, read; None where there is none. DataError where it is incomplete."""
    found = find_names(root)
    if found is None:
        return None
    photos, notes = photos_of(root, found)
    photos = by_folders(root, photos[None]) if None in photos else {part: paths for part, paths in photos.items() if paths}
    if not photos:
        raise DataError(f"{found.file}: no photos where it says they are ({_places(found)}); mend its paths")
    read_headers([path for paths in photos.values() for path in paths], progress)
    sources, number = [], 1
    for part in sorted(photos, key=lambda part: PARTS.index(part or PARTS[0])):
        sources.append(_source(root, found, part, photos[part], number))
        number += len(photos[part])
    every = dict.fromkeys(path for paths in photos.values() for path in paths)
    sources[0].problems.extend(shared_labels(root, every))
    passed_over = [
        Note(path.relative_to(root).as_posix(), _passed_over(path, found.file), repaired=False) for path in found.others
    ]
    broken = [
        Note(path.name, f"broken YAML files beside {found.file.name}, not read", repaired=False) for path in found.damaged
    ]
    sources[0].notes.extend([*notes, *passed_over, *broken, *unused_labels(root, every)])
    return Layout(f"YOLO ({found.file.relative_to(root).as_posix()})", sources)


def _passed_over(path: Path, taken: Path) -> str:
    """What to say of another file with names."""
    if path.name in NAMES:
        return f"lists of class names that are not those of {taken.name}, which are taken; does every label mean them?"
    return f"YAML files that name classes beside {taken.name}, not read"


def by_folders(root: Path, photos: list[Path]) -> dict[str | None, list[Path]]:
    """The photos of each part that a folder says, such as images/val; of None where none does."""
    parts: dict[str | None, list[Path]] = {}
    for path in photos:
        parts.setdefault(part_of_folders(root, path), []).append(path)
    return parts


def _places(found: Names) -> str:
    return ", ".join(entry for entries in found.parts.values() for entry in entries)


def _source(root: Path, found: Names, part: str | None, photos: list[Path], first: int) -> Source:
    lists: dict[str, list[Any]] = {"images": [], "annotations": [], "categories": []}
    lists["categories"] = [{"id": number, "name": name} for number, name in sorted(found.names.items())]
    source = Source(found.file.name, part, lists, root)
    for number, photo in enumerate(photos, first):
        name = photo.relative_to(root).as_posix()
        image: dict[str, Any] = {"id": number, "file_name": name, WHERE: f"photo {name}"}
        lists["images"].append(image)
        try:
            header = read_header(photo)
        except DataError:  # told by the checks
            continue
        image["width"], image["height"] = header.turned()
        same_size = header.turned() == (header.width, header.height)  # then photos are read as stored
        turn = header.orientation if same_size else 1
        _add_boxes(source, root, image, label_file(root, photo), turn, found.has_keypoints)
    return source


def _add_boxes(source: Source, root: Path, image: dict[str, Any], path: Path, orientation: int, has_keypoints: bool) -> None:
    """Add the boxes of the label file `path`, turned back to the stored pixels where EXIF's `orientation` is not 1."""
    if not path.is_file():
        source.notes.append(Note(image["file_name"], "photos without a label file, taken for photos without products", False))
        return
    annotations, size = source.lists["annotations"], (image["width"], image["height"])
    before = len(annotations)
    for number, line in enumerate(path.read_text("utf-8-sig", "replace").splitlines(), 1):
        if not line.strip():
            continue
        where = f"{path.relative_to(root).as_posix()}, line {number}"
        try:
            label, box = _box(line.split(), *size, has_keypoints)
        except ValueError as error:
            source.problems.append(Problem(where, str(error) or f"got {line[:60]!r}", UNREADABLE))
            continue
        if _may_be_tracked(line.split(), has_keypoints):
            source.notes.append(Note(where, TRIANGLES, repaired=False))
        box = box if orientation == 1 else _turned_back(box, *size, orientation)
        row = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": label, "bbox": box, WHERE: where}
        annotations.append(row)
    if orientation != 1 and len(annotations) > before:
        source.notes.append(
            Note(image["file_name"], "photos that EXIF turns half or mirrors: boxes turned back with them", False)
        )


def _may_be_tracked(words: list[str], has_keypoints: bool) -> bool:
    """Whether a line may be a tracker's, of class, box, confidence and a number of the object, 0 or 1 (others are refused).

    >>> _may_be_tracked("0 .5 .5 .5 .5 .9 1".split(), False), _may_be_tracked("0 .1 .1 .5 .1 .3 .9".split(), False)
    (True, False)
    """
    return len(words) == 7 and words[-1].isdecimal() and not has_keypoints


def _turned_back(box: list[float], width: int, height: int, orientation: int) -> list[float]:
    """A box x y width height of a photo as shown, in its pixels as stored."""
    x, y, w, h = box
    ((x0, y0, x1, y1),) = turn_back(np.array([[x, y, x + w, y + h]]), width, height, orientation).tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def _box(words: list[str], width: int, height: int, has_keypoints: bool) -> tuple[int, list[float]]:
    """Class and x y width height in pixels; of a line with keypoints its first four. ValueError for a line of another form."""
    label, values = as_number(words[0]), [as_number(word) for word in words[1:]]
    values = values[:4] if has_keypoints else values
    if not label.is_integer() or len(values) < 4 or len(values) == 5 or (len(values) > 5 and len(values) % 2):
        raise ValueError
    if any(abs(value) > MOST for value in values):
        raise ValueError(f"got {max(values, key=abs):g}, are these pixels?")
    if len(values) == 4:
        cx, cy, w, h = values
        return int(label), [(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height]
    xs, ys = values[::2], values[1::2]
    x0, y0 = min(xs), min(ys)
    return int(label), [x0 * width, y0 * height, (max(xs) - x0) * width, (max(ys) - y0) * height]

"""YOLO's text labels: a line for each box, class and fractions of the photo, or a polygon, of which the box is taken.

Known: data.yaml, whose train, val and test are folders, lists of photos, or several of them (ultralytics, Roboflow, CVAT);
names in classes.txt or obj.names beside labels/ (Label Studio, CVAT's darknet export), with parts by folders such as
images/val. The fractions are of the photo as shown, turned by EXIF, as ultralytics and the tools' browsers mean them. Read as
text: ultralytics' reader drops a photo with one bad line, and supervision decodes every photo and knows no lists.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from photos.findings import Note, Problem
from photos.formats.source import PARTS, WHERE, Layout, Source, part_of_folders
from photos.photo_file import DataError, Progress, read_header, read_headers
from photos.photo_folder import PHOTO_SUFFIXES, bare_path, files_below
from photos.turning import turn_back

KEYS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}  # of data.yaml: the parts
NAMES = ("classes.txt", "obj.names")
MOST = 1.5  # chosen: a larger fraction is no rounding, but pixels
UNREADABLE = "not a line of class, centre, width and height (or a polygon), as fractions of the photo; mend or remove it"


class Names(NamedTuple):
    """The file that names the classes, the names by class, and what it says of each part (None: the folder has no parts)."""

    file: Path
    names: dict[int, str]
    parts: dict[str | None, list[str]]


def find(root: Path, progress: Progress | None = None) -> Layout | None:
    """The YOLO set at `root`, read; None where there is none. DataError where it is incomplete."""
    found = _names(root)
    if found is None:
        return None
    photos = {part: list(_photos(root, found, entries)) for part, entries in found.parts.items()}
    photos = by_folders(root, photos[None]) if None in photos else {part: paths for part, paths in photos.items() if paths}
    if not photos:
        raise DataError(f"{found.file}: no photos where it says they are ({_places(found)}); mend its paths")
    read_headers([path for paths in photos.values() for path in paths], progress)
    sources, number = [], 1
    for part in sorted(photos, key=lambda part: PARTS.index(part or PARTS[0])):
        sources.append(_source(root, found, part, photos[part], number))
        number += len(photos[part])
    return Layout(f"YOLO ({found.file.relative_to(root).as_posix()})", sources)


def by_folders(root: Path, photos: list[Path]) -> dict[str | None, list[Path]]:
    """The photos of each part that a folder says, such as images/val; of None where none does."""
    parts: dict[str | None, list[Path]] = {}
    for path in photos:
        parts.setdefault(part_of_folders(root, path), []).append(path)
    return parts


def _places(found: Names) -> str:
    return ", ".join(entry for entries in found.parts.values() for entry in entries)


def _names(root: Path) -> Names | None:
    for path in sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        content = _yaml(path)
        if isinstance(content, dict) and "names" in content:
            return _from_yaml(path, content)
    for name in NAMES:
        if (root / name).is_file():
            lines = (root / name).read_text("utf-8-sig").rstrip().splitlines()
            names = dict(enumerate(line.strip() for line in lines))  # an empty line counts, as in darknet
            lists = {part: [path.name] for key, part in KEYS.items() if (path := root / f"{key}.txt").is_file()}
            return Names(root / name, names, dict(lists) or {None: ["images" if (root / "images").is_dir() else "."]})
    return None


def _yaml(path: Path) -> Any:
    """The content of a YAML file, every scalar as text: a product may be called `no`, `on` or `1.50`."""
    import yaml

    try:
        return yaml.load(path.read_text("utf-8-sig"), yaml.BaseLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: broken YAML: {' '.join(str(error).split())}") from None


def _from_yaml(path: Path, content: dict[str, Any]) -> Names:
    names = content["names"]
    if isinstance(names, list):
        names = dict(enumerate(names))
    try:
        by_class = {int(key): str(name) for key, name in names.items()}
    except (AttributeError, ValueError, TypeError):
        raise DataError(f"{path}: names: got {names!r}, need a list of names, or class: name") from None
    parts: dict[str | None, list[str]] = {}
    for key, part in KEYS.items():
        entries = content.get(key) or []
        places = [content.get("path", ""), *([entries] if isinstance(entries, str) else entries)]
        if len(places) > 1:
            parts.setdefault(part, []).extend(f"{places[0]}/{entry}" if places[0] else entry for entry in places[1:])
    if not parts:
        raise DataError(f"{path}: none of train, val and test; need at least train: FOLDER")
    return Names(path, by_class, parts)


def _photos(root: Path, found: Names, entries: list[str]) -> Iterator[Path]:
    """The photos of the folders and lists that `entries` name, each once."""
    seen = set()
    for entry in entries:
        place = _place(root, entry)
        listed = _listed(root, place) if place is not None and place.suffix == ".txt" else _below(place)
        for path in listed:
            if path not in seen:
                seen.add(path)
                yield path


def _place(root: Path, entry: str) -> Path | None:
    """What a path in data.yaml means: as it is, or what of its end lies in `root` (Roboflow writes ../train/images)."""
    parts = [part for part in Path(bare_path(entry)).parts if part not in ("..", "/", ".")]
    tails = [root / Path(*parts[start:]) for start in range(len(parts))] or [root]
    return next((path for path in tails if path.exists()), None)


def _below(place: Path | None) -> Iterator[Path]:
    if place is not None and place.is_dir():
        files = files_below(place).files
        yield from sorted(path for path in files if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file())


def _listed(root: Path, place: Path) -> Iterator[Path]:
    for line in place.read_text("utf-8-sig").splitlines():
        if line.strip():
            yield _place(root, line.strip()) or root / Path(bare_path(line.strip())).name


def label_file(root: Path, photo: Path) -> Path:
    """Where the labels of a photo lie: as ultralytics has it, its last folder `images` becomes `labels`; else beside it.

    Folders above `root` say nothing of it: a set may lie in one that is called so.

    >>> [label_file(Path("images"), Path("images", name)).as_posix() for name in ("images/train/a.jpg", "a.jpg")]
    ['images/labels/train/a.txt', 'images/a.txt']
    """
    parts = list(photo.relative_to(root).with_suffix(".txt").parts)
    folders = [i for i, part in enumerate(parts[:-1]) if part == "images"]
    if folders:
        parts[folders[-1]] = "labels"
    return root / Path(*parts)


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
        _add_boxes(source, root, image, label_file(root, photo), header.orientation if same_size else 1)
    return source


def _add_boxes(source: Source, root: Path, image: dict[str, Any], path: Path, orientation: int) -> None:
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
            label, box = _box(line.split(), *size)
        except ValueError as error:
            source.problems.append(Problem(where, str(error) or f"got {line[:60]!r}", UNREADABLE))
            continue
        box = box if orientation == 1 else _turned_back(box, *size, orientation)
        row = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": label, "bbox": box, WHERE: where}
        annotations.append(row)
    if orientation != 1 and len(annotations) > before:
        source.notes.append(
            Note(image["file_name"], "photos that EXIF turns half or mirrors: boxes turned back with them", False)
        )


def _turned_back(box: list[float], width: int, height: int, orientation: int) -> list[float]:
    """A box x y width height of a photo as shown, in its pixels as stored."""
    x, y, w, h = box
    ((x0, y0, x1, y1),) = turn_back(np.array([[x, y, x + w, y + h]]), width, height, orientation).tolist()
    return [x0, y0, x1 - x0, y1 - y0]


def _box(words: list[str], width: int, height: int) -> tuple[int, list[float]]:
    """Class and x y width height in pixels. ValueError for a line of another form."""
    label, values = float(words[0]), [float(word) for word in words[1:]]
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

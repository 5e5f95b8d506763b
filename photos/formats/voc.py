"""Pascal VOC: an XML file for each photo, read with the standard library's parser.

The XML files lie in Annotations/, beside the photos, or in train, valid and test folders; ImageSets/Main/{train,val,test}.txt
say the parts otherwise, by names without a suffix, with their folders or not. **Pixels**: the devkit counts from 1, so that
xmin 1 is the photo's left edge; tools that count from 0 write the same tags. A set in which no corner is below 1 is read as
the devkit means it, any other as it stands; a line says so. `difficult` objects are products like others. supervision reads
VOC as well, but decodes all photos and knows no parts. CVAT's turned boxes have a `rotation` among their attributes.
"""

import re
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

from photos.findings import Note, Problem
from photos.formats.source import PARTS, WHERE, Layout, Source, as_number, part_of, part_of_folders, whole
from photos.formats.text_file import lines_of
from photos.formats.turned_box import enclose_turned
from photos.photo_file import DataError, same_name
from photos.photo_folder import PHOTO_SUFFIXES, files_once

FOLDERS = ("Annotations", "annotations", "xml", "labels")  # that XML files lie in, apart from the photos
PHOTOS = ("JPEGImages", "images")
LISTS = ("train", "val", "valid", "test")  # of ImageSets/Main; not trainval, nor a class's own, such as car_train
FLAG = re.compile(r"\s+(-1|0|1)$")  # taken: the devkit's lists of a class say so whether a photo shows it
CORNERS = ("xmin", "ymin", "xmax", "ymax")
ROTATION = "attributes/attribute[name='rotation']/value"  # taken: CVAT's, in degrees
HEAD = 1024  # chosen: bytes in which the first tag begins
UNREADABLE = "not an object with a name and a bndbox of xmin, ymin, xmax, ymax; mend or remove it"


def find(root: Path) -> Layout | None:
    """The VOC set at `root`, read; None where there is none."""
    files = [path for path in files_once(root) if path.suffix.lower() == ".xml" and _is_annotation(path)]
    if not files:
        return None
    listed, notes = _listed(root, files)
    parts: dict[str | None, list[Path]] = {}
    for path in files:
        parts.setdefault(listed.get(path) or part_of_folders(root, path), []).append(path)
    base = next((root / name for name in PHOTOS if (root / name).is_dir()), root)
    sources = [Source("", part, {"images": [], "annotations": [], "categories": []}, base) for part in _ordered(parts)]
    number = 1
    for source in sources:
        for path in parts[source.part]:
            _add_photo(source, root, path, number)
            number += 1
    _add_categories(sources)
    _from_zero(sources)
    for source in sources:
        enclose_turned(source)
    sources[0].notes.extend(notes)
    return Layout(f"Pascal VOC ({len(files)} XML files)", sources)


def _ordered(parts: dict[str | None, list[Path]]) -> list[str | None]:
    return sorted(parts, key=lambda part: PARTS.index(part) if part else len(PARTS))


def _is_annotation(path: Path) -> bool:
    if not path.is_file():  # a link that leads nowhere
        return False
    with path.open("rb") as file:
        return (
            re.search(rb"<([\w.-]+:)?annotation[\s>]", file.read(HEAD).replace(b"\0", b"")) is not None
        )  # UTF-16 has zeros between


def _listed(root: Path, files: list[Path]) -> tuple[dict[Path, str], list[Note]]:
    """The part of each XML file that ImageSets/Main lists, and what is left over of either.

    DataError where both are left over: then the lists mean files that are called otherwise.
    """
    lists = [path for path in sorted((root / "ImageSets" / "Main").glob("*.txt")) if path.stem in LISTS]
    by_name, by_stem = dict[str, list[Path]](), dict[str, list[Path]]()
    for path in files:
        inner = PurePosixPath(*[part for part in path.relative_to(root).parts[:-1] if part not in FOLDERS], path.stem)
        by_name.setdefault(same_name(inner.as_posix()), []).append(path)
        by_stem.setdefault(same_name(path.stem), []).append(path)
    found, unknown = dict[Path, str](), list[str]()
    for path in lists:
        for written in filter(str.strip, lines_of(path)):
            line = written.strip()
            names = [same_name(name) for name in (written, line.strip("\"'"), FLAG.sub("", line))]
            known = next((kind[name] for kind in (by_name, by_stem) for name in names if name in kind), [])
            unknown += [] if known else [f"{line!r} of {path.name}"]
            part = str(part_of(path.stem))
            if other := next((found[one] for one in known if found.get(one, part) != part), None):
                raise DataError(
                    f"{path}: got {line!r}, which is in {other} already, need each photo in one part; mend the lists"
                )
            found.update(dict.fromkeys(known, part))
    left = [path.name for path in files if lists and path not in found and part_of_folders(root, path) is None]
    if unknown and left:
        raise DataError(
            f"{root}/ImageSets/Main: got {unknown[0]}, which names no XML file ({len(unknown)} such), while {left[0]} is in "
            f"none of the lists ({len(left)} such); need the files' names without suffix; mend the lists, or move them away"
        )
    notes = [Note(name, "names in ImageSets without an XML file, left out", repaired=False) for name in unknown]
    return found, notes + [Note(name, "XML files in no list of ImageSets, of no part", repaired=False) for name in left]


def _add_photo(source: Source, root: Path, path: Path, number: int) -> None:
    where = path.relative_to(root).as_posix()
    try:
        tree = _parsed(path)
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        source.problems.append(Problem(where, str(error), _broken(path)))
        return
    image: dict[str, Any] = {"id": number, "file_name": _photo_name(root, source.base, path, tree), WHERE: where}
    for key in ("width", "height"):
        image[key] = whole((tree.findtext(f"size/{key}") or "").strip())
    source.lists["images"].append(image)
    for k, one in enumerate(tree.iterfind("object"), 1):
        try:
            corners = [as_number(one.findtext(f"bndbox/{name}", "")) for name in CORNERS]
            name = one.findtext("name", "").strip()
        except ValueError:
            source.problems.append(Problem(f"{where}, object {k}", "", UNREADABLE))
            continue
        row = {"id": len(source.lists["annotations"]) + 1, "image_id": number, "category_id": name, "bbox": corners}
        turned = {"attributes": {"rotation": angle}} if (angle := one.findtext(ROTATION)) else {}
        source.lists["annotations"].append(row | turned | {WHERE: f"{where}, object {k}"})
        if one.findtext("difficult", "0").strip() == "1":
            source.notes.append(Note("", "objects marked difficult, taken for products like others", repaired=False))


def _parsed(path: Path) -> Any:
    """The tree of an XML file, its tags without a namespace."""
    tree = ElementTree.parse(path)
    for element in tree.iter():
        element.tag = element.tag.rpartition("}")[2]
    return tree


def _broken(path: Path) -> str:
    """What is wrong with a file that is not read, with the remedy."""
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        return "neither UTF-8 nor what its first line says; save it as UTF-8, or remove it"
    return "broken XML; mend or remove it"


def _photo_name(root: Path, base: Path, path: Path, tree: Any) -> str:
    """The photo of an XML file: its file name, where that lies beside the file or below `base`; else that of the same stem."""
    written = (tree.findtext("filename") or "").strip()
    inner = path.parent.relative_to(root)
    beside = PurePosixPath(*[part for part in inner.parts if part not in FOLDERS])
    folders = [base / beside, path.parent, base]
    last = PurePosixPath(written.replace("\\", "/")).name
    names = [last, *(path.stem + suffix for suffix in sorted(PHOTO_SUFFIXES))]
    for name in dict.fromkeys(names):
        for folder in folders:
            if name and (folder / name).is_file() and (folder / name).is_relative_to(base):
                return (folder / name).relative_to(base).as_posix()
    return written or f"{path.stem}.jpg"


def _add_categories(sources: list[Source]) -> None:
    """Number the names, in their order, from 1."""
    names = sorted({row["category_id"] for source in sources for row in source.lists["annotations"]})
    numbers = {name: number for number, name in enumerate(names, 1)}
    for source in sources:
        source.lists["categories"].extend({"id": number, "name": name} for name, number in numbers.items())
        for row in source.lists["annotations"]:
            row["category_id"] = numbers[row["category_id"]]


def _from_zero(sources: list[Source]) -> None:
    """Corners -> x y width height, counted from 0; see the top of this file."""
    rows = [row for source in sources for row in source.lists["annotations"]]
    shift = 1 if rows and min(min(row["bbox"][:2]) for row in rows) >= 1 else 0
    for row in rows:
        x0, y0, x1, y1 = row["bbox"]
        row["bbox"] = [x0 - shift, y0 - shift, x1 - x0 + shift, y1 - y0 + shift]
    if rows:
        what = (
            "counted from 1, as the devkit does: no corner is below 1" if shift else "counted from 0: some corners are below 1"
        )
        sources[0].notes.extend(Note("", f"boxes whose pixels are {what}", repaired=False) for _ in rows)

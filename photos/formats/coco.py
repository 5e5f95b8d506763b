"""COCO JSON, in the places where contests and labelling tools put it; a plain reading of the three lists.

Known: ROOT/annotations.json or another single file, ROOT/{train,valid,val,test}.json, Roboflow's
ROOT/{train,valid,test}/_annotations.coco.json beside the photos, ROOT/annotations/instances_*.json (COCO's own, CVAT's), and
ROOT/{train,valid,test}/annotations.json with images/ or the photos beside it.
pycocotools and supervision read the lists as well, but pass over what is wrong with them; supervision decodes all photos.
"""

import json
from pathlib import Path
from typing import Any

from photos.findings import Note
from photos.formats.source import PARTS, Layout, Source, part_of, part_of_folders
from photos.formats.text_file import not_utf_8
from photos.formats.turned_box import enclose_turned
from photos.photo_file import DataError
from photos.photo_folder import visible

KEYS = {
    "images": ("id", "file_name"),
    "annotations": ("id", "image_id", "category_id", "bbox"),
    "categories": ("id", "name"),
}
WHOLE = "annotations.json"
ROBOFLOW = "_annotations.coco.json"
SPLIT = ("train", "valid", "val", "test")  # files that are called so are parts, whatever they hold
FOLDERS = (*SPLIT, "validation")  # of parts, each with a WHOLE of its own
INSTANCES = "instances_"  # taken: COCO's name for files of boxes, not of captions or keypoints


def find(root: Path) -> Layout | None:
    """The COCO files of the set at `root`, read; None where there are none. DataError for two layouts, or broken files."""
    named = [path for path in visible(root, "*.json") if part_of(path.stem)]
    parts = [path for path in named if holds_part(path)]
    others = [path for path in named if path not in parts]
    if (root / WHOLE).is_file() and parts:
        raise DataError(f"{root}: got both {WHOLE} and {parts[0].name}, need one layout; move one of them away")
    if (root / WHOLE).is_file():
        return _layout("one file", root, [root / WHOLE], others)
    if parts:
        return _layout("split", root, parts, others)
    if beside := [path for path in visible(root, f"*/{ROBOFLOW}") if part_of(path.parent.name)]:
        return _layout("Roboflow's", root, beside)
    if (root / ROBOFLOW).is_file():
        return _layout("Roboflow's, without parts", root, [root / ROBOFLOW])
    files = visible(root / "annotations", "*.json")
    boxes = [path for path in files if path.name.startswith(INSTANCES)] or [path for path in files if _is_coco(path)]
    if boxes:
        return _layout("annotations/*.json", root, boxes, [path for path in files if path not in boxes])
    counts = {path: count for path in visible(root, "*.json") if (count := _annotations(path)) is not None}
    single = [path for path, count in counts.items() if count] or list(counts)[:1]
    if single:
        return _layout("one file", root, single, [path for path in counts if path not in single])
    inside = [path for name in FOLDERS for path in [root / name / WHOLE] if path.is_file() and _is_coco(path)]
    return _layout("a folder for each part", root, inside) if inside else None


def holds_part(path: Path) -> bool:
    """Whether a file that is called like a part is one: test_results.json may hold what a training reached."""
    return path.stem in SPLIT or _is_coco(path)


def _is_coco(path: Path) -> bool:
    """Whether a file has one of COCO's lists, or is damaged, so that it is told."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return True
    return isinstance(content, dict) and any(isinstance(content.get(key), list) for key in KEYS)


def base_of(root: Path) -> Path:
    """The folder that photos are looked for in: ROOT/images, or ROOT where there is none."""
    return root / "images" if (root / "images").is_dir() else root


def _layout(text: str, root: Path, files: list[Path], unread: list[Path] = []) -> Layout:  # noqa: B006 (not changed)
    parts = [_part(root, path) for path in files]
    twice = next((part for part in parts if parts.count(part) > 1), None)
    if len(files) > 1 and (twice or None in parts):
        names = ", ".join(str(path.relative_to(root)) for path in files)
        raise DataError(f"{root}: got {names}, need one file for each of {', '.join(PARTS)}; move the others away")
    order = sorted(range(len(files)), key=lambda k: PARTS.index(parts[k] or PARTS[0]))
    sources = [_source(root, files[k], parts[k]) for k in order]
    for source in sources:
        enclose_turned(source)
    sources[0].notes.extend(Note(path.name, "JSON files of no boxes, not read", repaired=False) for path in unread)
    return Layout(f"COCO, {text} ({', '.join(source.name for source in sources)})", sources)


def _part(root: Path, path: Path) -> str | None:
    """The part of a file by its name, or by its folder where all are called alike: not by the set's, which may be test_shop."""
    if path.name not in (ROBOFLOW, WHOLE):
        return part_of(path.stem.removeprefix(INSTANCES))
    return part_of_folders(root, path)


def _source(root: Path, path: Path, part: str | None) -> Source:
    name = path.relative_to(root).as_posix()
    stem = path.stem.removeprefix(INSTANCES)
    if path.name == ROBOFLOW or (path.name == WHOLE and part):
        folder = path.parent.relative_to(root).as_posix()
        inside = (f"{folder}/images",) if (path.parent / "images").is_dir() else ()
        return Source(name, part, load(path), root, () if path.parent == root else (*inside, folder), is_beside=True)
    base = root if (root / stem).is_dir() else base_of(root)
    if path.name == WHOLE and base == root:
        raise DataError(f"{root}: no folder images/ beside {path.name}; put the photos there")
    return Source(name, part, load(path), base, (stem, part or stem))


def _annotations(path: Path) -> int | None:
    """How many annotations a COCO file holds; None for another file."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return None
    whole = isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)
    return len(content["annotations"]) if whole else None


def load(path: Path) -> dict[str, list[Any]]:
    """The three lists of KEYS in a COCO file. DataError where it is no JSON, or lacks one of them."""
    try:
        content = json.loads(path.read_bytes())
    except json.JSONDecodeError as error:
        raise DataError(
            f"{path}: broken JSON at line {error.lineno}, column {error.colno}: {error.msg}; export it again"
        ) from error
    except UnicodeDecodeError:
        raise DataError(not_utf_8(path)) from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: broken JSON: {error}; export it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: got a {type(content).__name__} at the top, need an object with the lists {', '.join(KEYS)}")
    missing = [key for key in KEYS if not isinstance(content.get(key), list)]
    if missing:
        raise DataError(f"{path}: no list {', '.join(missing)} (need {', '.join(KEYS)})")
    return {key: content[key] for key in KEYS}

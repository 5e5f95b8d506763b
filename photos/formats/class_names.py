"""The file of a YOLO set that names its classes and says where the photos of each part are: data.yaml, or classes.txt."""

from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from photos.formats.source import whole
from photos.formats.text_file import lines_of, text_of
from photos.photo_file import DataError
from photos.photo_folder import is_absolute, visible

KEYS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}  # of data.yaml: the parts
DATA = "data"  # taken: the stem of the YAML file that tools write
NAMES = ("classes.txt", "obj.names")
FOLDERS = ("", "labels", "Labels", "images", "Images")  # that NAMES may lie in; labelImg writes it among the labels
NULLS = ("null", "Null", "NULL", "~")  # of YAML, which here are texts as all else
PLACES = "need a folder, a list of photos, or several of them"


class Names(NamedTuple):
    """The file that names the classes, the names by class, and what it says of each part (None: the folder has no parts).

    `above` is the data set's folder as the file has it (data.yaml's `path`): each relative entry of the parts begins with it.
    `has_keypoints`: a line has further numbers behind the box. `others` name classes too, and were not taken: YAML
    files, and lists with other names; `damaged` may.
    """

    file: Path
    names: dict[int, str]
    parts: dict[str | None, list[str]]
    above: str = ""
    has_keypoints: bool = False
    others: tuple[Path, ...] = ()
    damaged: tuple[Path, ...] = ()


def find_names(root: Path) -> Names | None:
    """What the set at `root` says of its classes; None where it says nothing. DataError for what cannot be read."""
    contents, damaged = _with_names(root)
    if contents:
        path = min(contents, key=lambda path: (not KEYS.keys() & contents[path].keys(), path.stem != DATA))
        others, found = tuple(other for other in contents if other != path), _from_yaml(path, contents[path])
        return found._replace(others=(*others, *_unlike(root, found)), damaged=damaged)
    file = next((path for folder in FOLDERS for name in NAMES if (path := root / folder / name).is_file()), None)
    if file is None:
        return None
    lists: dict[str | None, list[str]] = {KEYS[key]: [f"{key}.txt"] for key in KEYS if (root / f"{key}.txt").is_file()}
    found = Names(file, _listed(file), lists or {None: ["images" if (root / "images").is_dir() else "."]})
    return found._replace(others=_unlike(root, found))


def _listed(file: Path) -> dict[int, str]:
    """The names of one of NAMES, a line each; an empty line counts, as in darknet."""
    return dict(enumerate(line.strip() for line in lines_of(file)))


def _unlike(root: Path, found: Names) -> tuple[Path, ...]:
    """The NAMES at `root` and up to two folders below that give the classes other names than `found`, as labelImg's may."""
    paths = (path for name in NAMES for above in ("", "*/", "*/*/") for path in visible(root, f"{above}{name}"))
    return tuple(path for path in paths if path.is_file() and path != found.file and not _is_like(path, found))


def _is_like(path: Path, found: Names) -> bool:
    try:
        return _listed(path) == found.names
    except DataError:  # not UTF-8
        return False


def _with_names(root: Path) -> tuple[dict[Path, dict[str, Any]], tuple[Path, ...]]:
    """The content of each YAML file that names classes, and the damaged files.

    DataError for a damaged data.yaml, and for any where no file names classes.
    """
    contents, damaged = dict[Path, dict[str, Any]](), dict[Path, DataError]()
    for path in sorted([*visible(root, "*.yaml"), *visible(root, "*.yml")]):
        try:
            content = _yaml(path)
        except DataError as error:
            damaged[path] = error
            continue
        if isinstance(content, dict) and "names" in content:
            contents[path] = content
    if refused := [path for path in damaged if not contents or path.stem == DATA]:
        raise damaged[refused[0]]
    return contents, tuple(damaged)


def _yaml(path: Path) -> Any:
    """The content of a YAML file, every scalar as text: a product may be called `no`, `on` or `1.50`."""
    import yaml

    class Loader(yaml.BaseLoader):
        """Refuses a key that stands twice: the last would count."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))  # others are refused below
            if twice := [key for key, times in keys.items() if times > 1]:
                raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]} stands twice", node.start_mark)
            return dict(super().construct_mapping(node, deep))

    try:
        return yaml.load(text_of(path), Loader)
    except yaml.YAMLError as error:
        raise DataError(f"{path}: broken YAML: {' '.join(str(error).split())}") from None


def _from_yaml(path: Path, content: dict[str, Any]) -> Names:
    said = {key: value for key, value in content.items() if value not in NULLS}
    above = said.get("path") or ""
    if not isinstance(above, str):
        raise DataError(f"{path}: path: got {above!r}, need a folder")
    parts: dict[str | None, list[str]] = {}
    for key, part in KEYS.items():
        if entries := _entries(path, key, said.get(key) or []):
            parts.setdefault(part, []).extend(
                f"{above}/{entry}" if above and not is_absolute(entry) else entry for entry in entries
            )
    if not parts:
        raise DataError(f"{path}: none of train, val and test; need at least train: FOLDER")
    return Names(path, _by_class(path, content["names"]), parts, above, bool(said.get("kpt_shape")))


def _entries(path: Path, key: str, value: Any) -> list[str]:
    """The folders and lists of one key; null is none. DataError for what is no text."""
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise DataError(f"{path}: {key}: got {value!r}, {PLACES}")
    return [entry for entry in entries if entry and entry not in NULLS]


def _by_class(path: Path, value: Any) -> dict[int, str]:
    names = dict(enumerate(value)) if isinstance(value, list) else value
    wrong = DataError(f"{path}: names: got {value!r}, need a list of names, or class: name")
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        raise wrong
    by_class = {whole(key): name for key, name in names.items()}
    if not all(type(key) is int for key in by_class):
        raise wrong
    if len(by_class) < len(names):
        raise DataError(f"{path}: names: got one class twice in {list(names)}, need each once")
    return by_class

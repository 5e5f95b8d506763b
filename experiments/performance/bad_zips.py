"""Zips that would die or score 0 at the judge, each spoilt in one way, and good ones.

They are made of the files of a good zip, as `submission.build.collect` gives them: of a class-agnostic detector called one, a
class-aware one and a classifier.
"""

import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

Files = dict[str, bytes]
Spoil = Callable[[Files], object]
RUN = b"import argparse\np = argparse.ArgumentParser()\n"
RUN += b"p.add_argument('--input')\np.add_argument('--output')\na = p.parse_args()\n"
ROW = b'{"image_id": %d, "category_id": 3, "bbox": [1, 2, 3, 4], "score": 0.5}'
BOX = b"[1, 2, 3, 4]"
ANSWER = b"open(a.output, 'w').write('[" + ROW % 42 + b", " + ROW % 7 + b"]')\n"  # on both photos of submission.trial.SIZES


def _values(files: Files, name: str, **values: object) -> None:
    """Set fields of a JSON file."""
    files[name] = json.dumps(json.loads(files[name]) | values).encode()


def _first(kind: str, **values: object) -> Spoil:
    """Set fields of the first model that ensemble.json lists as `kind`."""

    def spoil(files: Files) -> None:
        models = json.loads(files["ensemble.json"])[kind]
        models[0] |= values
        _values(files, "ensemble.json", **{kind: models})

    return spoil


def _part(kind: str, **values: object) -> Spoil:
    """Set fields of merge or gate in ensemble.json."""
    return lambda files: _values(files, "ensemble.json", **{kind: json.loads(files["ensemble.json"]).get(kind, {}) | values})


def _ensemble(**values: object) -> Spoil:
    return lambda files: _values(files, "ensemble.json", **values)


def _view(**values: object) -> Spoil:
    return _first("detectors", views=[{"size": 64} | values])


def _side(kind: str, **values: object) -> Spoil:
    """Set fields of the sidecar of the first model of a kind."""
    return lambda files: _values(files, str(Path(_file(files, kind)).with_suffix(".json")), **values)


def _file(files: Files, kind: str) -> str:
    return str(json.loads(files["ensemble.json"])[kind][0]["file"])


def _add(text: bytes, name: str = "run.py") -> Spoil:
    """Add lines to a Python file."""
    return lambda files: files.update({name: files.get(name, b"") + b"\n" + text + b"\n"})


def _foreign(answer: bytes) -> Spoil:
    """Another method, whose run.py writes `answer`."""
    return lambda files: (files.clear(), files.update({"run.py": RUN + answer.replace(b": 3,", b": 7,")}))


def _without_field(files: Files, name: str) -> None:
    side = str(Path(_file(files, "detectors")).with_suffix(".json"))
    files[side] = json.dumps({key: value for key, value in json.loads(files[side]).items() if key != name}).encode()


def _graph(change: Callable[[Any], object]) -> Spoil:
    def spoil(files: Files) -> None:
        name = _file(files, "detectors")
        model = onnx.load_model_from_string(files[name])
        change(model)
        files[name] = model.SerializeToString()

    return spoil


def _encoded(encoding: str) -> Spoil:
    return lambda files: files.update({"ensemble.json": files["ensemble.json"].decode().encode(encoding)})


def _damaged(files: Files) -> None:
    """Weights that are torn behind their first 4,096 bytes."""
    name = _file(files, "detectors")
    model = onnx.load_model_from_string(files[name])
    model.doc_string = "x" * 5000
    files[name] = model.SerializeToString()[:-40]


def _opset(model: Any) -> None:
    model.opset_import[0].version = 21


def _operator(model: Any) -> None:
    model.graph.node[0].op_type = "Shelf"


DEEP = b"x = " + b"(" * 5000 + b")" * 5000
BAD: dict[str, Spoil] = {
    "no run.py": lambda files: files.pop("run.py"),
    "in a folder": lambda files: files.update({f"zip/{name}": files.pop(name) for name in list(files)}),
    "a readme": lambda files: files.update({"README.md": b""}),
    "eleven Python files": lambda files: files.update({f"m{i}.py": b"" for i in range(11)}),
    "1,001 files": lambda files: files.update({f"{i}.json": b"{}" for i in range(1001)}),
    "four weight files": lambda files: files.update({f"{i}.npy": b"" for i in range(4)}),
    "a path upwards": lambda files: files.update({"../a.json": b"{}"}),
    "a very long path": lambda files: files.update({"a/" * 15_000 + "a.json": b"{}"}),
    "a name of 305 bytes": lambda files: files.update({"a" * 300 + ".json": b"{}"}),
    "a name of 365 bytes in UTF-8": lambda files: files.update({"ø" * 180 + ".json": b"{}"}),
    "a file that is a folder too": lambda files: files.update({"a.json": b"{}", "a.json/b.json": b"{}"}),
    "2,100 folders": lambda files: files.update({f"{i}/": b"" for i in range(2100)}),
    "a folder upwards": lambda files: files.update({"../up/": b""}),
    "a folder that holds a program": lambda files: files.update({"x/": b"\x7fELF\x02"}),
    "a program renamed": lambda files: files.update({"a.cfg": b"\x7fELF\x02"}),
    "imports os": _add(b"import os"),
    "imports subprocess in a function": _add(b"def f():\n    from subprocess import run"),
    "eval": _add(b"eval('1')"),
    "os through pathlib": _add(b"import pathlib\npathlib.os.system('ls')"),
    "os through an import from": _add(b"from pathlib import os"),
    "globals": _add(b"globals()['ev' + 'al']('1')"),
    "pickles": _add(b"import numpy as np\nnp.load('a.npy', allow_pickle=True)"),
    "getattr by a computed name": _add(b"getattr(Path, 'a' + 'b')"),
    "getattr handed on": _add(b"g = getattr\ng(json, 'codecs')"),
    "attrgetter": _add(b"import operator\noperator.attrgetter('os.system')(Path)"),
    "posix": _add(b"import posix"),
    "the dictionary of a module": _add(b"json.__dict__['codecs']"),
    "the frame of a generator": _add(b"g = (i for i in [])\ng.gi_frame.f_builtins"),
    "a syntax error": _add(b"def f(:"),
    "deep nesting": _add(DEEP),
    "a long chain": _add(b"x = a" + b".a" * 50_000),
    "many operators": _add(b"x = 1" + b" + 1" * 40_000),
    "a package that is not there": _add(b"import faiss"),
    "an import from the package around run.py": _add(b"import torch\nfrom .fusion import boxes"),
    "an import from above the zip": _add(b"from ..fusion import boxes", "fusion/merge.py"),
    "a module that is not packed": lambda files: files.pop("fusion/views.py"),
    "no ensemble.json": lambda files: files.pop("ensemble.json"),
    "UTF-16": _encoded("utf-16"),
    "a BOM": _encoded("utf-8-sig"),
    "Latin-1": lambda files: files.update({"ensemble.json": b'{"\xe9": 1}'}),
    "JSON that is torn": lambda files: files.update({"ensemble.json": files["ensemble.json"][:-5]}),
    "JSON nested deeply": lambda files: files.update({"ensemble.json": b'{"a": ' + b"[" * 100_000}),
    "NaN": lambda files: files.update({"ensemble.json": files["ensemble.json"].replace(b"0.55", b"NaN")}),
    "an unknown field": _ensemble(speed=1),
    "no categories": _ensemble(categories=[]),
    "a category twice": _ensemble(categories=[7, 7, 40]),
    "other categories": _ensemble(categories=[1, 2, 3]),
    "no detectors": _ensemble(detectors=[]),
    "no time": _ensemble(time_budget_s=0),
    "more time than there is": _ensemble(time_budget_s=3600),
    "merge wbff": _part("merge", method="wbff"),
    "no boxes kept": _part("merge", max_det=0),
    "IoU above 1": _part("merge", iou=55),
    "soft-NMS without a width": _part("merge", method="soft_nms", sigma=0),
    "an unknown policy": _part("gate", policy="trust"),
    "a gate with too few weights": _part("gate", policy="stacked", change_weights=[1.0]),
    "ranking with too few weights": _part("gate", rank_weights=[1.0]),
    "a floor on nothing": _first("detectors", conf=1.0),
    "no detections kept": _first("detectors", max_det=0),
    "all detectors idle": _ensemble(detectors=[{"file": "one.onnx", "weight": 0, "views": [{"size": 64}]}]),
    "no batch": _first("classifiers", batch=0),
    "a view of a crop with sizes": _first("classifiers", views=[{"sizes": 1}]),
    "a view with sizes": _first("detectors", views=[{"sizes": 64}]),
    "a view of 0": _view(size=0),
    "a view of 321": _view(size=321),
    "a view of -64": _view(size=-64),
    "a view as text": _view(size="64"),
    "a view of a million": _view(size=10**6),
    "a view that is round": _view(shape="round"),
    "three tiles": _view(tiles=[3]),
    "tiles that overlap wholly": _view(tiles=[2, 2], overlap=1),
    "a view's weight as text": _view(weight="1"),
    "no weights": lambda files: files.pop(_file(files, "detectors")),
    "no sidecar": lambda files: files.pop(str(Path(_file(files, "detectors")).with_suffix(".json"))),
    "a sidecar without categories": lambda files: _without_field(files, "categories"),
    "a sidecar without size": lambda files: _without_field(files, "size"),
    "a number for categories": _side("detectors", categories=5),
    "a number for the weights of prototypes": _side("classifiers", prototype_weights=5),
    "family fcos": _side("detectors", family="fcos"),
    "a classifier among the detectors": _side("detectors", task="classifier"),
    "size as text": _side("detectors", size="64"),
    "std of 0": _side("detectors", std=[0.0, 0.0, 0.0]),
    "one mean": _side("detectors", mean=[0.5]),
    "a temperature of 0": _side("classifiers", temperature=0),
    "a bias too short": _side("classifiers", bias=[0.0]),
    "an unknown fit": _side("classifiers", fit="crop"),
    "one category too few": _side("classifiers", categories=[7, 3]),
    "background that is not there": _side("classifiers", background=True),
    "a branch that is not there": _side("detectors", branch=3),
    "weights that are none": lambda files: files.update({_file(files, "detectors"): b"weights"}),
    "weights damaged behind byte 4,096": _damaged,
    "opset 21": _graph(_opset),
    "an unknown operator": _graph(_operator),
    "a weight file too many": _ensemble(classifiers=[]),
}  # fmt: skip

# what shows only when the zip runs
BAD_WHEN_RUN: dict[str, Spoil] = {
    "raises": _add(b"raise KeyError('shelf')"),
    "raises before anything": lambda files: files.update({"run.py": b"1 / 0\n" + files["run.py"]}),
    "writes nothing": lambda files: files.update({"run.py": RUN}),
    "writes half a file": lambda files: files.update({"run.py": RUN + b"open(a.output, 'w').write('[')"}),
    "writes an empty list": lambda files: files.update({"run.py": RUN + b"open(a.output, 'w').write('[]')"}),
    "a box outside": lambda files: files.update({"run.py": RUN + ANSWER.replace(b"[1, 2", b"[9999, 2")}),
    "a score as text": lambda files: files.update({"run.py": RUN + ANSWER.replace(b"0.5", b'"0.5"')}),
    "an unknown photo": lambda files: files.update({"run.py": RUN + ANSWER.replace(b": 42,", b": 9,")}),
    "an unknown category": lambda files: files.update({"run.py": RUN + ANSWER.replace(b": 3,", b": 99,")}),
    "boxes on a canvas of 640": _foreign(ANSWER.replace(BOX, b"[500, 90, 60, 70]", 1)),
    "boxes as fractions": _foreign(ANSWER.replace(BOX, b"[0.1, 0.2, 0.3, 0.4]")),
    "a negative category": _foreign(ANSWER.replace(b": 3,", b": -1,")),
    "another argument": lambda files: files.update({"run.py": RUN.replace(b"--input", b"--images") + ANSWER}),
}

GOOD: dict[str, Spoil] = {
    "as built": lambda files: None,
    "two views": _first("detectors", views=[{"size": 64}, {"size": 96, "flip": True, "weight": 0.5}]),
    "tiles": _view(tiles=[2, 2]),
    "rectangles": _view(shape="rectangle"),
    "NMS": _part("merge", method="nms"),
    "soft-NMS": _part("merge", method="soft_nms"),
    "soft-NMS before WBF": _part("merge", method="soft_wbf"),
    "the detector's names": _part("gate", policy="detector"),
    "further names": _part("gate", further=2),
    "less time": _ensemble(time_budget_s=100),
    "two views of the crops": _first("classifiers", views=[{}, {"flip": True, "margin": 0.1}]),
    "another method's code": _foreign(ANSWER),
}  # fmt: skip


def _with_link(name: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(info, "" if info.is_dir() else "/etc/passwd")

    return spoil


def _stored_twice(path: Path) -> None:
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr("run.py", b"")


def _byte_changed(path: Path) -> None:
    """The bytes of one file are changed, and its CRC is not."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo("run.py")
    data = bytearray(path.read_bytes())
    start = info.header_offset + 60
    data[start : start + 20] = b"x" * 20
    path.write_bytes(bytes(data))


def _encrypted(path: Path) -> None:
    """The flag that says so, in the header of every file and in the directory."""
    data = bytearray(path.read_bytes())
    for magic, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(magic)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(magic, at + 4)
    path.write_bytes(bytes(data))


def with_zeros(name: str, megabytes: int = 60, compression: int = zipfile.ZIP_DEFLATED) -> Callable[[Path], None]:
    """Zeros, of which 400 MB take less than half a megabyte."""

    def spoil(path: Path) -> None:
        with zipfile.ZipFile(path, "a", compression) as archive, archive.open(name, "w") as stream:
            for _ in range(megabytes):
                stream.write(bytes(10**6))

    return spoil


# what is done to the zip itself
BAD_ARCHIVES: dict[str, Callable[[Path], None]] = {
    "a link": _with_link("link.json"),
    "a folder that is a link": _with_link("link/"),
    "a name stored twice": _stored_twice,
    "a bad CRC": _byte_changed,
    "encrypted": _encrypted,
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-100]) and None,  # type: ignore[func-returns-value]
    "no zip": lambda path: path.write_bytes(b"PK\x03\x04") and None,  # type: ignore[func-returns-value]
    "a bomb of JSON": with_zeros("a.json"),
    "a bomb of Python": with_zeros("a.py"),
    "a bomb of weights": with_zeros("a.npy"),
    "packed by bzip2": with_zeros("a.cfg", 1, zipfile.ZIP_BZIP2),
}

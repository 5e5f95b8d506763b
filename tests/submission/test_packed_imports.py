"""Imports of a zip's Python files: what is packed, installed, guarded or reached by dots, told from what will not be there."""

import sys
from pathlib import Path

import pytest

from submission import build, check
from submission.packed_imports import STANDARD
from submission.source import MODULES

NOT_THERE = "which is neither packed nor at the judge"


def _found(path: Path, files: dict[str, str]) -> list[str]:
    packed = {f"{name}.py": text.encode() for name, text in files.items()}
    build.write({"run.py": b""} | packed, path / "a.zip")
    return [str(violation).partition(" (")[0] for violation in check.check(path / "a.zip")]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("try:\n    import openvino\nexcept ImportError:\n    openvino = None", id="ImportError"),
        pytest.param("try:\n    import openvino\nexcept (KeyError, ModuleNotFoundError):\n    pass", id="one of two"),
        pytest.param(
            "try:\n    if 1:\n        import openvino\nexcept Exception as error:\n    print(error)", id="any exception"
        ),
        pytest.param("try:\n    import openvino\nexcept:\n    pass", id="bare"),
        pytest.param("try:\n    from .helper import f\nexcept ImportError:\n    f = None", id="relative"),
        pytest.param("from contextlib import suppress\nwith suppress(ImportError):\n    import openvino", id="suppress"),
        pytest.param(
            "import contextlib\nwith contextlib.suppress(ImportError):\n    import openvino", id="contextlib.suppress"
        ),
        pytest.param(
            "try:\n    import tomllib\nexcept ImportError:\n    import tomli as tomllib", id="stands in for what is there"
        ),
        pytest.param("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import polars", id="type checker"),
        pytest.param("import typing\nif typing.TYPE_CHECKING:\n    import polars", id="type checker, through typing"),
    ],
)
def test_an_import_that_may_fail_is_fine(tmp_path: Path, text: str) -> None:
    assert _found(tmp_path, {"run": text}) == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("try:\n    import openvino\nexcept KeyError:\n    pass", 2, id="another exception"),
        pytest.param("try:\n    import openvino\nexcept ImportError:\n    raise SystemExit(1)", 2, id="raised again"),
        pytest.param("try:\n    import openvino\nexcept ImportError:\n    if 1:\n        raise", 2, id="raised deeper"),
        pytest.param("try:\n    import openvino\nexcept ImportError:\n    exit(1)", 2, id="ended"),
        pytest.param("try:\n    pass\nexcept Exception:\n    import openvino", 4, id="in the handler of anything"),
        pytest.param("import cv2\ntry:\n    pass\nexcept cv2.error:\n    import openvino", 5, id="in that of another error"),
        pytest.param("try:\n    import json\nexcept ImportError:\n    pass\nelse:\n    import openvino", 6, id="in else"),
        pytest.param("try:\n    def f():\n        import openvino\nexcept ImportError:\n    pass", 3, id="called later"),
        pytest.param(
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    pass\nelse:\n    import openvino", 5, id="not for types"
        ),
        pytest.param(
            "from contextlib import suppress\nwith suppress(KeyError):\n    import openvino", 3, id="another suppressed"
        ),
    ],
)
def test_an_import_that_kills_is_refused(tmp_path: Path, text: str, line: int) -> None:
    assert _found(tmp_path, {"run": text}) == [f"run.py:{line}: imports openvino, {NOT_THERE}"]


def test_a_stand_in_for_what_is_not_there_is_refused(tmp_path: Path) -> None:
    text = "try:\n    import openvino\nexcept ImportError:\n    import faiss"
    assert _found(tmp_path, {"run": text}) == [f"run.py:4: imports faiss, {NOT_THERE}"]


@pytest.mark.parametrize("module", sorted(MODULES))
def test_what_is_forbidden_is_refused_in_whatever_guard(tmp_path: Path, module: str) -> None:
    guards = ("try:\n    import {0}\nexcept ImportError:\n    pass", "if TYPE_CHECKING:\n    import {0}")
    for guard in guards:
        assert _found(tmp_path, {"run": f"TYPE_CHECKING = 0\n{guard.format(module)}"})[0].endswith(f"imports {module}")


@pytest.mark.parametrize(
    ("files", "told"),
    [
        pytest.param({"run": "from .helper import f", "helper": "f = 1"}, "run.py:1: imports from .helper", id="a script"),
        pytest.param({"run": "from . import helper", "helper": ""}, "run.py:1: imports from .", id="dots alone"),
        pytest.param(
            {"pack/a": "from ..helper import g", "helper": "g = 1"}, "pack/a.py:1: imports from ..helper", id="too far"
        ),
    ],
)
def test_relative_imports_from_above_the_zip_are_refused(tmp_path: Path, files: dict[str, str], told: str) -> None:
    (found,) = _found(tmp_path, files)
    assert found == f"{told}, and there is no package around {told.partition(':')[0]}"


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(
            {"run": "from models import Yolo", "models/__init__": "from .yolo import *", "models/yolo": ""}, id="star"
        ),
        pytest.param({"run": "from helper import f", "helper": "async def f(): pass"}, id="async"),
        pytest.param({"run": "from helper import numpy", "helper": "import numpy.linalg"}, id="first part of dots"),
        pytest.param({"run": "from helper import __file__", "helper": ""}, id="dunder"),
        pytest.param({"run": "from helper import f", "helper": "def __getattr__(name): return 1"}, id="names made on demand"),
        pytest.param({"pack/b/c": "from ..a import x", "pack/a": "x = 1"}, id="two dots, two folders"),
        pytest.param({"run": "import distutils"}, id="until Python 3.11"),
    ],
)
def test_names_that_are_there_are_found(tmp_path: Path, files: dict[str, str]) -> None:
    assert _found(tmp_path, files) == []


def test_packages_that_those_of_the_judge_require_are_warned_of(tmp_path: Path) -> None:
    found = _found(tmp_path, {"run": "import torch, pandas as pd\nfrom tqdm import tqdm\nimport faiss, matplotlib"})
    required = "which the page does not list as installed; a package of the judge's requires it"
    assert found == [
        f"warning: run.py:1: imports pandas, {required}",
        f"warning: run.py:2: imports tqdm, {required}",
        f"run.py:3: imports faiss, {NOT_THERE}",
    ]


def test_the_standard_library_is_that_of_the_judges_python() -> None:
    assert {"distutils", "imp", "asyncore", "asynchat", "smtpd", "tomllib"} <= STANDARD
    assert sys.version_info[:2] != (3, 11) or sys.stdlib_module_names == STANDARD

"""Each limit of the judge refuses its own bad example and nothing else."""

import ast
import io
import stat
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from submission import rules, source
from submission.entries import Entry, read_entries
from submission.violation import Violation

GOOD = {"run.py": b"import json\n", "fusion/__init__.py": b"", "one.onnx": b"\x08\x0a", "one.json": b"{}"}


def zipped(files: Mapping[str, bytes], *extra: tuple[str | zipfile.ZipInfo, bytes]) -> list[Entry]:
    """The entries of a real zip; `extra` are stored as they are, names twice and all."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w") as archive:
        warnings.simplefilter("ignore", UserWarning)  # zipfile warns of a name stored twice
        for name, data in [*files.items(), *extra]:
            archive.writestr(name, data)
    with zipfile.ZipFile(buffer) as archive:
        return read_entries(archive)


def symlink(name: str = "link.json") -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return info


def npy(data: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.frombuffer(data, np.uint8))
    return buffer.getvalue()


def test_empty_zip_lacks_its_entry_point() -> None:
    assert rules.violations(zipped({})) == [Violation("run.py", 0, "is missing", "put it at the root of the zip")]


def test_good_zip_breaks_nothing() -> None:
    assert rules.violations(zipped(GOOD)) == []


def test_folders_are_no_files() -> None:
    assert rules.violations(zipped(GOOD, ("fusion/", b""))) == []
    assert rules.violations(zipped(GOOD | {"a" * 250 + ".json": b"{}"})) == []
    warned = rules.violations(zipped(GOOD, *((f"{i}/", b"") for i in range(1000))))
    assert [(found.what, found.warning) for found in warned] == [("1004 entries, 1000 of them folders", True)]


def test_folder_that_is_a_link_is_refused() -> None:
    found = rules.violations(zipped(GOOD, (symlink("link/"), b"")))
    assert [(violation.where, violation.what) for violation in found] == [("link/", "a symbolic link")]


def test_large_text_is_refused_where_it_would_have_to_be_looked_into() -> None:
    large = {"names.py": b"#" * 200_001, "names.json": b" " * 4_000_001}
    found = rules.violations(zipped(GOOD | large))
    assert [(one.where, one.what, one.warning) for one in found] == [
        ("names.py", "201 kB of text", False),
        ("names.json", "4001 kB of text: not looked into", True),
    ]
    own = rules.violations(zipped(GOOD | large | {"fusion/pipeline.py": b""}))
    assert [(one.where, one.warning) for one in own] == [("names.py", False), ("names.json", False)]


def test_no_amount_of_json_keeps_a_python_file_from_being_read() -> None:
    texts = {f"{i}.json": b"0" * 3_900_000 for i in range(5)}
    found = rules.violations(zipped(texts | {"run.py": b"import os\n"}))
    assert [str(one) for one in found if not one.warning] == ["run.py:1: imports os (use pathlib and json, or do without)"]


@pytest.mark.parametrize(
    ("files", "where", "what"),
    [
        pytest.param({"README.md": b""}, "README.md", "suffix '.md'", id="suffix"),
        pytest.param({"LICENSE": b""}, "LICENSE", "suffix ''", id="no suffix"),
        pytest.param({"a.PY": b""}, "a.PY", "suffix '.PY'", id="suffix in upper case"),
        pytest.param({f"m{i}.py": b"" for i in range(9)}, "the zip", "11 Python files", id="too many python files"),
        pytest.param({f"{i}.json": b"" for i in range(997)}, "the zip", "1001 files", id="too many files"),
        pytest.param({"2.pt": b"", "3.npy": b"", "4.safetensors": b""}, "the zip", "4 weight files", id="too many weights"),
        pytest.param({"../up.json": b""}, "../up.json", "leaves the folder", id="path upwards"),
        pytest.param({"a/../../up.json": b""}, "a/../../up.json", "leaves the folder", id="path upwards, hidden"),
        pytest.param({"..\\up.json": b""}, "..\\up.json", "leaves the folder", id="path upwards by backslash"),
        pytest.param({"/etc/x.json": b""}, "/etc/x.json", "leaves the folder", id="absolute path"),
        pytest.param({"C:\\x.json": b""}, "C:\\x.json", "leaves the folder", id="drive letter"),
        pytest.param({"a\\b.json": b""}, "a\\b.json", "backslash", id="backslash"),
        pytest.param({"../up/": b""}, "../up/", "leaves the folder", id="folder upwards"),
        pytest.param({"x/": b"\x7fELF"}, "x/", "a folder that holds 4 bytes", id="folder with a program"),
        pytest.param({"a" * 251 + ".json": b"{}"}, "a" * 40 + "...", "a name of 256 bytes", id="name too long"),
        pytest.param({"ø" * 126 + ".cfg": b""}, "ø" * 40 + "...", "a name of 256 bytes", id="name too long in UTF-8"),
        pytest.param({"a.json": b"{}", "a.json/b.json": b"{}"}, "a.json", "a folder of that name too", id="file and folder"),
        pytest.param({"a.json": b"{}", "./a.json": b"{}"}, "a.json", "stored 2 times", id="one place, spelt in two ways"),
        pytest.param({f"{i}/": b"" for i in range(1997)}, "the zip", "2001 entries, 1997 of them folders", id="many folders"),
        pytest.param({"One.json": b"{}"}, "One.json", "in case only", id="case clash of files"),
        pytest.param({"Fusion/a.json": b"{}"}, "Fusion", "in case only", id="case clash of folders"),
        pytest.param({"x.npy": b"\x7fELF\x02\x01"}, "x.npy", "ELF binary", id="ELF renamed .npy"),
        pytest.param({"x.npy": npy(b"\x7fELF\x02\x01")}, "x.npy", "ELF binary", id="ELF inside a real .npy"),
        pytest.param({"x.json": b"MZ\x90\x00"}, "x.json", "PE binary", id="PE"),
        pytest.param({"x.cfg": b"\xcf\xfa\xed\xfe"}, "x.cfg", "Mach-O binary", id="Mach-O"),
        pytest.param({"x.cfg": b"\xca\xfe\xba\xbe"}, "x.cfg", "Mach-O binary", id="Mach-O for two processors"),
    ],
)
def test_rule_refuses_its_bad_example(files: dict[str, bytes], where: str, what: str) -> None:
    violations = rules.violations(zipped(GOOD | files))
    assert [violation.where for violation in violations] == [where]
    assert what in violations[0].what


def test_array_without_a_program_is_fine() -> None:
    assert rules.violations(zipped(GOOD | {"x.npy": npy(b"plain numbers")})) == []


def test_nested_root_folder_is_named() -> None:
    violations = rules.violations(zipped({f"submission/{name}": data for name, data in GOOD.items()}))
    assert [str(violation) for violation in violations] == [
        "submission/run.py: run.py is not at the root (zip the content of the folder, not the folder)"
    ]


def test_symlink_is_refused() -> None:
    assert [violation.what for violation in rules.violations(zipped(GOOD, (symlink(), b"/etc/passwd")))] == ["a symbolic link"]


def test_name_stored_twice_is_refused() -> None:
    assert [violation.what for violation in rules.violations(zipped(GOOD, ("one.json", b"{}")))] == ["stored 2 times"]


@pytest.mark.parametrize(
    ("sizes", "refused"),
    [
        pytest.param({"one.onnx": 420_000_000 - 17}, [], id="just fits"),
        pytest.param({"big.json": 420_000_001}, ["420.0 MB of files, uncompressed"], id="files too large"),
        pytest.param(
            {"one.onnx": 300_000_000, "two.onnx": 130_000_000},
            ["430.0 MB of files, uncompressed", "430.0 MB of weight files"],
            id="weights too large together",
        ),
    ],
)
def test_sizes(sizes: dict[str, int], refused: list[str]) -> None:
    entries = [Entry(name, size, 0, b"", None) for name, size in sizes.items()]
    assert [violation.what for violation in rules.total_sizes([Entry("run.py", 17, 0, b"", b""), *entries])] == refused


@pytest.mark.parametrize("module", sorted(source.MODULES))
def test_every_forbidden_module_is_found(module: str) -> None:
    assert _refused(f"\nimport {module}") == [(2, f"imports {module}")]


@pytest.mark.parametrize("call", sorted(source.CALLS))
def test_every_forbidden_call_is_found(call: str) -> None:
    assert _refused(f"x = 1\nf = {call}('1')") == [(2, f"uses {call}")]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("import os.path as p", "imports os.path", id="submodule, renamed"),
        pytest.param("import json, sys", "imports sys", id="second of a list"),
        pytest.param("from urllib.request import urlopen", "imports urllib.request", id="from a submodule"),
        pytest.param("from http import client", "imports http.client", id="a submodule from its parent"),
        pytest.param("def f():\n  if 1:\n    import socket", "imports socket", id="deep inside"),
        pytest.param("e = eval", "uses eval", id="a name for eval"),
        pytest.param("list(map(exec, []))", "uses exec", id="exec handed on"),
        pytest.param("__builtins__['eval']", "uses __builtins__", id="through the builtins"),
        pytest.param("().__class__.__bases__", "reaches for .__bases__", id="through the bases"),
        pytest.param("getattr(x, 'system')", "getattr with 'system'", id="getattr, a dangerous name"),
        pytest.param("getattr(x, '__dict__')", "getattr with '__dict__'", id="getattr, a dunder"),
        pytest.param("getattr(x, 'ev' + 'al')", "getattr with a computed name", id="getattr, a computed name"),
        pytest.param("def f(:", "does not parse: invalid syntax", id="syntax error"),
    ],
)
def test_source_rule_refuses(text: str, what: str) -> None:
    lines = text.count("\n") + 1
    assert [found for _, found in _refused(text)][-1:] == [what]
    assert all(line == lines for line, _ in _refused(text))


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("'import os; eval(1)'  # import sys", id="strings and comments"),
        pytest.param("import re\nre.compile('a')", id="a method named compile"),
        pytest.param("model.eval()", id="a method named eval"),
        pytest.param("import http\nfrom scipy import signal", id="names like forbidden modules"),
        pytest.param("from .code import f", id="a packed module of that name"),
        pytest.param("getattr(x, 'size', 0)", id="getattr, a harmless name"),
        pytest.param("class A:\n  def __init__(self): self.__class__", id="everyday dunders"),
    ],
)
def test_source_rule_accepts(text: str) -> None:
    assert _refused(text) == []


def test_null_byte_in_source_is_reported() -> None:
    assert [violation.where for violation in rules.violations(zipped(GOOD | {"a.py": b"x = 1\0"}))] == ["a.py"]


def test_damaged_file_in_the_zip_is_told() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("run.py", "x = 12345")
    data = buffer.getvalue().replace(b"12345", b"54321")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        found = rules.violations(read_entries(archive))
    assert [str(violation) for violation in found] == [
        "run.py: cannot be unpacked: Bad CRC-32 for file 'run.py' (build the zip again)"
    ]


def test_our_own_code_obeys() -> None:
    root = Path(rules.__file__).parent.parent
    files = {f"fusion/{path.name}": path.read_bytes() for path in (root / "fusion").glob("*.py")}
    assert rules.violations(zipped(files | {"run.py": (root / "submission" / "run.py").read_bytes()})) == []


def _refused(text: str) -> list[tuple[int, str]]:
    """(line, what) for a file of that text."""
    entry = Entry("a.py", len(text), 0, b"", text.encode())
    return [(violation.line, violation.what) for violation in source.safe_source([entry])]


def test_imported_names_agree_with_python_itself() -> None:
    node = ast.parse("from os.path import join as j").body[0]
    assert source.imported(node) == ["os.path", "os.path.join"]

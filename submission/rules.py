"""The rules of the judge: each limit a constant, each rule a function from a zip's entries to violations. Reads no files.

**Why was a zip refused?** Each line that `submission.check` prints comes from one function. For the contest's own rules it is
one of `RULES` at the end of this file; its docstring states the limit and where it is taken from. What would make the zip fail
only when it runs is checked in `submission.check`.

Source of the limits: the contest's official submission page ("the page" below). Where it is vague the stricter reading is
taken, and a comment says so.
"""

import ast
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

MB = 10**6  # bytes; the page says "420 MB": the smaller of the two readings
MAX_BYTES = 420 * MB  # of all files, uncompressed
MAX_WEIGHT_BYTES = 420 * MB  # of the files with a suffix in WEIGHTS
MAX_FILES = 1000  # of any kind
MAX_PYTHON = 10  # .py files
MAX_WEIGHTS = 3  # files with a suffix in WEIGHTS
WEIGHTS = frozenset({".pt", ".pth", ".onnx", ".safetensors", ".npy"})
SUFFIXES = WEIGHTS | {".py", ".json", ".yaml", ".yml", ".cfg"}
ENTRY_POINT = "run.py"
HEAD = 4096  # bytes of each file that are searched for a magic number: more than the header of any .npy of one array

# fmt: off
MODULES = frozenset({
    "os", "sys", "subprocess", "socket", "ctypes", "builtins", "importlib", "pickle", "marshal", "shelve", "shutil", "yaml",
    "requests", "urllib", "http.client", "multiprocessing", "threading", "signal", "gc", "code", "codeop", "pty",
})
CALLS = frozenset({"eval", "exec", "compile", "__import__"})
# The page says "getattr with dangerous names" and names none: taken as the two sets above and what starts or deletes things.
GETATTR_NAMES = CALLS | MODULES | {"system", "popen", "spawn", "fork", "kill", "remove", "unlink", "rmtree", "globals"}
# Attributes through which any object leads to `__import__` and the like. Stricter than the page, which forbids the calls.
DUNDERS = frozenset({
    "__builtins__", "__globals__", "__subclasses__", "__bases__", "__mro__", "__code__", "__loader__", "__import__",
})
# fmt: on

BINARIES = {
    b"\x7fELF": "ELF",
    b"MZ": "PE",
    b"\xfe\xed\xfa\xce": "Mach-O",
    b"\xfe\xed\xfa\xcf": "Mach-O",
    b"\xce\xfa\xed\xfe": "Mach-O",
    b"\xcf\xfa\xed\xfe": "Mach-O",
    b"\xca\xfe\xba\xbe": "Mach-O",
    b"\xbe\xba\xfe\xca": "Mach-O",
}


@dataclass(frozen=True)
class Violation:
    """One reason for which the judge would refuse the zip, or fail when it runs it; line 0 stands for the whole file."""

    where: str
    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        """
        >>> print(Violation("run.py", 3, "imports os", "use pathlib"))
        run.py:3: imports os (use pathlib)
        """
        return f"{self.where}{f':{self.line}' if self.line else ''}: {self.what} ({self.remedy})"


@dataclass(frozen=True)
class Entry:
    """One file of a zip. `text` is the whole content of a .py or .json file and None for all others."""

    name: str  # as stored, slashes and all
    size: int  # bytes, uncompressed
    mode: int  # unix mode, 0 when the zip was made elsewhere
    head: bytes  # the first HEAD bytes
    text: bytes | None

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix


Rule = Callable[[list[Entry]], Iterator[Violation]]


def read_entries(archive: zipfile.ZipFile) -> list[Entry]:
    """The files of a zip, folders left out. Raises ValueError when one is damaged or encrypted."""
    return [_read_entry(archive, info) for info in archive.infolist() if not info.is_dir()]


def _read_entry(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Entry:
    is_text = PurePosixPath(info.filename).suffix in {".py", ".json"} and info.file_size <= MAX_BYTES
    try:
        with archive.open(info) as stream:
            head = stream.read(HEAD)
            text = head + stream.read() if is_text else None
    except (zipfile.BadZipFile, zlib.error, RuntimeError) as error:  # RuntimeError: encrypted, or packed in an unknown way
        raise ValueError(f"{info.filename}: cannot be unpacked: {error}") from None
    return Entry(info.filename, info.file_size, info.external_attr >> 16, head, text)


def violations(entries: list[Entry]) -> list[Violation]:
    """Every violation of the judge's rules, rule by rule; an empty list for a zip that it accepts."""
    return [violation for rule in RULES for violation in rule(entries)]


def entry_point(entries: list[Entry]) -> Iterator[Violation]:
    """`run.py` (ENTRY_POINT) is at the root of the zip, not in a folder that was zipped as a whole. Source: the page."""
    names = [entry.name for entry in entries]
    nested = [name for name in names if name.endswith("/" + ENTRY_POINT)]
    if ENTRY_POINT not in names and nested:
        yield Violation(nested[0], 0, f"{ENTRY_POINT} is not at the root", "zip the content of the folder, not the folder")
    elif ENTRY_POINT not in names:
        yield Violation(ENTRY_POINT, 0, "is missing", "put it at the root of the zip")


def allowed_suffixes(entries: list[Entry]) -> Iterator[Violation]:
    """Only files with a suffix in SUFFIXES. Source: the page's list of file types."""
    for entry in entries:
        if entry.suffix not in SUFFIXES:
            yield Violation(entry.name, 0, f"suffix {entry.suffix!r}", f"leave it out; allowed: {' '.join(sorted(SUFFIXES))}")


def file_counts(entries: list[Entry]) -> Iterator[Violation]:
    """At most MAX_FILES files, of them MAX_PYTHON Python files and MAX_WEIGHTS weight files. Source: the page."""
    kinds = {
        "files": (len(entries), MAX_FILES),
        "Python files": (sum(entry.suffix == ".py" for entry in entries), MAX_PYTHON),
        "weight files": (sum(entry.suffix in WEIGHTS for entry in entries), MAX_WEIGHTS),
    }
    for kind, (got, allowed) in kinds.items():
        if got > allowed:
            yield Violation("the zip", 0, f"{got} {kind}", f"at most {allowed}; merge or drop some")


def total_sizes(entries: list[Entry]) -> Iterator[Violation]:
    """At most MAX_BYTES of files and MAX_WEIGHT_BYTES of weight files, uncompressed. Source: the page, 420 MB for both."""
    kinds = {
        "of files, uncompressed": (sum(entry.size for entry in entries), MAX_BYTES),
        "of weight files": (sum(entry.size for entry in entries if entry.suffix in WEIGHTS), MAX_WEIGHT_BYTES),
    }
    for kind, (got, allowed) in kinds.items():
        if got > allowed:
            remedy = f"at most {allowed // MB} MB; smaller models, or FP16 weights"
            yield Violation("the zip", 0, f"{got / MB:.1f} MB {kind}", remedy)


def safe_paths(entries: list[Entry]) -> Iterator[Violation]:
    """Paths stay inside the folder that the zip is unpacked into. Source: the page's ban on path traversal."""
    for entry in entries:
        parts = entry.name.replace("\\", "/").split("/")
        if parts[0] == "" or ":" in parts[0] or ".." in parts:
            yield Violation(entry.name, 0, "a path that leaves the folder of the zip", "use a relative path without ..")
        elif "\\" in entry.name:
            yield Violation(entry.name, 0, "a backslash in the path", "separate folders by /")


def no_links(entries: list[Entry]) -> Iterator[Violation]:
    """No symbolic links. Source: the page."""
    for entry in entries:
        if stat.S_ISLNK(entry.mode):
            yield Violation(entry.name, 0, "a symbolic link", "store the file that it points at")


def unique_names(entries: list[Entry]) -> Iterator[Violation]:
    """No name twice, and no two names (of files or folders) that differ in case only.

    Stricter than the page: on a file system that ignores case one of the two would overwrite the other.
    """
    for name, times in Counter(entry.name for entry in entries).items():
        if times > 1:
            yield Violation(name, 0, f"stored {times} times", "store it once")
    spellings: dict[str, set[str]] = {}
    for path in {path for entry in entries for path in [PurePosixPath(entry.name), *PurePosixPath(entry.name).parents]}:
        spellings.setdefault(str(path).casefold(), set()).add(str(path))
    for clash in sorted(sorted(spelled) for spelled in spellings.values() if len(spelled) > 1):
        yield Violation(clash[0], 0, f"differs from {clash[1]} in case only", "rename one")


def no_executables(entries: list[Entry]) -> Iterator[Violation]:
    """No file that begins with a magic number of BINARIES, whatever its suffix; in an .npy also after the header.

    Source: the page's ban on ELF, Mach-O and PE files.
    """
    for entry in entries:
        starts = (entry.head, entry.head[_npy_header(entry.head) :])
        kinds = {kind for magic, kind in BINARIES.items() for start in starts if start.startswith(magic)}
        for kind in sorted(kinds):
            yield Violation(entry.name, 0, f"{kind} binary by its first bytes", "leave it out; data and Python source only")


def _npy_header(head: bytes) -> int:
    """Bytes before the array's data when `head` begins an .npy file, else 0.

    >>> _npy_header(b"\\x93NUMPY\\x01\\x00\\x76\\x00{'descr'...")
    128
    """
    if not head.startswith(b"\x93NUMPY") or len(head) < 12:
        return 0
    length, start = (struct.unpack_from("<H", head, 8)[0], 10) if head[6] == 1 else (struct.unpack_from("<I", head, 8)[0], 12)
    return int(start + length)


def safe_source(entries: list[Entry]) -> Iterator[Violation]:
    """No import of MODULES, no use of CALLS or DUNDERS and no dangerous `getattr` in a Python file. Source: the page.

    Read from the syntax tree, so strings and comments do not count. A file that does not parse is a violation too.
    """
    for entry in entries:
        if entry.suffix != ".py" or entry.text is None:
            continue
        try:
            tree = ast.parse(entry.text)
        except (SyntaxError, ValueError) as error:  # ValueError: a null byte, in Python 3.11.3 and before
            line, why = (error.lineno or 0, error.msg) if isinstance(error, SyntaxError) else (0, str(error))
            yield Violation(entry.name, line, f"does not parse: {why}", "mend it; the judge has Python 3.11")
            continue
        for node in ast.walk(tree):
            for what, remedy in _in_node(node):
                yield Violation(entry.name, getattr(node, "lineno", 0), what, remedy)


def _in_node(node: ast.AST) -> Iterator[tuple[str, str]]:
    """For one node of a syntax tree: what the judge forbids there, and what to do instead."""
    modules = [module for module in imported(node) if any(f"{module}.".startswith(f"{name}.") for name in MODULES)]
    for module in modules[:1] if isinstance(node, ast.ImportFrom) else modules:
        yield f"imports {module}", "use pathlib and json, or do without"
    if isinstance(node, ast.Name) and node.id in CALLS | {"__builtins__"}:
        yield f"uses {node.id}", "write the code out"
    elif isinstance(node, ast.Attribute) and node.attr in DUNDERS:
        yield f"reaches for .{node.attr}", "write the code out"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "getattr":
        yield from _getattr(node)


def _getattr(call: ast.Call) -> Iterator[tuple[str, str]]:
    """`getattr` with a name that is computed, in GETATTR_NAMES, or begins with two underscores."""
    name = call.args[1].value if len(call.args) > 1 and isinstance(call.args[1], ast.Constant) else None
    if name is None:
        yield "getattr with a computed name", "write the attribute out, so that the scanner can read it"
    elif str(name) in GETATTR_NAMES or str(name).startswith("__"):
        yield f"getattr with {name!r}", "do without"


def imported(node: ast.AST) -> list[str]:
    """The modules that one node may import; of `from a import b` both `a` and `a.b`, since `b` may be a module. Relative: none.

    >>> [imported(node) for node in ast.parse("import os.path as p, json; from http import client; from . import os").body]
    [['os.path', 'json'], ['http', 'http.client'], []]
    """
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


RULES: tuple[Rule, ...] = (
    entry_point, allowed_suffixes, file_counts, total_sizes, safe_paths, no_links, unique_names, no_executables, safe_source,
)  # fmt: skip

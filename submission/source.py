"""What the judge forbids in Python files, read from their syntax trees: strings and comments do not count.

`safe_source` holds what the contest's page forbids; `roundabout_source` warns of ways around that, which it does not name.
"""

import ast
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from submission.entries import Entry
from submission.judge_machine import PYTHON
from submission.violation import Violation

JUDGES = int(PYTHON.split(".")[0]), int(PYTHON.split(".")[1])  # syntax of a newer Python than the judge's does not parse
# fmt: off
MODULES = frozenset({
    "os", "sys", "subprocess", "socket", "ctypes", "builtins", "importlib", "pickle", "marshal", "shelve", "shutil", "yaml",
    "requests", "urllib", "http.client", "multiprocessing", "threading", "signal", "gc", "code", "codeop", "pty",
})
# Not among them: `concurrent.futures`, whose threads `fusion/reading.py` reads photos with; they start no process. The page
# names `threading` and `multiprocessing` only.
CALLS = frozenset({"eval", "exec", "compile", "__import__"})
# The page says "getattr with dangerous names" and names none: taken as the two sets above and what starts or deletes things.
GETATTR_NAMES = CALLS | MODULES | {"system", "popen", "spawn", "fork", "kill", "remove", "unlink", "rmtree", "globals"}
# Attributes through which any object leads to `__import__` and the like. Stricter than the page, which forbids the calls.
DUNDERS = frozenset({
    "__builtins__", "__globals__", "__subclasses__", "__bases__", "__mro__", "__code__", "__loader__", "__import__",
})
# fmt: on


def safe_source(entries: list[Entry]) -> Iterator[Violation]:
    """No import of MODULES, no use of CALLS or DUNDERS and no dangerous `getattr` in a Python file. Source: the page.

    Read from the syntax tree, so strings and comments do not count. A file that does not parse is a violation too.
    """
    for entry in entries:
        if entry.suffix != ".py" or entry.text is None:
            continue
        nodes = nodes_of(entry.text)
        tree = None if nodes else syntax_tree(entry.text)
        if isinstance(tree, Unparsed):
            yield Violation(entry.name, tree.line, f"does not parse: {tree.why}", "mend it; the judge has Python 3.11")
        for node in nodes:
            for what, remedy in _in_node(node):
                yield Violation(entry.name, getattr(node, "lineno", 0), what, remedy)


class Unparsed(NamedTuple):
    """Where and why a Python file does not parse."""

    line: int
    why: str


@lru_cache(maxsize=12)
def nodes_of(text: bytes) -> list[ast.AST]:
    """All nodes of a Python file; none where it does not parse, which `safe_source` reports."""
    tree = syntax_tree(text)
    return [] if isinstance(tree, Unparsed) else list(ast.walk(tree))


def syntax_tree(text: bytes) -> ast.Module | Unparsed:
    """The syntax tree of a Python file, or why there is none."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of invalid escapes, and the like
            return ast.parse(text, feature_version=JUDGES)
    except SyntaxError as error:
        return Unparsed(error.lineno or 0, error.msg)
    except ValueError as error:  # a null byte, in Python 3.11.3 and before
        return Unparsed(0, str(error))
    except (RecursionError, MemoryError):
        return Unparsed(0, "nested too deeply")


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


# Modules that the page does not name, and that do what a module of MODULES does: start processes, or run text as code.
RELATIVES = frozenset({
    "posix", "nt", "_posixsubprocess", "_socket", "_ctypes", "_thread", "_pickle", "runpy", "imp", "pkgutil", "zipimport",
    "asyncio", "dill", "cloudpickle", "joblib", "cffi", "pdb", "cProfile", "webbrowser", "socketserver", "ftplib", "smtplib",
    "timeit", "pydoc", "doctest", "bdb", "poplib", "imaplib", "telnetlib", "xmlrpc",
})  # fmt: skip
HARMLESS = frozenset({("scipy", "signal")})  # a module of the same name as one of MODULES that is another one
SCOPES = frozenset({"globals", "locals", "vars"})
INNER = frozenset({
    "__dict__", "__getattribute__", "__self__", "__spec__", "__base__", "__closure__", "__wrapped__", "f_globals", "f_builtins",
    "f_locals", "tb_frame", "gi_frame", "cr_frame",
})  # fmt: skip
PROCESSES = frozenset({"ProcessPoolExecutor"})  # of concurrent.futures, whose threads are allowed
BY_STRING = frozenset({"attrgetter", "methodcaller", "import_module", "find_spec", "resolve_name"})
MAY = "the judge may refuse it; do without"


def roundabout_source(entries: list[Entry]) -> Iterator[Violation]:
    """Warnings of what reaches a module of MODULES, or a call of CALLS, without naming it as the page forbids.

    That is through another module's attribute (`pathlib.os`), by a string (`globals()["eval"]`), through the inside of an
    object, or by unpickling (`allow_pickle=True`). Stricter than the page; a judge who reads the code would refuse it.
    """
    for entry in entries:
        nodes = nodes_of(entry.text) if entry.suffix == ".py" and entry.text is not None else []
        bound = _modules_bound(nodes)
        called = {id(node.func) for node in nodes if isinstance(node, ast.Call)}
        for node in nodes:
            if what := _roundabout(node, bound, called):
                yield Violation(entry.name, getattr(node, "lineno", 0), what, MAY, warning=True)


def _modules_bound(nodes: list[ast.AST]) -> frozenset[str]:
    """The names that imports of absolute modules bind in a file."""
    names = {
        (alias.asname or alias.name).split(".")[0]
        for node in nodes
        if isinstance(node, ast.Import) or (isinstance(node, ast.ImportFrom) and not node.level)
        for alias in node.names
    }
    return frozenset(names)


def _roundabout(node: ast.AST, bound: frozenset[str], called: set[int]) -> str | None:
    """What is roundabout in one node; `bound` are names of modules, `called` the ids of what calls call."""
    match node:
        case ast.Import() | ast.ImportFrom():
            return _roundabout_import(node)
        case ast.Attribute(attr=name) if name in INNER:
            return f"reaches for .{name}"
        case ast.Attribute(attr=name) if name in BY_STRING:
            return f"finds by a string: .{name}"
        case ast.Attribute(attr=name) if name in PROCESSES:
            return f"starts processes: .{name}"
        case ast.Attribute(attr=name) if name in MODULES | RELATIVES and _root(node) in bound:
            return None if (_root(node), name) in HARMLESS else f"reaches the module {name} through {_root(node)}"
        case ast.Name(id=name) if name in SCOPES:
            return f"uses {name}, which finds anything by a string"
        case ast.Name(id="getattr") if id(node) not in called:
            return "hands on getattr"
        case ast.Subscript(slice=ast.Constant(value=str(name))) if name in CALLS | {"__builtins__"}:
            return f"looks up {name!r} by a string"
        case ast.keyword(arg="allow_pickle", value=value) if not (isinstance(value, ast.Constant) and value.value is False):
            return "allows pickles, which may run anything"
    return None


def _roundabout_import(node: ast.Import | ast.ImportFrom) -> str | None:
    """An import of a module of RELATIVES, or of a module of MODULES by way of another one."""
    for module in imported(node):
        first, *inner = module.split(".")
        if first in RELATIVES:
            return f"imports {module}, which does what refused modules do"
        if PROCESSES & {*inner}:
            return f"imports {module}, which starts processes"
        hidden = next((name for name in inner if name in MODULES | BY_STRING and (first, name) not in HARMLESS), None)
        if hidden and first not in MODULES:
            return f"reaches {hidden} through {'.'.join([first, *inner[: inner.index(hidden)]])}"
    return None


def _root(node: ast.Attribute) -> str:
    """The name that a chain of attributes begins with; "" where it begins with something else.

    >>> _root(ast.parse("a.b.c", mode="eval").body)
    'a'
    """
    inner: ast.expr = node
    while isinstance(inner, ast.Attribute):
        inner = inner.value
    return inner.id if isinstance(inner, ast.Name) else ""

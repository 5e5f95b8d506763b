"""What the Python files of a zip import, and whether that will be there: packed, installed at the judge, or Python's own."""

import ast
import sys
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from pathlib import PurePosixPath

from submission.entries import Entry
from submission.judge_machine import INSTALLED, REQUIRED
from submission.source import imported, nodes_of
from submission.violation import Violation

STANDARD = sys.stdlib_module_names | {"distutils", "imp", "asynchat", "asyncore", "smtpd"}  # the last five: until Python 3.11
OF_IMPORTS = frozenset({"ImportError", "ModuleNotFoundError"})
CAUGHT = OF_IMPORTS | {"Exception", "BaseException"}
LATER = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)  # what is inside runs when it is called


def unpacked_imports(entries: list[Entry]) -> Iterator[Violation]:
    """Modules that a packed file imports and that are not in the standard library, installed at the judge, or packed.

    An import whose failing the file itself catches (`_guarded`) is none of them, nor one that only stands in for another which
    is there. A package that the judge's packages require is
    a warning. Source: INSTALLED, from the contest's page.
    """
    packed = {_module(entry.name): entry for entry in entries if entry.suffix == ".py"}
    for entry in packed.values():
        nodes = nodes_of(entry.text or b"")
        absent = {id(node): what for node in nodes if (what := _absent(node, entry.name, packed))}
        guarded = _guarded(nodes) | _stand_ins(nodes, absent.keys())
        for node in nodes:
            if id(node) in absent.keys() - guarded:
                yield Violation(entry.name, getattr(node, "lineno", 0), *absent[id(node)])


def _module(name: str) -> str:
    """
    >>> _module("fusion/merge.py"), _module("fusion/__init__.py"), _module("run.py")
    ('fusion.merge', 'fusion', 'run')
    """
    return name.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _absent(node: ast.AST, name: str, packed: dict[str, Entry]) -> tuple[str, str, bool] | None:
    """What one node of the file `name` imports that will not be there, the remedy, and whether that is a mere warning."""
    if isinstance(node, ast.ImportFrom) and node.level >= len(PurePosixPath(name).parts):
        what = f"imports from {'.' * node.level}{node.module or ''}, and there is no package around {name}"
        return what, "write it without the dots", False
    absent = [module for module in imported(_absolute(node, name)) if not _is_available(module, packed)]
    if not absent:
        return None
    if all(module.split(".")[0] in REQUIRED for module in absent):
        what = f"imports {absent[0]}, which the page does not list as installed; a package of the judge's requires it"
        return what, "do without, to be sure", True
    return f"imports {absent[0]}, which is neither packed nor at the judge", "pack it, or do without", False


def _absolute(node: ast.AST, name: str) -> ast.AST:
    """`node` with a relative import made absolute, as seen from the file `name`."""
    if not (isinstance(node, ast.ImportFrom) and node.level):
        return node
    package = ".".join(PurePosixPath(name).parts[: -node.level])
    return ast.ImportFrom(".".join(part for part in (package, node.module) if part) or None, node.names, 0)


def _is_available(module: str, packed: dict[str, Entry]) -> bool:
    """Whether `module` is Python's own, installed at the judge, a packed file or folder, or a name in a packed file."""
    if module.split(".")[0] in INSTALLED | STANDARD:
        return True
    parent, _, name = module.rpartition(".")
    is_folder = any(other.startswith(module + ".") for other in packed)
    return module in packed or is_folder or (parent in packed and (name == "*" or _defines(packed[parent].text or b"", name)))


def _defines(text: bytes, name: str) -> bool:
    """Whether a module may bind `name`; with a `*` or a `__getattr__` it may bind any."""
    defined = _defined(text)
    return name in defined or "*" in defined or "__getattr__" in defined or (name[:2] == name[-2:] == "__")


@lru_cache(maxsize=12)
def _defined(text: bytes) -> frozenset[str]:
    """The names that a module binds, at its top level or below (a superset is enough here)."""
    names: set[str] = set()
    for node in nodes_of(text):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                names.add(name)
            case ast.alias(name=name, asname=other):
                names.add(other or name.split(".")[0])
    return frozenset(names)


def _guarded(nodes: Sequence[ast.AST]) -> frozenset[int]:
    """The ids of the nodes whose imports may fail: the file catches that, or they are there for a type checker only.

    >>> nodes = nodes_of(b"try:\\n  import a\\nexcept ImportError:\\n  import b\\nif TYPE_CHECKING:\\n  import c")
    >>> [node.names[0].name for node in nodes if isinstance(node, ast.Import) and id(node) in _guarded(nodes)]
    ['a', 'c']
    """
    guarded: set[int] = set()
    for node in nodes:
        match node:
            case ast.Try(body=body) | ast.TryStar(body=body) if _catches(node.handlers):
                guarded.update(map(id, _at_once(body)))
            case ast.With(body=body) if any(_suppresses(item.context_expr) for item in node.items):
                guarded.update(map(id, _at_once(body)))
            case ast.If(test=ast.Name(id="TYPE_CHECKING") | ast.Attribute(attr="TYPE_CHECKING"), body=body):
                guarded.update(id(inner) for statement in body for inner in ast.walk(statement))
    return frozenset(guarded)


def _stand_ins(nodes: Sequence[ast.AST], absent: Collection[int]) -> frozenset[int]:
    """The ids of the nodes in handlers of ImportError whose `try` imports nothing of `absent`, so that they never run."""
    idle: set[int] = set()
    for node in nodes:
        if isinstance(node, ast.Try) and not any(id(inner) in absent for inner in _at_once(node.body)):
            handlers = [one for one in node.handlers if one.type and set() < _names(one.type) <= OF_IMPORTS]
            idle.update(id(inner) for handler in handlers for inner in ast.walk(handler))
    return frozenset(idle)


def _catches(handlers: Sequence[ast.ExceptHandler]) -> bool:
    """Whether an import that fails is caught; not where the handler raises in its turn."""
    first = next((one for one in handlers if one.type is None or _names(one.type) & CAUGHT), None)
    return first is not None and not any(_ends(node) for statement in first.body for node in ast.walk(statement))


def _ends(node: ast.AST) -> bool:
    """Whether it raises, or ends the program."""
    match node:
        case ast.Raise() | ast.Call(func=ast.Name(id="exit" | "quit") | ast.Attribute(attr="exit" | "_exit")):
            return True
    return False


def _names(expression: ast.expr) -> frozenset[str]:
    """The names of an expression such as `ImportError`, or of a tuple of them."""
    elements = expression.elts if isinstance(expression, ast.Tuple) else [expression]
    return frozenset(element.id for element in elements if isinstance(element, ast.Name))


def _suppresses(expression: ast.expr) -> bool:
    """Whether it is `suppress(ImportError)`, from contextlib."""
    match expression:
        case ast.Call(func=ast.Name(id="suppress") | ast.Attribute(attr="suppress"), args=args):
            return any(_names(arg) & CAUGHT for arg in args)
    return False


def _at_once(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """The nodes of `body` that run there, and not when a function is called."""
    left: list[ast.AST] = [*body]
    while left:
        node = left.pop()
        if not isinstance(node, LATER):
            yield node
            left += ast.iter_child_nodes(node)

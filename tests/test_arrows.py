"""Which package may import which: DESIGN's arrows as a table, held against what the syntax trees import."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = (
    "fusion",
    "photos",
    "runs",
    "stage1_detector",
    "stage2_classifier",
    "submission",
    "fitting",
    "recognition",
    "scaling",
    "reporting",
    "reviewing",
    "hylle",
    "experiments",
)

# From whom each package may import among our own.
OWN = {
    "fusion": {"fusion"},
    "runs": {"fusion", "runs"},
    "photos": {"fusion", "runs", "photos"},
    "stage1_detector": {"fusion", "photos", "runs", "stage1_detector"},
    "stage2_classifier": {"fusion", "photos", "runs", "stage1_detector", "stage2_classifier"},
    "submission": {"fusion", "photos", "runs", "submission"},
    "submission/run.py": {"fusion"},
    "fitting": {"fusion", "photos", "runs", "stage1_detector", "stage2_classifier", "submission", "fitting"},
    "recognition": {"fusion", "photos", "runs", "stage1_detector", "submission", "recognition"},
    "scaling": {"fusion", "photos", "runs", "recognition", "scaling"},
    "reporting": set(PACKAGES) - {"hylle", "recognition", "reviewing", "experiments"},
    "reviewing": {"fusion", "photos", "runs", "stage1_detector", "stage2_classifier", "recognition", "reviewing"},
    "hylle": set(PACKAGES) - {"experiments"},
    "hylle/demo.py": set(PACKAGES),
    "experiments": set(PACKAGES),
}
# Of stage 1's own rooms, what else of stage 1 each may import.
ROOMS = {
    "synthesis": set(),
    "torch_engine": {"config", "engine"},
    "ultralytics_engine": {"config", "engine"},
    "nets": {"config", "engine", "torch_engine"},
    "distillation": {"config", "engine", "torch_engine", "ultralytics_engine", "nets", "families", "recipes", "detector_run"},
}
# What runs at the judge imports nothing else at all; "?" only where its absence is handled.
OUTSIDE = {
    "fusion": {
        *("numpy", "cv2", "onnxruntime"),
        *("collections", "contextlib", "dataclasses", "functools", "json", "logging", "math", "pathlib", "re"),
        *("__future__", "concurrent", "time", "typing"),
    },
    "submission/run.py": {
        *("cv2", "torch?"),
        *("argparse", "collections", "contextlib", "functools", "json", "logging", "pathlib", "re", "time", "typing"),
    },
}
JUDGED_FILES = 10
COMMAND = {"main", "body", "parser"}  # the functions of a command, which reads arguments and speaks
IN_TRY = "try:\n    import torch\nexcept ImportError:\n    pass"
IN_SUPPRESS = "with contextlib.suppress(ImportError):\n    import torch"
IN_IDLE_TRY = "try:\n    import torch\nfinally:\n    pass"


def wrong(package: str, file: Path) -> list[str]:
    """The imports of `file` that the tables forbid to `package`, as `line: module`."""
    outside = OUTSIDE.get(package)
    bad = []
    for line, module, guarded in imports(file, package):
        if module in PACKAGES:
            allowed = module in OWN[package]
        else:
            allowed = outside is None or module in outside or (guarded and f"{module}?" in outside)
        if not allowed:
            bad.append(f"{line}: {module}")
    return bad


def imports(file: Path, package: str) -> Iterator[tuple[int, str, bool]]:
    """(line, top-level module, whether a missing one is handled) of every import in `file`, those inside functions too."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    guarded = {id(node) for guard in ast.walk(tree) if _handles_absence(guard) for node in ast.walk(guard)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules = [alias.name.partition(".")[0] for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [package if node.level else (node.module or "").partition(".")[0]]
        else:
            continue
        for module in modules:
            yield node.lineno, module, id(node) in guarded


def of_stage1(file: Path) -> set[str]:
    """The rooms and files of stage 1 that `file` imports."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {parts[1] for parts in (module.split(".") for module in modules) if parts[0] == "stage1_detector"}
    return found


def commands_used(package: str, file: Path) -> list[str]:
    """The functions of other packages' commands that `file` imports or calls, as `line: module.function`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    used, modules = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] in set(PACKAGES) - {package}:
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            used += [f"{node.lineno}: {node.module}.{alias.name}" for alias in node.names if alias.name in COMMAND]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in COMMAND and isinstance(node.value, ast.Name):
            used += [f"{node.lineno}: {modules[node.value.id]}.{node.attr}"] if node.value.id in modules else []
    return used


def _handles_absence(node: ast.AST) -> bool:
    """`try: ... except ImportError` or `with contextlib.suppress(ImportError)`."""
    catchers = [handler.type for handler in node.handlers] if isinstance(node, ast.Try) else []
    contexts = [item.context_expr for item in node.items] if isinstance(node, ast.With) else []
    return any("ImportError" in ast.unparse(part) for part in [*catchers, *contexts] if part)


def judged() -> list[Path]:
    return [ROOT / "submission" / "run.py", *(ROOT / "fusion").glob("*.py")]


FILES = [
    (str(file.relative_to(ROOT)) if str(file.relative_to(ROOT)) in OWN else package, file)
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
]


@pytest.mark.parametrize(("package", "file"), FILES, ids=[str(file.relative_to(ROOT)) for _, file in FILES])
def test_every_file_keeps_to_the_arrows(package: str, file: Path) -> None:
    assert wrong(package, file) == []


@pytest.mark.parametrize(("package", "file"), FILES, ids=[str(file.relative_to(ROOT)) for _, file in FILES])
def test_no_file_but_the_front_door_calls_a_command_of_another_package(package: str, file: Path) -> None:
    assert package.startswith("hylle") or commands_used(package, file) == []


@pytest.mark.parametrize(
    ("text", "used"),
    [
        pytest.param("", [], id="empty file"),
        pytest.param("from photos.folds import main", ["1: photos.folds.main"], id="imported"),
        pytest.param("from photos import folds as f\nf.body([])", ["2: photos.folds.body"], id="called under another name"),
        pytest.param("from photos import folds\nfolds.load()", [], id="a library function of the same module"),
        pytest.param("from experiments import demo\ndemo.main()", [], id="its own package's"),
    ],
)
def test_a_planted_call_of_a_command_is_found(tmp_path: Path, text: str, used: list[str]) -> None:
    (tmp_path / "planted.py").write_text(text)
    assert commands_used("experiments", tmp_path / "planted.py") == used


@pytest.mark.parametrize("room", ROOMS)
def test_every_room_of_stage_1_keeps_to_its_arrows(room: str) -> None:
    files = sorted((ROOT / "stage1_detector" / room).glob("*.py"))
    assert len(files) > 1
    assert {f"{file.name}: {other}" for file in files for other in of_stage1(file) - ROOMS[room] - {room}} == set()


def test_every_folder_of_stage_1_is_such_a_room() -> None:
    assert {file.parent.name for file in (ROOT / "stage1_detector").glob("*/*.py")} == set(ROOMS)


def test_every_way_to_import_of_stage_1_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "planted.py"
    file.write_text(
        "import stage1_detector.yolo as y\nfrom stage1_detector import train, data\nfrom stage1_detector.nets import x"
    )
    assert of_stage1(file) == {"yolo", "train", "data", "nets"}


def test_there_is_something_to_check() -> None:
    assert {package for package, _ in FILES} >= {"fusion", "submission", "submission/run.py"}


def test_what_runs_at_the_judge_is_few_flat_files() -> None:
    assert len(judged()) <= JUDGED_FILES
    assert sorted((ROOT / "fusion").rglob("*.py")) == sorted((ROOT / "fusion").glob("*.py"))  # the zip takes no subfolder


@pytest.mark.parametrize(
    ("package", "text", "bad"),
    [
        pytest.param("fusion", "", [], id="empty file"),
        pytest.param("fusion", "import numpy as np\nfrom fusion.boxes import iou\nfrom . import views", [], id="all allowed"),
        pytest.param("fusion", "import json\nimport torch", ["2: torch"], id="torch in fusion"),
        pytest.param("fusion", IN_TRY, ["2: torch"], id="guarded torch in fusion"),
        pytest.param("fusion", "import os.path as p", ["1: os"], id="os, renamed"),
        pytest.param("fusion", "def f():\n    from submission import rules", ["2: submission"], id="inside a function"),
        pytest.param("stage1_detector", "import stage2_classifier.crops", ["1: stage2_classifier"], id="against the arrow"),
        pytest.param("stage1_detector", "import torch, sys\nfrom fusion import views", [], id="a stage may import libraries"),
        pytest.param("stage2_classifier", "import photos.data", [], id="along the arrow"),
        pytest.param("stage2_classifier", "import experiments.demo", ["1: experiments"], id="nothing imports experiments"),
        pytest.param("submission", "from stage1_detector import train", ["1: stage1_detector"], id="a stage in submission"),
        pytest.param("submission/run.py", "import torch", ["1: torch"], id="torch without a guard"),
        pytest.param("submission/run.py", IN_TRY, [], id="torch in try"),
        pytest.param("submission/run.py", IN_SUPPRESS, [], id="torch in suppress"),
        pytest.param("submission/run.py", IN_IDLE_TRY, ["2: torch"], id="try that handles nothing"),
        pytest.param("submission/run.py", "from submission import rules", ["1: submission"], id="run.py on its own package"),
    ],
)
def test_a_planted_import_is_found(tmp_path: Path, package: str, text: str, bad: list[str]) -> None:
    (tmp_path / "planted.py").write_text(text)
    assert wrong(package, tmp_path / "planted.py") == bad


def test_the_tables_name_real_packages() -> None:
    assert set(PACKAGES) <= set(OWN)
    assert not OUTSIDE["fusion"] & {"os", "sys", "subprocess", "importlib"}
    assert {name for name in OUTSIDE["fusion"] if name not in sys.stdlib_module_names} == {"numpy", "cv2", "onnxruntime"}


def test_no_two_test_files_share_a_name() -> None:
    """They are modules without a package: pytest imports the first, and cannot collect the second beside it."""
    names = [path.name for path in (ROOT / "tests").rglob("*.py") if path.name != "conftest.py"]
    assert {name for name in names if names.count(name) > 1} == set()


def test_the_pages_draw_the_arrows_of_every_package() -> None:
    blocks = [(ROOT / page).read_text(encoding="utf-8") for page in ("docs/design.md", "CONTRIBUTING.md")]
    drawn = [re.search(r"^ *fusion +<-  runs.*\n(?:.+\n)+", block, re.MULTILINE) for block in blocks]
    lines = [[line.strip() for line in block.group().splitlines() if "<-" in line] for block in drawn if block]
    assert len(lines) == 2 and lines[0] == lines[1]
    assert set(PACKAGES) <= set(re.findall(r"\w+", " ".join(lines[0])))

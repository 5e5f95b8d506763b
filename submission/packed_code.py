"""The Python files that every zip of this project holds."""

from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def packed_code() -> dict[str, bytes]:
    """`run.py` and `fusion/`, byte for byte, by their names in the zip."""
    modules = {f"fusion/{path.name}": path.read_bytes() for path in sorted((ROOT / "fusion").glob("*.py"))}
    return {"run.py": (ROOT / "submission" / "run.py").read_bytes()} | modules


def is_packed_code(files: Mapping[str, bytes]) -> bool:
    """Whether the Python files of a zip, by name, are just those of this project, byte for byte."""
    return dict(files) == packed_code()

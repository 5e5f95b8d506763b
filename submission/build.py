"""`python -m submission.build --runs R --out submission.zip`: the models that R/ensemble.json names, and the code, in one zip.

The zip holds `run.py` and `fusion/` byte for byte, each model flat beside them ("one/model.onnx" becomes "one.onnx", its
sidecar "one.json"), ensemble.json with those names, and a manifest. The same inputs give the same bytes. A zip that
`submission.check` refuses is not put in place.
"""

import argparse
import hashlib
import json
import sys
import zipfile
from importlib import metadata
from pathlib import Path
from typing import Any

from fusion.ensemble import parse
from submission.check import check, summary
from submission.rules import Violation

ROOT = Path(__file__).resolve().parent.parent
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can state
MODE = 0o100644  # a plain file, readable by all
LEVEL = 6  # of deflate; weights hardly shrink at any


class Refused(ValueError):
    """The zip breaks rules of the judge: `violations`."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("\n".join(map(str, violations)))
        self.violations = violations


def build(runs: Path, out: Path) -> str:
    """Write the zip of `runs` to `out` and return its sha256.

    Raises:
        ValueError: R/ensemble.json, a model or a sidecar is missing or malformed, or two models would have one name.
        Refused: the zip breaks a rule. Nothing is left then, and what was at `out` before stays.
    """
    files = collect(runs)
    if out.is_dir():
        raise ValueError(f"--out {out}: got a folder, need a file name, such as {out / 'submission.zip'}")
    if out.parent.is_file():
        raise ValueError(f"--out {out}: {out.parent} is a file, need a folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(out.name + ".partial")
    try:
        write(files, partial)
        if violations := check(partial):
            raise Refused(violations)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def collect(runs: Path) -> dict[str, bytes]:
    """What goes into the zip, by its name there: code, models, sidecars, ensemble.json, manifest.json."""
    ensemble = _read_ensemble(runs / "ensemble.json")
    models = [*ensemble["detectors"], *ensemble.get("classifiers", [])]
    flat = _flat([model["file"] for model in models])
    files = code() | {name: _read(runs / file) for file, name in flat.items()}
    files |= {_sidecar(name): _read((runs / file).with_suffix(".json")) for file, name in flat.items()}
    for model in models:
        model["file"] = flat[model["file"]]
    files["ensemble.json"] = _dump(ensemble)
    return files | {"manifest.json": _dump(manifest(files))}


def code() -> dict[str, bytes]:
    """`run.py` and `fusion/`, byte for byte."""
    modules = {f"fusion/{path.name}": path.read_bytes() for path in sorted((ROOT / "fusion").glob("*.py"))}
    return {"run.py": (ROOT / "submission" / "run.py").read_bytes()} | modules


def manifest(files: dict[str, bytes]) -> dict[str, Any]:
    """Size and sha256 of every file, and the version that packed them; no time and no place, which would differ each time."""
    contents = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in sorted(files.items())}
    return {"hylle": _version(), "files": contents}


def write(files: dict[str, bytes], path: Path) -> None:
    """Write a zip whose bytes depend on `files` alone: sorted names, one date, one mode, one compression."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, DATE)
            info.create_system = 3  # Unix, wherever this runs
            info.external_attr = MODE << 16
            archive.writestr(info, data, zipfile.ZIP_DEFLATED, LEVEL)


def _read_ensemble(path: Path) -> dict[str, Any]:
    """The values of ensemble.json, checked. Raises ValueError naming the file, and the line where it is not JSON."""
    try:
        values = json.loads(_read(path))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: got a {type(values).__name__}, need an object")
    parse(values, str(path))
    return values


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"{path}: no such file")
    return path.read_bytes()


def _flat(files: list[str]) -> dict[str, str]:
    """The name in the zip for each model file: its folder's name, or its own at the top of R. Raises ValueError when two clash.

    >>> _flat(["one/model.onnx", "classifier_shelf/model.onnx", "two.onnx"])
    {'one/model.onnx': 'one.onnx', 'classifier_shelf/model.onnx': 'classifier_shelf.onnx', 'two.onnx': 'two.onnx'}
    """
    flat: dict[str, str] = {}
    for file in files:
        path = Path(file)
        name = (path.parent.name or path.stem) + path.suffix
        other = next((seen for seen, taken in flat.items() if taken == name and seen != file), None)
        if other or _sidecar(name) in {"ensemble.json", "manifest.json"}:
            raise ValueError(f"{file}: would be {name} in the zip, as {other or 'a file of the zip itself'}; rename its folder")
        flat[file] = name
    return flat


def _sidecar(name: str) -> str:
    return str(Path(name).with_suffix(".json"))


def _dump(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, ensure_ascii=False) + "\n").encode()


def _version() -> str:
    try:
        return metadata.version("hylle")
    except metadata.PackageNotFoundError:  # run from the folder, not installed
        return "unknown"


def main(argv: list[str] | None = None) -> int:
    """The command; returns its exit code: 0 built, 1 refused by a rule, 2 nothing to build from."""
    parser = argparse.ArgumentParser(prog="python -m submission.build", description="Pack the zip that the judge runs.")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trained models, with its ensemble.json")
    parser.add_argument("--out", type=Path, required=True, help="the zip to write")
    args = parser.parse_args(argv)
    try:
        digest = build(args.runs, args.out)
    except Refused as refused:
        print(refused)
        print(f"refused: {len(refused.violations)} violations; {args.out} is not written", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{digest}  {args.out}")
    print(f"ok: {summary(args.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

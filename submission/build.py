"""`python -m submission.build --runs R --out submission.zip`: the models that R/ensemble.json names, and the code, in one zip.

`--join` puts all detectors into one weight file and all classifiers into another, so that more models fit the three that are
allowed; `--half` stores FP16 weights, if their outputs on the photos of `--photos` are those of float32; `--int8` lets models
compute in 8 bits, if the score on the valid photos of the data set `--photos` falls by at most 0.005.

The zip holds `run.py` and `fusion/` byte for byte, each model flat beside them ("one/model.onnx" becomes "one.onnx", its
sidecar "one.json"), ensemble.json with those names, and a manifest. The same inputs give the same bytes. A zip that
`submission.check` refuses is not kept.
"""

import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from fusion.ensemble import parse
from fusion.models import Sidecar
from fusion.reading import find_photos, read_photo
from fusion.views import Image, crop_batches, make_views
from runs.atomic_write import replacing
from runs.command import Parser, note_result, run, say, ticker
from runs.first_command import train
from runs.model_files import refuse_changed
from runs.output_file import refuse_no_file
from runs.typed import typed
from submission import built_of
from submission.check import check, refused, summary
from submission.packed_code import packed_code
from submission.violation import Violation

DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can state
MODE = 0o100644  # a plain file, readable by all
COMPARED = 8  # chosen: photos on which FP16 is compared
CROPS = 6  # chosen: rows and columns of crops of each photo on which a classifier is compared
LEVEL = 6  # of deflate; weights hardly shrink at any level


class Refused(ValueError):
    """The zip breaks rules of the judge, listed in `violations`."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__("\n".join(map(str, violations)))
        self.violations = violations


@dataclass(frozen=True)
class Int8:
    """The labelled set `data` to try models in 8 bits on; `tell` gets a line of each, `progress` the photos done, of all."""

    data: Path
    tell: Callable[[str], None]
    progress: Callable[[int, int], None]


def build(runs: Path, out: Path, join: bool = False, half: Path | None = None, int8: Int8 | None = None) -> str:
    """Write the zip of `runs` to `out` and return its sha256; `join` as --join, `half` the photos that --half is tried on,
    `int8` what --int8 needs.

    Raises:
        ValueError: R/ensemble.json, a model or a sidecar is missing or malformed, or two models would have one name; the gate
            was fitted to other models; models
            that cannot be joined, or whose outputs differ in FP16; a set without folds in `runs` for `int8`.
        Refused: the zip breaks a rule. A file that was at `out` before stays as it was.
    """
    refuse_no_file("--out", out, "submission.zip")
    files = collect(runs, join, half, int8)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as (unfinished,):
        write(files, unfinished)
        if violations := refused(check(unfinished)):
            raise Refused(violations)
    return hashlib.sha256(out.read_bytes()).hexdigest()


def collect(runs: Path, join: bool = False, half: Path | None = None, int8: Int8 | None = None) -> dict[str, bytes]:
    """The files of the zip by their names in it: code, models, sidecars, ensemble.json, manifest.json."""
    if not runs.is_dir():
        raise ValueError(
            f"{runs}: {'a file' if runs.exists() else 'no such folder'}, need a run folder; hylle folds begins one"
        )
    if not (runs / "ensemble.json").is_file():
        raise ValueError(typed(f"{runs / 'ensemble.json'}: no such file; fit the gate first: hylle gate --data D --runs", runs))
    ensemble = _read_ensemble(runs / "ensemble.json")
    refuse_changed(runs, parse(ensemble))
    of = built_of.entry(runs, parse(ensemble))
    ensemble.pop("made_from", None)  # the manifest has the models of the zip, which may be joined or halved
    models = [*ensemble["detectors"], *ensemble.get("classifiers", [])]
    detectors = {member["file"] for member in ensemble["detectors"]}
    flat = _flat([model["file"] for model in models])
    _refuse_untrained(runs, flat, detectors)
    files = packed_code() | {name: _read(runs / file) for file, name in flat.items()}
    files |= {_sidecar(name): _read((runs / file).with_suffix(".json")) for file, name in flat.items()}
    for model in models:
        model["file"] = flat[model["file"]]
    files["ensemble.json"] = _dump(ensemble)
    if half:
        halve(files, flat, half)
    adopted = quantise(files, ensemble, runs, int8) if int8 else []
    if join:
        for kind in ("detectors", "classifiers"):
            join_models(files, kind, list(dict.fromkeys(model["file"] for model in ensemble.get(kind, []))))
    smaller = built_of.precision_entry(bool(half), adopted)
    return files | {"manifest.json": _dump(manifest(files) | of | smaller)}


def _refuse_untrained(runs: Path, files: Iterable[str], detectors: set[str]) -> None:
    """Raises ValueError, with the command that trains it, where one of the models has no file; `detectors` are among them."""
    for file in files:
        if not (runs / file).is_file() and Path(file).name == "model.onnx":
            folder = (runs / file).parent
            first = train(folder.parent, folder.name, "detector" if file in detectors else "classifier")
            raise ValueError(f"{runs / file}: no such file; train it first: {first}")


def quantise(files: dict[str, bytes], ensemble: dict[str, Any], runs: Path, int8: Int8) -> list[str]:
    """Replace the graphs that are adopted in 8 bits, and return their names; classifiers first: crops take most of the time."""
    from submission.int8_choice import adopt, held

    members = [*ensemble.get("classifiers", []), *ensemble["detectors"]]
    names = list(dict.fromkeys(member["file"] for member in members))
    trials = adopt(files, names, held(runs, int8.data), int8.tell, int8.progress)
    return [trial.name for trial in trials if trial.adopted]


def halve(files: dict[str, bytes], flat: dict[str, str], photos: Path) -> None:
    """Replace each model's graph by its FP16 form. Raises ValueError where their outputs on `photos` differ."""
    from submission import graphs

    images = [read_photo(path) for path in list(find_photos(photos).values())[:COMPARED]]
    for file, name in flat.items():
        side = json.loads(files[_sidecar(name)])
        canvases = [model_input(image, side) for image in images]
        smaller = graphs.halved(files[name])
        family = side["family"]
        graphs.refuse_difference(Path(file), graphs.difference(family, files[name], smaller, canvases), family)
        files[name] = smaller


def model_input(image: Image, side: dict[str, Any]) -> Image:
    """Input for a model from a photo: its canvas, uint8 (1, H, W, 3), or a grid of crops (B, H, W, 3)."""
    height, width = image.shape[:2]
    if side["task"] == "detector":
        (view,) = make_views({"size": side["size"]}, width, height, side.get("shrinking", Sidecar.shrinking))
        return view.warp(image)[None]
    corners = np.stack(np.meshgrid(np.arange(CROPS), np.arange(CROPS)), 2).reshape(-1, 2) / CROPS  # (B, 2)
    boxes = np.concatenate([corners, corners + 1 / CROPS], 1) * [width, height, width, height]
    crops, _ = next(crop_batches(image, boxes, side["size"], side.get("margin", 0.0), len(boxes)))
    return crops


def join_models(files: dict[str, bytes], kind: str, names: list[str]) -> None:
    """Replace the model files `names` by one joint file `kind`.onnx, and let their sidecars point to their branch in it."""
    if len(names) < 2:
        return
    from submission import graphs

    joint = f"{kind}.onnx"
    if joint in files:
        raise ValueError(f"{joint}: would be the joint file and is a model's name; rename its folder")
    files[joint] = graphs.joined([files.pop(name) for name in names])
    for branch, name in enumerate(names):
        side = json.loads(files[_sidecar(name)]) | {"graph": joint, "branch": branch}
        files[_sidecar(name)] = _dump(side)


def manifest(files: dict[str, bytes]) -> dict[str, Any]:
    """Size and sha256 of every file, and the version that packed them; no time or path, as these differ between builds."""
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
        other = next((earlier for earlier, its_name in flat.items() if its_name == name and earlier != file), None)
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


def main(argv: list[str] | None = None, prog: str = "python -m submission.build") -> int:
    """The command; returns its exit code: 0 built, 1 refused by a rule, 2 nothing to build from."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and pack. Raises ValueError for what the user can mend."""
    parser = Parser(prog=prog, description="Pack the zip that the judge runs.")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the trained models, with its ensemble.json")
    parser.add_argument("--out", type=Path, required=True, help="the zip to write")
    parser.add_argument("--join", action="store_true", help="all detectors in one weight file, all classifiers in another")
    parser.add_argument("--half", action="store_true", help="FP16 weights; needs --photos")
    parser.add_argument("--int8", action="store_true", help="8-bit convolutions, for judging without a GPU; needs --photos")
    parser.add_argument("--photos", type=Path, help="on which --half must answer as float32 does; for --int8 the data set of R")
    args = parser.parse_args(argv)
    if args.half and args.int8:
        raise ValueError("--half and --int8: got both, need one of them: FP16 is for GPUs, INT8 for processors")
    if (args.half or args.int8) != bool(args.photos):
        raise ValueError(f"{'--int8' if args.int8 else '--half'} and --photos: got one of them, need both")
    int8 = Int8(args.photos, say, ticker("photos predicted")) if args.int8 else None
    try:
        digest = build(args.runs, args.out, args.join, args.photos if args.half else None, int8)
    except Refused as error:
        print(error)
        note_result(violations=error.violations)
        print(f"refused: {len(error.violations)} violations; {args.out} is not written", file=sys.stderr)
        return 1
    print(f"{digest}  {args.out}")
    print(f"ok: {summary(args.out)}")
    note_result(zip=args.out, sha256=digest)
    return 0


if __name__ == "__main__":
    sys.exit(main())

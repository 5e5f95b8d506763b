"""Teach a trained classifier a product from photos of it, without training: one more column of its head.

    python -m stage2_classifier.enrolment --data D --runs R --classifier NAME --photos DIR --name NAME [--id N] [--blend [W]]
    python -m stage2_classifier.enrolment --data D --runs R --classifier NAME --undo

The mean embedding of the photos goes behind the other names of the graph, into the sidecar and into R/ensemble.json; the
detectors keep their narrower class map. A name that the data set has already gets its column replaced, or with --blend mixed:
a product without a box on any shelf needs that. R/NAME/enrolled.json tells which names were enrolled under which ids.

A network that was trained a little sees all products alike, and a mean of embeddings is then near every crop. So the new name
gets a bias, such that at most STOLEN of the valid part's crops of other products, none of which shows it, would be given it.
"""

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from fusion.models import Model, read_object
from photos import folds
from photos.data import Dataset, read
from photos.studio import studio_folder
from runs import record
from runs.command import Parser, run, say
from stage2_classifier.crops import Image, shelf_regions, studio_regions
from stage2_classifier.neighbours import Floats, load_embedder, logits_of
from stage2_classifier.prototypes import (
    Place,
    box_sides,
    crops_at,
    domain_shift,
    other_crops,
    prototype,
    prototypes_of,
    read_photos,
    refuse_change,
    with_prototype,
)
from stage2_classifier.scaling import Scaling

BEFORE = ".before_enroll"  # goes before the suffix of the files that --undo brings back
STOLEN = 0.0025  # taken: half of the 0.5 points by which the others' accuracy may change (issue 3)
HALF = 0.5  # chosen: the share of the new prototype where --blend names none


# -- sidecar and ensemble --------------------------------------------------------------------------------------------------


def find_place(
    name: str, wanted: int | None, known: Sequence[int], dataset: Dataset, enrolled: Sequence[dict[str, Any]]
) -> Place:
    """Where `name` goes in a class map of ids `known`. Raises ValueError for an id that is taken, or a name not in the map."""
    ids = {c.name.strip().casefold(): c.id for c in dataset.categories}
    ids |= {str(row["name"]).strip().casefold(): int(row["id"]) for row in enrolled}
    own = ids.get(name.strip().casefold())
    if own is not None and own in known:
        if wanted not in (None, own):
            raise ValueError(f"--id: got {wanted}, but {name!r} has the id {own} already")
        return Place(known.index(own), own, True)
    taken = {*known, *ids.values()} - {own}
    new = wanted if wanted is not None else own if own is not None else max(taken, default=-1) + 1
    if new in taken or new < 0:
        raise ValueError(f"--id: got {new}, must be 0 or more and none of the {len(taken)} ids that are taken")
    return Place(len(known), new, False)


def with_category(sidecar: dict[str, Any], place: Place, blend: float) -> dict[str, Any]:
    """The sidecar's values with the new category, neutral in vector scaling: the entries of a name never seen held out.

    >>> with_category({"categories": [4], "scale": [2.0, 9.0]}, Place(1, 5, False), 1.0)
    {'categories': [4, 5], 'scale': [2.0, 1.0, 9.0]}
    """
    new = dict(sidecar)
    for key, neutral in (("scale", 1.0), ("bias", 0.0)):
        if sidecar.get(key) and (blend == 1 or not place.replaces):
            values = list(sidecar[key])
            values[place.at : place.at + place.replaces] = [neutral]
            new[key] = values
    new["categories"] = [*sidecar["categories"], *([] if place.replaces else [place.id])]
    return new


def with_bias(sidecar: dict[str, Any], place: Place, width: int, bias: float) -> dict[str, Any]:
    """The sidecar's values with the bias of the new name lowered by `bias` <= 0; `width` columns in all.

    >>> with_bias({"bias": None}, Place(1, 5, False), 3, -2.0), with_bias({"bias": [1.0, 0.0]}, Place(1, 5, False), 2, 0.0)
    ({'bias': [0.0, -2.0, 0.0]}, {'bias': [1.0, 0.0]})
    """
    if bias == 0:
        return sidecar
    values = list(sidecar.get("bias") or [0.0] * width)
    values[place.at] += bias
    return sidecar | {"bias": values}


def widened(path: Path, file: str, known: Sequence[int], new: Sequence[int]) -> dict[str, Any] | None:
    """The values of the ensemble at PATH, if it uses `file`, with the class map `new` for `known`; None where nothing is to do.

    Raises ValueError where its class map does not go on from that of the classifier.
    """
    values = read_object(path) if path.is_file() else {}
    if file not in [namer.get("file") for namer in values.get("classifiers", [])]:
        return None
    ids = values["categories"]
    if ids[: len(new)] == list(new):  # another classifier was taught it first
        return None
    if ids != list(known):
        raise ValueError(f"{path}: its {len(ids)} categories do not go on from the {len(known)} of {file}; pass --id as there")
    return values | {"categories": list(new)}


# -- files -----------------------------------------------------------------------------------------------------------------


def kept(path: Path) -> Path:
    """Where the file at PATH is kept for --undo."""
    return path.with_name(path.stem + BEFORE + path.suffix)


def enrolled_in(folder: Path) -> list[dict[str, Any]]:
    """What was enrolled into the classifier in FOLDER so far, oldest first."""
    path = folder / "enrolled.json"
    return list(json.loads(path.read_text())) if path.is_file() else []


def bias_of(logits: Floats, sidecar: dict[str, Any], place: Place) -> float:
    """The bias <= 0 with which the name at `place` is the first of at most STOLEN of the rows of `logits` (N, C)."""
    if len(logits) == 0:
        return 0.0
    scaled = Scaling(sidecar.get("temperature", 1.0), sidecar.get("scale"), sidecar.get("bias")).scaled(logits)  # (N, C)
    margin = scaled[:, place.at] - np.delete(scaled, place.at, axis=1).max(1, initial=-np.inf)
    return -max(0.0, float(np.quantile(margin, 1 - STOLEN, method="higher")))


def undo(runs: Path, classifier: str) -> None:
    """Bring back the model from before the last enrolling. Raises ValueError where there is none."""
    folder = runs / classifier
    paths = [folder / "model.onnx", folder / "model.json"]
    if not all(kept(path).is_file() for path in paths):
        raise ValueError(f"--undo: {kept(paths[0])} not found; only the last enrolling can be undone, once")
    known, before = (list(read_object(p)["categories"]) for p in (paths[1], kept(paths[1])))
    ensemble = runs / "ensemble.json"
    values = read_object(ensemble) if ensemble.is_file() else {}
    if values.get("categories") == known and not _needed(runs, values, classifier, len(before)):
        record.write_json(ensemble, values | {"categories": before})
    for path in paths:
        kept(path).replace(path)
    record.write_json(folder / "enrolled.json", enrolled_in(folder)[:-1])


def _needed(runs: Path, ensemble: dict[str, Any], classifier: str, width: int) -> bool:
    """Whether another classifier of the ensemble knows more than `width` names."""
    files = [namer["file"] for namer in ensemble["classifiers"] if namer["file"] != f"{classifier}/model.onnx"]
    return any(len(read_object((runs / f).with_suffix(".json"))["categories"]) > width for f in files)


def enroll(
    model: Model, runs: Path, classifier: str, place: Place, name: str, direction: Floats, crops: Image, others: Image,
    blend: float = 1.0,
) -> bool:  # fmt: skip
    """Put the unit `direction` (D,) for `name` at `place` of R/CLASSIFIER, loaded as `model`; whether ensemble.json changed.

    Everything is written beside first. `crops` uint8 (N, size, size, 3) are what the other names' logits are compared on,
    `others` (M, size, size, 3) held-out ones of other products.
    """
    folder, ensemble = runs / classifier, runs / "ensemble.json"
    graph, sidecar = onnx.load(str(model.path)), read_object(model.path.with_suffix(".json"))
    known, new = sidecar["categories"], with_category(sidecar, place, blend)
    wide = widened(ensemble, f"{classifier}/model.onnx", known, new["categories"])
    beside = folder / "model.part.onnx"
    onnx.save(with_prototype(graph, model.path, direction, place, len(known), blend), str(beside))
    record.write_json(beside.with_suffix(".json"), new)
    try:
        after = Model(beside)
        refuse_change(model, after, crops, place)
        logits = logits_of(after, others)
        record.write_json(beside.with_suffix(".json"), with_bias(new, place, logits.shape[1], bias_of(logits, new, place)))
    except ValueError:
        beside.unlink()
        beside.with_suffix(".json").unlink()
        raise
    for suffix in (".onnx", ".json"):
        shutil.copyfile(model.path.with_suffix(suffix), kept(model.path.with_suffix(suffix)))
    for suffix in (".onnx", ".json"):
        beside.with_suffix(suffix).replace(model.path.with_suffix(suffix))
    row = {"name": name, "id": place.id, "replaced": place.replaces}
    record.write_json(folder / "enrolled.json", [*enrolled_in(folder), row])
    if wide is not None:
        record.write_json(ensemble, wide)
    return wide is not None


# -- the command -----------------------------------------------------------------------------------------------------------


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="the data set the classifier was trained on: names, box sizes")
    p.add_argument("--runs", type=Path, required=True, help="run folder with folds.json and the classifier")
    p.add_argument("--classifier", required=True, help="its folder in the run folder, such as classifier_both")
    p.add_argument("--photos", type=Path, help="folder with photos of the one product, before a plain background")
    p.add_argument("--name", help="of the product")
    p.add_argument("--id", type=int, help="its category id; default one more than the largest")
    p.add_argument("--blend", type=float, nargs="?", const=HALF, default=1.0, metavar="W",
                   help=f"for a name there is already: the share of the new prototype; without W {HALF}")  # fmt: skip
    p.add_argument("--shift", action="store_true", help="move the prototype by the mean step from studio to shelf embeddings")
    p.add_argument("--studio", type=Path, help="folder of studio photos, for --shift; default D/NM_NGD_product_images")
    p.add_argument("--undo", action="store_true", help="bring back the classifier from before the last enrolling")
    return p


def main(argv: list[str] | None = None, prog: str = "python -m stage2_classifier.enrolment") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments; enroll or undo. Raises ValueError for what the user can mend."""
    args = parser(prog).parse_args(argv)
    if args.undo:
        undo(args.runs, args.classifier)
        say(f"enroll: {args.classifier} is as it was before the last enrolling")
        return
    if args.photos is None or not (args.name or "").strip() or not 0 < args.blend <= 1:
        raise ValueError(f"enroll: got --photos {args.photos}, --name {args.name!r}, --blend {args.blend}; "
                         "need a folder, a name, and a share above 0 and at most 1")  # fmt: skip
    names = [field.name for field in fields(Enrolment)]
    teach(Enrolment(**{name: getattr(args, name) for name in names}))


@dataclass(frozen=True, kw_only=True)
class Enrolment:
    """A product to enroll, from what, and where; each field is a flag of the command."""

    data: Path
    runs: Path
    classifier: str
    photos: Path
    name: str
    id: int | None = None
    blend: float = 1.0
    shift: bool = False
    studio: Path | None = None


def teach(request: Enrolment) -> None:
    """Make the prototype from the photos and put it into the classifier; says what was done."""
    dataset = read(request.data)
    parts = folds.load(request.runs / "folds.json", dataset)
    train = parts.photos("train")
    folder = request.runs / request.classifier
    model = load_embedder(folder / "model.onnx")
    prototypes_of(onnx.load(str(model.path)), model.path)  # a linear head is refused before any work
    size = model.sidecar.size
    place = find_place(request.name, request.id, model.sidecar.categories or [], dataset, enrolled_in(folder))
    regions, sides, shift = read_photos(request.photos, size), box_sides(train), None
    if request.shift:
        pictures = studio_regions(studio_folder(request.data, request.studio), dataset.categories, size)
        shift = domain_shift(model, pictures, shelf_regions(train, size), sides)
    direction = prototype(model, regions, sides, shift)
    shown, others = crops_at(model, regions, sides), other_crops(model, parts.photos("valid"), place)
    wide = enroll(model, request.runs, request.classifier, place, request.name, direction, shown, others, request.blend)
    what = f"its column {'replaced' if request.blend == 1 else 'mixed'}" if place.replaces else "a new column"
    say(f"enroll: {request.name!r} is category {place.id}, {what}, from {len(regions)} photos; --undo takes it back")
    say(told_ensemble(request.runs, wide, place))


def told_ensemble(runs: Path, wide: bool, place: Place) -> str:
    """What became of R/ensemble.json, in words."""
    if wide:
        others = len(read_object(runs / "ensemble.json")["classifiers"]) - 1
        more = (
            f"; its other {others} classifiers do not know the name yet: enroll it there with --id {place.id}" if others else ""
        )
        return f"enroll: {runs / 'ensemble.json'} knows category {place.id} too{more}"
    if place.replaces:
        return "enroll: the class map stays as it is"
    there = (runs / "ensemble.json").is_file()
    why = "does not use this classifier, or knows the category already" if there else "is not there yet"
    return f"enroll: {runs / 'ensemble.json'} stays as it is: it {why}"


if __name__ == "__main__":
    raise SystemExit(main())

"""Teach a trained classifier a product from photos of it, without training: one more column of its head.

    python -m stage2_classifier.enrolment --data D --runs R --classifier NAME --photos DIR --name NAME [--id N] [--blend [W]]
    python -m stage2_classifier.enrolment --data D --runs R --classifier NAME --undo

The mean embedding of the photos becomes the last column of the head, and the name joins the class maps of the sidecar and of
R/ensemble.json; the detectors keep their narrower class map. A name that the data set has already gets its column replaced, or
with --blend mixed: a product without a box on any shelf needs that. R/NAME/enrolled.json lists the enrolled names and ids.

A network that was trained briefly sees all products alike, and a mean of embeddings is then near every crop. So the new name
gets a bias, such that at most `class_map.STOLEN` of the valid part's crops of other products would be given it.
"""

import json
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from fusion.models import Model, read_object
from photos import folds, trained_names
from photos.repairs import read_and_tell
from photos.studio import studio_folder
from runs import process, record
from runs.atomic_write import replacing
from runs.command import Parser, note_result, run, say
from runs.first_command import refuse_untrained
from runs.model_files import fingerprint_of, model_in, with_change
from stage2_classifier import enrolment_journal as journal
from stage2_classifier.class_map import bias_of, find_place, widened, with_bias, with_category
from stage2_classifier.crops import Image, shelf_regions, studio_regions
from stage2_classifier.enrolment_journal import backup
from stage2_classifier.neighbours import load_embedder, logits_of
from stage2_classifier.prototypes import (
    Column,
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

HALF = 0.5  # chosen: the share of the new prototype where --blend names none


@dataclass(frozen=True)
class Enrolment:
    """What is enrolled where: photos of one product, its name, and the classifier in the run folder that learns it.

    Args:
        data: the data set the classifier was trained on.
        runs: run folder with folds.json and the classifier.
        classifier: its folder in `runs`.
        photos: folder with photos of the product before a plain background.
        name: of the product.
        id: its category id; None for one more than the largest.
        blend: the share in (0, 1] of the new prototype in a column that exists already.
        shift: whether to move the prototype by the mean step from studio to shelf embeddings.
        studio: folder of the studio photos that give this step; None for the one in `data`.
    """

    data: Path
    runs: Path
    classifier: str
    photos: Path
    name: str
    id: int | None = None
    blend: float = 1.0
    shift: bool = False
    studio: Path | None = None


# -- files -----------------------------------------------------------------------------------------------------------------


def enrolled_in(folder: Path) -> list[dict[str, Any]]:
    """The names and ids enrolled into the classifier in FOLDER so far, oldest first."""
    path = folder / journal.ENROLLED
    return list(json.loads(path.read_text())) if path.is_file() else []


def taught_in(runs: Path, folder: Path) -> list[dict[str, Any]]:
    """The names and ids enrolled into any classifier of the folder RUNS, those of the one in FOLDER last."""
    others = [other.parent for other in sorted(runs.glob("*/enrolled.json")) if other.parent != folder]
    return [row for classifier in (*others, folder) for row in enrolled_in(classifier)]


def undo(runs: Path, classifier: str) -> None:
    """Bring back the model from before the last enrolling, or before one that was stopped. Raises ValueError for none."""
    file = model_in(runs, classifier)
    folder, ensemble = (runs / file).parent, runs / "ensemble.json"
    if put_right(folder, ensemble):
        return
    model, sidecar = journal.files_of(folder)
    if not all(backup(path).is_file() for path in (model, sidecar)):
        raise ValueError(f"--undo: {backup(model)} not found; only the last enrolling can be undone, once")
    known, before = (list(read_object(path)["categories"]) for path in (sidecar, backup(sidecar)))
    values = now = read_object(ensemble) if ensemble.is_file() else {}
    if values.get("categories") == known and not _needed(runs, values, file, len(before)):
        names = {"names": values["names"][: len(before)]} if values.get("names") else {}
        values = values | {"categories": before} | names
    old = fingerprint_of(backup(model))
    journal.begin(folder, old, enrolled_in(folder)[:-1], (now, followed(values, file, fingerprint_of(model), old)))
    journal.bring_back(folder, ensemble)


def put_right(folder: Path, ensemble: Path) -> bool:
    """Bring the classifier in FOLDER back to before an enrolling or undoing that was stopped; says so, and whether one was."""
    was_stopped = journal.bring_back(folder, ensemble)
    if was_stopped:
        say(f"enroll: {folder.name}: an enrolling or undoing was stopped here; the model is as it was before that enrolling")
    return was_stopped


def _needed(runs: Path, ensemble: dict[str, Any], file: str, width: int) -> bool:
    """Whether another classifier of the ensemble than that in FILE knows more than `width` names."""
    files = [namer["file"] for namer in ensemble["classifiers"] if namer["file"] != file]
    return any(len(read_object((runs / f).with_suffix(".json"))["categories"]) > width for f in files)


def followed(values: dict[str, Any], file: str, before: str, after: str) -> dict[str, Any]:
    """The `values` of ensemble.json that record the changed model FILE: what they say of the other names stays right."""
    if not values.get("made_from"):
        return values
    return values | {"made_from": with_change(values["made_from"], file, before, after)}


def enroll(model: Model, runs: Path, name: str, column: Column, crops: Image, others: Image) -> bool:
    """Put `column` for `name` into the classifier `model` of the folder RUNS; returns whether ensemble.json changed.

    Everything is written beside first; what is stopped after that is taken back by the next call (`enrolment_journal`). The
    other names' logits are compared on `crops` uint8 (N, size, size, 3); `others` (M, size, size, 3) are held-out crops of
    other products. Raises ValueError where the other logits would change.
    """
    folder, ensemble, place = model.path.parent, runs / "ensemble.json", column.place
    known, before = read_object(model.path.with_suffix(".json"))["categories"], fingerprint_of(model.path)
    new = with_category(read_object(model.path.with_suffix(".json")), place, column.blend)
    file = f"{folder.relative_to(runs)}/model.onnx"
    wide = widened(ensemble, file, known, new["categories"], name)
    beside = _write_beside(model, new, column, crops, others)
    now = read_object(ensemble) if ensemble.is_file() else {}
    then = followed(now if wide is None else wide, file, before, fingerprint_of(beside))
    journal.begin(folder, before, enrolled_in(folder), (then, now))
    journal.keep(folder)
    with replacing(*journal.files_of(folder)) as unfinished:
        for suffix, new_file in zip((".onnx", ".json"), unfinished, strict=True):
            beside.with_suffix(suffix).replace(new_file)
    row = {"name": name, "id": place.id, "replaced": place.replaces}
    record.write_json(folder / journal.ENROLLED, [*enrolled_in(folder), row])
    if then != now:
        record.write_json(ensemble, then)
    journal.end(folder)
    return wide is not None


def _write_beside(model: Model, sidecar: dict[str, Any], column: Column, crops: Image, others: Image) -> Path:
    """Write the graph with `column`, and `sidecar` with its bias, beside the model; nothing stays where they are refused."""
    beside = model.path.with_name("model.part.onnx")
    products = len(read_object(model.path.with_suffix(".json"))["categories"])
    onnx.save(with_prototype(onnx.load(str(model.path)), model.path, column, products), str(beside))
    record.write_json(beside.with_suffix(".json"), sidecar)
    try:
        after = Model(beside)
        refuse_change(model, after, crops, column.place)
        logits = logits_of(after, others)
        bias = bias_of(logits, sidecar, column.place)
        record.write_json(beside.with_suffix(".json"), with_bias(sidecar, column.place, logits.shape[1], bias))
    except ValueError:
        beside.unlink()
        beside.with_suffix(".json").unlink()
        raise
    return beside


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
        with claimed(args.runs, args.classifier):
            undo(args.runs, args.classifier)
        say(f"enroll: {args.classifier} is as it was before the last enrolling")
        return
    if args.photos is None or not (args.name or "").strip() or not 0 < args.blend <= 1:
        raise ValueError(f"enroll: got --photos {args.photos}, --name {args.name!r}, --blend {args.blend}; "
                         "need a folder, a name, and a share above 0 and at most 1")  # fmt: skip
    order = (args.data, args.runs, args.classifier, args.photos, args.name, args.id, args.blend, args.shift, args.studio)
    with claimed(args.runs, args.classifier):
        teach(Enrolment(*order))


def claimed(runs: Path, classifier: str) -> AbstractContextManager[None]:
    """A block in which no other process changes the classifier, if it is there. Raises ValueError where one does."""
    folder = (runs / model_in(runs, classifier)).parent
    return process.claimed(folder, "is at work on it; wait until it is done") if folder.is_dir() else nullcontext()


def teach(enrolment: Enrolment) -> None:
    """Make the prototype from the photos and put it into the classifier; says what was done."""
    dataset = read_and_tell(enrolment.data)
    parts = folds.load(enrolment.runs / "folds.json", dataset)
    train = parts.photos("train")
    folder = (enrolment.runs / model_in(enrolment.runs, enrolment.classifier)).parent
    put_right(folder, enrolment.runs / "ensemble.json")
    trained_names.refuse_exchanged([folder], dataset)
    refuse_untrained(enrolment.runs, str(folder.relative_to(enrolment.runs)), " --head arcface")
    model = load_embedder(folder / "model.onnx")
    if model.sidecar.prototype_weights is not None:
        raise ValueError(f"{model.path}: hylle fit blended its names with prototypes; enroll into one of train-classifier")
    prototypes_of(onnx.load(str(model.path)), model.path)  # a linear head is refused before any work
    size = model.sidecar.size
    place = find_place(enrolment.name, enrolment.id, model.sidecar.categories or [], dataset, taught_in(enrolment.runs, folder))
    regions, sides, shift = read_photos(enrolment.photos, size), box_sides(train), None
    if enrolment.shift:
        pictures = studio_regions(studio_folder(enrolment.data, enrolment.studio), dataset.categories, size)
        shift = domain_shift(model, pictures, shelf_regions(train, size), sides)
    column = Column(place, prototype(model, regions, sides, shift), enrolment.blend)
    own, others = crops_at(model, regions, sides), other_crops(model, parts.photos("valid"), place)
    changed = enroll(model, enrolment.runs, enrolment.name, column, own, others)
    action = f"its column {'replaced' if enrolment.blend == 1 else 'mixed'}" if place.replaces else "a new column"
    say(f"enroll: {enrolment.name!r} is category {place.id}, {action}, from {len(regions)} photos; --undo takes it back")
    say(effect_on_ensemble(enrolment.runs, changed, place))
    at = next((i for i, category in enumerate(dataset.categories) if category.id == place.id), -1)
    is_learnt = place.replaces and any(at in photo.labels for photo in train)  # by the detectors too
    ignored = "" if is_learnt else why_ignored(enrolment.runs, f"{folder.relative_to(enrolment.runs)}/model.onnx")
    if ignored:
        say(f"enroll: but no box gets this name from the classifier: {ignored}")
    note_result(name=enrolment.name, id=place.id, photos=len(regions), ensemble_changed=changed, ignored=ignored)


def effect_on_ensemble(runs: Path, changed: bool, place: Place) -> str:
    """The message on what became of R/ensemble.json."""
    if changed:
        others = len(read_object(runs / "ensemble.json")["classifiers"]) - 1
        more = (
            f"; its other {others} classifiers do not know the name yet: enroll it there with --id {place.id}" if others else ""
        )
        return f"enroll: {runs / 'ensemble.json'} knows category {place.id} too{more}"
    if place.replaces:
        return "enroll: the class map stays as it is"
    exists = (runs / "ensemble.json").is_file()
    why = "does not use this classifier, or knows the category already" if exists else "is not there yet"
    return f"enroll: {runs / 'ensemble.json'} stays as it is: it {why}"


def why_ignored(runs: Path, file: str) -> str:
    """Why R/ensemble.json gives no box a name that only the classifier in FILE knows, and the remedy.

    Empty where it may give one, or where it does not use the classifier.
    """
    path = runs / "ensemble.json"
    values = read_object(path) if path.is_file() else {}
    if file not in [namer["file"] for namer in values.get("classifiers", [])]:
        return ""
    keeps = values.get("gate", {}).get("policy", "detector") == "detector"  # the detectors' names, where they give any
    unlike = keeps and any(member.get("evidence_weight", 0) > 0 for member in values["detectors"])
    floor = values.get("naming_floor", 0)
    told = [("gate.policy", '"detector"', '"agree"')] * unlike + [("naming_floor", f"{floor:g}", "0")] * (floor > 1)
    if not told:
        return ""
    now, then = (" and ".join(f"{key} {word} {row[k]}" for key, *row in told) for k, word in enumerate(("is", "to")))
    return (
        f"in {path} {now}, which keeps the detectors' names; train the detectors and the gate anew with labelled shelf photos "
        f"of the product, or set {then} there and look at what it names"
    )


if __name__ == "__main__":
    raise SystemExit(main())

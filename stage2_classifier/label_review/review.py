"""Which labels of a data set look wrong: a ranked list of proposals and a contact sheet; it changes nothing by itself.

    python -m stage2_classifier.label_review --data D --runs R [--part valid|test|train|all] [--classifier NAME ...] [--out DIR]
                                 [--top N]
    python -m stage2_classifier.label_review --data D --apply DIR/proposals.json --out COPY

Look at DIR/contact_sheet.png, set `apply` to true in DIR/proposals.json where you agree, and apply them to a copy.
Models are sure of photos that they were trained on, wrong labels included, and find few errors there. Rank the parts that were
held out; on the part train expect only the clearest errors, or train again with other photos held out (folds --seed).
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fusion.boxes import xyxy_to_xywh
from fusion.ensemble import Ensemble
from fusion.pipeline import Pipeline
from photos import folds, trained_on
from photos.data import PARTS, Dataset, Photo, read_image
from photos.fingerprint import of_file
from photos.fit_folds import is_of_a_fit_without
from photos.folds import Folds
from photos.repairs import read_and_tell
from runs import record
from runs.atomic_write import replacing
from runs.command import Parser, note_result, run, say, ticker
from runs.counted import counted
from runs.model_files import files_of
from runs.output_file import file_above
from runs.typed import typed
from stage2_classifier.gate.ensemble import default_ensemble, refuse_other_models
from stage2_classifier.gate.evidence import Evidence, cache_file, collect, is_written, models_and_code, whole_arrays
from stage2_classifier.label_review import folds_of_fit
from stage2_classifier.label_review.contact_sheet import Cell, write
from stage2_classifier.label_review.folds_of_fit import CLASSIFIER
from stage2_classifier.label_review.relabel import DECISIONS, read_proposals, relabel
from stage2_classifier.label_review.suspicions import PhotoEvidence, Suspicion, joined_names, suspicions


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="the labelled set whose labels are looked at")
    p.add_argument("--runs", type=Path, help="run folder with folds.json, one/, all/ and the classifier")
    p.add_argument("--part", default="valid", choices=("valid", "test", "train", "all"), help="which photos (default valid)")
    p.add_argument("--classifier", nargs="+", default=[], help=f"folders in R (default {CLASSIFIER}, or the only one)")
    p.add_argument("--out", type=Path, help="default R/labels; with --apply a new folder, the copy")
    p.add_argument("--top", type=int, default=100, help="how many proposals at most (default 100)")
    p.add_argument(
        "--apply", type=Path, metavar="FILE", help="apply the proposals in FILE whose `apply` is true to a copy of D"
    )
    return p


def main(argv: list[str] | None = None, prog: str = "python -m stage2_classifier.label_review") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments; rank, or apply. Raises ValueError for what the user can mend."""
    args = parser(prog).parse_args(argv)
    if args.apply:
        if args.out is None:
            raise ValueError("--apply: needs --out COPY, a new folder")
        done = relabel(read_and_tell(args.data), args.apply, args.out)
        say(f"labels: {sum(done.values())} proposals applied ({_counts(done)}); the copy is {args.out}")
        note_result(out=args.out, applied=done)
        return
    if args.runs is None:
        raise ValueError("--runs is missing, the run folder whose models look at the labels; or pass --apply FILE --out COPY")
    if args.top < 1:
        raise ValueError(f"--top: got {args.top}, need 1 or more")
    rank(args.data, args.runs, args.part, args.classifier, args.out or args.runs / "labels", args.top)


def rank(data: Path, runs: Path, part: str, classifiers: Sequence[str], out: Path, top: int) -> list[dict[str, Any]]:
    """Write the `top` surest proposals of `part` and their contact sheet into OUT, and say what they are.

    `classifiers`: their folders in RUNS; none: the one that is there.
    """
    if (out.exists() and not out.is_dir()) or file_above(out):
        raise ValueError(f"--out: got {out}, which is {'below ' * bool(file_above(out))}a file, need a folder")
    refuse_reviewed(out / "proposals.json")
    refuse_decided(out / "proposals.json", runs / "review", data)
    dataset = read_and_tell(data)
    folds_of_fit.refuse_no_fold(data, runs)
    parts = folds.load(runs / folds.NAME, dataset)
    if part == "valid" and is_of_a_fit_without(runs / folds.NAME, part):
        raise ValueError(f"--runs {runs}: hylle fit holds no photo out there; {folds_of_fit.remedy(data, runs)}")
    photos = tuple(p for name in PARTS for p in parts.photos(name)) if part == "all" else parts.labelled(part)
    ensemble = default_ensemble(runs, classifiers or asked_by_default(runs), dataset)
    refuse_other_models(runs, ensemble)
    if known := trained_with([runs / file for file in files_of(ensemble)], photos, parts):
        say(f"labels: {known} of {len(photos)} photos were trained on: the models are too sure of these, much stays unseen")
    source = EvidenceSource(ensemble, runs)
    evidence = source.beside_annotations(photos, source.evidence(photos))
    best = surest(suspicions(evidence), top, len(dataset.categories), ensemble.names)
    out.mkdir(parents=True, exist_ok=True)
    proposals = [proposal(k + 1, s, evidence[s.photo].photo, dataset) for k, s in enumerate(best)]
    record.write_json(out / "proposals.json", proposals)
    for old in out.glob("contact_sheet*.png"):
        old.unlink()
    write([cell(row, s, evidence[s.photo].photo, dataset) for row, s in zip(proposals, best, strict=True)], out)
    kinds = _counts(Counter(s.kind for s in best))
    say(f"labels: {counted(len(best), 'proposal')} of {counted(len(photos), 'photo')} ({kinds}): {out / 'proposals.json'}")
    note_result(file=out / "proposals.json", photos=len(photos), proposals=len(best))
    return proposals


def asked_by_default(runs: Path) -> list[str]:
    """The classifier in RUNS that is asked where none is named; says which where it is not CLASSIFIER."""
    name = folds_of_fit.default_classifier(runs)
    if name != CLASSIFIER:
        say(f"labels: asks {name}, as {runs} has no {CLASSIFIER}; --classifier names others")
    return [name]


def surest(doubts: Sequence[Suspicion], top: int, known: int, names: Sequence[str]) -> list[Suspicion]:
    """The first `top` of `doubts` whose products the data set can name, its `known` ones of `names`; says how many as sure are
    left out: those that take a box for an enrolled product, which is in no category of the set.
    """
    best = [doubt for doubt in doubts if doubt.label is None or doubt.label < known][:top]
    least = best[-1].score if len(best) == top else 0.0
    enrolled = [doubt.label for doubt in doubts if doubt.label is not None and doubt.label >= known and doubt.score >= least]
    if enrolled:
        told = ", ".join(f"{names[label]!r} {count}" for label, count in Counter(enrolled).most_common())
        say(
            f"labels: {counted(len(enrolled), 'doubt')} left out, where models see what only hylle enroll taught ({told}); "
            "label it in the set and train anew to have it proposed"
        )
    return best


def trained_with(models: Sequence[Path], photos: Sequence[Photo], parts: Folds) -> int:
    """How many of `photos` the models are too sure of: those in train, and those that one has seen under earlier folds."""
    seen = set().union(*(trained_on.seen_of(part, model, parts) for part in ("valid", "test") for model in models))
    return sum(parts.part[photo.id] == "train" or (bool(seen) and of_file(photo.path) in seen) for photo in photos)


def refuse_reviewed(path: Path) -> None:
    """Raises ValueError where the proposals at PATH were reviewed: one of them is to be applied."""
    if path.is_file() and any(row["apply"] for row in read_proposals(path)):
        raise ValueError(f"{path} holds reviewed proposals; apply them, or pass another --out")


def refuse_decided(path: Path, review: Path, data: Path) -> None:
    """Raises ValueError where REVIEW, the folder of `hylle review`, holds decisions about the proposals at PATH to be applied.

    They fit no other list, so that nothing could be done with them once the list is another one.
    """
    log, decided = review / DECISIONS, review / "proposals.json"
    if not all(file.is_file() for file in (path, log, decided)):
        return
    if decisions_are_about(log, read_proposals(path)) and any(row["apply"] for row in read_proposals(decided)):
        apply = typed("apply them: hylle labels --data", data, "--apply", decided, "--out COPY")
        raise ValueError(f"{log} holds decisions about {path}; {apply}, then move {log} away; or pass another --out")


def decisions_are_about(log: Path, proposals: Sequence[dict[str, Any]]) -> bool:
    """Whether the decisions in the file `log` are about this list of proposals, as its first line tells."""
    with log.open(encoding="utf-8") as lines:
        try:
            about = json.loads(next(lines, "{}"))["about"]["proposals"]
        except (ValueError, KeyError, TypeError):  # cut off by a kill: it holds no decision
            return False
    return bool(about == record.digest(list(proposals)))


def _counts(kinds: Counter[str]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()) or "none"


class EvidenceSource:
    """The models of one run folder, and what they find on photos; cached in RUNS/raw, so that it is computed once."""

    def __init__(self, ensemble: Ensemble, runs: Path) -> None:
        self.ensemble, self.runs = ensemble, runs
        self.namers = replace(ensemble, detectors=[])
        self.pipeline: list[Pipeline] = []  # the classifiers, loaded at the first crop that is not cached
        files = [runs / namer.file for namer in ensemble.classifiers]
        settings = record.digest([[asdict(namer) for namer in ensemble.classifiers], len(ensemble.categories)])
        self.cache = runs / "raw" / f"names-{models_and_code(files)}-{settings}"

    def evidence(self, photos: Sequence[Photo]) -> list[Evidence]:
        """What the detectors find, and how the classifiers name it."""
        return collect(self.ensemble, self.runs, photos, self.runs / "raw", ticker("labels: photo"))

    def beside_annotations(self, photos: Sequence[Photo], evidence: Sequence[Evidence]) -> list[PhotoEvidence]:
        """`evidence` of the same photos beside the annotations of `photos`, which may differ from those of `evidence`."""
        by_photo = []
        for photo, own in zip(photos, evidence, strict=True):
            if own.probabilities is None:
                raise ValueError("labels: the ensemble has no classifier, need one")
            names_at_detections = joined_names(own.probabilities, own.merged.evidence)
            names_at_annotations = self.names(photo, photo.boxes)
            by_photo.append(PhotoEvidence(photo, own.merged, names_at_detections, names_at_annotations))
        return by_photo

    def names(self, photo: Photo, boxes: np.ndarray) -> np.ndarray:
        """The classifier's probabilities (T, C) for the crops under `boxes` (T, 4)."""
        path = cache_file(self.cache, photo)
        known = _load(path)
        new = [box for box in boxes if box.tobytes() not in known]
        if new:
            self.pipeline = self.pipeline or [Pipeline(self.namers, self.runs)]
            rows = self.pipeline[0].classify(read_image(photo.path, photo.width, photo.height), np.stack(new))
            known |= {box.tobytes(): row for box, row in zip(new, rows, strict=True)}
            is_written(partial(_save, path, known), self.cache.parent)
        rows = [known[box.tobytes()] for box in boxes]
        return np.array(rows, np.float32).reshape(len(boxes), len(self.ensemble.categories))


def _load(path: Path) -> dict[bytes, np.ndarray]:
    """Rows of probabilities by the bytes of their box (float32 (4,))."""
    arrays = whole_arrays(path) or {"boxes": [], "names": []}
    return {box.tobytes(): row for box, row in zip(arrays["boxes"], arrays["names"], strict=True)}


def _save(path: Path, rows: dict[bytes, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes = np.stack([np.frombuffer(key, np.float32) for key in rows])
    with replacing(path) as (unfinished,), unfinished.open("wb") as file:
        np.savez(file, boxes=boxes, names=np.stack(list(rows.values())))


# -- what is written -----------------------------------------------------------------------------------------------------


def proposal(number: int, doubt: Suspicion, photo: Photo, dataset: Dataset) -> dict[str, Any]:
    """One entry of proposals.json; `proposed` None asks to delete the box."""
    ids = [category.id for category in dataset.categories]
    k, now = doubt.annotation, None
    if k is not None:
        now = {"bbox": _xywh(photo.boxes[k]), "category_id": ids[photo.labels[k]]}
    then = None if doubt.box is None or doubt.label is None else {"bbox": _xywh(doubt.box), "category_id": ids[doubt.label]}
    return {
        "id": number,
        "kind": doubt.kind,
        "image_id": photo.id,
        "file_name": photo.name,
        "annotation_id": None if k is None else int(photo.annotation_ids[k]),
        "current": now,
        "proposed": then,
        "score": round(float(doubt.score), 6),
        "why": doubt.why.format(now=_name(dataset, now), then=_name(dataset, then)),
        "apply": False,
    }


def cell(row: dict[str, Any], doubt: Suspicion, photo: Photo, dataset: Dataset) -> Cell:
    """The proposal's picture; a box that is proposed unchanged is drawn once, in red."""
    now = None if doubt.annotation is None else photo.boxes[doubt.annotation]
    then = None if doubt.kind == "mislabelled" else doubt.box
    names = [_name(dataset, row[key]) for key in ("current", "proposed")]
    lines = (f"{row['id']} {row['kind']} {row['score']:.3f}", f"now: {names[0]}", f"then: {names[1]}")
    return Cell(photo, now, then, lines)


def _xywh(box: np.ndarray) -> list[float]:
    return [round(float(v), 2) for v in xyxy_to_xywh(box.astype(np.float64))]


def _name(dataset: Dataset, side: dict[str, Any] | None) -> str:
    """The product's name, or its number where the name is empty; "nothing" for no box."""
    if side is None:
        return "nothing"
    return next(c.name for c in dataset.categories if c.id == side["category_id"]) or f"category {side['category_id']}"


if __name__ == "__main__":
    raise SystemExit(main())

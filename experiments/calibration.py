"""How well each source of evidence is calibrated, before and after, on photos that nothing was fitted on.

    python -m experiments.calibration --data D --runs R [--classifier NAME] [--name SET --record [--headline]]

Three sources: the classifier's names and the class-aware detector's, at the merged boxes on products, and the objectness of
every merged box. Each method is fitted on the valid part and measured on the test part; a star marks the one that
cross-validation on valid picks. Logits are kept in R/raw. Writes R/calibration.json and R/calibration.png.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit

from experiments.figures import calibration_table, records
from experiments.figures.ablation_table import Triple
from experiments.figures.calibration_table import SOURCES, Line
from fusion.ensemble import Ensemble
from fusion.gate import Gate, detector_probabilities
from fusion.models import Model, Sidecar, read_sidecar
from fusion.views import crop_batches
from photos import folds
from photos.data import Photo, read_image
from photos.repairs import read_and_tell
from photos.score import counted
from runs import record
from runs.command import Parser, run, say, ticker
from stage2_classifier import scaling
from stage2_classifier.gate.calibrate import first_hits, named_boxes
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import default_ensemble, gather, refuse_other_models, scenes_of
from stage2_classifier.gate.evidence import Evidence, cached, models_and_code
from stage2_classifier.reliability import calibration_error, reliability
from stage2_classifier.scaling import METHODS, Scaling

MAPS = ("none", "platt", "isotonic")  # of objectness, from the simplest
DRAWS = 1000  # chosen: resamples of an interval
Apply = Callable[[np.ndarray], np.ndarray]  # a source's outputs, (N, C) or (N,) -> probabilities of the same shape


class Rows(NamedTuple):
    """A source's outputs for N boxes: logits or class evidence (N, C), or scores (N,); labels or hits (N,); groups (N,)."""

    outputs: np.ndarray
    truth: np.ndarray
    groups: np.ndarray


class Answers(NamedTuple):
    """N calibrated answers: how sure (N,), whether right (N,), and the probability (N,) given to what is true."""

    confidence: np.ndarray
    right: np.ndarray
    given: np.ndarray


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.calibration", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="the labelled set that R is of")
    p.add_argument("--runs", type=Path, required=True, help="run folder with one/, all/ and a classifier")
    p.add_argument("--classifier", default="classifier_shelf", help="its folder in R")
    p.add_argument("--name", help="what to call the photos, such as snacks, in the figures")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results; needs --name")
    p.add_argument("--headline", action="store_true", help="record the classifier's as ece.before and ece.after too")
    p.add_argument("--seed", type=int, default=0, help="of the cross-validation and the bootstrap")
    return p


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, measure, print the table. Raises ValueError for --record without --name."""
    args = parser().parse_args(argv)
    if args.record and not args.name:
        raise ValueError("--record: needs --name SET, what to call the photos")
    lines, setting = calibration(args.data, args.runs, args.classifier, args.seed)
    if args.record:
        command = records.command("calibration", argv)
        say(f"figures: {records.write('ece', calibration_table.as_records(lines, args.name, args.headline, setting, command))}")


def calibration(data: Path, runs: Path, classifier: str, seed: int) -> tuple[list[Line], str]:
    """Fit on valid, measure on test; write RUNS/calibration.json and .png. The lines, and what they were measured on."""
    dataset = read_and_tell(data)
    parts = folds.load(runs / "folds.json", dataset)
    ensemble = default_ensemble(runs, [classifier], dataset)
    refuse_other_models(runs, ensemble)
    valid, test = (gather(part, ensemble, runs, parts) for part in ("valid", "test"))
    groups, resampled = zip(*(resampling_groups(scenes_of(part, parts)) for part in (valid, test)), strict=True)
    fit_on, held_out = (sources(p, logits_of(ensemble, runs, p), g) for p, g in zip((valid, test), groups, strict=True))
    side, lines = read_sidecar(runs / classifier / "model.json"), []
    for source, rows in fit_on.items():
        if not (len(rows.truth) and len(held_out[source].truth)):
            raise ValueError(f"{source}: got no box on a product on the valid or the test part, need 1 on each")
        methods, picked = fitted(source, rows, side), pick(source, rows, side, seed)
        lines += measure(source, methods, picked, held_out[source], len(dataset.categories), seed)
    setting = f"fitted on {len(valid)} valid photos, measured on {len(test)} test photos, over {resampled[1]}, seed {seed}"
    calibration_table.show(lines, setting)
    record.write_json(runs / "calibration.json", {"setting": setting, "lines": [asdict(line) for line in lines]})
    calibration_table.draw(lines, runs / "calibration.png")
    say(f"table: {runs}/calibration.json, .png")
    return lines, setting


def logits_of(ensemble: Ensemble, runs: Path, evidence: Sequence[Evidence]) -> list[np.ndarray]:
    """The classifier's raw logits (N, C [+ 1]) at the merged boxes of each photo, kept in RUNS/raw."""
    namer = ensemble.classifiers[0]
    files = [runs / part.file for part in (namer, *ensemble.detectors)]
    key = record.digest(
        [models_and_code(files), namer.batch, [asdict(member) for member in ensemble.detectors], asdict(ensemble.merge)]
    )
    model, boxes = Model(runs / namer.file), {e.photo.id: e.merged.boxes for e in evidence}
    side = model.sidecar
    empty = np.zeros((0, len(side.categories or []) + side.background), np.float32)

    def compute(photo: Photo) -> dict[str, np.ndarray]:
        image = read_image(photo.path, photo.width, photo.height)
        cut = crop_batches(image, boxes[photo.id], side.size, side.margin, namer.batch, side.fit)
        return {"logits": np.concatenate([empty, *(model(batch)[:n] for batch, n in cut)])}

    photos = [e.photo for e in evidence]
    return [arrays["logits"] for arrays in cached(runs / "raw" / f"logits-{key}", photos, compute, ticker("logits"))]


def hits_by_score(evidence: Evidence) -> tuple[np.ndarray, np.ndarray]:
    """The scores (M,) of a photo's merged boxes and which are first hits (M,); what lies in regions to ignore is left out."""
    hit = first_hits(evidence.truth, evidence.merged)
    counts = counted(evidence.truth, evidence.merged, hit)
    return evidence.merged.scores[counts], hit[counts]


def sources(evidence: Sequence[Evidence], logits: Sequence[np.ndarray], groups: np.ndarray) -> dict[str, Rows]:
    """The rows of each source; `groups` (P,) are those of the photos."""
    by_crop = [replace(e, merged=replace(e.merged, evidence=z)) for e, z in zip(evidence, logits, strict=True)]
    outputs = ([named_boxes([e]) for e in by_crop], [named_boxes([e]) for e in evidence],
               [hits_by_score(e) for e in evidence])  # fmt: skip
    return {source: join(by_photo, groups) for source, by_photo in zip(SOURCES, outputs, strict=True)}


def join(by_photo: Sequence[tuple[np.ndarray, np.ndarray]], groups: np.ndarray) -> Rows:
    """The photos' rows as one; photos without any are left out."""
    rows = [
        (outputs, truth, np.full(len(truth), group))
        for (outputs, truth), group in zip(by_photo, groups, strict=True)
        if len(truth)
    ]
    return Rows(*(np.concatenate(column) for column in zip(*rows, strict=True))) if rows else Rows(*(np.zeros(0),) * 3)


def fit_map(method: str, scores: np.ndarray, hits: np.ndarray) -> Apply:
    """Objectness -> P(the box finds a product), by one of MAPS, fitted on held-out boxes and whether they hit."""
    if method == "platt":
        slope, intercept = scaling.platt(scores, hits)
        return lambda p: expit(slope * scaling.logit(p) + intercept)
    if method == "isotonic":
        at, value = scaling.isotonic(scores, hits).T
        return lambda p: np.interp(np.asarray(p, np.float64), at, value)
    return lambda p: np.asarray(p, np.float64)


def as_logits(source: str, valid: Rows) -> Apply:
    """What turns a source's outputs into logits: nothing, or the log of class evidence above the floor fitted on `valid`."""
    floor = scaling.detector_scale(valid.outputs, valid.truth)[1] if source == "detector" else 0.0
    return lambda outputs: np.log(outputs + floor) if source == "detector" else outputs


def fitted(source: str, valid: Rows, side: Sidecar) -> dict[str, Apply]:
    """Every method of a source, fitted on `valid`. The detector's "none" is what the gate does by default; the classifier "as
    shipped" is calibrated as its sidecar says, which was fitted when it was trained, on shaken true boxes.
    """
    if source == "objectness":
        return {method: fit_map(method, valid.outputs, valid.truth) for method in MAPS}
    logits = as_logits(source, valid)
    scalings = {method: scaling.fit_scaling(method, logits(valid.outputs), valid.truth) for method in METHODS}
    methods: dict[str, Apply] = {method: lambda outputs, s=s: s.apply(logits(outputs)) for method, s in scalings.items()}
    if source == "classifier":
        return methods | {"as shipped": Scaling(side.temperature, side.scale, side.bias).apply}
    return methods | {"none": lambda rows: detector_probabilities(rows, Gate().detector_temperature, Gate().detector_floor)}


def pick(source: str, valid: Rows, side: Sidecar, seed: int) -> str:
    """The method that cross-validation on `valid` picks, groups kept together; the second simplest where there is one group."""
    rng = np.random.default_rng(seed)
    if source == "classifier":
        return scaling.choose_scaling(valid.outputs, valid.truth, valid.groups, rng).method
    losses = {method: np.zeros(len(valid.truth)) for method in (MAPS if source == "objectness" else METHODS)}
    if len(np.unique(valid.groups)) < 2:
        return list(losses)[1]
    for rest, own in scaling.split(valid.groups, rng):
        methods = fitted(source, Rows(valid.outputs[rest], valid.truth[rest], valid.groups[rest]), side)
        for method, loss in losses.items():
            loss[own] = -np.log(answers_of(methods[method](valid.outputs[own]), valid.truth[own]).given)
    return scaling.simplest(losses, valid.groups)


def answers_of(p: np.ndarray, truth: np.ndarray, names: int | None = None) -> Answers:
    """The answers in probabilities (N,) of a hit, or in (N, C) of labels, of which the first `names` are products'."""
    if p.ndim == 1:
        return Answers(p, truth, np.clip(np.where(truth, p, 1 - p), scaling.EDGE, 1))
    given = np.clip(np.take_along_axis(p, truth[:, None], 1)[:, 0], scaling.EDGE, 1)
    return Answers(p[:, :names].max(1), p[:, :names].argmax(1) == truth, given)


def errors_of(answers: Answers, rows: Any = slice(None)) -> tuple[float, float]:
    """Calibration error and log loss of some of the rows."""
    return calibration_error(answers.confidence[rows], answers.right[rows]), -float(np.log(answers.given[rows]).mean())


def resampled(answers: Answers, groups: np.ndarray, seed: int) -> np.ndarray:
    """Both errors, (DRAWS, 2), of as many groups as there are, drawn with replacement; the same draws for the same seed."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(groups == g) for g in np.unique(groups)]
    drawn = rng.integers(len(members), size=(DRAWS, len(members)))
    return np.array([errors_of(answers, np.concatenate([members[g] for g in draw])) for draw in drawn])


def measure(source: str, methods: dict[str, Apply], picked: str, test: Rows, names: int, seed: int) -> list[Line]:
    """A line for each method on `test`, all on the same resamples; `names` as in `answers_of`."""
    answers = {method: answers_of(apply(test.outputs), test.truth, names) for method, apply in methods.items()}
    value = {method: np.array(errors_of(answer)) for method, answer in answers.items()}
    drawn = {method: resampled(answer, test.groups, seed) for method, answer in answers.items()}
    lines = []
    for method, a in answers.items():
        ece, loss = triples(value[method], drawn[method])
        ece_gain, loss_gain = triples(value[method] - value["none"], drawn[method] - drawn["none"])
        equal_count = calibration_error(a.confidence, a.right, equal="count")
        lines.append(Line(source, method, method == picked, len(a.right), float(a.right.mean()), ece, equal_count, ece_gain,
                          loss, loss_gain, reliability(a.confidence, a.right)))  # fmt: skip
    return lines


def triples(values: np.ndarray, drawn: np.ndarray) -> list[Triple]:
    """(value, low, high) of each of `values` (K,): percentiles of `drawn` (DRAWS, K), less their mean error (ECE grows so)."""
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0) - (drawn.mean(0) - values)
    return [(float(v), float(a), float(b)) for v, a, b in zip(values, low, high, strict=True)]


if __name__ == "__main__":
    raise SystemExit(main())

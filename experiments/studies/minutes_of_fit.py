"""What `hylle fit` reaches in its minutes, against the README's five commands cut to the same minutes, on the same test photos.

    python -m experiments.studies.minutes_of_fit --data NAME=D [NAME=D ...] --minutes 45 --out OUT [--record]

The test part is the one that a set comes with, else a fifth of its scenes; OUT/NAME/data is the set so split. The five commands
keep their defaults, but for their epochs, which are cut so that, at speeds measured for them, they end in the same minutes. A
set whose OUT/NAME/result.json is there is not run again: --record takes all that are named. Without that file, models that
both ways have trained in the same minutes are kept, and only what is fitted after them, the gate, is fitted anew.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.whole_fit import outer_split
from fitting import fit, machine
from fitting.plan import AIM, fixed_parts
from fitting.procedure import Procedure
from fitting.speeds import Speeds
from fitting.survey import Survey, survey
from fitting.wishes import Wishes
from fitting.workload import CLASSIFIER, DETECTOR, Training, scale_for
from fusion.models import read_object
from photos import folds
from photos.data import read
from photos.intervals import Interval, gain_interval, interval
from photos.score import Match, match
from photos.studio import STUDIO
from runs import record
from runs.command import Parser, run, say
from runs.link import link_or_copy
from stage1_detector import engine
from stage1_detector import recipes as detector_recipes
from stage1_detector.detector_run import DetectorRun, train_detector
from stage2_classifier import config as classifier_config
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.fit import schedule
from stage2_classifier.gate.calibrate import n_categories, predictions
from stage2_classifier.gate.choose import resampling_groups
from stage2_classifier.gate.ensemble import gather, load_ensemble, scenes_of
from stage2_classifier.gate.evidence import as_judged
from stage2_classifier.gate.fit import fit_gate
from stage2_classifier.training_request import ClassifierRun

SCENES = "scenes.csv"  # of the split set, so that both ways know the same scenes
TAKEN = "minutes.json"  # in a way's run folder: how long it took
Clock = Callable[[], float]
FOLDS = 4  # derived: hylle folds deals five of which one is test, which is dealt here already


class Result(NamedTuple):
    """The figures of one set: the fit's score, how much better it is than the five commands, and the minutes both took."""

    score: Interval
    gain: Interval
    minutes: float
    minutes_of_five: float
    photos: int
    commit: str = ""  # that it was found at; empty in a result.json of before 27 November 2026, which does not tell


class Tested(NamedTuple):
    """Predictions on the test part, matched, and the groups of photos that are resampled together."""

    matched: Match
    groups: np.ndarray


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Run both ways on each set, and record the figures."""
    p = Parser(prog="python -m experiments.studies.minutes_of_fit", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", nargs="+", required=True, help="sets, each as NAME=FOLDER")
    p.add_argument("--minutes", type=float, default=45.0)
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    wrong = [word for word in args.data if not word.partition("=")[2]]
    if wrong:
        raise ValueError(f"--data: got {wrong[0]!r}, must be NAME=FOLDER")
    folders = {name: Path(folder) for name, _, folder in (word.partition("=") for word in args.data)}
    results = {name: one_set(folder, args.out / name, args.minutes) for name, folder in folders.items()}
    for name, result in results.items():
        say(
            f"{name}: score {in_words(result.score)}, minus five commands {in_words(result.gain)}, {result.minutes:.1f} minutes"
        )
    if args.record:
        command = records.command("studies.minutes_of_fit", argv)
        records.write("fit", list(figures(results, args.minutes, command)))


def one_set(data: Path, out: Path, minutes: float) -> Result:
    """Both ways on one set, or what an earlier call with the same minutes found."""
    path = out / "result.json"
    if path.is_file() and (kept := read_object(path))["wanted"] == minutes:
        of = {name: kept[name] for name in Result._fields if name in kept}
        return Result(**of | {name: Interval(**kept[name]) for name in ("score", "gain")})
    data = split_set(data, out / "data")
    taken = by_fit(data, out / "fit", minutes)
    by_five = by_five_commands(data, out, minutes)
    fitted, five = tested(data, out / "fit"), tested(data, out / "five")
    score = interval(fitted.matched, fitted.groups).score
    gain = gain_interval(fitted.matched, five.matched, fitted.groups)
    result = Result(score, gain, taken, by_five, fitted.matched.n_photos, record.commit())
    record.write_json(path, {"wanted": minutes} | result._asdict() | {"score": vars(score), "gain": vars(gain)})
    return result


def split_set(data: Path, out: Path) -> Path:
    """The set in DATA as train.json and test.json in OUT, its scenes in scenes.csv, its studio photos linked."""
    outer_split(data, out, "auto", 0)
    if (data / STUDIO).is_dir() and not (out / STUDIO).exists():
        link_or_copy((data / STUDIO).resolve(), out / STUDIO)
    return out


def by_fit(data: Path, runs: Path, minutes: float) -> float:
    """Fit with the defaults; returns the minutes that it took in one go. Raises ValueError where R holds a stopped fit."""
    before = kept_minutes(runs, minutes)
    if before is None and (runs / "plan.json").is_file():
        raise ValueError(f"{runs}: begun before, so that its time is not that of one run; remove it, or take another --out")
    started = time.time()
    fit.fit(fit.Command(data=data, minutes=minutes, out=runs), Wishes(groups=str(data / SCENES)))
    return keep_minutes(runs, minutes, (time.time() - started) / 60) if before is None else before


def kept_minutes(runs: Path, wanted: float) -> float | None:
    """The minutes that a way took in RUNS, wanted as many; None where it was not ended so."""
    path = runs / TAKEN
    return float(kept["taken"]) if path.is_file() and (kept := read_object(path))["wanted"] == wanted else None


def keep_minutes(runs: Path, wanted: float, taken: float) -> float:
    """Note in RUNS what a way took; returns it."""
    record.write_json(runs / TAKEN, {"wanted": wanted, "taken": taken})
    return taken


def by_five_commands(data: Path, out: Path, minutes: float) -> float:
    """folds, both detectors, the classifier and the gate with their defaults, their epochs cut to the minutes, in OUT/five.

    Returns the minutes that they took; measuring how fast they are does not count. Raises ValueError where OUT/five is there.
    """
    runs, agnostic, namer = out / "five", detector_recipes.small(), classifier_config.small()
    if (before := kept_minutes(runs, minutes)) is not None:
        fit_gate(data, runs)
        return before
    if runs.exists():
        raise ValueError(f"{runs}: begun before, so that its time is not that of one run; remove it, or take another --out")
    dataset = read(data)
    found, photos = survey(dataset), [photo for photo in dataset.photos if len(photo.boxes)]
    speeds = machine.measure(out, photos, Procedure(agnostic, namer, agnostic), minutes * 60 * machine.SHARE, say)
    started = time.monotonic()
    folds.split(dataset, runs, str(data / SCENES), FOLDS)

    def train(name: str, epochs: int) -> None:
        if name == "classifier_shelf":
            train_classifier(ClassifierRun(data=data, runs=runs), replace(namer, epochs=epochs, min_steps=0))
            return
        classes, start = ("one", Path("starter")) if name == "one" else ("all", record.weights_of(runs / "one"))
        config = replace(agnostic, epochs=epochs, min_steps=0)
        train_detector(DetectorRun(data=data, runs=runs, classes=classes, pretrained=start), config)

    train_within(five_trainings(found), speeds, minutes * 60 * AIM - rest_of_five(found, speeds), train)
    fit_gate(data, runs)
    return keep_minutes(runs, minutes, (time.monotonic() - started) / 60)


def train_within(
    entries: Sequence[Training],
    speeds: Speeds,
    seconds: float,
    train: Callable[[str, int], None],
    clock: Clock = time.monotonic,
) -> None:
    """Train one after the other, the epochs of those that are left cut by one factor, at the pace of the training before."""
    pace, left = 1.0, seconds
    for k, entry in enumerate(entries):
        scale = scale_for(entries[k:], left / pace, lambda later, epochs: later.seconds(speeds, epochs))
        epochs, began = entry.epochs(scale), clock()
        train(entry.name, epochs)
        took = clock() - began
        pace, left = took / entry.seconds(speeds, epochs), left - took


def five_trainings(found: Survey) -> list[Training]:
    """The trainings of the five commands, with the epochs of their recipes, on three of the four folds that are not test."""
    agnostic, namer = detector_recipes.small(), classifier_config.small()
    train, valid = in_parts(found.photos)
    boxes = found.boxes / found.photos
    full, steps = schedule(round(train * boxes), namer)
    shared = {"refit": False, "photos": train, "held_out": valid, "boxes": boxes}
    one = Training("one", DETECTOR, size=agnostic.size, epoch_steps=0, full=engine.epochs(agnostic, train), **shared)
    crops = Training(
        "classifier_shelf", CLASSIFIER, size=namer.size, epoch_steps=steps, full=full, canvas=agnostic.size, **shared
    )
    return [one, one._replace(name="all"), crops]


def in_parts(photos: int) -> tuple[int, int]:
    """How many of the photos that are not test are train and valid."""
    return round(photos * (1 - 1 / FOLDS)), round(photos / FOLDS)


def rest_of_five(found: Survey, speeds: Speeds) -> float:
    """Seconds of what the five commands do besides training: evidence of the valid photos, and the gate on it."""
    procedure = Procedure(detector_recipes.small(), classifier_config.small(), detector_recipes.small())
    parts = fixed_parts(procedure, replace(found, photos=in_parts(found.photos)[1]), speeds)
    return parts["evidence"] + parts["gate"]


def tested(data: Path, runs: Path) -> Tested:
    """What R/ensemble.json says of the test photos, matched with their labels."""
    ensemble, parts = load_ensemble(runs), folds.load(runs / folds.NAME, read(data))
    evidence = as_judged(gather("test", ensemble, runs, parts), ensemble)
    decided = predictions(evidence, [ensemble.gate] * len(evidence))
    groups, _ = resampling_groups(scenes_of(evidence, parts))
    return Tested(match([e.truth for e in evidence], decided, n_categories(evidence)), groups)


def figures(results: dict[str, Result], minutes: float, command: str) -> Iterator[dict[str, Any]]:
    """fit.SET.score, fit.SET.minus_five_commands for each set, and fit.minutes_over_wanted."""
    for name, result in results.items():
        setting = f"{minutes:g} minutes, {result.photos} test photos, over scenes"
        setting += f", found at commit {result.commit}" if result.commit else ""
        paired = f"{setting}, paired; the five commands' epochs cut to the same minutes, they took {result.minutes_of_five:.1f}"
        yield records.figure(f"fit.{name}.score", estimate(result.score), "score", setting, command)
        yield records.figure(f"fit.{name}.minus_five_commands", estimate(result.gain), "score", paired, command)
    ratios = [result.minutes / minutes for result in results.values()]
    each = ", ".join(f"{name} {ratio:.3f}" for name, ratio in zip(results, ratios, strict=True))
    setting = f"{minutes:g} minutes wanted, over sets: {each}"
    over = over_seeds(ratios)
    setting += "" if over.low is not None else "; one set, so no interval"
    yield records.figure("fit.minutes_over_wanted", over, "ratio", setting, command)


def estimate(found: Interval) -> records.Estimate:
    """An interval over scenes as a figure takes it."""
    return records.Estimate(found.value, found.n_groups, found.low, found.high)


def in_words(found: Interval) -> str:
    """An interval as text."""
    return f"{found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


if __name__ == "__main__":
    raise SystemExit(main())

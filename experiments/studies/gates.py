"""The gate over seeds: on drawn shelves whose detector names badly, and on some whose detector names well, it must not lose.

    python -m experiments.studies.gates --set drawn|few --out DIR [--seeds 0 1 2 3 4] [--quick] [--record]

For each seed: shelves are drawn and split by scene, both detectors and three classifiers trained (on shelf crops, on studio
photos only, on shelf crops whose names were shuffled), and for each classifier the gate is fitted on valid and scored on test.
The last two are sabotage: where they name worse than the detector, the gate must answer `detector` and the score must stay.
Finished runs are reused, a stopped one resumes. DIR/gates.json holds every score of every seed, DIR/gates.png shows them.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from fusion.gate import POLICIES
from fusion.models import read_object
from photos import folds
from photos.data import read
from runs import record
from runs.command import Parser, run, say
from runs.link import link_or_copy
from runs.typed import typed
from stage1_detector import recipes as detector_recipes
from stage1_detector.detector_run import DetectorRun, train_detector
from stage1_detector.synthesis import make_photos
from stage1_detector.synthesis.shelf import ShelfConfig
from stage2_classifier import config as classifier_config
from stage2_classifier.classifier_run import train_classifier
from stage2_classifier.gate.calibrate import WITHIN, fit_policies, score
from stage2_classifier.gate.choose import choose_gate
from stage2_classifier.gate.ensemble import default_ensemble, gather, scenes_of
from stage2_classifier.training_request import ClassifierRun

DECIDING = {  # what the scores of finished models depend on
    "fusion": ("boxes", "decode", "ensemble", "gate", "merge", "models", "pipeline", "reading", "views"),
    "photos": ("intervals", "score"),
    "stage2_classifier": ("cross_fitting", "scaling"),
    "stage2_classifier/gate": ("calibrate", "choose", "ensemble", "evidence", "ranks"),
}
DECIDING_FILES = [record.ROOT / folder / f"{name}.py" for folder, names in DECIDING.items() for name in names]
KINDS = ("shelf", "studio", "shuffled")


@dataclass(frozen=True)
class Setting:
    """A kind of drawn shop: what differs from the recipe `demo`, the photos' side, and the epochs of both detectors."""

    shelves: dict[str, int]
    size: int
    epochs: tuple[int, int]


SETS = {
    # sixty look-alikes and few epochs: the class-aware detector hardly names at all
    "drawn": Setting({}, 416, (10, 6)),
    # eight products and more epochs: it names well
    "few": Setting({"count": 80, "categories": 8, "families": 2}, 320, (10, 40)),
}


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, train and measure every seed, print the table."""
    p = Parser(prog="python -m experiments.studies.gates", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--set", required=True, choices=tuple(SETS), help="which kind of drawn shop")
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    p.add_argument("--quick", action="store_true", help="a rehearsal: few shelves, 1 epoch each; learns nothing")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.record and (args.quick or len(set(args.seeds)) < 2):
        raise ValueError(f"--record: got seeds {args.seeds}, needs 2 or more, and no --quick")
    folds.refuse_file(args.out)
    results = {str(seed): one_seed(args.set, args.out / str(seed), seed, args.quick) for seed in dict.fromkeys(args.seeds)}
    record.write_json(args.out / "gates.json", results)
    show(results, args.set)
    draw(results, args.out / "gates.png", args.set)
    say(f"gates: {args.out}/gates.json, gates.png")
    if args.record:
        command = records.command("studies.gates", argv)
        draw(results, records.RESULTS / f"gate.{args.set}.png", args.set)
        say(f"figures: {records.write(f'gate.{args.set}', as_records(results, args.set, command))}")


# -- one seed --------------------------------------------------------------------------------------------------------------


def one_seed(name: str, out: Path, seed: int, quick: bool) -> dict[str, Any]:
    """Train what is not there yet, and the scores on test: {kind: {policy: score, "gate", "further", "chosen", "gain"}}."""
    train(SETS[name], out, seed, quick)
    path = out / "gates.json"
    models = [out / part / "model.onnx" for part in ("one", "all", *(f"classifier_{kind}" for kind in KINDS))]
    key = record.fingerprint(*models, *DECIDING_FILES)
    if path.is_file() and json.loads(path.read_text())["key"] == key:
        say(f"gates: seed {seed}: reuses {path}")
        return dict(json.loads(path.read_text())["scores"])
    scores = {kind: measure(out, kind, seed) for kind in KINDS}
    record.write_json(path, {"key": key, "scores": scores})
    return scores


def train(setting: Setting, out: Path, seed: int, quick: bool) -> None:
    """Shelves, folds, two detectors and three classifiers."""
    data = out / "data"
    shelves: ShelfConfig = replace(make_photos.recipe("demo"), **setting.shelves)
    make_photos.draw(replace(shelves, count=16) if quick else shelves, data, seed, tell=lambda line: say(f"shelves: {line}"))
    folds.split(read(data), out, str(data / "scenes.csv"), seed=seed)
    agnostic = replace(detector_recipes.recipe("demo", quick), seed=seed)
    agnostic = agnostic if quick else replace(agnostic, size=setting.size, epochs=setting.epochs[0])
    aware = agnostic if quick else replace(agnostic, epochs=setting.epochs[1])
    train_detector(DetectorRun(data=data, runs=out, resume=record.is_stopped(out / "one")), agnostic)
    start = record.weights_of(out / "one")
    stopped = record.is_stopped(out / "all")
    train_detector(DetectorRun(data=data, runs=out, classes="all", pretrained=start, resume=stopped), aware)
    config = replace(classifier_config.recipe("demo", quick), seed=seed)
    sources = {"shelf": data, "studio": data, "shuffled": shuffled(data, out / "shuffled", seed)}
    for kind, source in sources.items():
        folder = f"classifier_{kind}"
        crops = "studio" if kind == "studio" else "shelf"
        stopped = record.is_stopped(out / folder)
        train_classifier(ClassifierRun(data=source, runs=out, crops=crops, resume=stopped, name=folder), config)


def shuffled(data: Path, out: Path, seed: int) -> Path:
    """A copy of the set whose boxes have each other's names, those of the held-out photos too.

    A classifier trained on it knows nothing, and is calibrated on wrong names: only the gate keeps it from harming the score.
    """
    if not (data / "annotations.json").is_file():
        copy = typed("hylle data", data, "--to coco COPY")
        raise ValueError(f"--data: {data} has no annotations.json; `{copy}` writes one")
    if not (out / "annotations.json").is_file():
        out.mkdir(parents=True, exist_ok=True)
        (out / "images").unlink(missing_ok=True)
        content = json.loads((data / "annotations.json").read_text())
        names = [a["category_id"] for a in content["annotations"]]
        for annotation, name in zip(content["annotations"], np.random.default_rng(seed).permutation(names), strict=True):
            annotation["category_id"] = int(name)
        link_or_copy(data / "images", out / "images")
        record.write_json(out / "annotations.json", content)
    return out


def measure(out: Path, kind: str, seed: int) -> dict[str, Any]:
    """The gate fitted on valid with one classifier, and the score of every policy and of the gate on test."""
    dataset = read(out / "data")
    parts = folds.load(out / "folds.json", dataset)
    ensemble = default_ensemble(out, [f"classifier_{kind}"], dataset)
    valid, test = (gather(part, ensemble, out, parts) for part in ("valid", "test"))
    choice = choose_gate(valid, scenes_of(valid, parts), np.random.default_rng(seed))
    gates = fit_policies(list(POLICIES), valid)
    gates |= {"gate": replace(choice.gate, further=0), "further": choice.gate}
    scores: dict[str, Any] = {name: score(test, [gate] * len(test)) for name, gate in gates.items()}
    gain = None if choice.gain is None else [choice.gain.value, choice.gain.low, choice.gain.high]
    say(f"gates: seed {seed}, {kind}: {choice.gate.policy}; " + ", ".join(f"{k} {v:.3f}" for k, v in scores.items()))
    trained = read_object(out / f"classifier_{kind}" / "run.json")["metrics"]
    scores["loader_share"] = trained["loader_share"]
    return scores | {"chosen": choice.gate.policy, "offered": choice.offered.policy, "gain": gain}


# -- all seeds -------------------------------------------------------------------------------------------------------------


def differences(results: dict[str, Any], kind: str, name: str) -> list[float]:
    """Score of `name` minus that of `detector`, a value for each seed."""
    return [scores[kind][name] - scores[kind]["detector"] for scores in results.values()]


def show(results: dict[str, Any], name: str) -> None:
    """Print each seed's scores and the means."""
    table = Table(title=f"{name}: score on test, {len(results)} seeds; gate with what it chose")
    columns = (*POLICIES, "gate", "further")
    for column in ("classifier", "seed", *columns, "gate - detector", "chosen"):
        table.add_column(column, no_wrap=True)
    for kind in KINDS:
        for seed, scores in results.items():
            row = scores[kind]
            cells = [f"{row[c]:.3f}" for c in columns]
            table.add_row(kind, seed, *cells, f"{row['gate'] - row['detector']:+.4f}", row["chosen"])
    Console(width=150).print(table)


def draw(results: dict[str, Any], path: Path, name: str) -> None:
    """Score minus the detector's, a dot for each seed and policy, to the PNG at PATH."""
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    names = [policy for policy in (*POLICIES, "gate", "further") if policy != "detector"]
    for axes, kind in zip(figure.subplots(1, len(KINDS), sharey=True), KINDS, strict=True):
        for x, policy in enumerate(names):
            values = differences(results, kind, policy)
            axes.plot([x] * len(values), values, "o", alpha=0.6, color="tab:blue" if policy in POLICIES else "tab:green")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(names)), names, rotation=60)
        axes.set_title(f"{name}, {kind} classifier", fontsize=9)
    figure.supylabel("score minus detector's")
    figure.savefig(path, dpi=110)


def as_records(results: dict[str, Any], name: str, command: str) -> list[dict[str, Any]]:
    """gate.SET.POLICY.score, gate.SET.POLICY_minus_detector, gate.SET.SABOTAGE.chosen, second_names.SET.gain, and others."""
    n = len(results)
    setting = f"{n} seeds of shelves and training, test scenes not trained on; t interval over seeds"
    rows = []

    def add(key: str, values: list[float], unit: str, more: str = "") -> None:
        rows.append(records.figure(key, over_seeds(values), unit, setting + more, command))

    for kind in KINDS:
        prefix = f"gate.{name}" if kind == "shelf" else f"gate.{name}.{kind}"
        for policy in (*POLICIES, "gate", "further") if kind == "shelf" else ("raw", "gate"):
            add(f"{prefix}.{policy}.score", [scores[kind][policy] for scores in results.values()], "score")
            add(f"{prefix}.{policy}_minus_detector", differences(results, kind, policy), "score")
        chosen = [scores[kind]["chosen"] for scores in results.values()]
        worst = min(differences(results, kind, "gate"))
        more = f"; chosen: {', '.join(chosen)}; the worst seed's gate minus detector {worst:+.4f}"
        add(f"{prefix}.chosen", [float(c == "detector") for c in chosen], "share of seeds in which `detector` is chosen", more)
    agree, raw = (differences(results, "shelf", policy) for policy in ("agree", "raw"))
    if min(raw) > WITHIN:  # else there is nothing to keep
        add(f"gate.{name}.agree_keeps", [a / r for a, r in zip(agree, raw, strict=True)], "share of raw's gain")
    shares = [scores["shelf"]["loader_share"] for scores in results.values()]
    add(f"classifier.{name}.loader_share", shares, "share of the steps' time", "; other work on the machine")
    gains = [scores["shelf"]["further"] - scores["shelf"]["gate"] for scores in results.values()]
    add(f"second_names.{name}.gain", gains, "score")
    return rows


if __name__ == "__main__":
    raise SystemExit(main())

"""Search for weights of views and a way of merging, nested by scene: it is never scored on photos it saw.

    python -m experiments.search --data D --runs R [--detectors R/one ...] [--trials 60] [--folds 5] [--parts valid] [--apply]

Each turn leaves out some scenes, searches on the others (optuna) and merges the left-out photos so; all turns together are
compared with the default, every view of weight 1 under WBF, by a paired interval over scenes. Only where its lower end is above
0 does the search on all photos count: R/search.json says what it chose, and with --apply R/ensemble.json does it.
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.studies.ensembles import VIEWS, Raw, det_map50, matched, of_detectors, weighted
from fusion.ensemble import Ensemble, parse
from fusion.merge import Merge
from fusion.models import read_object
from fusion.pipeline import merge
from photos import folds
from photos.data import Photo, read
from photos.score import Interval, Truth, bootstrap, match
from runs import record
from runs.command import Parser, run, say, ticker
from stage2_classifier.gate.evidence import raw_outputs

if TYPE_CHECKING:
    import optuna

METHODS = ("wbf", "nms", "soft_nms")


@dataclass(frozen=True)
class Found:
    """What a search came to: its gain over the default on photos it did not see, and what it chose on all photos."""

    gain: Interval
    default: float
    nested: float
    chosen: Ensemble

    @property
    def adopted(self) -> bool:
        """Whether the gain is shown."""
        return self.gain.low > 0


def main(argv: list[str] | None = None, prog: str = "python -m experiments.search") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Search with every seed of the runs, tell the gain, write what is adopted."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--runs", required=True, help="run folder; {seed} stands for each of --seeds")
    p.add_argument("--detectors", nargs="+", help="folders of finished class-agnostic detectors; R/one if not given")
    p.add_argument("--trials", type=int, default=60)
    p.add_argument("--folds", type=int, default=5)
    p.add_argument("--parts", nargs="+", default=["valid"], choices=("valid", "test"))
    p.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the runs, where there are several, and of the search")
    p.add_argument("--apply", action="store_true", help="let R/ensemble.json do what is adopted")
    p.add_argument("--name", help="what to call the photos in the figures")
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results; needs --name")
    args = p.parse_args(argv)
    if args.trials < 1 or args.folds < 2:
        raise ValueError(f"--trials, --folds: got {args.trials}, {args.folds}, need at least 1 and 2")
    if args.record and not args.name:
        raise ValueError("--record: needs --name, what to call the photos in the figure")
    each = [one_seed(args, seed) for seed in args.seeds]
    if args.record:
        records.write(f"search.{args.name}", [as_figure(args, each, records.command("search", argv))])


def one_seed(args: argparse.Namespace, seed: int) -> Found:
    """Search on one run folder and write R/search.json."""
    runs = Path(args.runs.format(seed=seed))
    parts = folds.load(runs / folds.NAME, read(Path(args.data.format(seed=seed))))
    photos = [photo for part in args.parts for photo in parts.photos(part)]
    scenes = np.array([parts.scene[photo.id] for photo in photos])
    if len(np.unique(scenes)) < args.folds:
        raise ValueError(f"--folds: got {args.folds}, allowed 2 to {len(np.unique(scenes))}, the scenes of these photos")
    detectors = [Path(one.format(seed=seed)) for one in args.detectors or [str(runs / "one")]]
    ensemble = of_detectors([one / "model.onnx" for one in detectors], photos)
    raw, _ = raw_outputs(ensemble, Path(), photos, runs / "raw", ticker("photos"))
    found = nested(photos, raw, ensemble, scenes, args.folds, args.trials, seed)
    gain = f"{found.gain.value:+.4f} [{found.gain.low:+.4f}, {found.gain.high:+.4f}]"
    say(f"default {found.default:.4f}, searched {found.nested:.4f} on photos it did not see: {gain}")
    say("adopted" if found.adopted else "not adopted: the gain is not shown, the default stays")
    values = {"gain": asdict(found.gain), "adopted": found.adopted, "chosen": asdict(found.chosen)}
    record.write_json(runs / "search.json", values)
    if args.apply and found.adopted:
        apply(runs, found.chosen)
    return found


def nested(
    photos: Sequence[Photo], raw: Raw, ensemble: Ensemble, scenes: np.ndarray, turns: int, trials: int, seed: int
) -> Found:
    """Search in turns, each on the scenes that the others are merged by; `scenes` (P,) of each photo."""
    from sklearn.model_selection import GroupKFold

    default = weighted(ensemble, [VIEWS] * len(ensemble.detectors), Merge())
    merged = [merge(one, default) for one in raw]
    for k, (seen, unseen) in enumerate(GroupKFold(turns).split(scenes, groups=scenes)):
        best = search([photos[i] for i in seen], [raw[i] for i in seen], ensemble, trials, seed * turns + k)
        for i in unseen:
            merged[i] = merge(raw[i], best)
        say(f"turn {k + 1} of {turns}: {best.merge.method} at {best.merge.iou:.2f}, for {len(unseen)} photos")
    truths = [Truth(photo.boxes, np.zeros_like(photo.labels)) for photo in photos]
    ours, theirs = match(truths, merged, 1), matched(photos, raw, default)
    gain = bootstrap(ours, theirs, scenes, np.random.default_rng(seed))
    before = det_map50(photos, raw, default)
    return Found(gain, before, before + gain.value, search(photos, raw, ensemble, trials, seed))


def search(photos: Sequence[Photo], raw: Raw, ensemble: Ensemble, trials: int, seed: int) -> Ensemble:
    """The best of `trials` ways of merging on these photos; the default is tried first, so none is worse there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    names = [f"{i}.{view}" for i in range(len(ensemble.detectors)) for view in VIEWS]
    study.enqueue_trial({"method": "wbf", "iou": Merge.iou, **dict.fromkeys(names, 1.0)})
    study.optimize(lambda trial: det_map50(photos, raw, proposed(trial, ensemble)), n_trials=trials)
    return proposed(optuna.trial.FixedTrial(study.best_params), ensemble)


def proposed(trial: "optuna.trial.BaseTrial", ensemble: Ensemble) -> Ensemble:
    """The ensemble that a trial stands for; the first detector's plain view always counts."""
    method = trial.suggest_categorical("method", METHODS)
    iou = trial.suggest_float("iou", 0.35, 0.85)
    sigma = trial.suggest_float("sigma", 0.05, 1.0) if method == "soft_nms" else Merge.sigma
    picks = []
    for i in range(len(ensemble.detectors)):
        steps = {view: trial.suggest_float(f"{i}.{view}", 0.0, 1.0, step=0.25) for view in VIEWS}
        picks.append(steps | ({"plain": max(0.25, steps["plain"])} if i == 0 else {}))
    return weighted(ensemble, picks, Merge(method, iou=iou, sigma=sigma))


def apply(runs: Path, chosen: Ensemble) -> None:
    """Let RUNS/ensemble.json merge as was chosen: its box-forming detectors get the views, those of weight 0 left out."""
    path = runs / "ensemble.json"
    if not path.is_file():
        raise ValueError(f"--apply: {path} not found; python -m experiments.ablation writes it")
    there = parse(read_object(path))
    forming = {(runs / member.file).resolve() for member in there.detectors if member.weight > 0}
    if forming != {Path(member.file).resolve() for member in chosen.detectors}:
        raise ValueError(f"--apply: {path} finds boxes with other detectors than those that were searched; give them all")
    found = {Path(member.file).resolve(): member for member in chosen.detectors}
    members = []
    for member in there.detectors:
        own = found.get((runs / member.file).resolve())
        if own is not None:
            seen = [view for view in own.views if view.get("weight", 1.0) > 0]
            member = replace(own, file=member.file, evidence_weight=member.evidence_weight, views=seen)
        members.append(member)
    merging = replace(chosen.merge, max_det=there.merge.max_det, evidence_iou=there.merge.evidence_iou)
    record.write_json(path, asdict(replace(there, detectors=members, merge=merging)))
    say(f"wrote {path}; its gate was fitted on other boxes: python -m experiments.ablation fits it again")


def as_figure(args: argparse.Namespace, each: list[Found], command: str) -> dict[str, object]:
    """search.SET.gain_nested: over seeds where there are several, else over scenes."""
    setting = f"{args.trials} trials, {args.folds} turns by scene, parts {', '.join(args.parts)}, against WBF of all views"
    key = f"search.{args.name}.gain_nested"
    if len(each) == 1:
        gain = each[0].gain
        return records.figure(key, gain.value, "mAP50", gain.n_groups, f"{setting}; over scenes", command, gain.low, gain.high)
    mean = over_seeds([found.gain.value for found in each])
    return records.figure(key, mean.value, "mAP50", mean.n, f"{setting}; over seeds", command, mean.low, mean.high)


if __name__ == "__main__":
    raise SystemExit(main())

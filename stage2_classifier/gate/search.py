"""Search for weights of views and a way of merging, nested by scene: no photo is scored by a search that saw it.

    python -m stage2_classifier.gate.search --data D --runs R [--detectors R/one ...] [--trials 60] [--folds 5] [--parts valid]
                                            [--apply]

Each turn leaves out some scenes, searches on the others (optuna) and merges the left-out photos by what it chose. All turns
together, each ranked on its own, are compared by a paired interval over scenes with the default, which the choice would
replace: the box-forming detectors of R/ensemble.json, merged as it says, or where there is none each photo and its mirror image
under WBF, as hylle gate writes it. Only where the lower end is above 0 is the search on all photos adopted: R/search.json
records its choice, and with --apply R/ensemble.json takes it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fusion.boxes import Detections
from fusion.ensemble import Ensemble, Member, parse
from fusion.merge import Merge
from fusion.models import Sizes, read_object, read_sidecar
from fusion.pipeline import merge
from photos import folds, trained_on
from photos.data import Photo
from photos.dealing import allowed_turns
from photos.intervals import Interval, bootstrap, widened
from photos.repairs import read_and_tell
from photos.score import Truth, match
from runs import record
from runs.command import Parser, note_result, run, say, ticker
from runs.first_command import refuse_untrained
from runs.model_files import fingerprint_of
from runs.typed import typed
from stage2_classifier.gate.ensemble import NAME, with_mirror_images
from stage2_classifier.gate.evidence import RawOutputs, raw_outputs
from stage2_classifier.gate.naming_floor import NamingChoice
from stage2_classifier.gate.ranks import scores_by_rank
from stage2_classifier.gate.weighted_views import VIEWS, det_map50, ensemble_of, refuse_twice, with_weights

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

METHODS = ("wbf", "nms", "soft_nms", "soft_wbf")
STARTS = (("plain", "flip"), VIEWS)  # chosen: the views of weight 1 of the first trials, under WBF; the first is the gate's own


@dataclass(frozen=True)
class Effort:
    """How much is searched: trials of each search, turns of the cross-validation by scene, and the seed of both."""

    trials: int = 60
    turns: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises ValueError for too few trials or turns."""
        if self.trials < 1 or self.turns < 2:
            raise ValueError(f"--trials, --folds: got {self.trials}, {self.turns}, need at least 1 and 2")


@dataclass(frozen=True)
class Default:
    """What the search is compared with, and the raw outputs in its own views."""

    ensemble: Ensemble
    raw: RawOutputs


@dataclass(frozen=True)
class SearchResult:
    """The search's gain over `replaced` on photos it did not see, both their det mAP50, and its choice on all photos."""

    gain: Interval
    default: float
    nested: float
    chosen: Ensemble
    replaced: Ensemble

    @property
    def adopted(self) -> bool:
        """Whether the gain is shown."""
        return self.gain.low > 0


def main(argv: list[str] | None = None, prog: str = "python -m stage2_classifier.gate.search") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Search in one run folder, and with --apply write what is adopted into its ensemble.json."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True, help="the labelled set that R is of")
    p.add_argument("--runs", type=Path, required=True, help="run folder with folds.json and the detectors")
    p.add_argument("--detectors", type=Path, nargs="+", help="folders of finished class-agnostic detectors; default R/one")
    p.add_argument(
        "--trials", type=int, default=Effort.trials, help="ways of merging that each search tries [default %(default)s]"
    )
    p.add_argument(
        "--folds", type=int, default=Effort.turns, help="turns, each of which leaves scenes out [default %(default)s]"
    )
    p.add_argument("--parts", nargs="+", default=["valid"], choices=("valid", "test"), help="searched on [default valid]")
    p.add_argument("--seed", type=int, default=0, help="of the search and of the bootstrap")
    p.add_argument("--apply", action="store_true", help="let R/ensemble.json do what is adopted")
    args = p.parse_args(argv)
    effort = Effort(args.trials, args.folds, args.seed)
    result = search_run(args.data, args.runs, args.detectors, args.parts, effort, args.apply)
    if args.apply and result.adopted:
        apply(args.runs, result.chosen)
        if "test" in args.parts:
            say("test was searched on: what is scored on test from now on is too high; judge on other photos")


def search_run(
    data: Path, runs: Path, detectors: Sequence[Path] | None, parts: Sequence[str], effort: Effort, applies: bool = False
) -> SearchResult:
    """Search with the `detectors` (RUNS/one if None) on these parts of RUNS/folds.json, and write RUNS/search.json.

    Raises ValueError where a detector is not finished, or has seen photos of these parts, or the photos have fewer scenes than
    the search has turns, or, where it `applies` what is adopted, RUNS/ensemble.json could not take it.
    """
    refuse_twice(parts)
    split = folds.load(runs / folds.NAME, read_and_tell(data))
    photos = [photo for part in parts for photo in split.labelled(part)]
    scenes = np.array([split.scene[photo.id] for photo in photos])
    if len(np.unique(scenes)) < effort.turns:
        allowed = allowed_turns(len(np.unique(scenes)), f"part {' and '.join(parts)}")
        raise ValueError(f"--folds: got {effort.turns}, {allowed}")
    models = [folder / "model.onnx" for folder in detectors or [runs / "one"]]
    for part in parts:
        trained_on.refuse_judging(models, part, split)
    ensemble = ensemble_of(models, photos)
    if applies:
        ensemble_to_change(runs, ensemble)
    replaced = ensemble_to_replace(runs, ensemble)
    for part in parts:
        trained_on.refuse_judging([runs / member.file for member in replaced.detectors], part, split)
    raw, _ = raw_outputs(ensemble, Path(), photos, runs / "raw", ticker("photos"))
    in_its_views, _ = raw_outputs(replaced, runs, photos, runs / "raw", ticker("photos, as they are merged now"))
    result = nested_search(photos, raw, ensemble, scenes, effort, Default(replaced, in_its_views))
    tell(result, runs)
    made_from = {str(model): fingerprint_of(model) for model in models}
    keep(result, runs, {"parts": list(parts), **asdict(effort), "models": made_from})
    return result


def tell(result: SearchResult, runs: Path) -> None:
    """Say what the search came to, and over what."""
    name = str(runs / NAME) if (runs / NAME).is_file() else "as hylle gate merges"
    gain = f"{result.gain.value:+.4f} [{result.gain.low:+.4f}, {result.gain.high:+.4f}]"
    before = f"default ({name}: {in_words(result.replaced)}) {result.default:.4f}"
    say(f"{before}, searched {result.nested:.4f} on photos it did not see: {gain}")
    say("adopted" if result.adopted else "not adopted: the gain is not shown, the default stays")


def keep(result: SearchResult, runs: Path, made_from: dict[str, Any]) -> None:
    """Write RUNS/search.json: what the search came to, over what, and what it was `made_from`."""
    values = {"gain": asdict(result.gain), "adopted": result.adopted, "chosen": asdict(result.chosen)}
    values |= {"replaced": asdict(result.replaced), **made_from}
    record.write_json(runs / "search.json", values)
    note_result(file=runs / "search.json", default=result.default, searched=result.nested, **values)


def in_words(ensemble: Ensemble) -> str:
    """How an ensemble merges boxes, in a few words."""
    return f"{ensemble.merge.method} over {sum(len(member.views) for member in ensemble.detectors)} views"


def nested_search(
    photos: Sequence[Photo], raw: RawOutputs, ensemble: Ensemble, scenes: np.ndarray, effort: Effort, default: Default
) -> SearchResult:
    """Search on all photos, and in turns on the scenes of the others; `scenes` (P,) of each photo."""
    turn = _turns(scenes, effort.turns)
    searched = _merged_in_turns(photos, raw, ensemble, turn, effort)
    truths = [Truth.of(photo).nameless() for photo in photos]
    by_default = [merge(outputs, default.ensemble) for outputs in default.raw]
    searched_match, default_match = (match(truths, scores_by_rank(m, truths, turn), 1) for m in (searched, by_default))
    drawn = bootstrap(searched_match, default_match, scenes, np.random.default_rng(effort.seed))
    gain = widened(drawn, searched_match, default_match, scenes)
    before = det_map50(photos, default.raw, default.ensemble)
    chosen = search(photos, raw, ensemble, effort.trials, effort.seed)
    return SearchResult(gain, before, before + gain.value, chosen, default.ensemble)


def _turns(scenes: np.ndarray, count: int) -> np.ndarray:
    """The turn (P,) in which each photo is left out; those of one scene are left out together."""
    from sklearn.model_selection import GroupKFold  # here, as optuna below: mistakes in arguments are answered without them

    turn = np.zeros(len(scenes), np.int64)
    for k, (_, left_out) in enumerate(GroupKFold(count).split(scenes, groups=scenes)):
        turn[left_out] = k
    return turn


def _merged_in_turns(
    photos: Sequence[Photo], raw: RawOutputs, ensemble: Ensemble, turn: np.ndarray, effort: Effort
) -> list[Detections]:
    """The merged boxes of each photo, as the search on the photos of the other turns chose."""
    merged: dict[int, Detections] = {}
    for k in range(effort.turns):
        searched, left_out = np.flatnonzero(turn != k), np.flatnonzero(turn == k)
        seed = effort.seed * effort.turns + k
        best = search([photos[i] for i in searched], [raw[i] for i in searched], ensemble, effort.trials, seed)
        merged |= {int(i): merge(raw[i], best) for i in left_out}
        say(f"turn {k + 1} of {effort.turns}: {best.merge.method} at {best.merge.iou:.2f}, for {len(left_out)} photos")
    return [merged[i] for i in range(len(photos))]


def search(photos: Sequence[Photo], raw: RawOutputs, ensemble: Ensemble, trials: int, seed: int) -> Ensemble:
    """The best of `trials` ways of merging on these photos; those of STARTS are tried first, so none is worse there."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    names = [f"{i}.{view}" for i in range(len(ensemble.detectors)) for view in VIEWS]
    for views in STARTS:
        weights = {name: float(name.partition(".")[2] in views) for name in names}
        study.enqueue_trial({"method": "wbf", "iou": Merge.iou, **weights})
    study.optimize(lambda trial: det_map50(photos, raw, proposed(trial, ensemble)), n_trials=trials)
    return proposed(optuna.trial.FixedTrial(study.best_params), ensemble)


def proposed(trial: "BaseTrial", ensemble: Ensemble) -> Ensemble:
    """The ensemble that a trial proposes; the first detector's plain view always counts."""
    method = trial.suggest_categorical("method", METHODS)
    iou = trial.suggest_float("iou", 0.35, 0.85)
    sigma = trial.suggest_float("sigma", 0.05, 1.0) if method.startswith("soft") else Merge.sigma
    weights = []
    for i in range(len(ensemble.detectors)):
        by_name = {view: trial.suggest_float(f"{i}.{view}", 0.0, 1.0, step=0.25) for view in VIEWS}
        weights.append(by_name | ({"plain": max(0.25, by_name["plain"])} if i == 0 else {}))
    return with_weights(ensemble, weights, Merge(method, iou=iou, sigma=sigma))


def ensemble_to_replace(runs: Path, searched: Ensemble) -> Ensemble:
    """What finds boxes now: the box-forming detectors of RUNS/ensemble.json, and how it merges them.

    Where there is none, what `hylle gate` writes, of the detectors that are searched: each photo and its mirror image, under
    WBF. Raises ValueError where a detector is not there.
    """
    path = runs / NAME
    if not path.is_file():
        sidecars = [read_sidecar(Path(member.file).with_suffix(".json")) for member in searched.detectors]
        plain = [Member.of(member.file, own) for member, own in zip(searched.detectors, sidecars, strict=True)]
        members = [with_mirror_images(member) for member in plain]
        return Ensemble([0], members, Merge(max_det=searched.merge.max_det))
    ensemble = parse(read_object(path))
    members = [replace(member, evidence_weight=0.0) for member in ensemble.detectors if member.weight > 0]
    for member in members:
        refuse_untrained((runs / member.file).parent.parent, (runs / member.file).parent.name, kind="detector")
    return Ensemble([0], members, ensemble.merge)


def ensemble_to_change(runs: Path, searched: Ensemble) -> Ensemble:
    """RUNS/ensemble.json, to be merged as is searched for.

    Raises ValueError where there is none, or it finds boxes with other detectors than those that are searched.
    """
    path = runs / NAME
    if not path.is_file():
        raise ValueError(f"--apply: {path} not found; hylle gate writes it")
    ensemble = parse(read_object(path))
    box_forming = {(runs / member.file).resolve() for member in ensemble.detectors if member.weight > 0}
    if box_forming != {Path(member.file).resolve() for member in searched.detectors}:
        given = typed(*((runs / member.file).parent for member in ensemble.detectors if member.weight > 0))
        raise ValueError(f"--apply: {path} finds boxes with other detectors than those that are searched; --detectors {given}")
    return ensemble


def apply(runs: Path, chosen: Ensemble) -> None:
    """Let RUNS/ensemble.json merge as was chosen: its box-forming detectors get the views, those of weight 0 left out.

    Raises ValueError as `ensemble_to_change` does.
    """
    path, ensemble = runs / NAME, ensemble_to_change(runs, chosen)
    searched = {Path(member.file).resolve(): member for member in chosen.detectors}
    members = [_with_chosen_views(member, searched.get((runs / member.file).resolve())) for member in ensemble.detectors]
    merging = replace(chosen.merge, max_det=ensemble.merge.max_det, evidence_iou=ensemble.merge.evidence_iou)
    unfitted = replace(ensemble, detectors=members, merge=merging, min_scores={}, sizes=Sizes())
    record.write_json(path, asdict(NamingChoice().put_into(unfitted)))
    say(f"wrote {path}; the gate is of other boxes, without naming floor, sizes or scores to cut at: hylle gate fits them")


def _with_chosen_views(member: Member, chosen: Member | None) -> Member:
    """`member` as it was chosen, under its own file name and evidence weight; unchanged where it was not searched."""
    if chosen is None:
        return member
    views = [view for view in chosen.views if view.get("weight", 1.0) > 0]
    return replace(chosen, file=member.file, evidence_weight=member.evidence_weight, views=views)


if __name__ == "__main__":
    raise SystemExit(main())

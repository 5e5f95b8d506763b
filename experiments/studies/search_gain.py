"""What searching for weights of views and a way of merging gains on photos it did not see, over seeds.

    python -m experiments.studies.search_gain --data D --runs R [--detectors R/one ...] [--seeds 0 1 2] [--name SET --record]

`{seed}` in D, R and the detectors' folders stands for each of --seeds, of the runs and of the search. The search is
`stage2_classifier.gate.search`, and so is what it is compared with; each R/search.json says what it chose there.
"""

import argparse
from pathlib import Path
from typing import Any

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from runs.command import Parser, run
from stage2_classifier.gate.search import Effort, SearchResult, in_words, search_run


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Search with every seed of the runs and record the gain."""
    p = Parser(prog="python -m experiments.studies.search_gain", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", required=True)
    p.add_argument("--runs", required=True, help="run folder; {seed} stands for each of --seeds")
    p.add_argument("--detectors", nargs="+", help="folders of finished class-agnostic detectors; R/one if not given")
    p.add_argument("--trials", type=int, default=Effort.trials)
    p.add_argument("--folds", type=int, default=Effort.turns)
    p.add_argument("--parts", nargs="+", default=["valid"], choices=("valid", "test"))
    p.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the runs, where there are several, and of the search")
    p.add_argument("--name", help="what to call the photos in the figures")
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results; needs --name")
    args = p.parse_args(argv)
    efforts = [Effort(args.trials, args.folds, seed) for seed in args.seeds]
    if args.record and not args.name:
        raise ValueError("--record: needs --name, what to call the photos in the figure")
    results = [one_seed(args, effort) for effort in efforts]
    if args.record:
        command = records.command("studies.search_gain", argv)
        records.write(f"search.{args.name}", [gain_record(args, results, command)])


def one_seed(args: argparse.Namespace, effort: Effort) -> SearchResult:
    """The search in the run folder of one seed."""
    data, runs = (Path(path.format(seed=effort.seed)) for path in (args.data, args.runs))
    detectors = [Path(folder.format(seed=effort.seed)) for folder in args.detectors] if args.detectors else None
    return search_run(data, runs, detectors, args.parts, effort)


def gain_record(args: argparse.Namespace, results: list[SearchResult], command: str) -> dict[str, Any]:
    """search.SET.nested_gain: over seeds where there are several, else over scenes."""
    against = ", ".join(dict.fromkeys(in_words(result.replaced) for result in results))
    setting = f"{args.trials} trials, {args.folds} turns by scene, parts {', '.join(args.parts)}, against {against}"
    key = f"search.{args.name}.nested_gain"
    if len(results) == 1:
        gain = results[0].gain
        estimate = records.Estimate(gain.value, gain.n_groups, gain.low, gain.high)
        return records.figure(key, estimate, "mAP50", f"{setting}; over scenes", command)
    return records.figure(
        key, over_seeds([result.gain.value for result in results]), "mAP50", f"{setting}; over seeds", command
    )


if __name__ == "__main__":
    raise SystemExit(main())

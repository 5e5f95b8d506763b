"""What `hylle scale` costs over run.py, loses when it is killed, and holds in memory; how busy a driver keeps 64 workers.

    python -m experiments.performance.scale_cost --zip ZIP --photos DIR [--only overhead] [--fast] [--record]

The photos of DIR are repeated under `count` names. `kills` and `broken` compare rows with what run.py predicts, too.
`simulated` needs 64 processes of a hundred MB, and hardly a core: its workers sleep as long as photos were measured to take.
"""

import os
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil

from experiments.figures import records
from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate, Measured
from experiments.performance import scale_inputs
from experiments.performance.agreement import agreement, predict_by_run_py
from experiments.performance.scale_inputs import linked, model_for_both, photo_files, scratch_folder
from experiments.performance.scale_runs import ScaleRun, accounted, kills, peak_memory, resume_to_end, rows
from runs.command import Parser, run, say, say_progress

SIMULATED = 64  # taken: from the question, how many workers one driver keeps busy
PARTS_EACH = 12  # chosen: for each simulated worker; the first ones pass while others start
COMPARED = 500  # taken: from the question, photos of a run that are predicted by run.py as well
WITH_BROKEN = 1000  # taken: from the question, photos among which six are broken
SLEEPER_GB = 0.15  # chosen: memory of a process that has imported Ray Data and sleeps
TIMED = 200  # chosen: photos whose steps are timed
NO_INTERVAL = "one run, no interval"
COUNTED = "counted, no interval"


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def parser() -> Parser:
    """The command's arguments."""
    p = Parser(prog="python -m experiments.performance.scale_cost", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--zip", type=Path, required=True, help="a submission zip; its code is not run")
    p.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    p.add_argument("--only", choices=list(MEASURED), help="measure this alone")
    p.add_argument("--fast", action="store_true", help=scale_inputs.FASTER)
    p.add_argument("--count", type=int, default=10_000, help="names that the photos are repeated under [default 10000]")
    p.add_argument("--kills", type=int, default=10, help="of workers, and of drivers [default 10]")
    p.add_argument("--part", type=int, default=100, help="photos a part [default 100]")
    p.add_argument("--sleeping", type=int, default=SIMULATED, help=f"workers that are simulated [default {SIMULATED}]")
    p.add_argument("--record", action="store_true", help="write experiments/results/scale.json")
    return p


def body(argv: list[str] | None) -> None:
    """Measure, print, record. Raises ValueError where a run fails."""
    args = parser().parse_args(argv)
    sizes = {"--count": args.count, "--kills": args.kills, "--part": args.part, "--sleeping": args.sleeping}
    if wrong := [f"{flag} {size}" for flag, size in sizes.items() if size < 1]:
        raise ValueError(f"{', '.join(wrong)}: must be at least 1")
    for name in [args.only] if args.only else MEASURED:
        with scratch_folder() as scratch:
            measured = list(MEASURED[name](args, scratch))
        for figure in measured:
            say(f"{figure.key}: {figure.estimate} {figure.unit} ({figure.setting})")
        if args.record:  # each part for itself: the next one may fail, or be stopped
            command = records.command("performance.scale_cost", argv)
            say(f"recorded: {records.write('scale', [records.figure(*figure, command) for figure in measured])}")


def job(args: Namespace, scratch: Path, model: Path, *flags: str) -> ScaleRun:
    """A run of `hylle scale` over the photos in SCRATCH, with tables of its own."""
    return ScaleRun(scratch / "photos", str(model), scratch / f"{model.parent.name}-out", ["--part", str(args.part), *flags])


def told(args: Namespace, names: int, *words: str) -> str:
    """The setting of a figure."""
    fast = [scale_inputs.FASTER] if args.fast else []
    return "; ".join([f"{len(photo_files(args.photos))} photos under {names:,} names, parts of {args.part}", *fast, *words])


def killed(args: Namespace, scratch: Path) -> Iterator[Measured]:
    """kill -9 of workers and drivers at random moments of one run, which is resumed each time; its rows beside run.py's."""
    photos = linked(photo_files(args.photos), scratch / "photos", args.count)
    code, rng = model_for_both(args.zip, scratch / "model", 1, args.fast), np.random.default_rng(0)
    of, tried = job(args, scratch, code), 0
    for tried in kills(of, args.kills, rng):
        say_progress(f"{tried} of {2 * args.kills} killed; {of.finished_parts()} parts of {args.part} photos are finished")
    resume_to_end(of)
    held = accounted(of.out)
    names = sorted(photos.iterdir())
    lost, twice = sum(held[str(path)] == 0 for path in names), sum(times - 1 for times in held.values())
    setting = told(args, args.count, f"kill -9 of worker and driver in turns, {COUNTED}")
    for key, value in (("tried", tried), ("rows_lost", lost), ("rows_twice", twice)):
        yield Measured(f"scale.kills.{key}", Estimate(value, tried), "count", setting)
    chosen = [names[i] for i in sorted(rng.choice(len(names), min(COMPARED, len(names)), replace=False))]
    met = agreement(chosen, of.out, code, scratch / "compared")
    setting = told(args, args.count, f"after the kills; {met.boxes:,} boxes of {met.photos} photos beside run.py's, {COUNTED}")
    yield Measured("scale.sample.different", Estimate(met.different, met.photos), "count", setting)
    yield Measured("scale.sample.most_px", Estimate(met.most_px, met.photos), "px", setting)
    yield Measured("scale.sample.most_score", Estimate(met.most_score, met.photos), "score", setting)


def memory(args: Namespace, scratch: Path) -> Iterator[Measured]:
    """The most memory of driver and worker together, at a tenth of the photos and at all."""
    code = model_for_both(args.zip, scratch / "model", 1, args.fast)
    for count in (max(1, args.count // 10), args.count):
        place = scratch / str(count)
        linked(photo_files(args.photos), place / "photos", count)
        peak = peak_memory(job(args, place, code))
        setting = told(args, count, f"driver and 1 worker; Ray's own processes {peak.of_ray:.0f} MB besides; {NO_INTERVAL}")
        yield Measured(f"scale.rss_mb.{count}", Estimate(peak.ours, count), "MB", setting)


def broken(args: Namespace, scratch: Path) -> Iterator[Measured]:
    """Six broken photos among good ones: their reasons, and whether the rows of all others are those of run.py."""
    count = min(args.count, WITH_BROKEN)
    photos = linked(photo_files(args.photos), scratch / "photos", count)
    expected = scale_inputs.break_six(photos)
    code = model_for_both(args.zip, scratch / "model", 1, args.fast)
    of = job(args, scratch, code)._replace(prefix=scale_inputs.bound_by_permissions())
    resume_to_end(of)
    reasons = {row["photo"]: row["reason"] for row in rows(of.out, "dead_letters", ["photo", "reason"])}
    right = sum(reasons.get(photo) == reason for photo, reason in expected.items())
    setting = told(args, count, f"{', '.join(expected.values())}, {COUNTED}")
    yield Measured("scale.dead_letters.right", Estimate(right, len(expected)), "count", setting)
    good = [path for path in sorted(photos.iterdir()) if str(path) not in expected]
    met, held = agreement(good, of.out, code, scratch / "compared"), accounted(of.out)
    touched = met.different + sum(str(path) in reasons or held[str(path)] != 1 for path in good)
    setting = told(args, count, f"{met.boxes:,} boxes of the {met.photos} good ones beside run.py's, {COUNTED}")
    yield Measured("scale.dead_letters.others_touched", Estimate(touched, len(good)), "count", setting)


def simulated(args: Namespace, scratch: Path) -> Iterator[Measured]:
    """The share of their time that sleeping workers sleep, once all have begun and while parts are left."""
    from experiments.performance.sleeping_worker import SleepingWorker, busy
    from experiments.performance.worker_steps import worker_steps
    from scaling.cluster import Workers, connected, mapped_parts
    from scaling.listing import deal

    free, needed = psutil.virtual_memory().available / 1e9, args.sleeping * SLEEPER_GB
    if free < needed:
        raise ValueError(f"--sleeping {args.sleeping}: got {free:.1f} GB of free memory, need {needed:.1f} GB")
    code = model_for_both(args.zip, scratch / "model", 1, args.fast)
    seconds = worker_steps(photo_files(args.photos)[:TIMED], code, scratch, args.part).cpu
    workers = Workers(args.sleeping)
    parts = deal([str(i) for i in range(PARTS_EACH * workers.count * args.part)], args.part)
    with connected(workers):
        slept = busy(list(mapped_parts(parts, SleepingWorker, (seconds,), workers).iter_rows()), workers.count)
    measured = f"{workers.count} workers, {len(parts)} parts, {np.mean(seconds):.3f} s a photo in the mean of {len(seconds)}"
    setting = told(args, len(parts) * args.part, measured, f"{slept.seconds:.0f} s without start and end, {NO_INTERVAL}")
    yield Measured(f"scale.simulated_{workers.count}.busy", Estimate(slept.share, len(parts)), "share", setting)


def cost(args: Namespace, scratch: Path) -> Iterator[Measured]:
    """Core hours of a million photos, and the share of each step in them, of a worker with one thread."""
    from experiments.performance.worker_steps import worker_steps

    photos = photo_files(args.photos)[:TIMED]
    steps = worker_steps(photos, model_for_both(args.zip, scratch / "model", 1, args.fast), scratch, args.part)
    setting = told(args, len(photos), "one worker with one thread, without Ray")
    hours = over_seeds([seconds / 3600 * 1e6 for seconds in steps.cpu])
    yield Measured("cost.core_hours_per_million", hours, "h", f"{setting}; processor time, interval over photos")
    for step, share in steps.shares.items():
        key, of = f"cost.share.{step}", f"{setting}; share of the time by the clock, {NO_INTERVAL}"
        yield Measured(key, Estimate(share, len(photos)), "share", of)


def overhead(args: Namespace, scratch: Path) -> Iterator[Measured]:
    """Wall time over that of run.py on the same photos, from start to end, with 1 and 2 workers; all use every core.

    Each way runs three times: first on the photos of one part, which does not count, as nothing has read the files before, then
    on all of them in one order and in the other.
    """
    cores = os.cpu_count() or 1
    few = linked(photo_files(args.photos), scratch / "few", min(args.part, args.count))
    photos = linked(photo_files(args.photos), scratch / "photos", args.count)
    code = model_for_both(args.zip, scratch / "run_py", cores, args.fast)
    threads = {workers: max(1, cores // workers) for workers in (1, 2)}
    models = {workers: model_for_both(args.zip, scratch / f"by{workers}", threads[workers], args.fast) for workers in threads}

    def seconds(workers: int, of: Path, turn: int) -> float:
        if not workers:
            return predict_by_run_py(code, of, scratch / "predictions.json")
        scale = job(args, scratch, models[workers], "--workers", str(workers))
        return scale._replace(photos=of, out=scratch / f"by{workers}-out{turn}").finish()

    spent: dict[int, list[float]] = {0: [], 1: [], 2: []}  # run.py, and hylle scale by its workers
    for turn, (of, order) in enumerate(((few, (0, 1, 2)), (photos, (0, 1, 2)), (photos, (2, 1, 0)))):
        for workers in order:
            spent[workers].append(seconds(workers, of, turn))
    counted = {way: sum(own[1:]) for way, own in spent.items()}
    for workers in threads:
        with_threads = f"{threads[workers]} threads a worker, {cores} for run.py"
        took = f"hylle scale {counted[workers] / 2:.1f} s, run.py {counted[0] / 2:.1f} s, each with its start"
        rounds = "the mean of two rounds in opposite orders, after one on a part that does not count; no interval"
        key = f"scale.overhead_over_run_py.{workers}worker{'s' * (workers > 1)}"
        told_so = told(args, args.count, with_threads, took, rounds)
        yield Measured(key, Estimate(counted[workers] / counted[0], args.count), "ratio", told_so)


MEASURED: dict[str, Callable[[Namespace, Path], Iterator[Measured]]] = {
    "kills": killed,
    "memory": memory,
    "broken": broken,
    "simulated": simulated,
    "cost": cost,
    "overhead": overhead,
}

if __name__ == "__main__":
    raise SystemExit(main())

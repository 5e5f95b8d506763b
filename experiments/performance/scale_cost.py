"""What `hylle scale` costs over run.py, loses when it is killed, and holds in memory; how busy a driver keeps 64 workers.

    python -m experiments.performance.scale_cost --zip ZIP --photos DIR [--only overhead] [--record]

The photos of DIR are repeated under `count` names. `simulated` needs neither models nor cores: its workers sleep for
--seconds a photo, as long as `overhead` measured, say.
"""

import subprocess
import sys
import tempfile
import time
import zipfile
from argparse import Namespace
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.performance.scale_runs import ScaleRun, accounted, kills, peak_rss_mb
from runs.command import Parser, run, say

SIMULATED = 64  # taken: from the question, how many workers one driver keeps busy
NO_INTERVAL = "one run, no interval"


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Measure, print, record. Raises ValueError where a run fails."""
    p = Parser(prog="python -m experiments.performance.scale_cost", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--zip", type=Path, required=True, help="a submission zip")
    p.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    p.add_argument("--only", choices=list(PARTS), help="measure this alone")
    p.add_argument("--count", type=int, default=10_000, help="names that the photos are repeated under [default 10000]")
    p.add_argument("--kills", type=int, default=10, help="of workers, and of drivers [default 10]")
    p.add_argument("--seconds", type=float, default=1.0, help="that a photo takes a simulated worker [default 1]")
    p.add_argument("--part", type=int, default=100, help="photos a part [default 100]")
    p.add_argument("--record", action="store_true", help="write experiments/results/scale.json")
    args = p.parse_args(argv)
    figures = []
    for name in [args.only] if args.only else PARTS:
        for measured in PARTS[name](args):
            say(f"{measured.key}: {measured.estimate} {measured.unit} ({measured.setting})")
            figures.append(records.figure(*measured, records.command("performance.scale_cost", argv)))
    if args.record:
        say(f"recorded: {records.write('scale', figures)}")


def repeated(photos: Path, count: int, folder: Path) -> Path:
    """A folder of `count` links to the photos, under names of their own. Raises ValueError where there is no photo."""
    originals = sorted(path for path in photos.iterdir() if path.suffix.lower() in (".jpg", ".jpeg"))
    if not originals:
        raise ValueError(f"--photos {photos}: no .jpg in it")
    folder.mkdir(parents=True)
    for i in range(count):
        (folder / f"img_{i + 1:06d}.jpg").symlink_to(originals[i % len(originals)].resolve())
    return folder


def overhead(args: Namespace) -> Iterator[Measured]:
    """Wall time over that of run.py on the same photos, from start to end, with 1 and 2 workers; core hours of a million."""
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        photos = repeated(args.photos, args.count, place / "photos")
        with zipfile.ZipFile(args.zip) as archive:
            archive.extractall(place / "code")
        started = time.monotonic()
        words = ["run.py", "--input", str(photos), "--output", str(place / "out.json")]
        subprocess.run([sys.executable, *words], cwd=place / "code", check=True, capture_output=True)
        by_run_py = time.monotonic() - started
        for workers in (1, 2):
            out = place / f"out{workers}"
            seconds = ScaleRun(photos, str(args.zip), out, ["--workers", str(workers), "--part", str(args.part)]).finish()
            setting = f"{args.count} photos; run.py {by_run_py:.1f} s, hylle scale {seconds:.1f} s; {NO_INTERVAL}"
            key = f"scale.overhead_over_run_py.{workers}worker{'s' * (workers > 1)}"
            yield Measured(key, Estimate(seconds / by_run_py, args.count), "ratio", setting)
        hours = core_seconds(place / "out1") / args.count * 1e6 / 3600
        setting = f"{args.count} photos by 1 worker: read, decoded, predicted; {NO_INTERVAL}"
        yield Measured("cost.core_hours_per_million", Estimate(hours, args.count), "h", setting)


def core_seconds(out: Path) -> float:
    """The seconds that the photos of OUT took their worker, in all; core seconds where it had one core."""
    import pyarrow.parquet as pq

    files = sorted((out / "photos").rglob("*.parquet"))
    return float(sum(sum(pq.ParquetFile(file).read(["seconds"])["seconds"].to_pylist()) for file in files))


def killed(args: Namespace) -> Iterator[Measured]:
    """kill -9 of workers and drivers at random moments of one run, which is resumed each time."""
    with tempfile.TemporaryDirectory() as name:
        photos = repeated(args.photos, args.count, Path(name) / "photos")
        job = ScaleRun(photos, str(args.zip), Path(name) / "out", ["--part", str(args.part)])
        tried, held = kills(job, args.kills, np.random.default_rng(0)), accounted(job.out)
        lost, twice = args.count - len(held), sum(times - 1 for times in held.values())
    setting = f"{args.count} photos, kill -9 of worker and driver in turns, resumed; a count, no interval"
    for key, value in (("tried", tried), ("rows_lost", lost), ("rows_twice", twice)):
        yield Measured(f"scale.kills.{key}", Estimate(value, tried), "kills" if key == "tried" else "photos", setting)


def memory(args: Namespace) -> Iterator[Measured]:
    """The most memory of driver and worker together, at a tenth of the photos and at all."""
    for count in (max(1, args.count // 10), args.count):
        with tempfile.TemporaryDirectory() as name:
            photos = repeated(args.photos, count, Path(name) / "photos")
            peak = peak_rss_mb(ScaleRun(photos, str(args.zip), Path(name) / "out", ["--part", str(args.part)]))
        yield Measured(f"scale.rss_mb.{count}", Estimate(peak, count), "MB", f"driver and 1 worker; {NO_INTERVAL}")


class SleepingWorker:
    """Takes parts as a PartWorker does and sleeps in place of predicting; yields when it began and ended."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[float]]:
        """Sleep for all photos of the part."""
        began = time.time()
        time.sleep(self.seconds * sum(len(uris) for uris in batch["uris"]))
        return {"began": [began], "ended": [time.time()]}


def simulated(args: Namespace, count: int = SIMULATED) -> Iterator[Measured]:
    """The share of their time that sleeping workers sleep, from the first part's begin to the end of the last.

    Each has ten parts, so that the time in which the last ones end counts for what it is.
    """
    from scaling.cluster import Workers, connected, mapped_parts
    from scaling.listing import deal

    workers, parts = Workers(count), deal([str(i) for i in range(10 * count * args.part)], args.part)
    with connected(workers):
        rows = list(mapped_parts(parts, SleepingWorker, (args.seconds,), workers).iter_rows())
    slept = sum(row["ended"] - row["began"] for row in rows)
    span = max(row["ended"] for row in rows) - min(row["began"] for row in rows)
    setting = f"{count} workers, {len(parts)} parts of {args.part} photos, {args.seconds} s a photo; {NO_INTERVAL}"
    yield Measured(f"scale.simulated_{count}.busy", Estimate(slept / (span * count), len(parts)), "share", setting)


PARTS: dict[str, Callable[[Namespace], Iterator[Measured]]] = {
    "overhead": overhead,
    "kills": killed,
    "memory": memory,
    "simulated": simulated,
}

if __name__ == "__main__":
    raise SystemExit(main())

"""Runs of `hylle scale` as processes of their own: their workers, kills at random moments, and what OUT accounts for."""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from runs.record import ROOT

WORKER = "PartWorker"  # in the title that Ray gives to a worker's process
PATIENCE = 300.0  # chosen: seconds after which something that should happen has failed
UNSTARTED = 10  # chosen: runs that may fail before they have finished two parts


class ScaleRun(NamedTuple):
    """What a run is of, the flags besides, and what the command is started with."""

    photos: Path
    model: str
    out: Path
    flags: Sequence[str] = ()
    prefix: Sequence[str] = ()

    def start(self) -> subprocess.Popen[bytes]:
        """Start it; what it says goes to a file beside OUT."""
        words = ["--photos", str(self.photos), "--model", self.model, "--out", str(self.out), *self.flags]
        command = [*self.prefix, sys.executable, "-m", "scaling.scale", *words]
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """Start it; it is killed in the end where it still runs, also where this process is stopped."""
        driver = self.start()
        try:
            yield driver
        finally:
            kill_driver(driver)

    @property
    def log(self) -> Path:
        """What all its calls have said."""
        return self.out.with_name(self.out.name + ".log")

    def finish(self) -> float:
        """Run it to its end; the seconds that took. Raises ValueError where it fails."""
        started = time.monotonic()
        with self.running() as driver:
            code = driver.wait()
        if code:
            raise ValueError(f"hylle scale of {self.photos}: exit code {code}: {self.last_line()}")
        return time.monotonic() - started

    def last_line(self) -> str:
        """The last that it said."""
        return self.log.read_text(errors="replace").strip().rpartition("\n")[2]

    def finished_parts(self) -> int:
        """How many parts the manifest holds."""
        return len(list((self.out / "manifest").glob("*.json")))


def processes(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The driver's descendants: Ray's own processes and the workers; none where it has ended."""
    try:
        return psutil.Process(driver.pid).children(recursive=True) if driver.poll() is None else []
    except psutil.NoSuchProcess:
        return []


def workers(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """The processes that predict."""
    return [process for process in processes(driver) if WORKER in title(process)]


def title(process: psutil.Process) -> str:
    """How a process is called; empty for one that has ended."""
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def wait_for_parts(run: ScaleRun, driver: subprocess.Popen[bytes], count: int) -> bool:
    """Wait until `count` parts are finished; False where the run ended before. Raises ValueError after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while run.finished_parts() < count:
        if driver.poll() is not None:
            return False
        if time.monotonic() > end:
            raise ValueError(f"{run.out}: {run.finished_parts()} parts after {PATIENCE:.0f} s, need {count}")
        time.sleep(0.02)
    return True


def kill_worker(run: ScaleRun, driver: subprocess.Popen[bytes], delay: float) -> bool:
    """kill -9 one worker `delay` seconds after the next part is finished; whether there was one."""
    if not wait_for_parts(run, driver, run.finished_parts() + 1):
        return False
    time.sleep(delay)
    for process in workers(driver)[:1]:
        process.kill()
        return True
    return False


def kill_driver(driver: subprocess.Popen[bytes]) -> None:
    """kill -9 the driver, and wait until what it started has ended with it; what lasts longer than PATIENCE is killed."""
    started = processes(driver)
    driver.kill()
    driver.wait()
    _, alive = psutil.wait_procs(started, timeout=PATIENCE / 10)
    for process in alive:
        process.kill()


def part_seconds(run: ScaleRun, driver: subprocess.Popen[bytes]) -> float:
    """How long the part after the next one takes; 0 where the run ends before."""
    wait_for_parts(run, driver, run.finished_parts() + 1)
    started = time.monotonic()
    return time.monotonic() - started if wait_for_parts(run, driver, run.finished_parts() + 1) else 0.0


def kills(run: ScaleRun, count: int, rng: np.random.Generator) -> Iterator[int]:
    """kill -9 a worker and a driver at random moments of one run, `count` times; yields how many were killed after each time.

    The worker is killed at any moment of a part; the driver up to three parts' time later, perhaps before Ray has restarted the
    worker. Then the run is resumed. The last one is left to be finished. A time at which Ray did not start, as on a
    machine that is very busy, is not counted. Raises ValueError where that is the tenth.
    """
    tried = unstarted = 0
    while count and unstarted < UNSTARTED:
        with run.running() as driver:  # the driver is killed where this ends
            part = part_seconds(run, driver)
            if driver.poll():
                unstarted += 1
                continue
            tried += kill_worker(run, driver, float(rng.uniform(0, part)))
            time.sleep(float(rng.uniform(0, 3 * part)))
            tried += driver.poll() is None
        count -= 1
        yield tried
    if count:
        raise ValueError(f"hylle scale of {run.photos}: {unstarted} runs failed, {tried} were killed: {run.last_line()}")


def resume_to_end(run: ScaleRun) -> None:
    """Call it until it ends well, UNSTARTED times at most. Raises ValueError after that."""
    for _ in range(UNSTARTED):
        with run.running() as driver:
            if driver.wait() == 0:
                return
    raise ValueError(f"hylle scale of {run.photos}: failed {UNSTARTED} times: {run.last_line()}")


def accounted(out: Path) -> Counter[str]:
    """How often each photo stands in the photos and the dead letters of OUT."""
    return Counter(row["photo"] for table in ("photos", "dead_letters") for row in rows(out, table, ["photo"]))


def rows(out: Path, table: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of one of the tables of OUT, part by part."""
    import pyarrow.parquet as pq

    files = sorted((out / table).rglob("*.parquet"))
    return [row for file in files for row in pq.ParquetFile(file).read(list(columns)).to_pylist()]


class Peak(NamedTuple):
    """The most memory, in MB: that driver and workers had together, and that Ray's own processes had."""

    ours: float
    of_ray: float


def peak_memory(run: ScaleRun) -> Peak:
    """The resident memory of a run at its peaks, by five looks a second. Raises ValueError where it fails."""
    ours = of_ray = 0
    with run.running() as driver:
        while driver.poll() is None:
            started = processes(driver)
            predicting = [process for process in started if WORKER in title(process)]
            ours = max(ours, sum(map(rss, [*predicting, psutil.Process(driver.pid)])))
            of_ray = max(of_ray, sum(rss(process) for process in started if process not in predicting))
            time.sleep(0.2)
    if driver.returncode:
        raise ValueError(f"hylle scale of {run.photos}: exit code {driver.returncode}: {run.last_line()}")
    return Peak(ours / 1e6, of_ray / 1e6)


def rss(process: psutil.Process) -> int:
    """The bytes of memory that a process has; 0 for one that has ended."""
    try:
        return int(process.memory_info().rss)
    except psutil.Error:
        return 0

"""Check of run.py: three large detectors of two views each in FP16 on large photos, against the models' own time."""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from experiments.figures.over_seeds import over_seeds
from experiments.figures.records import Estimate, Measured
from experiments.gpu import drawn_photos
from experiments.gpu.busy import Sampler, busy_share
from experiments.gpu.graphs_on_gpu import files
from experiments.gpu.scale import Work
from experiments.performance import runtime
from fusion.ensemble import Ensemble, default_ensemble
from fusion.models import read_sidecar
from fusion.reading import find_photos
from submission.judge_machine import JUDGE_LIMITS
from submission.packed_code import packed_code

FLOOR_PHOTOS, FLOOR_ROUNDS = 8, 3  # chosen: photos whose tensors are prepared, and how often they are run


def judged_run(work: Work) -> Iterator[Measured]:
    """Seconds of run.py over those of bare session.run on prepared tensors; busy share of the GPU; seconds a photo.

    It has as many processors as the judge's machine.
    """
    folder, ensemble = code_folder(work)
    photos = drawn_photos.judged(work)
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: JUDGE_LIMITS.threads])  # now: torch has a thread for each of all
    paths = list(find_photos(photos).values())
    with Sampler() as sampler:
        log = run(folder, photos, work.out / "judged_run.log")
    report = report_of(log, len(paths), work)
    start = report["by_part"].get("start", 0.0)
    seconds = report["seconds"] - start
    width, height = work.scale.photo_size
    setting = work.setting(
        f"run.py on {len(paths)} photos of {width} x {height}, {len(ensemble.detectors)} detectors x 2 views at "
        f"{work.scale.size} px in FP16, processors: {len(os.sched_getaffinity(0))}, {report['predictions']} boxes, start apart"
    )
    once = f"{setting}; one run, so no interval"
    yield Measured("gpu.run.s_a_photo", Estimate(seconds / len(paths), len(paths)), "s", once)
    yield Measured("gpu.run.start_s", Estimate(start, 1), "s", once)
    if share := busy_share(sampler.samples, start):
        yield Measured("gpu.run.busy_share", share, "share", f"{setting}; nvidia-smi, interval over blocks of 5 s")
    elif not work.rehearsed:
        raise ValueError("nvidia-smi gave no samples: is it installed? seconds are measured, the busy share is not")
    floor = floor_seconds(folder, ensemble, paths[:FLOOR_PHOTOS])
    ratio = over_seeds([seconds / len(paths) / one for one in floor])
    text = f"{setting}; over session.run on the prepared tensors of {len(paths[:FLOOR_PHOTOS])} photos, {len(floor)} rounds"
    yield Measured("gpu.run.over_floor", ratio, "ratio", text)


def code_folder(work: Work) -> tuple[Path, Ensemble]:
    """OUT/judged_code: run.py, fusion/, the three models and their ensemble.json, as a zip of them unpacks."""
    folder = work.out / "judged_code"
    halves = [files(work, place)[1] for place in range(len(work.scale.detectors))]
    contents = packed_code() | {path.name: path.read_bytes() for path in halves}
    contents |= {path.with_suffix(".json").name: path.with_suffix(".json").read_bytes() for path in halves}
    plain = default_ensemble({path.name: read_sidecar(path.with_suffix(".json")) for path in halves})
    both = [replace(one, views=[*one.views, *({**view, "flip": True} for view in one.views)]) for one in plain.detectors]
    ensemble = replace(plain, detectors=both, time_budget_s=1e5)  # nothing is left out: the models' time is asked for
    contents["ensemble.json"] = json.dumps(asdict(ensemble)).encode()
    for name, data in contents.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder, ensemble


def run(folder: Path, photos: Path, log: Path) -> str:
    """What run.py logs. Raises ValueError where it fails."""
    words = [sys.executable, str(folder / "run.py"), "--input", str(photos), "--output", str(folder / "predictions.json")]
    with log.open("w") as file:
        code = subprocess.run(words, stdout=file, stderr=file, check=False).returncode
    text = log.read_text()
    if code:
        raise ValueError(f"run.py: exit code {code}: {(text.strip().splitlines() or ['no word'])[-1][:300]}")
    return text


def report_of(log: str, count: int, work: Work) -> dict[str, Any]:
    """run.py's own report. Raises ValueError where it ran on another provider, logged an error, or left photos out."""
    providers = re.findall(r"^provider: (\w+)", log, re.MULTILINE)
    if set(providers) != {work.provider}:
        raise ValueError(f"run.py ran on {', '.join(providers) or 'no provider'}, must be {work.provider}")
    if errors := re.findall(r"^error: .*", log, re.MULTILINE):
        raise ValueError(f"run.py: {len(errors)} errors, the first: {errors[0][:300]}")
    report: dict[str, Any] = json.loads(re.findall(r"^report: (.*)", log, re.MULTILINE)[-1])
    if report["photos"] != count or not report["predictions"]:
        raise ValueError(f"run.py: {report['predictions']} predictions on {report['photos']} photos, must be some on {count}")
    return report


def floor_seconds(folder: Path, ensemble: Ensemble, photos: list[Path]) -> list[float]:
    """Seconds a photo of the sessions alone, one for each round."""
    with tempfile.TemporaryDirectory() as scratch:
        ours = runtime.Ours(folder, ensemble, Path(scratch))
        floor = runtime.Floor(ours, photos)
        ours.output.close()
        rounds = runtime.turns({"floor": floor}, photos, FLOOR_ROUNDS)["floor"]
    return [seconds / len(photos) for seconds in rounds]

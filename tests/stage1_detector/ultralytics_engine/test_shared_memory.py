"""Processes that load photos for ultralytics: as many as shared memory holds the batches of."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from stage1_detector.ultralytics_engine import yolo
from stage1_detector.ultralytics_engine.shared_memory import workers_that_fit

MB = 2**20


@pytest.mark.parametrize(
    ("free", "workers"),
    [
        pytest.param(0, 0, id="nothing"),
        pytest.param(4 * MB, 0, id="4 MB"),
        pytest.param(64 * MB, 2, id="a container's 64 MB"),
        pytest.param(2**34, 4, id="plenty"),
    ],
)
def test_batches_of_5_mb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, workers: int) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=free // 4096, f_frsize=4096))
    assert workers_that_fit(4, 5 * MB, tmp_path) == workers
    assert workers_that_fit(4, 5 * MB, tmp_path / "none") == 4


def test_little_shared_memory_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    job = SimpleNamespace(config=SimpleNamespace(size=640), progress=lines.append)
    assert yolo.loader_workers(4, job) == 4 and not lines  # type: ignore[arg-type]
    monkeypatch.setattr(yolo, "workers_that_fit", lambda wanted, batch_bytes: 0)
    assert yolo.loader_workers(4, job) == 0  # type: ignore[arg-type]
    assert lines == ["little shared memory: 0 of 4 processes load photos; a larger /dev/shm is faster"]

"""Each check refuses what it is there to refuse: a fallback to the CPU, coarse FP16, a run that left out photos."""

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from constant_models import CANDIDATES, save_model

from experiments.gpu import graphs_on_gpu, judged_run, random_networks, sessions, trainings
from experiments.gpu.busy import Sampler
from experiments.gpu.scale import CPU, FULL, GPU, TINY, Detector, Work

WORK = Work(Path("G"), FULL, rehearsed=False)
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA GPU")
REPORT = 'report: {"photos": 2, "predictions": %d, "seconds": 3.0, "by_part": {"start": 1.0}}\n'


@no_gpu
@pytest.mark.parametrize(
    ("available", "message"),
    [
        pytest.param([CPU], "has no CUDA, only CPUExecutionProvider: install onnxruntime-gpu in place", id="the wrong wheel"),
        pytest.param([GPU, CPU], "falls back to CPUExecutionProvider without a word: install", id="the wrong libraries"),
    ],
)
def test_a_fallback_to_the_cpu_is_refused(
    available: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_model(tmp_path, CANDIDATES, task="detector")
    start = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda path, options, providers: start(path, options, providers=[CPU]))
    with pytest.raises(ValueError, match=message):
        sessions.refuse_fallback(tmp_path / "model.onnx", WORK)


@pytest.mark.parametrize(
    ("nodes", "on_cpu", "refused"),
    [
        pytest.param({}, {}, True, id="no node at all"),
        pytest.param({GPU: 90, CPU: 2}, {"Gather": 2}, False, id="shapes on the CPU"),
        pytest.param({GPU: 90, CPU: 1}, {"Conv": 1}, True, id="one convolution on the CPU"),
        pytest.param({CPU: 90}, {"Add": 90}, True, id="all on the CPU"),
    ],
)
def test_work_of_a_gpu_on_the_cpu_is_refused(nodes: dict[str, int], on_cpu: dict[str, int], refused: bool) -> None:
    found = sessions.Placement(Counter(nodes), Counter(on_cpu))
    if refused:
        with pytest.raises(ValueError, match="what a GPU is for runs on the CPU"):
            sessions.refuse_heavy_on_cpu(Path("a.onnx"), found, WORK)
    else:
        sessions.refuse_heavy_on_cpu(Path("a.onnx"), found, WORK)


def test_the_placement_is_of_the_nodes_that_ran(tmp_path: Path) -> None:
    """The constant graph has three nodes; onnxruntime may fold none of them, as they depend on the batch."""
    save_model(tmp_path, CANDIDATES, task="detector")
    session = sessions.session(tmp_path / "model.onnx", CPU, profile=str(tmp_path / "profile"))
    session.run(None, {"images": np.zeros((1, 3, 8, 8), np.float32)})
    found = sessions.placed(json.loads(Path(session.end_profiling()).read_text()))
    assert found.on_cpu == Counter(Shape=1, Concat=1, Tile=1) and found.nodes == Counter({CPU: 3})
    assert found.share_on_gpu == 0


@pytest.mark.parametrize(
    ("value", "on_cpu", "ranked", "refused"),
    [
        pytest.param(0.9, 0.0, False, False, id="within what --half allows"),
        pytest.param(9.0, 2.0, False, False, id="as coarse as on a CPU"),
        pytest.param(11.0, 2.0, False, True, id="coarser"),
        pytest.param(99.0, 2.0, True, False, id="ranked otherwise"),
        pytest.param(float("nan"), 2.0, True, True, id="no number"),
    ],
)
def test_only_what_rounding_explains_passes(value: float, on_cpu: float, ranked: bool, refused: bool) -> None:
    if refused:
        with pytest.raises(ValueError, match="FP16 and float32 differ"):
            graphs_on_gpu.refuse_coarse("a: boxes_px", value, on_cpu, ranked)
    else:
        graphs_on_gpu.refuse_coarse("a: boxes_px", value, on_cpu, ranked)


@pytest.mark.parametrize(
    ("log", "message"),
    [
        pytest.param("", "ran on no provider", id="empty log"),
        pytest.param(
            f"provider: {CPU}\nprovider: {GPU}\n{REPORT % 5}", f"ran on {CPU}, {GPU}, must be {GPU}", id="one fell back"
        ),
        pytest.param(
            f"provider: {GPU}\nerror: one.onnx view 1: memory\n{REPORT % 5}", "1 errors, the first: error: one", id="error"
        ),
        pytest.param(f"provider: {GPU}\n{REPORT % 0}", "0 predictions on 2 photos", id="no box"),
    ],
)
def test_a_run_that_is_not_what_is_measured_is_refused(log: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judged_run.report_of(log, 2, WORK)
    assert judged_run.report_of(f"provider: {GPU}\n{REPORT % 5}", 2, WORK)["seconds"] == 3.0


def test_the_busy_share_is_sampled_while_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 40\necho 60\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    with Sampler() as sampler:
        while sampler._file.seek(0, 2) < len("40\n60\n"):
            pass
    assert sampler.samples == [40.0, 60.0]
    monkeypatch.setenv("PATH", "")
    with Sampler() as sampler:
        pass
    assert sampler.samples == []


@pytest.mark.parametrize("lines", [[], ["epoch 1/2  box_loss 1.0  3.0 photos/s  0.0 min left"]], ids=["no line", "one epoch"])
def test_a_training_that_was_too_short_has_no_rate(lines: list[str]) -> None:
    with pytest.raises(ValueError, match=f"photos per second of {len(lines)} epochs, need 2"):
        trainings.rate_of(lines)


@torch.no_grad()
def test_a_random_network_finds_as_many_boxes_as_on_a_shelf() -> None:
    network = random_networks.random_detector(Detector("yolo", "yolov8n.yaml"), 320)
    images = torch.from_numpy(random_networks.textured(2, 320).transpose(0, 3, 1, 2).copy()).float() / 255
    scores = network(images)[0][:, 4]  # (2, 2100)
    few, many = random_networks.ABOVE["yolo"]
    assert float((scores > 0.05).float().mean()) == pytest.approx(few, rel=0.2)
    assert float((scores > 0.001).float().mean()) == pytest.approx(many, rel=0.2)


def test_the_large_networks_are_those_that_are_known() -> None:
    assert [detector.name for detector in FULL.detectors] == ["yolov8l", "yolo26l", "rtdetr-l"]
    assert [detector.family for detector in TINY.detectors] == [detector.family for detector in FULL.detectors]

"""The loop of the torchvision detectors: what a step is, what a run keeps, that a stopped one goes on as if it never had."""

import weakref
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from small_photos import photo
from torchvision_nets import SMALL, built
from training_jobs import job_of

from photos.data import Photo
from runs import checkpoint, training_errors
from runs.distributed import SINGLE_PROCESS, Distributed
from stage1_detector.config import TorchvisionConfig
from stage1_detector.families import TORCHVISION
from stage1_detector.nets import torchvision_net
from stage1_detector.torch_engine import loop, optimizers, training_log
from stage1_detector.torch_engine.canvases import IMAGENET_FORMAT, load_batches
from stage1_detector.torch_engine.schedules import SCHEDULES
from stage1_detector.torch_engine.training_state import TrainingState

TINY = replace(SMALL, size=64, batch=2, epochs=3, rois=16, proposals=30, lr=1e-3, hsv_p=0.0, affine_p=0.0)
Photos = dict[str, tuple[Photo, ...]]
TORCHVISION_SPEC = loop.NetworkSpec(torchvision_net.build, IMAGENET_FORMAT)


def fit(config: TorchvisionConfig, photos: Photos, out: Path, **changes: object) -> Path:
    return TORCHVISION.fit(job_of(config, photos, out, **changes))


def state_of(config: TorchvisionConfig, photos: Photos, out: Path) -> TrainingState:
    """The state of a training that begins."""
    with loop.seeded(0), closing(loop.Run(job_of(config, photos, out), TORCHVISION_SPEC, loop.BatchesPerStep(2, 1))) as run:
        return run.state


@pytest.fixture
def photos(tmp_path: Path) -> Photos:
    """Bright boxes on grey."""
    made = []
    for i in range(5):
        one = photo(tmp_path, i, [[5 + 2 * i, 5, 30 + 2 * i, 30]])
        image = np.full((40, 60, 3), 60, np.uint8)
        x0, y0, x1, y1 = one.boxes[0].astype(int)
        image[y0:y1, x0:x1] = 220
        cv2.imwrite(str(one.path), image)
        made.append(replace(one, labels=np.zeros(1, np.int64)))
    return {"train": tuple(made[:4]), "valid": tuple(made[4:])}


@pytest.fixture(autouse=True)
def no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "load_batches", lambda dataset, device: load_batches(dataset, device, workers=0))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)["network"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.slow
@pytest.mark.parametrize("changed", [{}, {"ema": 0.9, "optimizer": "SGD"}], ids=["plain", "averaged, momentum"])
def test_a_stopped_run_goes_on_as_if_it_never_had(photos: Photos, tmp_path: Path, changed: dict[str, object]) -> None:
    config = replace(TINY, rotate=5.0, affine_p=0.5, **changed)
    whole = fit(config, photos, tmp_path / "whole")

    def stop(line: str) -> None:
        if line.startswith("epoch 2/3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, photos, tmp_path / "stopped", progress=stop)
    torch.manual_seed(99)  # another process has another generator
    again = fit(config, photos, tmp_path / "stopped", resume=True)
    assert same(weights(whole), weights(again))
    assert not same(weights(whole), built(config, ["product"]).state_dict())
    logs = [[row[:3] for row in training_log.rows(tmp_path / name / training_log.LOG)] for name in ("whole", "stopped")]
    assert logs[0] == logs[1]  # rows of the epoch that was cut short are there once
    assert (tmp_path / "whole" / training_log.CURVES).stat().st_size > 5000


@pytest.mark.parametrize(("score", "stalled"), [(0.0, False), (0.3, True)], ids=["nothing found yet", "no gain"])
def test_patience_begins_when_something_is_found(photos: Photos, tmp_path: Path, score: float, stalled: bool) -> None:
    state = state_of(replace(TINY, patience=2), photos, tmp_path)
    for epoch in range(4):
        assert state.has_stalled is (stalled and epoch > 2)
        state.end_epoch(tmp_path, score)
    assert state.has_stalled is stalled


def test_a_resumed_run_keeps_anchors_that_its_photos_would_not_fit(photos: Photos, tmp_path: Path) -> None:
    """They are those of the run whose heads it began from."""
    config, lines = replace(TINY, anchors="fitted", anchor_size=0.0, epochs=3), []
    other = (
        replace(photos["train"][0], boxes=np.array([[0, 0, 40, 12], [0, 0, 12, 38]], np.float32), labels=np.zeros(2, int)),
    )
    giver = torchvision_net.build(config, other, ["a", "b"])
    checkpoint.write(tmp_path / "w.pt", giver.description | {"network": giver.state_dict()})

    def stop(line: str) -> None:
        lines.append(line)
        if line.startswith("epoch 2/3"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config, photos, tmp_path / "one", progress=stop, pretrained=tmp_path / "w.pt")
    assert "roi_heads.box_predictor.cls_score.weight" in lines[0]
    last = fit(config, photos, tmp_path / "one", resume=True, pretrained=tmp_path / "w.pt")
    assert torchvision_net.load(last).description["anchors"] == giver.description["anchors"]


@pytest.mark.slow
def test_it_learns(photos: Photos, tmp_path: Path) -> None:
    """One bright box a photo: the loss falls to a third, and what is found overlaps it."""
    config = replace(TINY, epochs=40, lr=3e-3, plain_epochs=40, norm="group", clip=5.0)
    out = fit(config, photos, tmp_path / "one")
    every = training_log.rows(tmp_path / "one" / training_log.LOG)
    losses = [value for _, _, name, value in every if name == "epoch/classification"]
    assert losses[-1] < losses[0] / 3
    raw = torchvision_net.load(out)(torch.rand(1, 3, 64, 64)).detach()
    assert raw.shape == (1, 5, 30)


@pytest.mark.slow
def test_the_best_checkpoints_stay_and_patience_ends_it(photos: Photos, tmp_path: Path) -> None:
    told = iter([0.1, 0.4, 0.3, 0.2, 0.1, 0.0])
    lines: list[str] = []
    config = replace(TINY, epochs=6, patience=3, keep=2)
    score = {"progress": lines.append, "score": lambda network: {"det_map50": next(told)}}
    best = fit(config, photos, tmp_path / "one", **score)
    kept = sorted(path.name for path in best.parent.glob("*.pt"))
    assert kept == ["best.pt", "epoch-2.pt", "epoch-3.pt", "last.pt"]
    second, last = (weights(best.with_name(name)) for name in ("epoch-2.pt", "last.pt"))
    assert same(weights(best), second) and not same(weights(best), last)
    assert lines[-1] == "stops: no gain in 3 epochs" and sum(line.startswith("epoch") for line in lines) == 5


@pytest.mark.parametrize("gathered", [1, 2, 3], ids=["each photo a step", "two a step", "three, and one left"])
def test_gathered_batches_are_a_step_of_their_mean_gradient(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gathered: int
) -> None:
    """Each loss has the gradient 1: so has their mean, however many there are, also in the last step of fewer."""
    config = replace(TINY, epochs=1, batch=1, accumulate=gathered)
    seen: list[float] = []

    def ones(self: torchvision_net.Detector, images: torch.Tensor, targets: list) -> dict[str, torch.Tensor]:
        return {"box": self.net.roi_heads.box_predictor.cls_score.bias.sum()}

    def step(self: TrainingState, distributed: Distributed) -> None:
        seen.append(float(self.learner.net.roi_heads.box_predictor.cls_score.bias.grad.mean()))
        self.optimizer.zero_grad()

    monkeypatch.setattr(torchvision_net.Detector, "losses", ones)
    monkeypatch.setattr(TrainingState, "step", step)
    fit(config, photos, tmp_path)
    assert seen == pytest.approx([1.0] * -(-4 // gathered))


@pytest.mark.slow
def test_where_memory_runs_out_half_the_batch_is_gathered_twice(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = torchvision_net.Detector.losses

    def short(self: torchvision_net.Detector, images: torch.Tensor, targets: list) -> dict[str, torch.Tensor]:
        if len(images) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        assert self.batch == 1  # what a learner that counts batches is told
        return first(self, images, targets)

    monkeypatch.setattr(torchvision_net.Detector, "losses", short)
    lines: list[str] = []
    fit(replace(TINY, epochs=1), photos, tmp_path / "one", progress=lines.append)
    assert lines[0] == "out of memory: goes on with a batch of 1, 2 to a step"
    assert torch.load(tmp_path / "one" / "weights" / "last.pt", weights_only=True)["rate"]["last_epoch"] == 2


def test_memory_is_given_back_before_a_smaller_batch_and_at_the_end(
    photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, left = weakref.WeakSet[object](), list[int]()

    class Full:
        def __init__(self, job: object, network: object, step_size: training_errors.BatchesPerStep) -> None:
            runs.add(self)
            self.batch = step_size.batch

        def remaining_epochs(self) -> list[int]:
            return [0]

        def train_epoch(self, epoch: int) -> None:
            if self.batch > 1:
                raise RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

        def end_epoch(self, epoch: int) -> None:
            pass

        def close(self) -> None:
            pass

    monkeypatch.setattr(loop, "Run", Full)
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)  # a GPU is in use
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(len(runs)))
    fit(replace(TINY, epochs=1), photos, tmp_path / "one")
    assert TINY.batch == 2 and left == [0, 0]


def test_a_loss_that_is_no_number_stops_the_run(photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision_net.Detector, "losses", lambda *words: {"box": torch.tensor(float("nan"))})
    with pytest.raises(FloatingPointError, match=r"loss of epoch 1: got nan, must be finite; lower --lr \(now 0.001\)"):
        fit(TINY, photos, tmp_path / "one")


def test_a_run_begun_with_other_settings_is_not_gone_on_with(photos: Photos, tmp_path: Path) -> None:
    net = built(TINY, ["product"])
    checkpoint.write(tmp_path / "last.pt", net.description | {"network": net.state_dict()})
    with pytest.raises(ValueError, match="was begun with width 16, now 32"):
        state_of(replace(TINY, width=32), photos, tmp_path).restore(tmp_path / "last.pt")


# --- rates


def rates(changed: dict[str, object]) -> dict[str, float]:
    """The rate of some tensors, by name."""
    config = replace(SMALL, lr=1.0, **changed)
    net = built(config, ["a"])
    of = {id(p): group for group in optimizers.parameter_groups(net, config) for p in group["params"]}
    assert len(of) == len(list(net.parameters()))  # each in one group
    names = {"first": 0, "last": -1}
    body = list(net.backbone.body.parameters())
    told = {name: float(of[id(body[at])]["lr"]) for name, at in names.items()}
    return told | {"head": float(of[id(net.net.roi_heads.box_predictor.cls_score.weight)]["lr"])}


def test_the_backbone_learns_at_its_own_rate_and_its_layers_by_depth() -> None:
    assert rates({}) == {"first": 1.0, "last": 1.0, "head": 1.0}
    assert rates({"backbone_lr": 0.5}) == {"first": 0.5, "last": 0.5, "head": 1.0}
    deep = rates({"layer_decay": 0.7, "backbone_lr": 0.5})
    assert deep == {"first": pytest.approx(0.5 * 0.7**11), "last": 0.5, "head": 1.0}


def test_norms_and_biases_do_not_decay() -> None:
    config = replace(SMALL, weight_decay=0.1)
    net = built(config, ["a"])
    for group in optimizers.parameter_groups(net, config):
        assert all((p.ndim > 1) == (group["weight_decay"] == 0.1) for p in group["params"])


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_every_schedule_drives_the_rate_of_every_group(name: str, photos: Photos, tmp_path: Path) -> None:
    config = replace(TINY, schedule=name, epochs=10, backbone_lr=0.5, lr_end=0.01)
    with closing(loop.Run(job_of(config, photos, tmp_path), TORCHVISION_SPEC, loop.BatchesPerStep(2, 1))) as run:
        state, steps = run.state, run.epochs * run.steps
    seen = []
    for _ in range(steps):
        seen.append(state.scheduler.get_last_lr())
        state.optimizer.step()
        state.scheduler.step()
    body, head = np.array(seen)[:, 0], np.array(seen)[:, -1]
    np.testing.assert_allclose(body, head / 2)
    assert head.max() == pytest.approx(config.lr) and head[-1] < 0.12 * config.lr


def test_a_step_is_cut_to_its_greatest_norm(monkeypatch: pytest.MonkeyPatch, photos: Photos, tmp_path: Path) -> None:
    norms: list[float] = []
    real: Callable = torch.nn.utils.clip_grad_norm_
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", lambda p, most: norms.append(most) or real(p, most))
    for clip in (0.0, 0.25):
        config: TorchvisionConfig = replace(TINY, clip=clip)
        state_of(config, photos, tmp_path).step(SINGLE_PROCESS)
    assert norms == [0.25]

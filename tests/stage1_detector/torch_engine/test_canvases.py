"""Canvases for training: judgment's View, each photo once an epoch, the same for the same seed, at the schedule's scales."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_photos import photo
from torchvision_nets import SMALL, noise

from fusion.models import normalise
from fusion.views import letterbox, make_views
from photos.data import Photo, read_image
from runs.normalisation import IMAGENET
from stage1_detector.sidecar import sidecar
from stage1_detector.torch_engine.canvases import Canvases, EpochBatches, load_batches

PLAIN = replace(SMALL, size=64)
CPU = torch.device("cpu")


@pytest.fixture
def photos(tmp_path: Path) -> tuple[Photo, ...]:
    return tuple(noise(photo(tmp_path, i, [[4, 4, 60, 40], [0, 0, 9, 20]][: i % 3])) for i in range(5))


def test_a_plain_sample_is_what_run_py_sees(photos: tuple[Photo, ...]) -> None:
    canvas, boxes, labels = Canvases(photos, (), PLAIN, False).sample(2, 64, True, 0)
    view = letterbox(60, 40, 64, "rectangle", 32)
    assert canvas.shape == (view.height, view.width, 3) == (64, 64, 3)
    np.testing.assert_array_equal(boxes, view.to_canvas(photos[2].boxes))
    assert labels.tolist() == [0, 1]


@pytest.mark.parametrize("shrinking", ["average", "linear"])
def test_a_photo_of_several_times_the_canvas_is_shrunk_as_at_judgment(photos: tuple[Photo, ...], shrinking: str) -> None:
    config = replace(PLAIN, size=32, shrinking=shrinking)
    one = replace(photos[2], width=150, height=100)
    noise(one)
    canvas, _, _ = Canvases((one,), (), config, False).sample(0, 32, True, 0)
    side = sidecar(config, None, {"train": (), "valid": ()})
    (view,) = make_views({"size": 32, "shape": side["shape"]}, 150, 100, side["shrinking"])
    np.testing.assert_array_equal(canvas, view.warp(read_image(one.path, 150, 100)))
    assert view.averaged == (shrinking == "average")


def test_one_name_is_all_that_an_agnostic_detector_learns(photos: tuple[Photo, ...]) -> None:
    assert Canvases(photos, (), PLAIN, True).sample(2, 64, True, 0)[2].tolist() == [0, 0]


def test_an_epoch_shows_each_photo_once_and_synthetic_ones_in_turn(photos: tuple[Photo, ...]) -> None:
    canvases = Canvases(photos[:2], photos[2:], replace(PLAIN, synthetic_ratio=0.5), True)
    assert len(canvases) == 3
    epochs = [sorted(i for batch in canvases.batches_of_epoch(2, epoch) for i in batch) for epoch in range(20)]
    assert all(epoch[:2] == [0, 1] and len(epoch) == 3 for epoch in epochs)
    assert {epoch[2] for epoch in epochs} == {2, 3, 4}
    assert [len(batch) for batch in canvases.batches_of_epoch(2, 0)] == [2, 1]
    with pytest.raises(ValueError, match="got 3 photos, an epoch needs 4"):
        Canvases(photos[:2], photos[2:], replace(PLAIN, synthetic_ratio=2.0), True)


def test_scales_are_drawn_for_each_batch_within_the_schedules(photos: tuple[Photo, ...]) -> None:
    several = Canvases(photos, (), replace(SMALL, size=256, schedule="ms3x"), True)
    sizes = {several.size(epoch, number) for epoch in range(9) for number in range(9)}
    assert sizes == {128, 160, 192, 224, 256}
    assert {Canvases(photos, (), PLAIN, True).size(0, n) for n in range(9)} == {64}


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_are_the_same_however_many_workers_make_them(photos: tuple[Photo, ...], workers: int) -> None:
    config = replace(PLAIN, rotate=10.0, flip_lr=0.5, colour_policy=0.5)
    canvases = Canvases(photos, (), config, False)
    order = list(canvases.batches_of_epoch(2, 3))
    state = torch.get_rng_state()
    made = list(load_batches(EpochBatches(canvases, order, 3, False), CPU, workers))
    assert torch.equal(state, torch.get_rng_state())
    again = [EpochBatches(canvases, order, 3, False)[i] for i in range(len(order))]
    for (images, targets), (pixels, arrays) in zip(made, again, strict=True):
        assert np.array_equal(images.numpy(), normalise(pixels, *IMAGENET)) and images.shape[1:] == (3, 64, 64)
        assert all(np.array_equal(a["boxes"].numpy(), b["boxes"]) for a, b in zip(targets, arrays, strict=True))
    other = next(load_batches(EpochBatches(canvases, order, 4, False), CPU, 0))[0]
    assert not torch.equal(other, made[0][0])  # another epoch augments otherwise


def test_plain_epochs_are_not_augmented(photos: tuple[Photo, ...]) -> None:
    canvases = Canvases(photos, (), replace(PLAIN, rotate=10.0, schedule="ms3x"), False)
    ((images, targets),) = list(load_batches(EpochBatches(canvases, [[2]], 0, True), CPU, 0))
    canvas, boxes, _ = canvases.sample(2, 64, True, 0)
    assert np.array_equal(images.numpy(), normalise(canvas[None], *IMAGENET))
    assert np.array_equal(targets[0]["boxes"].numpy(), boxes)


def test_a_worker_that_is_gone_is_one_line(photos: tuple[Photo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(Canvases, "sample", die)
    dataset = EpochBatches(Canvases(photos, (), PLAIN, False), [[0], [1]], 0, True)
    with pytest.raises(OSError, match=r"^loading photos: DataLoader worker .*; is there too little memory"):
        list(load_batches(dataset, CPU, 1))


def test_a_worker_that_never_answers_is_one_line(photos: tuple[Photo, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Canvases, "sample", lambda *_: time.sleep(1))
    monkeypatch.setattr("stage1_detector.torch_engine.canvases.TIMEOUT", 0.2)
    dataset = EpochBatches(Canvases(photos, (), PLAIN, False), [[0], [1]], 0, True)
    with pytest.raises(OSError, match=r"^loading photos: DataLoader timed out after 0.2 seconds; "):
        list(load_batches(dataset, CPU, 1))


def test_an_error_of_a_workers_keeps_its_traceback(photos: tuple[Photo, ...]) -> None:
    dataset = EpochBatches(Canvases(photos, (), PLAIN, False), [[0], [99]], 0, True)
    with pytest.raises(IndexError, match="tuple index out of range"):
        list(load_batches(dataset, CPU, 1))


LITTLE_MEMORY = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from test_canvases import CPU, PLAIN, Canvases, EpochBatches, load_batches
from small_photos import photo
from dataclasses import replace
from pathlib import Path
photos = tuple(photo(Path({folder!r}), i, [[4, 4, 60, 40]]) for i in range(8))
dataset = EpochBatches(Canvases(photos, (), replace(PLAIN, size=1024), True), [list(range(8))] * 3, 0, True)
print(sum(len(images) for images, _ in load_batches(dataset, CPU, 2)))
"""


@pytest.mark.slow
def test_batches_larger_than_shared_memory_arrive(tmp_path: Path) -> None:
    """With 1 MB of /dev/shm, batches of 24 MB in bytes and 96 MB as floats."""
    here = Path(__file__)
    paths = os.pathsep.join([str(here.parents[3]), str(here.parents[2])])
    script = LITTLE_MEMORY.format(tests=str(here.parent), root=str(here.parents[2]), folder=str(tmp_path))
    mount = 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$0" -c "$1"'
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None or subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("user namespaces are not permitted here")
    command = [*alone, "sh", "-c", mount, sys.executable, script]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"PYTHONPATH": paths}, check=False
    )
    assert done.stdout.strip() == "24", done.stderr


@pytest.mark.slow
def test_boxes_without_area_are_not_learnt_from(tmp_path: Path) -> None:
    """Float32 has no width for the second one, at the right end of a photo."""
    boxes = [[4, 4, 60, 40], [59.0, 2, 59.0 + 1e-9, 30], [0, 7, 60, 7.02]]
    canvases = Canvases((noise(photo(tmp_path, 1, boxes)),), (), PLAIN, True)
    for plain in (True, False):
        _, kept, labels = canvases.sample(0, 64, plain, 0)
        assert len(kept) == len(labels) == 1

"""Canvases for training: judgment's View, each photo once an epoch, the same for the same seed, at the schedule's scales."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_photos import photo
from torchvision_nets import SMALL, noise

from fusion.models import normalise
from fusion.views import letterbox
from photos.data import Photo
from stage1_detector.torch_engine.canvases import MEAN, STD, Canvases, EpochBatches, load_batches

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
    for (images, targets), (same, told) in zip(made, again, strict=True):
        assert torch.equal(images, same) and images.shape[1:] == (3, 64, 64)
        assert all(torch.equal(a["boxes"], b["boxes"]) for a, b in zip(targets, told, strict=True))
    other = next(load_batches(EpochBatches(canvases, order, 4, False), CPU, 0))[0]
    assert not torch.equal(other, made[0][0])  # another epoch augments otherwise


def test_plain_epochs_are_not_augmented(photos: tuple[Photo, ...]) -> None:
    canvases = Canvases(photos, (), replace(PLAIN, rotate=10.0, schedule="ms3x"), False)
    ((images, targets),) = list(load_batches(EpochBatches(canvases, [[2]], 0, True), CPU, 0))
    canvas, boxes, _ = canvases.sample(2, 64, True, 0)
    assert np.array_equal(images.numpy(), normalise(canvas[None], MEAN, STD))
    assert np.array_equal(targets[0]["boxes"].numpy(), boxes)

"""A training of ultralytics' that is stopped and resumed comes to the very weights of one that was left alone."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small_photos import photo
from torchvision_nets import noise
from training_jobs import job_of

from photos.data import Photo
from runs.distributed import Distributed
from stage1_detector.config import DetectorConfig
from stage1_detector.ultralytics_engine import detection_trainer, exact_state, yolo
from stage1_detector.ultralytics_engine.draws import Draw, SeededPhotos

YOLO = DetectorConfig(size=64, batch=2, epochs=4, min_steps=0, lr=0.002, device="cpu", mosaic=1.0, warmup_epochs=1.0)
CONFIGS = {
    "yolo": YOLO,
    "rtdetr": replace(YOLO, family="rtdetr", model="yolov8n-rtdetr.yaml", lr=0.0002),
    "synthetic": replace(YOLO, mosaic=0.0, synthetic_ratio=0.5, optimizer="SGD"),
}
Seen = list[tuple[int, float, list[str]]]  # of each epoch: its number, its weights as a sum, its photos


class Stopped(Exception):
    """The training was cut off."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> tuple[Photo, ...]:
    """Nine photos of noise with boxes."""
    folder, made = tmp_path_factory.mktemp("photos"), []
    for number in range(9):
        rng = np.random.default_rng(number)
        corner, side = rng.uniform(0, (40, 20), (3, 2)), rng.uniform(8, 20, (3, 2))
        made.append(noise(photo(folder, number, np.concatenate([corner, corner + side], 1).tolist())))
    return tuple(replace(one, labels=np.zeros(3, np.int64)) for one in made)


@pytest.fixture
def train(monkeypatch: pytest.MonkeyPatch, photos: tuple[Photo, ...]) -> Callable[..., Seen]:
    """Trains, and tells what was seen; `stop` cuts it off in that epoch, after its first batch."""

    def training(config: DetectorConfig, out: Path, stop: int | None = None, resume: bool = False, every: float = 0.0) -> Seen:
        seen: Seen = []
        shown: list[str] = []

        def end_batch(trainer: Any) -> None:
            shown.extend(Path(file).name for file in trainer.batch_files)
            if trainer.epoch == stop:
                raise Stopped

        def end_epoch(trainer: Any) -> None:
            weights = sum(float(value.double().abs().sum()) for value in trainer.model.state_dict().values())
            seen.append((trainer.epoch, weights, shown.copy()))
            shown.clear()

        with pytest.MonkeyPatch.context() as patched:
            attach = yolo.TrainingCallbacks.attach

            def attached(self: Any, trainer: Any) -> None:
                attach(self, trainer)
                trainer.add_callback("on_train_batch_end", end_batch)
                trainer.add_callback("on_fit_epoch_end", end_epoch)

            patched.setattr(yolo.TrainingCallbacks, "attach", attached)
            patched.setattr(detection_trainer, "CHECKPOINT_SECONDS", every)
            made = photos[6:] if config.synthetic_ratio else ()
            yolo.fit(job_of(config, {"train": photos[:6], "valid": photos[:2]}, out, resume=resume, synthetic=made))
        return seen

    return training


def same_weights(alone: Path, stopped: Path) -> bool:
    """Whether the last checkpoints of two runs hold the same."""
    one, other = (yolo.load_raw(out / "weights/last.pt").state_dict() for out in (alone, stopped))
    return all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_stopped_within_an_epoch_it_comes_to_the_weights_of_one_left_alone(
    name: str, train: Callable[..., Seen], tmp_path: Path
) -> None:
    config, alone, stopped = CONFIGS[name], tmp_path / "alone", tmp_path / "stopped"
    whole = train(config, alone)
    assert [epoch for epoch, _, _ in whole] == [0, 1, 2, 3] and len({weights for _, weights, _ in whole}) == 4
    with pytest.raises(Stopped):
        train(config, stopped, stop=2)
    assert [path.name for path in (stopped / "weights").glob(exact_state.PATTERN)] == ["exact-1.pt"]
    assert train(config, stopped, resume=True) == whole[2:]
    assert not list(stopped.rglob(exact_state.PATTERN)) and not list(alone.rglob(exact_state.PATTERN))
    assert same_weights(alone, stopped)


@pytest.mark.slow
def test_short_epochs_write_no_checkpoint_but_the_first_and_the_last(train: Callable[..., Seen], tmp_path: Path) -> None:
    whole = train(YOLO, tmp_path / "alone", every=600.0)
    with pytest.raises(Stopped):
        train(YOLO, tmp_path / "one", stop=3, every=600.0)
    assert [path.name for path in (tmp_path / "one/weights").glob(exact_state.PATTERN)] == ["exact-0.pt"]
    assert train(YOLO, tmp_path / "one", resume=True, every=600.0) == whole[1:]
    assert same_weights(tmp_path / "alone", tmp_path / "one")


@pytest.mark.slow
def test_without_the_state_beside_it_a_checkpoint_goes_on_from_its_average_and_that_is_told(
    train: Callable[..., Seen], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Stopped):
        train(YOLO, tmp_path / "one", stop=2)
    exact_state.path_of(tmp_path / "one/weights", 1).unlink()
    assert [epoch for epoch, _, _ in train(YOLO, tmp_path / "one", resume=True)] == [2, 3]
    assert "no state of its epoch 2 beside last.pt: goes on from averaged weights" in capsys.readouterr().out


def test_a_damaged_state_is_refused_and_a_remedy_told(tmp_path: Path) -> None:
    exact_state.path_of(tmp_path, 3).write_bytes(b"no checkpoint")
    trainer = type("Trainer", (), {"model": torch.nn.Linear(1, 1), "ema": type("Ema", (), {"ema": torch.nn.Linear(1, 1)})})
    with pytest.raises(ValueError, match=r"--resume: got .*exact-3\.pt, must be a whole checkpoint .*; remove it"):
        exact_state.restore(trainer, tmp_path, 3)


def test_a_state_goes_with_its_own_checkpoint_and_without_the_teacher(tmp_path: Path) -> None:
    def trainer() -> Any:
        networks = [torch.nn.ModuleDict({name: torch.nn.Linear(1, 1) for name in ("teacher_model", "student")}) for _ in "01"]
        optimizer = torch.optim.AdamW(networks[0]["student"].parameters())
        ema = type("Ema", (), {"ema": networks[1]})
        return type("Trainer", (), {"model": networks[0], "ema": ema, "optimizer": optimizer, "epoch": 4})

    giver, taker = trainer(), trainer()
    exact_state.write(giver, tmp_path)
    assert not exact_state.restore(taker, tmp_path, 4), "it is of another last.pt"
    assert not torch.equal(taker.model["student"].weight, giver.model["student"].weight)
    taker.ema.ema["student"].load_state_dict({k: v.half().float() for k, v in giver.ema.ema["student"].state_dict().items()})
    teacher = taker.model["teacher_model"].weight.clone()
    assert exact_state.restore(taker, tmp_path, 4) and not exact_state.restore(taker, tmp_path, 3)
    assert torch.equal(taker.model["student"].weight, giver.model["student"].weight)
    assert torch.equal(taker.ema.ema["student"].weight, giver.ema.ema["student"].weight)
    assert torch.equal(taker.model["teacher_model"].weight, teacher)


def test_what_is_drawn_for_a_photo_hangs_on_the_seed_the_epoch_and_the_photo_alone() -> None:
    class Noise:
        labels = "as they are"

        def __len__(self) -> int:
            return 5

        def __getitem__(self, index: int) -> list[float]:
            return [index, random.random(), float(np.random.rand()), float(torch.rand(1))]  # noqa: NPY002 - as ultralytics

    photos = SeededPhotos(Noise(), seed=1)
    first = photos[Draw(3, epoch=2)]
    assert photos[Draw(4, epoch=2)] != first == photos[Draw(3, epoch=2)]
    others = [photos[Draw(3, epoch=1)], photos[Draw(2, epoch=2)], SeededPhotos(Noise(), seed=2)[Draw(3, epoch=2)]]
    assert all(not set(first[1:]) & set(other[1:]) for other in others)
    assert (len(photos), photos.labels, int(first[0])) == (5, "as they are", 3)


def test_networks_that_draw_begin_anew_in_each_epoch_and_process(tmp_path: Path) -> None:
    """RT-DETR's denoising draws in the process that learns, where others load the photos."""

    def drawn(epoch: int, rank: int = 0, seed: int = 0) -> float:
        args = type("Args", (), {"seed": seed})
        trainer = type("Trainer", (), {"args": args, "epoch": epoch, "batch_size": 1})
        yolo.TrainingCallbacks(tmp_path, print, Distributed(rank, 2))._begin_epoch(trainer)
        return float(torch.rand(1))

    assert drawn(3) == drawn(3) and len({drawn(3), drawn(4), drawn(3, rank=1), drawn(3, seed=1)}) == 4


def test_detection_trainers_draw_by_their_own_sampler_whatever_is_mixed_in(tmp_path: Path, photos: tuple[Photo, ...]) -> None:
    job = job_of(YOLO, {"train": photos[:6], "valid": photos[:2]}, tmp_path / "one")
    trainer = detection_trainer.trainer_class("yolo", yolo.trainer_options(job))(
        overrides=yolo.ultralytics_arguments(job) | {"workers": 0}
    )
    trainer.setup_model()
    trainer.set_model_attributes()
    loader = trainer.get_dataloader(str(tmp_path / "one/photos/train/images"), 2, -1)
    assert isinstance(loader.dataset, SeededPhotos) and loader.batch_sampler.sampler.sampler is trainer.sampler
    epochs = [[draw.epoch for draw in trainer.sampler] for _ in range(2)]
    assert epochs == [[0] * 6, [1] * 6]

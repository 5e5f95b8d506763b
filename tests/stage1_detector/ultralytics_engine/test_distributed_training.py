"""ultralytics' families in two processes: they learn, keep the same weights, and go on where they were stopped."""

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from processes import Runtime, run_in_processes
from small_photos import photo
from torchvision_nets import noise
from training_jobs import job_of

from photos.data import Photo
from runs.distributed import Distributed
from stage1_detector.config import DetectorConfig
from stage1_detector.detector_run import refuse_batch
from stage1_detector.ultralytics_engine import detection_trainer, yolo
from stage1_detector.ultralytics_engine.detection_trainer import DistributedDataParallel, ExtendedTrainer
from stage1_detector.ultralytics_engine.draws import MixedSampler

EPOCHS = 4
STOPPED_AFTER = 2
CONFIG = DetectorConfig(size=64, batch=4, epochs=EPOCHS, min_steps=0, lr=0.002, device="cpu", mosaic=0.0, warmup_epochs=0.0)
CONFIGS = {"yolo": CONFIG, "rtdetr": replace(CONFIG, family="rtdetr", model="yolov8n-rtdetr.yaml", lr=0.0002)}


class Trained(NamedTuple):
    """What a process sees: lines that are shown, weights after each epoch as sums, epochs that were trained in each call."""

    lines: list[str]
    sums: list[float]
    epochs: list[list[int]]
    photos: list[list[str]]


def crowd(folder: Path) -> tuple[Photo, ...]:
    """Six photos of noise with boxes."""
    made = []
    for number in range(6):
        rng = np.random.default_rng(number)
        corner, side = rng.uniform(0, (40, 20), (3, 2)), rng.uniform(8, 20, (3, 2))
        made.append(noise(photo(folder, number, np.concatenate([corner, corner + side], 1).tolist())))
    return tuple(replace(one, labels=np.zeros(3, np.int64)) for one in made)


def trained(distributed: Distributed, folder: Path, photos: tuple[Photo, ...]) -> list[Trained]:
    """Each family stopped after STOPPED_AFTER epochs, and resumed."""
    return [trained_family(distributed, folder / name, config, photos) for name, config in CONFIGS.items()]


class Stopped(Exception):
    """The training was cut off."""


def trained_family(distributed: Distributed, out: Path, config: DetectorConfig, photos: tuple[Photo, ...]) -> Trained:
    made = Trained([], [], [], [])
    setup = ExtendedTrainer._build_train_pipeline

    def watch(trainer: Any) -> None:
        setup(trainer)
        assert isinstance(trainer.model, DistributedDataParallel) and trainer.batch_size == config.batch
        made.epochs.append([])
        made.photos.append([])
        trainer.add_callback("on_train_batch_end", lambda one: made.photos[-1].extend(one.batch_files))
        trainer.add_callback("on_train_epoch_end", lambda one: made.epochs[-1].append(one.epoch))
        trainer.add_callback("on_fit_epoch_end", end_epoch)

    def end_epoch(trainer: Any) -> None:
        made.sums.append(float(sum(value.detach().double().abs().sum() for value in trainer.model.parameters())))
        if len(made.epochs) == 1 and trainer.epoch + 1 == STOPPED_AFTER:
            raise Stopped

    def progress(line: str) -> None:
        if distributed.is_main:
            made.lines.append(line)

    job = job_of(config, {"train": photos, "valid": photos[:2]}, out, distributed=distributed, progress=progress)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ExtendedTrainer, "_build_train_pipeline", watch)
        patched.setattr(detection_trainer, "CHECKPOINT_SECONDS", 0.0)
        patched.setattr(yolo, "WORKERS", 1)  # that load photos: each is started four times
        with pytest.raises(Stopped):
            yolo.fit(job)
        weights = yolo.fit(replace(job, resume=True))
    assert weights == out / "weights" / "last.pt"
    return made


@pytest.fixture(scope="module")
def of_both(tmp_path_factory: pytest.TempPathFactory) -> list[list[Trained]]:
    """What each of two processes sees."""
    folder = tmp_path_factory.mktemp("processes")
    return run_in_processes(trained, folder, crowd(folder), seconds=600, runtime=Runtime(anew=True))


@pytest.mark.slow
@pytest.mark.parametrize("family", CONFIGS)
def test_two_processes_start_learn_and_resume(of_both: list[list[Trained]], family: str) -> None:
    first, second = (process[list(CONFIGS).index(family)] for process in of_both)
    assert first.epochs == second.epochs == [[0, 1], [2, 3]], "stopped after two epochs, resumed with the third"
    assert first.sums == second.sums and len(set(first.sums)) == EPOCHS, "all learn, to the same weights"
    shown = [line for line in first.lines if line.startswith("epoch")]
    assert [line.split()[1] for line in shown] == ["1/4", "2/4", "3/4", "4/4"] and not second.lines
    for mine, other in zip(first.photos, second.photos, strict=True):
        for epoch in range(2):
            part = slice(3 * epoch, 3 * epoch + 3)
            assert len({*mine[part], *other[part]}) == 6, "every photo once an epoch"


@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_share_an_epoch_of_real_and_synthetic_photos(n_processes: int) -> None:
    samplers = [MixedSampler([0, 4], [1, 2, 3, 5, 6], 3, Distributed(rank, n_processes)) for rank in range(n_processes)]
    epochs = []
    for _ in range(4):
        parts = [list(sampler) for sampler in samplers]
        assert {len(part) for part in parts} == {len(samplers[0])}
        drawn = [i for part in parts for i in part]
        assert {0, 4} <= set(drawn) and len(set(drawn)) == 5 and len(drawn) - 5 == -5 % n_processes
        epochs.append(tuple(drawn))
    assert len(set(epochs)) == 4
    resumed = MixedSampler([0, 4], [1, 2, 3, 5, 6], 3, Distributed(0, n_processes))
    resumed.set_epoch(3)
    assert tuple(resumed) == epochs[3][: len(resumed)], "a resumed run goes on with the epoch's own order"


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        pytest.param(1, "--batch: got 1 photos for 2 processes, need one for each", id="fewer"),
        pytest.param(3, "--batch: got 3 photos for 2 processes, must be a multiple of 2", id="odd"),
    ],
)
def test_a_batch_that_two_cannot_share_is_refused(batch: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        refuse_batch(replace(CONFIG, batch=batch), 2)
    refuse_batch(replace(CONFIG, batch=batch), 1)


def test_on_a_cpu_each_process_has_the_device_that_was_asked_for(tmp_path: Path) -> None:
    assert yolo.own_device(job_of(CONFIG, {"train": (), "valid": ()}, tmp_path, distributed=Distributed(1, 2))) == "cpu"

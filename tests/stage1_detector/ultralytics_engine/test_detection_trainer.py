"""What our trainers add to ultralytics': synthetic photos mixed in, whole checkpoints, our score, any weights file."""

import random
import shutil
import weakref
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from small_photos import photo
from training_jobs import job_of
from ultralytics.nn.tasks import DetectionModel

from photos import trained_on
from runs.pickled_file import is_ours
from stage1_detector import starter
from stage1_detector.config import DetectorConfig
from stage1_detector.engine import epochs
from stage1_detector.ultralytics_engine import detection_trainer, draws, photo_layout, yolo
from stage1_detector.ultralytics_engine.callbacks import TrainingCallbacks
from stage1_detector.ultralytics_engine.detection_trainer import TrainerOptions
from stage1_detector.ultralytics_engine.draws import MixedSampler


def network(model: str = "yolov8n.yaml") -> DetectionModel:
    return DetectionModel(model, nc=1, verbose=False)


def test_an_epoch_holds_every_real_photo_once_and_others_each_time() -> None:
    names = [f"{draws.SYNTHETIC}{i:03d}.jpg" if i % 4 else f"{i:03d}.jpg" for i in range(40)]  # as ultralytics sorts
    sampler = draws.mixed_sampler(names, 5)
    real = {i for i in range(40) if i % 4 == 0}
    seen: Counter[int] = Counter()
    for _ in range(40):
        epoch = list(sampler)
        assert len(epoch) == len(set(epoch)) == len(sampler) == 15
        assert real < set(epoch)
        seen.update(epoch)
    assert set(seen) == set(range(40))


def test_a_resumed_run_goes_on_with_the_draws_of_an_unbroken_one() -> None:
    def drawn(first: int, seed: int, stray: int) -> list[list[int]]:
        torch.manual_seed(stray)
        sampler = MixedSampler(list(range(4)), list(range(4, 104)), 4, seed=seed)
        sampler.begin(first)
        return [list(sampler) for _ in range(first, 4)]

    whole = drawn(0, 7, 1)
    assert drawn(2, 7, 1) == drawn(2, 7, 2) == whole[2:]
    assert len({tuple(sorted(epoch)) for epoch in [*whole, *drawn(0, 8, 1)]}) == 8, "another epoch and another seed draw others"


@pytest.mark.parametrize(("others", "wanted", "epoch"), [(0, 5, 3), (3, 5, 6), (3, 0, 3)], ids=["none", "few", "none wanted"])
def test_no_more_synthetic_photos_than_there_are(others: int, wanted: int, epoch: int) -> None:
    assert len(list(MixedSampler([0, 1, 2], list(range(3, 3 + others)), wanted))) == epoch


def test_partners_in_a_mosaic_are_in_the_epochs_proportion() -> None:
    partners = MixedSampler(list(range(200)), list(range(200, 3000)), 20).partners(4000)
    assert 0.06 < np.mean(np.array(partners) >= 200) < 0.12
    assert set(MixedSampler([4, 5], [], 0).partners(9)) <= {4, 5}


@pytest.mark.parametrize("mosaic", [0.0, 1.0], ids=["one by one", "mosaic"])
def test_real_photos_are_told_from_synthetic_ones_in_ultralytics_own_order(tmp_path: Path, mosaic: float) -> None:
    """All of one form: ultralytics then sorts the photos by their proportions, and equal ones anyhow."""
    real = tuple(photo(tmp_path, i, [[0, 0, 9, 9]]) for i in range(70))
    for path in tmp_path.glob("*.jpg"):
        path.rename(path.with_suffix(".keep.jpg"))
    made = tuple(replace(photo(tmp_path, i, [[0, 0, 9, 9]])) for i in range(90))
    real = tuple(replace(one, path=one.path.with_suffix(".keep.jpg")) for one in real)
    folders = {
        "train": photo_layout.link_photos(real, tmp_path / "t", True),
        "valid": photo_layout.link_photos(real[:2], tmp_path / "v", True),
    }
    photo_layout.link_photos(made, tmp_path / "t", True, prefix=yolo.SYNTHETIC)
    config = DetectorConfig(size=64, mosaic=mosaic)
    words = yolo.ultralytics_arguments(job_of(config, {"train": real, "valid": real[:2]}, tmp_path / "one", synthetic=made))
    assert words["rect"] is (mosaic == 0)
    options = TrainerOptions(folders, ["product"], 50, 7, lambda network: {})
    one = detection_trainer.trainer_class("yolo", options)(overrides=words | {"workers": 0})
    one.setup_model()
    one.set_model_attributes()
    loader = one.get_dataloader(str(folders["train"]), 4, -1)
    sampler = loader.batch_sampler.sampler.sampler
    assert (sampler is one.sampler) and (sampler.seed, sampler.epoch) == (config.seed, 0)
    files = [Path(file).name for file in loader.dataset.im_files]
    epoch = [files[i] for i in sampler]
    assert sum(not name.startswith(yolo.SYNTHETIC) for name in epoch) == 70 and len(set(epoch)) == 77
    shown = [
        transform.get_indexes()
        for transform in draws.multi_photo_transforms(loader.dataset.transforms)
        if hasattr(transform, "n")
    ]
    assert shown and all(len(indexes) == 3 for indexes in shown)
    one.train_loader, one.epoch, one.start_epoch = loader, 5, 3
    one.resume_training(None)
    assert sampler.epoch == 3
    one._close_dataloader_mosaic()
    assert sampler.epoch == 5
    one.get_dataloader(str(folders["train"]), 2, -1)  # memory ran out in the first epoch
    assert one.sampler.epoch == 3


def test_a_weights_file_fills_the_network_it_is_of(tmp_path: Path) -> None:
    torch.manual_seed(1)
    giver, taker = network(), network()
    starter.write(giver, tmp_path / "w.safetensors")
    detection_trainer.load_pretrained(taker, tmp_path / "w.safetensors")
    for name, value in giver.state_dict().items():
        if value.is_floating_point():
            np.testing.assert_allclose(taker.state_dict()[name], value, atol=2e-3, err_msg=name)


def test_a_weights_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in network().state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"--pretrained: got .*w.safetensors, which fills \d+ of the network's \d+ tensors"):
        detection_trainer.load_pretrained(network("yolo11n.yaml"), tmp_path / "w.safetensors")


def test_a_class_head_of_another_width_stays_as_it_was(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in network().state_dict().items()}, tmp_path / "w.safetensors")
    taker = DetectionModel("yolov8n.yaml", nc=7, verbose=False)
    before = taker.model[-1].cv3[0][-1].weight.clone()
    detection_trainer.load_pretrained(taker, tmp_path / "w.safetensors")
    assert torch.equal(taker.model[-1].cv3[0][-1].weight, before)


def test_a_loss_that_is_no_number_stops_and_says_where() -> None:
    class Trainer:
        loss, epoch, args = torch.tensor(float("nan")), 2, type("Args", (), {"lr0": 0.5})

    with pytest.raises(FloatingPointError, match=r"loss of epoch 3: got nan, must be finite; lower --lr \(now 0.5\)"):
        TrainingCallbacks(Path(), print)._end_batch(Trainer())


def bound(score: detection_trainer.Score, family: str = "yolo", chooses: bool = False) -> type:
    options = TrainerOptions({"train": Path(), "valid": Path()}, ["product"], 50, 0, score, chooses)
    made = detection_trainer.trainer_class(family, options)
    assert isinstance(made, type)
    return made


@pytest.mark.parametrize("killed", [False, True], ids=["written", "killed"])
def test_a_checkpoint_is_the_old_one_or_the_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool) -> None:
    def writing(self: detection_trainer.DetectionTrainer) -> bool:
        self.last.write_bytes(b"half")
        if killed:
            raise KeyboardInterrupt
        self.last.write_bytes(b"new, whole")
        return True

    monkeypatch.setattr(detection_trainer.DetectionTrainer, "save_model", writing)
    (tmp_path / "last.pt").write_bytes(b"old, whole")
    one = object.__new__(bound(lambda network: {}))
    one.last, one.best, one.epoch, one.epochs, one.stop = tmp_path / "last.pt", tmp_path / "best.pt", 0, 1, True
    if killed:
        with pytest.raises(KeyboardInterrupt):
            one.save_model()
    else:
        assert one.save_model()
    assert (tmp_path / "last.pt").read_bytes() == (b"old, whole" if killed else b"new, whole")
    assert one.last == tmp_path / "last.pt" and not (tmp_path / "best.pt").exists() and not list(tmp_path.glob("*.part"))
    assert is_ours(tmp_path / "last.pt") != killed


def test_a_checkpoint_tells_wherever_it_is_copied_which_photos_it_has_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        detection_trainer.DetectionTrainer, "save_model", lambda self: bool(torch.save({"model": tmp_path}, self.last)) or True
    )
    (tmp_path / "one" / "weights").mkdir(parents=True)
    trained_on.write(tmp_path / "one", [photo(tmp_path, 1, [])], [photo(tmp_path, 2, [])])
    one = object.__new__(bound(lambda network: {}))
    one.last, one.best = (tmp_path / "one" / "weights" / name for name in ("last.pt", "best.pt"))
    one.epoch, one.epochs, one.stop = 0, 1, True
    assert one.save_model() and is_ours(one.last)
    copy = shutil.copyfile(one.last, tmp_path / "x.pt")
    assert torch.load(copy, weights_only=False) == {"model": tmp_path}
    assert trained_on.seen_by(copy) == trained_on.seen_by(tmp_path / "one")
    assert [len(seen) for seen in trained_on.seen_by(copy).values()] == [1, 1]


@pytest.mark.parametrize(
    ("chooses", "epochs", "looks"),
    [(True, 40, 40), (False, 8, 8), (False, 100, 11), (False, 1, 1)],
    ids=["it chooses the epoch", "few epochs", "many epochs", "one"],
)
def test_how_often_valid_is_looked_at(chooses: bool, epochs: int, looks: int) -> None:
    seen: list[float] = []

    def score(network: torch.nn.Module) -> dict[str, float]:
        seen.append(0.1 * len(seen))
        return {"det_map50": seen[-1]}

    one = object.__new__(bound(score, chooses=chooses))
    one.epochs = epochs
    one.ema = type("Ema", (), {"ema": torch.nn.Linear(1, 1)})
    one.fitness = one.best_fitness = None
    for epoch in range(epochs):
        one.epoch = epoch
        metrics, fitness = one.validate()
        assert metrics == {"valid/det_map50": fitness} and fitness == one.best_fitness == seen[-1]
    assert len(seen) == looks


def test_out_of_memory_halves_the_batch_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[int] = []
    trainers = weakref.WeakSet[object]()
    left: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)  # a GPU is in use
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(len(trainers)))

    class Full:
        batch_size = 8

        def __init__(self, overrides: dict[str, int]) -> None:
            tried.append(overrides["batch"])
            trainers.add(self)

        def add_callback(self, event: str, call: object) -> None:
            pass

        def train(self) -> None:
            if tried[-1] > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(yolo, "trainer_class", lambda family, options: Full)
    told: list[str] = []
    photos = {"train": (photo(tmp_path, 1, [[0, 0, 9, 9]]),), "valid": (photo(tmp_path, 2, [[0, 0, 9, 9]]),)}
    out = yolo.fit(job_of(DetectorConfig(batch=8), photos, tmp_path / "one", progress=told.append))
    assert out == tmp_path / "one" / "weights" / "last.pt"
    assert tried == [8, 4, 2]
    assert told == ["out of memory: goes on with a batch of 4", "out of memory: goes on with a batch of 2"]
    assert left == [0, 0, 0]  # of each trainer, before the next and at the end


def test_other_failures_are_not_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(overrides: dict[str, object]) -> None:
        raise RuntimeError("shapes differ")

    monkeypatch.setattr(yolo, "trainer_class", lambda family, options: broken)
    photos = {"train": (photo(tmp_path, 1, []),), "valid": (photo(tmp_path, 2, []),)}
    with pytest.raises(RuntimeError, match="shapes differ"):
        yolo.fit(job_of(DetectorConfig(), photos, tmp_path / "one"))


def test_synthetic_photos_come_after_real_ones_and_count_in_the_steps(tmp_path: Path) -> None:
    config = DetectorConfig(epochs=1, min_steps=10, batch=2, synthetic_ratio=1.0)
    assert epochs(config, 4) == 3  # 4 real and 4 synthetic photos are 4 steps
    folder = photo_layout.link_photos((photo(tmp_path, 9, []),), tmp_path / "t", agnostic=True)
    photo_layout.link_photos((photo(tmp_path, 1, []),), tmp_path / "t", agnostic=True, prefix=yolo.SYNTHETIC)
    assert sorted(path.name for path in folder.iterdir()) == ["00000009.jpg", "synthetic_00000001.jpg"]


def test_photos_of_several_forms_are_not_taken_for_one(tmp_path: Path) -> None:
    real = {"train": (photo(tmp_path, 1, []),), "valid": ()}
    other = replace(photo(tmp_path, 2, []), width=50)
    for synthetic, same in (((), True), ((other,), False)):
        assert yolo.ultralytics_arguments(job_of(DetectorConfig(), real, tmp_path, synthetic=synthetic))["rect"] is same


def test_as_many_synthetic_photos_as_real_ones_are_half_of_the_partners() -> None:
    random.seed(0)
    partners = MixedSampler(list(range(20)), list(range(20, 100)), 20).partners(2000)
    assert 0.45 < np.mean(np.array(partners) >= 20) < 0.55

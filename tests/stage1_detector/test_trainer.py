"""What our trainers add to ultralytics': synthetic photos mixed in, whole checkpoints, our score, any weights file."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from ultralytics.nn.tasks import DetectionModel

from stage1_detector import starter, trainer, watch
from stage1_detector.trainer import Mixed


def network(model: str = "yolov8n.yaml") -> DetectionModel:
    return DetectionModel(model, nc=1, verbose=False)


def test_an_epoch_holds_every_real_photo_once_and_others_each_time() -> None:
    sampler = Mixed(3, 40, 5)
    seen: Counter[int] = Counter()
    for _ in range(30):
        epoch = list(sampler)
        assert len(epoch) == len(sampler) == 8
        assert len(set(epoch)) == 8 and {0, 1, 2} < set(epoch)
        seen.update(epoch)
    assert set(seen) == set(range(40))


@pytest.mark.parametrize(("total", "wanted", "epoch"), [(3, 5, 3), (6, 5, 6), (6, 0, 3)], ids=["none", "few", "none wanted"])
def test_no_more_synthetic_photos_than_there_are(total: int, wanted: int, epoch: int) -> None:
    assert len(list(Mixed(3, total, wanted))) == epoch


def test_a_weights_file_fills_the_network_it_is_of(tmp_path: Path) -> None:
    torch.manual_seed(1)
    giver, taker = network(), network()
    starter.write(giver, tmp_path / "w.safetensors")
    trainer.load_matching(taker, tmp_path / "w.safetensors")
    for name, value in giver.state_dict().items():
        if value.is_floating_point():
            np.testing.assert_allclose(taker.state_dict()[name], value, atol=2e-3, err_msg=name)


def test_a_weights_file_of_another_network_is_refused(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in network().state_dict().items()}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"--pretrained: got .*w.safetensors, which fills \d+ of the network's \d+ tensors"):
        trainer.load_matching(network("yolo11n.yaml"), tmp_path / "w.safetensors")


def test_a_class_head_of_another_width_stays_as_it_was(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in network().state_dict().items()}, tmp_path / "w.safetensors")
    taker = DetectionModel("yolov8n.yaml", nc=7, verbose=False)
    before = taker.model[-1].cv3[0][-1].weight.clone()
    trainer.load_matching(taker, tmp_path / "w.safetensors")
    assert torch.equal(taker.model[-1].cv3[0][-1].weight, before)


def test_a_loss_that_is_no_number_stops_and_says_where() -> None:
    class Trainer:
        loss, epoch, args = torch.tensor(float("nan")), 2, type("Args", (), {"lr0": 0.5})

    with pytest.raises(FloatingPointError, match=r"loss of epoch 3: got nan, must be finite; lower --lr \(now 0.5\)"):
        watch.stop_at_non_finite(Trainer())

"""The loop learns, resumes where it stopped, and stops at a loss that is not a number; training normalises as judgment does."""

import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fusion.models import Model, normalise
from runs.distributed import Distributed
from runs.normalisation import of_backbone
from runs.pretrained import pretrained_file
from stage2_classifier import fit as fitting
from stage2_classifier import model as modelling
from stage2_classifier.config import HEADS, RECIPES, STARTER, ClassifierConfig, Columns, recipe
from stage2_classifier.crops import Region
from stage2_classifier.export import export_classifier
from stage2_classifier.fit import TrainingCrops
from stage2_classifier.heads import make_head

CONFIG = ClassifierConfig(size=24, epochs=4, min_steps=0, batch=8, colour=0.05, blur=0.0, erase=0.0, ema=0.5)
ERROR = np.full(4, 0.02)
TWO = Columns(2)
MIXED = replace(CONFIG, mixup=0.4, cutmix=1.0, blur=0.5, erase=0.5, colour=0.3)


def regions(n: int = 32) -> list[Region]:
    """Red things are 0, blue things are 1."""
    box = np.array([4, 4, 28, 28], np.float32)
    pictures = [np.full((32, 32, 3), (200, 20, 20) if i % 2 == 0 else (20, 20, 200), np.uint8) for i in range(n)]
    return [Region(picture, box, i % 2) for i, picture in enumerate(pictures)]


CROPS = TrainingCrops(regions(), ERROR)


def small(config: ClassifierConfig = CONFIG, columns: Columns = TWO) -> modelling.Classifier:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [torch.nn.Conv2d(3, 8, 3, 2), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
        return modelling.Classifier(torch.nn.Sequential(*layers), make_head(config, columns, 8), columns)


def named(net: modelling.Classifier) -> list[int]:
    crops = np.stack([r.image[4:28, 4:28] for r in regions()])
    with torch.no_grad():
        return net(modelling.normalised(modelling.to_input(crops), net.normalisation)).argmax(1).tolist()


@pytest.mark.parametrize("backbone", ["resnet10t", "tf_efficientnet_lite0"])
def test_training_and_judgment_normalise_alike(backbone: str) -> None:
    crops, by = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8), of_backbone(backbone)
    ours = modelling.normalised(modelling.to_input(crops), by).numpy()
    np.testing.assert_allclose(ours, normalise(crops, *by), atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_it_learns_two_colours_and_reports(head: str, tmp_path: Path) -> None:
    lines: list[str] = []
    config = replace(CONFIG, epochs=15, lr=0.02, head=head, head_scale=8)
    fitted = fitting.fit(small(config), CROPS, config, tmp_path / "last.pt", lines.append)
    assert named(fitted.model) == [r.label for r in regions()]
    assert 0 <= fitted.loader_share <= 1
    assert "epoch 15/15" in lines[-1] and "loader" in lines[-1]


def test_a_slow_average_forgets_the_random_start(tmp_path: Path) -> None:
    """60 steps at a decay of 0.999: without a warm-up 94 % of the average would still be what training began from."""
    config = replace(CONFIG, epochs=15, lr=0.02, ema=0.999)
    net = small(config)
    start = net.head.weight.detach().clone()
    fitted = fitting.fit(net, CROPS, config, tmp_path / "last.pt", lambda _: None)
    assert named(fitted.model) == [r.label for r in regions()]
    average, trained = (model.head.weight.detach().cpu() for model in (fitted.model, net))
    assert (average - start).norm() > 0.8 * (trained - start).norm()


@pytest.mark.parametrize(("mixup", "cutmix"), [(0.4, 0.0), (0.0, 1.0), (0.4, 1.0)], ids=["mixup", "cutmix", "both"])
def test_it_learns_from_mixed_crops(mixup: float, cutmix: float, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=15, lr=0.02, mixup=mixup, cutmix=cutmix, head="arcface", head_scale=8)
    fitted = fitting.fit(small(config), CROPS, config, tmp_path / "last.pt", lambda _: None)
    assert named(fitted.model) == [r.label for r in regions()]


def test_mixed_targets_are_shares_of_two_names() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        images, targets = fitting.mixer(replace(CONFIG, mixup=1.0), 3)(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 2, 2]))
    assert images.shape == (4, 3, 8, 8)
    np.testing.assert_allclose(targets.sum(1), 1, atol=1e-6)
    assert ((targets > 0) & (targets < 1)).any()
    assert fitting.mixer(CONFIG, 3) is None


@pytest.mark.parametrize("config", [CONFIG, MIXED], ids=["plain", "mixed"])
def test_a_stopped_run_goes_on_to_exactly_the_same_end(config: ClassifierConfig, tmp_path: Path) -> None:
    whole = fitting.fit(small(), CROPS, config, tmp_path / "a.pt", lambda _: None).model

    class Stop(Exception):
        pass

    def stop(line: str) -> None:
        if line.startswith("epoch 2/"):
            raise Stop

    with pytest.raises(Stop):
        fitting.fit(small(), CROPS, config, tmp_path / "b.pt", stop)
    resumed = fitting.fit(small(), CROPS, config, tmp_path / "b.pt", lambda _: None, resume=True)
    assert resumed.loader_share > 0
    for a, b in zip(whole.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(a, b)


class ShortOfMemory(torch.nn.Module):
    """A first layer that counts the batches it sees, and that memory runs out in above `holds` crops once `spared` are over."""

    def __init__(self, holds: int, spared: int = 0) -> None:
        super().__init__()
        self.holds, self.spared, self.seen = holds, spared, []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(images))
        if len(images) > self.holds and len(self.seen) > self.spared:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return images


@pytest.mark.parametrize("spared", [0, 5], ids=["at the first step", "in the second epoch"])
def test_where_memory_runs_out_smaller_batches_make_steps_of_as_many_crops(
    spared: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network has no batch norm, so that the gradients of all small batches are those of the large one."""
    whole = fitting.fit(small(), CROPS, CONFIG, tmp_path / "a.pt", lambda _: None).model
    net, lines, layer = small(), [], ShortOfMemory(holds=2, spared=spared)
    net.trunk.insert(0, layer)
    trainings, left = weakref.WeakSet[object](), list[int]()
    remembered = fitting.Training.__init__
    monkeypatch.setattr(fitting.Training, "__init__", lambda self, *given: trainings.add(self) or remembered(self, *given))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)  # a GPU is in use
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: left.append(len(trainings)))
    smaller = fitting.fit(net, CROPS, CONFIG, tmp_path / "b.pt", lines.append).model
    told = [line for line in lines if line.startswith("out of memory")]
    assert told == [f"out of memory: goes on with a batch of {n}, {8 // n} to a step" for n in (4, 2)]
    assert left == [0, 0, 0]  # of each training, before the next and at the end
    steps = 4 * CONFIG.epochs - (4 if spared else 0)  # the first epoch was whole, and is not done again
    assert layer.seen[spared:] == [8, 4] + [2] * 4 * steps
    for a, b in zip(whole.parameters(), smaller.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(
    ("holds", "message"),
    [pytest.param(0, "out of memory", id="for not even one"), pytest.param(None, "shape", id="not memory")],
)
def test_what_smaller_batches_do_not_mend_is_an_error(
    holds: int | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, lines = small(), []
    if holds is None:
        monkeypatch.setattr(net.trunk[0], "forward", lambda images: torch.zeros(2, 3) @ torch.zeros(2, 3))
    else:
        net.trunk.insert(0, ShortOfMemory(holds))
    with pytest.raises(RuntimeError, match=message):
        fitting.fit(net, CROPS, CONFIG, tmp_path / "last.pt", lines.append)
    assert len(lines) == (0 if holds is None else 3)


def test_beside_a_gpu_several_threads_cut_the_same_batches_in_the_same_order(monkeypatch: pytest.MonkeyPatch) -> None:
    columns = Columns(3)
    one = list(fitting.batches(CROPS, CONFIG, columns, 7, 0))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(fitting.cv2, "getNumberOfCPUs", lambda: 4)
    assert [fitting.cutting_threads(processes) for processes in (1, 2, 4)] == [3, 1, 1]
    several = list(fitting.batches(CROPS, CONFIG, columns, 7, 0))
    for step, same in zip(one, several, strict=True):
        for array, equal in zip(step, same, strict=True):
            np.testing.assert_array_equal(array, equal)


def test_batches_hold_the_labels_of_their_crops_and_all_steps() -> None:
    model = small()
    steps = list(fitting.batches(CROPS, CONFIG, model.columns, 5, 0))
    assert len(steps) == 5
    for crops, labels in steps:
        assert crops.shape == (8, 24, 24, 3)
        assert [int(crop[12, 12].argmax() == 2) for crop in crops] == labels.tolist()


@pytest.mark.parametrize("n_processes", [2, 3])
@pytest.mark.parametrize("config", [CONFIG, MIXED], ids=["plain", "mixed"])
def test_processes_cut_the_very_crops_of_one_each_once(config: ClassifierConfig, n_processes: int) -> None:
    """Also those that are drawn more often for their name's balance, and studio crops with other goods behind them."""
    studio = [replace(region, studio=True, label=2) for region in regions(4)]
    config, columns = replace(config, balance=1.0, bridge=1.0), Columns(3)
    all_regions = [*regions(), *studio]
    whole = list(fitting.batches(TrainingCrops(all_regions, ERROR), config, columns, 3, 1))
    processes = [Distributed(rank, n_processes) for rank in range(n_processes)]
    parts = [list(fitting.batches(TrainingCrops(all_regions, ERROR, own), config, columns, 3, 1)) for own in processes]
    for step, (crops, labels) in enumerate(whole):
        for own, rank in zip((part[step] for part in parts), processes, strict=True):
            before = fitting.mixed_before(rank, config)
            np.testing.assert_array_equal(own[0][:before], crops[[rank.shard(8).start - 1]][:before])
        own_crops = [part[step][0][fitting.mixed_before(processes[0], config) :] for part in parts]
        own_labels = [part[step][1][fitting.mixed_before(processes[0], config) :] for part in parts]
        np.testing.assert_array_equal(np.concatenate(own_crops), crops)
        np.testing.assert_array_equal(np.concatenate(own_labels), labels)


def test_a_step_of_fewer_crops_than_processes_is_refused(tmp_path: Path) -> None:
    crops = TrainingCrops(regions(), ERROR, Distributed(0, 9))
    with pytest.raises(ValueError, match="--batch: got 8 crops for 9 processes, need one for each"):
        fitting.fit(small(), crops, CONFIG, tmp_path / "last.pt", lambda _: None)


def test_an_error_in_the_loading_thread_reaches_the_caller(tmp_path: Path) -> None:
    broken = [replace(region, image=None) for region in regions()]
    with pytest.raises(AttributeError):
        fitting.fit(small(), TrainingCrops(broken, ERROR), CONFIG, tmp_path / "last.pt", lambda _: None)


def test_background_crops_do_not_count_as_products() -> None:
    assert fitting.schedule(400, replace(CONFIG, background=0.2, batch=50)) == (4, 10)


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    fitting.fit(small(), CROPS, CONFIG, tmp_path / "a.pt", lambda _: None)
    other = small(columns=Columns(3))
    with pytest.raises(ValueError, match="of another model or recipe"):
        fitting.fit(other, CROPS, CONFIG, tmp_path / "a.pt", lambda _: None, resume=True)


def test_a_loss_that_is_no_number_stops_the_run(tmp_path: Path) -> None:
    net = small()
    with torch.no_grad():
        net.head.weight[:] = float("nan")
    with pytest.raises(FloatingPointError, match=r"loss of epoch 1: got nan, must be finite; lower --lr"):
        fitting.fit(net, CROPS, CONFIG, tmp_path / "last.pt", lambda _: None)


def test_an_unknown_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="must be one that timm knows"):
        modelling.build(replace(CONFIG, model="resnet10x"), Columns(3))


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_100"])
def test_the_head_fits_backbones_that_widen_after_their_last_stage_too(name: str) -> None:
    model = modelling.build(replace(CONFIG, model=name), Columns(3)).eval()
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 3)


def test_weights_of_another_width_keep_the_backbone(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    config = replace(CONFIG, model="resnet10t")
    source = modelling.build(config, Columns(5)).trunk
    save_file(source.state_dict() | {"fc.weight": torch.zeros(5, 512)}, tmp_path / "w.safetensors")
    loaded = modelling.build(replace(config, seed=1), Columns(3), tmp_path / "w.safetensors").trunk
    assert all(torch.equal(a, b) for a, b in zip(loaded.state_dict().values(), source.state_dict().values(), strict=True))
    with pytest.raises(ValueError, match="must be a local weights file, or starter"):
        pretrained_file(tmp_path / "none.safetensors", STARTER)


def test_weights_of_another_backbone_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"other": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"which fills 0 of the network.s \d+ tensors"):
        modelling.build(replace(CONFIG, model="resnet10t"), Columns(3), tmp_path / "w.safetensors")


@pytest.mark.slow
def test_a_transformers_places_are_resampled_to_another_size(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    config = replace(CONFIG, model="vit_tiny_patch16_224")
    source = modelling.build_trunk(replace(config, size=32))
    places = torch.arange(4.0).view(1, 4, 1).expand(1, 4, source.embed_dim)
    state = source.state_dict() | {"pos_embed": torch.cat([source.pos_embed[:, :1].detach(), places], 1).contiguous()}
    save_file(state, tmp_path / "w.safetensors")
    loaded = modelling.build(replace(config, size=64), Columns(3), tmp_path / "w.safetensors").trunk
    rows = loaded.pos_embed[0, 1:, 0].detach().view(4, 4)
    assert (rows.diff(dim=0) > 0).all() and (rows.diff(dim=1) > 0).all(), "the file's 0 1 / 2 3, enlarged"


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_every_recipes_network_goes_to_onnx(name: str, tmp_path: Path) -> None:
    config = recipe(name, quick=True)
    columns = Columns(4, background=config.background > 0)
    model = modelling.build(config, columns).eval()
    crops = np.random.default_rng(0).integers(0, 256, (3, config.size, config.size, 3), np.uint8)
    sidecar = {"task": "classifier", "family": "timm", "categories": [0, 1, 2, 3], "size": config.size,
               "mean": model.normalisation.mean, "std": model.normalisation.std, "background": columns.background}  # fmt: skip
    export_classifier(model, tmp_path / "model.onnx", sidecar, crops)
    assert Model(tmp_path / "model.onnx")(crops).shape == (3, columns.width)

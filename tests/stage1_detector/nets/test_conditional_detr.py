"""Conditional DETR: transformers' network and losses where they are the paper's, ours where not; exported, trained, refused."""

import json
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from conditional_nets import SMALL, built
from place import Place, draw_shop
from small_photos import photo
from tiny_nets import shaken
from torchvision_nets import noise, photos_of

from fusion.decode import run_detector
from fusion.models import Model
from photos import folds
from photos.data import read_image
from stage1_detector import families, train
from stage1_detector.config import override
from stage1_detector.export import export_detector
from stage1_detector.nets import conditional_detr
from stage1_detector.nets.conditional_detr import Net
from stage1_detector.recipes import RECIPES
from stage1_detector.sidecar import sidecar
from stage1_detector.torch_engine.optimizers import parameter_groups
from stage1_detector.validation import member

pytestmark = pytest.mark.usefixtures("offline")
Targets = list[dict[str, torch.Tensor]]


def targets(*counts: int) -> Targets:
    """So many boxes in each 128 x 96 photo, of names a and b by turns."""
    draw = torch.Generator().manual_seed(5)
    made = []
    for n in counts:
        corner, side = torch.rand(n, 2, generator=draw) * 60, 8 + torch.rand(n, 2, generator=draw) * 25
        made.append({"boxes": torch.cat([corner, corner + side], 1), "labels": torch.arange(n) % 2})
    return made


def theirs(net: Net, auxiliary: bool, told: Targets) -> dict[str, torch.Tensor]:
    """transformers' own call: `loss`, and its parts."""
    own = deepcopy(net.net)
    own.config.auxiliary_loss = auxiliary
    size = torch.tensor([128.0, 96, 128, 96])
    labels = []
    for one in told:
        x0, y0, x1, y1 = one["boxes"].T
        boxes = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1) / size
        labels.append({"class_labels": one["labels"], "boxes": boxes})
    output = own(photos_of(len(told)), labels=labels)
    return output.loss_dict | {"loss": output.loss}


@torch.no_grad()
def test_photos_without_boxes_have_losses_of_silence_alone() -> None:
    net = built().eval()
    losses = net.losses(photos_of(2), targets(0, 0))
    assert losses["box"] == losses["giou"] == 0 and torch.isfinite(losses["classification"])
    logits, _ = net._layers(photos_of(2))
    p = logits.sigmoid()
    assert losses["classification"] == pytest.approx(float((-2 * 0.75 * p**2 * (1 - p).log()).sum()), rel=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("counts", [(3, 5), (0, 4), (1, 20)], ids=["some", "one empty", "as many as queries"])
def test_the_losses_are_transformers_own_with_the_papers_weights(counts: tuple[int, int]) -> None:
    """It weighs classification by 1, though its settings say 2. While layer norms are new, once more of them is no other."""
    net, told = built().eval(), targets(*counts)
    ours, own = net.losses(photos_of(2), told), theirs(net, True, told)
    parts = {name: sum(float(own[f"{name}{k}"]) for k in ("", "_0", "_1")) for name in ("loss_ce", "loss_bbox", "loss_giou")}
    assert float(ours["classification"]) == pytest.approx(2 * parts["loss_ce"], rel=1e-3)
    assert float(ours["box"]) == pytest.approx(5 * parts["loss_bbox"], rel=1e-3)
    assert float(ours["giou"]) == pytest.approx(2 * parts["loss_giou"], rel=1e-3)
    assert float(sum(ours.values())) == pytest.approx(float(own["loss"]) + parts["loss_ce"], rel=1e-3)


@torch.no_grad()
def test_what_is_trained_is_what_is_judged() -> None:
    """The last layer that the losses see is the output, and the others are the paper's: transformers', when it takes its
    auxiliary losses, puts something else through its decoder.
    """
    net = shaken(built())
    logits, boxes = net._layers(photos_of(2))
    _, known, scores = net.predictions(photos_of(2))
    assert torch.allclose(logits[-1], scores, atol=1e-5) and torch.allclose(boxes[-1], known, atol=1e-5)
    own = deepcopy(net.net)
    own.config.auxiliary_loss = True
    assert not torch.allclose(own(photos_of(2)).logits, scores, atol=1e-3)
    shorter = deepcopy(net)
    shorter.net.model.decoder.layers = shorter.net.model.decoder.layers[:2]
    assert torch.allclose(logits[1], shorter.predictions(photos_of(2))[2], atol=1e-5)


def test_a_box_that_is_not_a_number_is_for_the_loop_to_say() -> None:
    net = built()
    with torch.no_grad():
        net.net.bbox_predictor.layers[-1].bias.fill_(torch.nan)
    assert all(torch.isnan(value) for value in net.losses(photos_of(1), targets(2)).values())


@torch.no_grad()
def test_the_output_is_what_is_known_in_pixels() -> None:
    net = shaken(built())
    raw = net(photos_of(3))
    (encoded,), boxes, logits = net.predictions(photos_of(3))
    assert raw.shape == (3, 6, 20) and encoded.shape == (3, 16, 3, 4)
    assert torch.allclose(raw[:, :4].permute(0, 2, 1), boxes * torch.tensor([128.0, 96, 128, 96]))
    assert torch.equal(raw[:, 4:].permute(0, 2, 1), logits.sigmoid())
    assert boxes.min() >= 0 and boxes.max() <= 1 and raw[:, 4:].min() >= 0 and raw[:, 4:].max() <= 1
    whole = net.net(photos_of(3)).encoder_last_hidden_state  # (B, H W, width), row by row
    assert torch.allclose(encoded[:, :, 1, 2], whole[:, 1 * 4 + 2])


@torch.no_grad()
def test_before_it_learns_its_queries_are_apart_and_silent() -> None:
    net = built(replace(SMALL, queries=200))
    _, boxes, logits = net.predictions(photos_of(1))
    assert boxes[0, :, :2].std(0).min() > 0.05 and torch.allclose(boxes[0, :, 2:], torch.tensor(0.5))
    assert 0.003 < logits.sigmoid().mean() < 0.03


@pytest.mark.parametrize("norm", ["batch", "group"])
@pytest.mark.slow
def test_it_learns_two_photos(norm: str) -> None:
    net = built(replace(SMALL, width=32, norm=norm)).train()
    images, told = photos_of(2), targets(3, 4)
    step = torch.optim.AdamW(net.parameters(), 2e-3)
    seen = []
    for _ in range(40):
        losses = net.losses(images, told)
        seen.append([float(value.detach()) for value in losses.values()])
        step.zero_grad()
        sum(losses.values()).backward()
        step.step()
    first, last = torch.tensor(seen[0]), torch.tensor(seen[-5:]).mean(0)
    assert last.sum() < 0.6 * first.sum() and (last < first).all()


def test_the_backbone_learns_at_its_own_rate() -> None:
    net = built()
    body = {id(value) for value in net.feature_extractor.parameters()}
    groups = list(parameter_groups(net, replace(SMALL, lr=1.0, backbone_lr=0.1)))
    assert all((id(value) in body) == (group["lr"] == 0.1) for group in groups for value in group["params"])
    assert sum(len(group["params"]) for group in groups) == len(list(net.parameters())) and body


def test_the_body_keeps_its_activations_and_what_its_norms_are() -> None:
    """transformers would put norms that are held still, and without their activation, in their place."""
    config = replace(SMALL, backbone="regnetx_002")
    plain = timm.create_model("regnetx_002", features_only=True, out_indices=(4,)).eval()
    body = built(config).feature_extractor.eval()
    body.load_state_dict(plain.state_dict())
    images = photos_of(1)
    with torch.no_grad():
        assert torch.equal(body(images)[0], plain(images)[0])
    kinds = {norm: built(replace(config, norm=norm)).feature_extractor for norm in ("batch", "group", "frozen")}
    assert any(isinstance(part, torch.nn.BatchNorm2d) for part in kinds["batch"].modules())
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in kinds["group"].modules())
    assert all(value.ndim > 1 for value in kinds["frozen"].parameters())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        pytest.param({"backbone": "resnet51"}, "--backbone: got 'resnet51'", id="no such network"),
        pytest.param({"backbone": "vit_tiny_patch16_224"}, "with maps of strides .* must have .32", id="finer maps"),
        pytest.param({"backbone": "hf_hub:foo/bar"}, "nothing is downloaded", id="a download"),
        pytest.param({"norm": "frozen"}, "--norm: got frozen, which needs --pretrained", id="nothing to hold still"),
        pytest.param({"device": "warp"}, "--device: got 'warp'", id="no such device"),
    ],
)
def test_what_training_cannot_begin_with_is_refused(changed: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conditional_detr.refuse(replace(SMALL, **changed), None, None)


def test_fewer_queries_than_a_photo_has_boxes_are_refused(tmp_path: Path) -> None:
    full = photo(tmp_path, 1, [[i, 0, i + 5, 9] for i in range(21)])
    with pytest.raises(ValueError, match="--queries: got 20, the fullest photo has 21 boxes"):
        conditional_detr.build(SMALL, (full,), ["a"])


def test_without_transformers_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"which needs transformers .*uv pip install -e '\.\[distill\]'"):
        conditional_detr.refuse(SMALL, None, None)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        pytest.param({"width": 100}, "--width: got 100, must be a multiple of 8", id="heads"),
        pytest.param({"queries": 0}, "--queries: got 0, allowed 1 to", id="none to ask"),
        pytest.param({"dropout": 1.0}, "--dropout: got 1.0, allowed", id="everything dropped"),
        pytest.param({"norm": "layer"}, "--norm: got 'layer'", id="norm"),
        pytest.param({"neck": "fpn"}, "--neck: not a setting of family conditional_detr", id="another family's"),
    ],
)
def test_settings_are_checked(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        override(SMALL, values)


@pytest.mark.parametrize("names", [["product"], ["a", "b", "c"]], ids=["class-agnostic", "class-aware"])
@pytest.mark.slow
def test_onnx_does_what_torch_does_and_run_py_reads_it(tmp_path: Path, names: list[str]) -> None:
    net = shaken(built(names=tuple(names)))
    shown = (noise(photo(tmp_path, 1, [[4, 4, 60, 40]])), noise(photo(tmp_path, 2, [])))
    side = sidecar(SMALL, None if len(names) == 1 else [7, 8, 9], {"train": shown, "valid": shown})
    parity = export_detector(net, tmp_path / "m.onnx", side, shown)
    assert parity["boxes_px"] < 0.1 and parity["scores"] < 1e-4 and parity["missing"] == 0
    model = Model(tmp_path / "m.onnx")
    image = read_image(shown[0].path, 60, 40)
    found = run_detector(model, member(model), image)[0]
    assert (model.sidecar.family, model.sidecar.shape) == ("rtdetr", "stretch") and len(found) > 2
    assert (found.evidence is None) == (len(names) == 1)
    seen = run_detector(families.Network(net, SMALL, model.sidecar), member(model), image)[0]
    assert abs(found.boxes[:3] - seen.boxes[:3]).max() < 0.1


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [name for name in RECIPES if name.startswith("conditional")])
def test_the_command_trains_exports_and_goes_on(tmp_path: Path, recipe: str) -> None:
    place = Place(tmp_path)
    draw_shop(place.data)
    assert folds.main(place.words("folds")) == 0
    words = ["--data", str(place.data), "--out", str(place.runs), "--recipe", recipe, "--quick", "--norm", "group"]
    small = ["--backbone", "test_resnet", "--width", "16", "--queries", "200", "--device", "cpu", "--batch", "2"]
    assert train.main([*words, *small]) == 0
    told = json.loads((place.runs / "one" / "model.json").read_text())
    assert (told["family"], told["shape"], told["size"]) == ("rtdetr", "stretch", 160)
    (place.runs / "one" / "run.json").unlink()
    assert train.main([*words, *small, "--resume"]) == 0

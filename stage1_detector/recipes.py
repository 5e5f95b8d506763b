"""The named recipes of a detector: what to run, what it costs, what it should reach."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

from stage1_detector.config import Config, DetectorConfig, LoopConfig, TorchvisionConfig, TransformerConfig

Kind = TypeVar("Kind", bound=Config)


def small() -> DetectorConfig:
    """yolov8n at 640 px, for a machine without a GPU: the default.

    `python -m stage1_detector.train --data D --out R --classes one --pretrained starter`. About 0.4 s a photo and epoch on 2
    cores. Learns fastest of the three from random weights: 300 steps at 256 px on 77 photos of book spines reach det mAP50 0.50
    (yolo11n 0.46, yolo26n 0.31), and 0.81 from the starter.
    """
    return DetectorConfig(min_steps=1200)


def demo() -> DetectorConfig:
    """yolov8n at 416 px for drawn shelves of 640 px: the recipe of `make demo`, about 3 minutes on 2 cores."""
    return DetectorConfig(size=416, epochs=10)


def yolo26l() -> DetectorConfig:
    """System A's YOLO26-l: 1280 px, freeze 10, copy_paste 0.8, patience 30, up to 150 epochs. Needs a GPU and, since ten
    layers are frozen, `--pretrained FILE`. Theirs: 0.7664, and 0.8331 with flip and WBF. Not run here.
    """
    return DetectorConfig(
        model="yolo26l.yaml", size=1280, epochs=150, batch=8, freeze=10, copy_paste=0.8, patience=30, mosaic=1.0
    )


def yolo11l() -> DetectorConfig:
    """YOLO11-l as `yolo26l`, for a second opinion. Needs a GPU and `--pretrained FILE`. Not run here."""
    return replace(yolo26l(), model="yolo11l.yaml")


def yolov8l() -> DetectorConfig:
    """YOLOv8-l at 1280 px, nothing frozen: the public board's first had two of them (0.9266 with a YOLOv8-m, flip and WBF).
    Needs a GPU. Not run here.
    """
    return replace(yolo26l(), model="yolov8l.yaml", freeze=0)


def yolov8x() -> DetectorConfig:
    """YOLOv8-x as `yolov8l`, half as large again. Needs a GPU. Not run here."""
    return replace(yolov8l(), model="yolov8x.yaml", batch=4)


def yolo26n() -> DetectorConfig:
    """YOLO26-n at 640 px, for a machine without a GPU, as `small`; about 0.45 s a photo and epoch on 2 cores."""
    return replace(small(), model="yolo26n.yaml")


def yolo11n() -> DetectorConfig:
    """YOLO11-n at 640 px, for a machine without a GPU, as `small`; about 0.45 s a photo and epoch on 2 cores."""
    return replace(small(), model="yolo11n.yaml")


def yolov8s() -> DetectorConfig:
    """YOLOv8-s at 640 px: three times the work of `small`, for patience or a small GPU. Not run here."""
    return replace(small(), model="yolov8s.yaml")


def rtdetr_l() -> DetectorConfig:
    """System A's RT-DETR-l: nothing frozen, copy_paste 0.5, 100 epochs, as many queries as the photos need. Needs a GPU.

    Near-zero mAP until epoch 40 to 50 is normal: let it run. Theirs: see `yolo26l`, of whose ensemble it is a part. Not run
    here beyond one epoch at 160 px.
    """
    return DetectorConfig(
        family="rtdetr", model="rtdetr-l.yaml", size=1280, epochs=100, batch=4, lr=0.0001, copy_paste=0.5, mosaic=1.0
    )


def rtdetr_small() -> DetectorConfig:
    """RT-DETR on the body of yolov8n at 320 px, for a machine without a GPU.

    `python -m stage1_detector.train --data D --out R --classes one --recipe rtdetr-small`. About 0.7 s of one core a photo and
    epoch at 256 px. From random weights it learns slowly: 38 steps at 256 px on 76 photos of book spines find nothing yet. In
    our loop (`stage1_detector.distillation --teacher none --student rtdetr-small --lr 0.0005 --queries 100 --decoder-layers 3`)
    600 steps on 57 drawn shelves at 160 px reach det mAP50 0.69, and on the book spines at 256 px 0.26.
    """
    return DetectorConfig(family="rtdetr", model="yolov8n-rtdetr.yaml", size=320, min_steps=1200, lr=0.0002)


def fasterrcnn() -> TorchvisionConfig:
    """System C's Faster R-CNN v1: batch 8, Adam at 1e-4 to 5e-6, backbone at half, 5 epochs of warm-up, 50 epochs, the last 15
    plain; photos at their own size (pass --size). Needs a GPU and `--pretrained FILE`. Theirs: mAP 0.3530, accuracy 0.7268.
    """
    return TorchvisionConfig(
        norm="frozen", size=640, epochs=50, batch=8, optimizer="Adam", lr=1e-4, lr_end=0.05, weight_decay=5e-4,
        warmup_epochs=5.0, backbone_lr=0.5, plain_epochs=15, rotate=10.0, translate=0.1, scale=0.0, shear=2.0, flip_lr=0.5,
        hsv_p=0.5, affine_p=0.5, clip=10.0,
    )  # fmt: skip


def fasterrcnn_v2() -> TorchvisionConfig:
    """System C's v2: as `fasterrcnn`, 40 epochs, 2 photos at a time, gathered to 8 a step. Needs a GPU and
    `--pretrained FILE`. Theirs, with steps of 2: mAP 0.3653, accuracy 0.7896.
    """
    return replace(fasterrcnn(), head="v2", epochs=40, batch=2, accumulate=4)


def fasterrcnn_resfpn() -> TorchvisionConfig:
    """System C's v2 + ResFPN: as `fasterrcnn-v2` with a residual block after each level of the pyramid, 30 epochs. Needs a GPU
    and `--pretrained FILE`. Theirs: mAP 0.3737, accuracy 0.7916.
    """
    return replace(fasterrcnn_v2(), neck="resfpn", epochs=30)


def fasterrcnn_finetune() -> TorchvisionConfig:
    """System C's fine-tuning of a trained `fasterrcnn-resfpn`: 5e-6 to 5e-8, 20 epochs, 1 of warm-up, the last 12 plain. Needs
    a GPU and `--pretrained FILE`. Theirs: mAP 0.3777, accuracy 0.7958.
    """
    return replace(fasterrcnn_resfpn(), lr=5e-6, lr_end=0.01, epochs=20, warmup_epochs=1.0, plain_epochs=12)


def fasterrcnn_small() -> TorchvisionConfig:
    """Faster R-CNN v1 from random weights, for a machine without a GPU: RegNetX-200MF, a pyramid of 64 channels, 640 px. About
    0.8 s a photo and epoch on one core. A second opinion beside `small`.
    """
    return replace(
        fasterrcnn(), backbone="regnetx_002", width=64, norm="batch", epochs=40, min_steps=1200, batch=4, lr=1e-3,
        backbone_lr=1.0, warmup_epochs=2.0, anchors="fitted", rois=64, proposals=200, ema=0.995,
    )  # fmt: skip


def retinanet_small() -> TorchvisionConfig:
    """RetinaNet from random weights, for a machine without a GPU, as `fasterrcnn-small`."""
    return replace(fasterrcnn_small(), family="retinanet", head="plain", proposals=1000)


def digits() -> TorchvisionConfig:
    """System C's Faster R-CNN v1 from random weights on a machine without a GPU: `fasterrcnn-small` at 256 px, no mirror, the
    colours of SVHN's policy. What it reaches: docs/results.md, Digits.
    """
    return replace(fasterrcnn_small(), size=256, epochs=60, min_steps=0, flip_lr=0.0, colour_policy=0.5)


def digits_v2() -> TorchvisionConfig:
    """As `digits`, with the v2 head: a third slower. What it reaches: docs/results.md, Digits."""
    return replace(digits(), head="v2")


def digits_resfpn() -> TorchvisionConfig:
    """As `digits-v2`, with a residual block after each level of the pyramid: half as slow again. See docs/results.md."""
    return replace(digits_v2(), neck="resfpn")


def retinanet() -> TorchvisionConfig:
    """System D's RetinaNet: ResNet-50, FPN, multi-scale 3x, SGD. Needs a GPU and `--pretrained FILE`. Theirs: mAP50 0.4527 on
    trash; the other rows of their table are `experiments.studies.retinanets`'s.
    """
    return TorchvisionConfig(
        family="retinanet", head="plain", norm="frozen", size=1344, batch=8, optimizer="SGD", lr=0.005, lr_end=0.0,
        weight_decay=1e-4, warmup_epochs=0.0, schedule="ms3x", epochs=36, clip=35.0, hsv_p=0.0, affine_p=0.0,
    )  # fmt: skip


def retinanet_convnext() -> TorchvisionConfig:
    """System D's best: ConvNeXt-large, AdamW at 1e-4 with decay by layer, drop path 0.5, multi-scale 3x (12 epochs of a
    set shown thrice), batch 4. Needs a GPU and `--pretrained FILE`. Theirs: mAP50 0.6073.
    """
    return replace(
        retinanet(), backbone="convnext_large", batch=4, optimizer="AdamW", lr=1e-4, weight_decay=0.05, layer_decay=0.7,
        drop_path=0.5,
    )  # fmt: skip


def conditional_detr() -> TransformerConfig:
    """The paper's Conditional DETR (arXiv:2108.06152): ResNet-50, 50 epochs, AdamW at 1e-4, the backbone at a tenth, clip 0.1,
    batch 8; photos at 800 px, stretched to a square. Needs a GPU, the extra `[distill]` and `--pretrained FILE`.
    Theirs: AP 0.409 on COCO, a rate that falls by ten at epoch 40. Not run here.
    """
    return TransformerConfig(
        norm="frozen", size=800, epochs=50, batch=8, lr=1e-4, lr_end=0.1, weight_decay=1e-4, backbone_lr=0.1, clip=0.1,
        hsv_p=0.0, affine_p=0.0,
    )  # fmt: skip


def conditional_detr_small() -> TransformerConfig:
    """Conditional DETR from random weights, for a machine without a GPU: RegNetX-200MF, 128 wide, 3 + 3 layers, 100 queries
    (a fuller photo wants more: --queries). Needs the extra `[distill]`. On one core at 256 px the network learns from
    12.7 photos a second and looks at 53, of 4.85 million weights.
    """
    return replace(
        conditional_detr(), backbone="regnetx_002", norm="batch", width=128, queries=100, encoder_layers=3, decoder_layers=3,
        size=256, epochs=60, min_steps=1200, batch=4, lr=3e-4, backbone_lr=1.0, warmup_epochs=2.0, dropout=0.0, ema=0.995,
    )  # fmt: skip


RECIPES: dict[str, Callable[[], Config]] = {
    "small": small, "demo": demo, "yolov8s": yolov8s, "yolo11n": yolo11n, "yolo26n": yolo26n, "yolov8l": yolov8l,
    "yolov8x": yolov8x, "yolo11l": yolo11l, "yolo26l": yolo26l, "rtdetr-l": rtdetr_l, "fasterrcnn": fasterrcnn,
    "fasterrcnn-v2": fasterrcnn_v2, "fasterrcnn-resfpn": fasterrcnn_resfpn, "fasterrcnn-finetune": fasterrcnn_finetune,
    "fasterrcnn-small": fasterrcnn_small, "digits": digits, "digits-v2": digits_v2, "digits-resfpn": digits_resfpn,
    "retinanet": retinanet, "retinanet-convnext": retinanet_convnext, "retinanet-small": retinanet_small,
    "conditional-detr": conditional_detr, "conditional-detr-small": conditional_detr_small,
    "rtdetr-small": rtdetr_small,
}  # fmt: skip


def recipe(name: str, quick: bool = False) -> Config:
    """The recipe called `name`; `quick` makes it a rehearsal of 1 epoch at 160 px that tests every joint and learns nothing.

    Raises ValueError for an unknown name.
    """
    if name not in RECIPES:
        raise ValueError(f"--recipe: got {name!r}, allowed: {', '.join(RECIPES)}")
    config = RECIPES[name]()
    return rehearsal(config) if quick else config


def rehearsal(config: Kind) -> Kind:
    """The same in 1 epoch at 160 px, augmented; nothing is held still, so that it needs no weights to start from."""
    config = replace(config, size=160, epochs=1, min_steps=0, patience=0, warmup_epochs=0.0)
    config = replace(config, freeze=0) if isinstance(config, DetectorConfig) else config
    return replace(config, plain_epochs=0) if isinstance(config, LoopConfig) else config

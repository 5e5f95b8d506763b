"""The ultralytics families: fit a YOLO or RT-DETR on our photos, load it, and make it ready for export.

Nothing is downloaded: the environment below is set before ultralytics is imported, the data go in as a dict (a data YAML
would make it look for a font), and a model is built from the YAML that the package carries or from a local file.
"""

import math
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.update(YOLO_OFFLINE="1", YOLO_AUTOINSTALL="false", YOLO_VERBOSE="false")
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))  # ultralytics would set it to 1
os.environ.setdefault("YOLO_CONFIG_DIR", tempfile.mkdtemp(prefix="ultralytics-"))  # its settings file goes nowhere near $HOME

import cv2
import torch
from ultralytics.data import base as data_base
from ultralytics.models.yolo.detect import DetectionTrainer
from ultralytics.nn.tasks import load_checkpoint, yaml_model_load
from ultralytics.utils import SETTINGS, TQDM
from ultralytics.utils.torch_utils import select_device

from stage1_detector import rtdetr
from stage1_detector.config import DetectorConfig
from stage1_detector.data import Photo, read_image

Progress = Callable[[str], None]


class _Silent(TQDM):
    """ultralytics' progress bar, not drawn: its caching bars fill a log with escape codes."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **(options | {"disable": True}))


data_base.TQDM = _Silent
TRAINERS = {"yolo": DetectionTrainer, "rtdetr": rtdetr.Trainer}
HEADS = {"yolo": ("Detect", "v10Detect"), "rtdetr": ("RTDETRDecoder",)}  # the last layer of a model YAML of the family
SHAPES = {"yolo": "rectangle", "rtdetr": "stretch"}  # how a photo fills the canvas at judgment, as in training
KEPT = ("imgsz", "epochs", "batch", "optimizer", "lr0", "lrf", "freeze", "patience")  # a stopped run goes on with the same
# The same for every recipe. bf16, where there is a GPU, because ultralytics downloads a model to check fp16.
ALWAYS = {
    "task": "detect", "mode": "train", "data": "", "exist_ok": True, "cos_lr": True, "warmup_bias_lr": 0.0, "erasing": 0.0,
    "cache": "ram", "plots": False, "verbose": False, "workers": 4,
}  # fmt: skip
_UNUSED_TRACKERS = (
    "clearml",
    "comet",
    "dvc",
    "mlflow",
    "raytune",
    "tensorboard",
    "wandb",
    "sync",
    "vscode_msg",
    "openvino_msg",
)


def fit(
    config: DetectorConfig,
    photos: dict[str, tuple[Photo, ...]],
    names: list[str],
    out: Path,
    progress: Progress,
    pretrained: Path | None = None,
    resume: bool = False,
) -> Path:
    """Train on `photos["train"]` and return the weights file OUT/weights/{best,last}.pt.

    `names` are the class names; one name makes a class-agnostic detector, whatever the labels say. `photos["valid"]` is
    only looked at, and only chooses the epoch when `config.patience` > 0. Raises FloatingPointError at a non-finite loss.
    """
    SETTINGS.update(dict.fromkeys(_UNUSED_TRACKERS, False))
    weights, last = out / "weights" / ("best.pt" if config.patience else "last.pt"), out / "weights" / "last.pt"
    wanted = arguments(config, photos, out, pretrained)
    if resume and _is_through(last, wanted):
        return weights
    folders = {part: link_photos(photos[part], out / "photos" / part, agnostic=len(names) == 1) for part in ("train", "valid")}
    most = max_det([*photos["train"], *photos["valid"]])
    trainer = _trainer(config.family, folders, names, most)(overrides=wanted | ({"resume": str(last)} if resume else {}))
    trainer.add_callback("on_train_epoch_start", use_every_core)
    trainer.add_callback("on_train_batch_end", stop_at_non_finite)
    trainer.add_callback("on_train_epoch_end", lambda t: progress(progress_line(t)))
    trainer.train()
    return weights


def refuse(config: DetectorConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a model, a weights file, a checkpoint or a device that training could not begin with."""
    for flag, path in (("--pretrained", pretrained), ("--resume", last)):
        if path is not None:
            _refuse_weights(flag, path)
    try:
        layers = yaml_model_load(config.model)["head"] if Path(config.model).suffix == ".yaml" else []
    except FileNotFoundError:
        layers = []
    if not layers or layers[-1][2] not in HEADS[config.family]:
        raise ValueError(
            f"--model: got {config.model!r}, must be a model YAML of ultralytics whose last layer is "
            f"{' or '.join(HEADS[config.family])}, such as yolov8n.yaml; for weights there is --pretrained"
        )
    try:
        select_device(config.device, verbose=False)
    except (ValueError, AssertionError, RuntimeError):
        raise ValueError(f"--device: got {config.device!r}, allowed: cpu, or the number of a GPU that torch sees") from None


def _refuse_weights(flag: str, path: Path) -> None:
    """ValueError unless ultralytics can load PATH; given whole, as it deletes a broken file that goes by a bare known name."""
    try:
        load_checkpoint(str(path.resolve()), device="cpu")
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"{flag}: got {path}, must be a .pt file of weights that ultralytics wrote") from error


def _is_through(last: Path, wanted: dict[str, object]) -> bool:
    """Whether the stopped run of checkpoint LAST has done all its epochs. ValueError if it was begun with other settings."""
    checkpoint = load_checkpoint(str(last))[1]
    begun = checkpoint["train_args"]
    for name in KEPT:
        if begun[name] != wanted[name]:
            raise ValueError(
                f"--resume: {last} was begun with {name} {begun[name]}, now {wanted[name]}; pass the same, or --force"
            )
    return bool(checkpoint["epoch"] + 1 >= begun["epochs"])


def arguments(
    config: DetectorConfig, photos: dict[str, tuple[Photo, ...]], out: Path, pretrained: Path | None
) -> dict[str, object]:
    """`config` in ultralytics' words. `nbs` is the batch: its default of 64 gathers 16 batches of 4 into one step.

    max_det is what the photos hold with half as much again, never 300 or 100 by default.
    """
    same_shape = len({(photo.width, photo.height) for photo in photos["train"]}) == 1
    cuda = torch.cuda.is_available()
    return ALWAYS | {
        "model": str(pretrained.resolve() if pretrained else config.model), "pretrained": pretrained is not None,
        "project": str(out.resolve().parent), "name": out.name, "imgsz": config.size,
        "epochs": epochs(config, len(photos["train"])),
        "batch": config.batch, "nbs": config.batch, "optimizer": config.optimizer, "lr0": config.lr, "lrf": config.lr_end,
        "weight_decay": config.weight_decay, "warmup_epochs": config.warmup_epochs, "scale": config.scale,
        "translate": config.translate, "mosaic": config.mosaic, "close_mosaic": 10 if config.mosaic else 0,
        "copy_paste": config.copy_paste, "fliplr": config.flip_lr, "hsv_h": config.hue, "hsv_s": config.saturation,
        "hsv_v": config.value, "freeze": config.freeze or None, "patience": config.patience or 10**6,
        "val": config.patience > 0, "seed": config.seed, "device": config.device, "rect": same_shape and not config.mosaic,
        "max_det": max_det([*photos["train"], *photos["valid"]]), "amp": "bf16" if cuda else False, "deterministic": not cuda,
    }  # fmt: skip


def epochs(config: DetectorConfig, n_photos: int) -> int:
    """Passes over the photos: `config.epochs`, or as many as `config.min_steps` steps take.

    >>> config = DetectorConfig(epochs=40, min_steps=1200, batch=4)
    >>> epochs(config, 20), epochs(config, 200)
    (240, 40)
    """
    return max(config.epochs, math.ceil(config.min_steps / math.ceil(n_photos / config.batch)))


def max_det(photos: list[Photo]) -> int:
    """Detections kept for a photo: 1.5 times the fullest photo known, at least 50 and, so that AP keeps its tail, +50."""
    return 50 + math.ceil(1.5 * max(len(photo.boxes) for photo in photos))


def load(weights: Path) -> torch.nn.Module:
    """The network in `weights` on the CPU, in evaluation mode, batch norm folded into the convolutions."""
    model, _ = load_checkpoint(str(weights), device="cpu", fuse=True)
    return model.float().eval()


def for_export(model: torch.nn.Module, config: DetectorConfig) -> torch.nn.Module:
    """The same network with dense output (B, 4 + C, anchors): no NMS, no top-k, the one-to-many head.

    A YOLO takes any canvas then, RT-DETR squares of `config.size`.
    """
    if config.family == "rtdetr":
        return rtdetr.Dense(model, config.size).eval()
    head = model.model[-1]
    head.export, head.format, head.dynamic = True, "onnx", True
    if hasattr(head, "_end2end"):
        head.end2end = False
    return model


def _trainer(family: str, folders: dict[str, Path], names: list[str], most: int) -> Callable[..., DetectionTrainer]:
    """The family's trainer, reading `folders` instead of a YAML; `most` objects a photo are to be found."""
    if family not in TRAINERS:
        raise ValueError(f"family: got {family!r}, allowed: {', '.join(TRAINERS)}")
    data = {
        "train": str(folders["train"]),
        "val": str(folders["valid"]),
        "nc": len(names),
        "names": dict(enumerate(names)),
        "channels": 3,
    }

    class OurTrainer(TRAINERS[family]):  # type: ignore[misc]
        queries = max(rtdetr.QUERIES, most)  # of RT-DETR

        def get_dataset(self) -> dict[str, object]:
            return data

        def final_eval(self) -> None:
            """Our own score follows on the exported model; ultralytics' caps and class means would only confuse."""

    return OurTrainer


def link_photos(photos: tuple[Photo, ...], folder: Path, agnostic: bool) -> Path:
    """Lay `photos` out as ultralytics reads them, FOLDER/images + FOLDER/labels, and return FOLDER/images."""
    shutil.rmtree(folder, ignore_errors=True)  # photos of other folds, or ultralytics' cache of other labels
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    for photo in photos:
        _link(photo, folder / "images" / f"{photo.id:08d}{photo.path.suffix.lower()}")
        (folder / "labels" / f"{photo.id:08d}.txt").write_text(label_lines(photo, agnostic))
    return folder / "images"


def _link(photo: Photo, link: Path) -> None:
    """A link, or a turned copy where the EXIF rotation that ultralytics applies is not the one the annotations mean."""
    shape = cv2.imread(str(photo.path), cv2.IMREAD_COLOR).shape
    if shape[:2] == (photo.height, photo.width):
        link.symlink_to(photo.path.resolve())
    else:
        cv2.imwrite(
            str(link),
            cv2.cvtColor(read_image(photo.path, photo.width, photo.height), cv2.COLOR_RGB2BGR),
            [cv2.IMWRITE_JPEG_QUALITY, 98],
        )


def label_lines(photo: Photo, agnostic: bool) -> str:
    """The annotations of `photo` in YOLO's text: one line a box, class then centre and size as fractions of the photo."""
    lines = []
    for (x0, y0, x1, y1), label in zip(photo.boxes.astype(float), photo.labels, strict=True):
        cx, cy, w, h = (
            (x0 + x1) / 2 / photo.width,
            (y0 + y1) / 2 / photo.height,
            (x1 - x0) / photo.width,
            (y1 - y0) / photo.height,
        )
        lines.append(f"{0 if agnostic else label} {cx:.6f} {cy:.6f} {w:.6f} {h:.6f}\n")
    return "".join(lines)


def use_every_core(trainer: DetectionTrainer) -> None:
    """Callback: ultralytics leaves one core alone when it selects the CPU, which of two cores is half."""
    torch.set_num_threads(os.cpu_count() or 1)


def stop_at_non_finite(trainer: DetectionTrainer) -> None:
    """Callback after a batch. Raises FloatingPointError, with where it happened, when the loss is not a number."""
    if not torch.isfinite(trainer.loss):
        raise FloatingPointError(
            f"loss of epoch {trainer.epoch + 1}: got {float(trainer.loss)}, must be finite; lower --lr (now {trainer.args.lr0})"
        )


def progress_line(trainer: DetectionTrainer) -> str:
    """What an epoch did: number, losses, photos a second, minutes left."""
    import time

    done = trainer.epoch + 1 - trainer.start_epoch
    seconds = (time.time() - trainer.train_time_start) / done  # an epoch
    losses = " ".join(f"{name.split('/')[-1]} {float(value):.3f}" for name, value in trainer.tloss.items())
    left = seconds * (trainer.epochs - trainer.epoch - 1) / 60
    rate = len(trainer.train_loader.dataset) / seconds
    return f"epoch {trainer.epoch + 1}/{trainer.epochs}  {losses}  {rate:.1f} photos/s  {left:.1f} min left"

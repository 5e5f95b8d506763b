"""The ultralytics families: fit a YOLO or RT-DETR on our photos, load it, and make it ready for export.

Nothing is downloaded: the package sets the environment before ultralytics is imported, the data go in as a dict (a data YAML
would make it look for a font), and a model is built from the YAML that the package carries or from a local file.
"""

import pickle
import shutil
from pathlib import Path
from typing import Any

import cv2
import torch
from ultralytics.data import base as data_base
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel, load_checkpoint, yaml_model_load
from ultralytics.utils import SETTINGS, TQDM
from ultralytics.utils.torch_utils import select_device

from photos.data import Photo, read_image
from stage1_detector.config import DetectorConfig
from stage1_detector.engine import Progress, Score, epochs, max_det, stamp
from stage1_detector.ultralytics_engine import rtdetr
from stage1_detector.ultralytics_engine.callbacks import Watch, is_out_of_memory
from stage1_detector.ultralytics_engine.detection_trainer import SYNTHETIC, Task, judged, load_matching, trainer


class _Silent(TQDM):
    """ultralytics' progress bar, not drawn: its caching bars fill a log with escape codes."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **(options | {"disable": True}))


data_base.TQDM = _Silent
HEADS = {"yolo": ("Detect", "v10Detect"), "rtdetr": ("RTDETRDecoder",)}  # the last layer of a model YAML of the family
NETWORKS = {"yolo": DetectionModel, "rtdetr": RTDETRDetectionModel}
KEPT = ("imgsz", "epochs", "optimizer", "lr0", "lrf", "freeze", "patience")  # a stopped run goes on with the same
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
    score: Score,
    pretrained: Path | None = None,
    resume: bool = False,
    synthetic: tuple[Photo, ...] = (),
) -> Path:
    """Train on `photos["train"]` and return the weights file OUT/weights/{best,last}.pt.

    `names` are the class names; one name makes a class-agnostic detector, whatever the labels say. `score` tells how good a
    network is on `photos["valid"]`, and only chooses the epoch when `config.patience` > 0. Of `synthetic`, so many join in
    each epoch as `config.synthetic_ratio` says. Where memory runs out, the batch is halved. Raises FloatingPointError at a
    non-finite loss.
    """
    SETTINGS.update(dict.fromkeys(_UNUSED_TRACKERS, False))
    weights, last = out / "weights" / ("best.pt" if config.patience else "last.pt"), out / "weights" / "last.pt"
    wanted = arguments(config, photos, out, pretrained, synthetic)
    if resume and _is_through(last, wanted):
        return weights
    folders = {part: link_photos(photos[part], out / "photos" / part, agnostic=len(names) == 1) for part in ("train", "valid")}
    if config.synthetic_ratio:
        link_photos(synthetic, out / "photos" / "train", agnostic=len(names) == 1, prefix=SYNTHETIC)
    most = max_det([*photos["train"], *photos["valid"]])
    tensors = pretrained if pretrained is not None and pretrained.suffix == ".safetensors" else None
    joining = round(len(photos["train"]) * config.synthetic_ratio)
    if joining > len(synthetic):
        raise ValueError(f"--synthetic: got {len(synthetic)} photos, an epoch needs {joining}: make more or lower the ratio")
    task = Task(folders, names, most, joining, score, config.patience > 0, tensors)
    watch, batch, before = Watch(out, progress), config.batch, stamp(last)
    while True:
        goes_on = {"resume": str(last), "save_dir": str(out.resolve())} if resume else {}
        try:
            one = trainer(config.family, task)(overrides=wanted | {"batch": batch} | goes_on)
            watch.attach(one)
            one.train()
            return weights
        except RuntimeError as error:
            if batch == 1 or not is_out_of_memory(error):
                raise
            batch, resume = max(1, batch // 2), resume or stamp(last) != before
            progress(f"out of memory: goes on with a batch of {batch}")
        finally:
            watch.close()


def refuse(config: DetectorConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a model, a weights file, a checkpoint or a device that training could not begin with."""
    taught = Path(config.distill_model) if config.distill_model else None
    if taught is not None and (config.family != "yolo" or not taught.is_file()):
        raise ValueError(f"--distill-model: got {taught} in family {config.family}, must be a YOLO's .pt file, for a YOLO")
    for flag, path in (("--pretrained", pretrained), ("--resume", last), ("--distill-model", taught)):
        if path is not None and path.suffix != ".safetensors":
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
    if pretrained is not None and pretrained.suffix == ".safetensors":
        load_matching(build(config.model, ["product"], config.family), pretrained)
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
    config: DetectorConfig,
    photos: dict[str, tuple[Photo, ...]],
    out: Path,
    pretrained: Path | None,
    synthetic: tuple[Photo, ...] = (),
) -> dict[str, object]:
    """`config` in ultralytics' words. `nbs` is the batch: its default of 64 gathers 16 batches of 4 into one step.

    max_det is what the photos hold with half as much again, never 300 or 100 by default.
    """
    same_shape = len({(photo.width, photo.height) for photo in (*photos["train"], *synthetic)}) == 1
    cuda = select_device(config.device, verbose=False).type == "cuda"
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    ours = pretrained is not None and pretrained.suffix != ".safetensors"
    return ALWAYS | {
        "model": str(pretrained.resolve() if ours else config.model), "pretrained": ours,
        "project": str(out.resolve().parent), "name": out.name, "imgsz": config.size,
        "epochs": epochs(config, len(photos["train"])),
        "batch": config.batch, "nbs": config.batch, "optimizer": config.optimizer, "lr0": config.lr, "lrf": config.lr_end,
        "weight_decay": config.weight_decay, "warmup_epochs": config.warmup_epochs, "scale": config.scale,
        "translate": config.translate, "mosaic": config.mosaic, "close_mosaic": 10 if config.mosaic else 0,
        "copy_paste": config.copy_paste, "fliplr": config.flip_lr, "hsv_h": config.hue, "hsv_s": config.saturation,
        "hsv_v": config.value, "freeze": config.freeze or None, "patience": config.patience or 10**6,
        "distill_model": str(Path(config.distill_model).resolve()) if config.distill_model else None, "dis": config.dis,
        "val": True, "seed": config.seed, "device": config.device, "rect": same_shape and not config.mosaic,
        "max_det": max_det([*photos["train"], *photos["valid"]]), "amp": "bf16" if bf16 else False, "deterministic": not cuda,
    }  # fmt: skip


def load(weights: Path) -> torch.nn.Module:
    """The network in `weights` on the CPU, in evaluation mode, batch norm folded into the convolutions."""
    network: Any = load_raw(weights)
    return network.fuse(verbose=False).eval()  # type: ignore[no-any-return]


def build(model: str | dict[str, Any], names: list[str], family: str = "yolo") -> torch.nn.Module:
    """The network of a model YAML, of random weights, on the CPU."""
    network: torch.nn.Module = NETWORKS[family](model, nc=len(names), verbose=False)
    network.names = dict(enumerate(names))
    return network


def load_raw(weights: Path) -> torch.nn.Module:
    """The network in `weights` on the CPU as it was trained, nothing folded: ultralytics' file, or a student's of ours."""
    try:
        told = torch.load(weights, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # a whole pickled model, as ultralytics saves it
        whole = load_checkpoint(str(weights), device="cpu")[0]
        return judged(whole).float().eval()
    config, family = told["config"], told["config"]["family"]
    model = (
        rtdetr.with_queries(config["model"], told["queries"], config["decoder_layers"])
        if family == "rtdetr"
        else config["model"]
    )
    network = build(model, told["names"], family)
    network.load_state_dict(told["network"])
    return network.eval()


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


def link_photos(photos: tuple[Photo, ...], folder: Path, agnostic: bool, prefix: str = "") -> Path:
    """Lay `photos` out as ultralytics reads them, FOLDER/images + FOLDER/labels, and return FOLDER/images.

    Without a `prefix` what lies there is removed: photos of other folds, or ultralytics' cache of other labels.
    """
    if not prefix:
        shutil.rmtree(folder, ignore_errors=True)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for photo in photos:
        _link(photo, folder / "images" / f"{prefix}{photo.id:08d}{photo.path.suffix.lower()}")
        (folder / "labels" / f"{prefix}{photo.id:08d}.txt").write_text(label_lines(photo, agnostic))
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

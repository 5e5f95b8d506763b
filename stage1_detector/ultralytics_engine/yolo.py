"""The ultralytics families: fit a YOLO or RT-DETR on our photos, load it, and make it ready for export.

Nothing is downloaded: the package sets the environment before ultralytics is imported, the data go in as a dict (a data YAML
would make it look for a font), and a model is built from the YAML that the package carries or from a local file.
"""

import pickle
from pathlib import Path
from typing import Any

import torch
from ultralytics.data import base as data_base
from ultralytics.nn.tasks import DetectionModel, RTDETRDetectionModel, load_checkpoint, yaml_model_load
from ultralytics.utils import SETTINGS, TQDM
from ultralytics.utils.torch_utils import select_device

from runs import checkpoint, gpu_memory
from runs.pickled_file import needs_code
from runs.training_errors import is_out_of_memory, refuse_lost_worker
from stage1_detector.config import STRIDE, DetectorConfig
from stage1_detector.engine import Job, epochs, max_det, modified_at, refuse_device, synthetic_per_epoch
from stage1_detector.ultralytics_engine import rtdetr
from stage1_detector.ultralytics_engine.callbacks import TrainingCallbacks
from stage1_detector.ultralytics_engine.detection_trainer import TrainerOptions, load_pretrained, trainer_class, unwrapped
from stage1_detector.ultralytics_engine.draws import SYNTHETIC
from stage1_detector.ultralytics_engine.photo_layout import link_photos, shrink_of
from stage1_detector.ultralytics_engine.shared_memory import workers_that_fit


class DisabledProgressBar(TQDM):
    """ultralytics' progress bar, not drawn: its caching bars fill a log with escape codes."""

    def __init__(self, *args: object, **options: object) -> None:
        super().__init__(*args, **(options | {"disable": True}))


data_base.TQDM = DisabledProgressBar
HEADS = {"yolo": ("Detect", "v10Detect"), "rtdetr": ("RTDETRDecoder",)}  # the last layer of a model YAML of the family
NETWORKS = {"yolo": DetectionModel, "rtdetr": RTDETRDetectionModel}
TABLE = "results.csv"  # taken: ultralytics' table of an epoch's losses and scores
WORKERS = 4  # chosen: processes that load photos
RESUME_SETTINGS = ("imgsz", "epochs", "optimizer", "lr0", "lrf", "freeze", "patience")  # a stopped run goes on with the same
FIXED_ARGUMENTS = {  # the same for every recipe
    "task": "detect", "mode": "train", "data": "", "exist_ok": True, "cos_lr": True, "warmup_bias_lr": 0.0, "erasing": 0.0,
    "cache": "ram", "plots": False, "verbose": False,
}  # fmt: skip
UNUSED_TRACKERS = (
    "clearml", "comet", "dvc", "mlflow", "raytune", "tensorboard", "wandb", "sync", "vscode_msg", "openvino_msg",
)  # fmt: skip


@gpu_memory.released_afterwards()
def fit(job: Job[DetectorConfig]) -> Path:
    """Train on `job.photos["train"]` and return the weights file OUT/weights/{best,last}.pt.

    Where memory runs out, a single process halves the batch. Several share each batch by torch's DistributedDataParallel, with
    batch norm over a process's own photos. Raises FloatingPointError at a non-finite loss.
    """
    SETTINGS.update(dict.fromkeys(UNUSED_TRACKERS, False))
    arguments = ultralytics_arguments(job)
    if job.resume and has_done_all_epochs(job.last_checkpoint, arguments):
        return job.result
    trainer_type = trainer_class(job.config.family, trainer_options(job))
    callbacks, at_start = TrainingCallbacks(job.out, job.progress, job.distributed), modified_at(job.last_checkpoint)
    batch, resume = job.config.batch, job.resume
    while True:
        resumed = {"resume": str(job.last_checkpoint), "save_dir": str(job.out.resolve())} if resume else {}
        workers = loader_workers(batch, job)
        try:
            trainer = trainer_type(overrides=arguments | {"batch": batch, "workers": workers} | resumed)
            callbacks.attach(trainer)
            trainer.train()
            return job.result
        except RuntimeError as error:
            refuse_lost_worker(error)
            if batch == 1 or job.distributed.world_size > 1 or not is_out_of_memory(error):
                raise
        finally:
            callbacks.close()
        trainer = None  # its memory is needed by the next one
        gpu_memory.release()
        batch, resume = batch // 2, resume or modified_at(job.last_checkpoint) != at_start
        job.progress(f"out of memory: goes on with a batch of {batch}")


def loader_workers(batch: int, job: Job[DetectorConfig]) -> int:
    """How many processes load photos; says so where shared memory does not hold the batches of all WORKERS."""
    workers = workers_that_fit(WORKERS, batch * 3 * job.config.size**2)
    if workers < WORKERS:
        job.progress(f"little shared memory: {workers} of {WORKERS} processes load photos; a larger /dev/shm is faster")
    return workers


def trainer_options(job: Job[DetectorConfig]) -> TrainerOptions:
    """What the trainer takes beyond ultralytics' arguments; lays the photos out in OUT/photos."""
    photos, folder = job.photos, job.out / "photos"
    n_synthetic = synthetic_per_epoch(job.config, len(photos["train"]), len(job.synthetic))
    if job.distributed.is_main:
        lay_photos_out(job, folder)
    job.distributed.all_gather(None)  # all is there
    return TrainerOptions(
        folders={part: folder / part / "images" for part in ("train", "valid")},
        names=job.names,
        max_det=max_det([*photos["train"], *photos["valid"]]),
        n_synthetic=n_synthetic,
        score=job.score,
        selects_epoch=job.config.patience > 0,
        weights=job.pretrained if job.pretrained is not None and is_plain_tensors(job.pretrained) else None,
        distributed=job.distributed,
    )


def lay_photos_out(job: Job[DetectorConfig], folder: Path) -> None:
    """Link the photos of `job` in FOLDER/train and FOLDER/valid; remove ultralytics' table of an older training."""
    agnostic, shrunk = job.is_class_agnostic, shrink_of(job.config)
    linked = job.photos | {"valid": job.photos["valid"] or job.photos["train"][:1]}  # ultralytics loads some, scored or not
    for part in ("train", "valid"):
        link_photos(linked[part], folder / part, agnostic, shrink=shrunk)
    if job.config.synthetic_ratio:
        link_photos(job.synthetic, folder / "train", agnostic, SYNTHETIC, shrunk)
    if not job.resume:
        (job.out / TABLE).unlink(missing_ok=True)  # which each process would remove, and only one finds


def is_plain_tensors(pretrained: Path) -> bool:
    """Whether a weights file is one of tensors alone, which we load ourselves; ultralytics loads its own .pt files."""
    return not needs_code(pretrained)


def refuse(config: DetectorConfig, pretrained: Path | None, last: Path | None) -> None:
    """Raises ValueError for a model, weights, a checkpoint, a device or frozen layers that training could not begin with.

    It runs what is pickled in the files: `runs.pickled_file.refuse_untrusted` comes first.
    """
    if config.freeze and pretrained is None and last is None:
        raise ValueError(
            f"--freeze: got {config.freeze}, which needs --pretrained FILE: random weights are nothing to hold still"
        )
    teacher = Path(config.distill_model) if config.distill_model else None
    if teacher is not None and (config.family != "yolo" or not teacher.is_file()):
        raise ValueError(f"--distill-model: got {teacher} in family {config.family}, must be a YOLO's .pt file, for a YOLO")
    for flag, path in (("--pretrained", pretrained), ("--resume", last), ("--distill-model", teacher)):
        if path is not None and not is_plain_tensors(path):
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
    network = _buildable(config)
    if pretrained is not None and is_plain_tensors(pretrained):
        load_pretrained(network, pretrained)
    refuse_device(config.device)


def _buildable(config: DetectorConfig) -> torch.nn.Module:
    """The network of random weights. ValueError where it cannot be built, or its coarsest grid is too coarse for canvases."""
    try:
        with torch.random.fork_rng(devices=[]):
            network = build(config.model, ["product"], config.family)
    except Exception as error:  # a YAML may say nearly anything
        raise ValueError(f"--model: got {config.model!r}, which cannot be built: {error!r}") from error
    if (coarsest := int(max(network.stride))) > STRIDE:  # type: ignore[call-overload,arg-type]
        raise ValueError(
            f"--model: got {config.model!r}, whose coarsest grid has cells of {coarsest} px, must be {STRIDE} at most: "
            f"a photo is shown on a canvas whose sides are multiples of {STRIDE}, such as 640 x 480 at --size 640; models "
            "whose names have no p6 take it, such as yolov8n.yaml"
        )
    return network


def _refuse_weights(flag: str, path: Path) -> None:
    """ValueError unless ultralytics can load PATH; made absolute, as it deletes a broken file of a bare name that it knows."""
    try:
        load_checkpoint(str(path.resolve()), device="cpu")
    except Exception as error:  # unpickling raises nearly anything
        raise ValueError(f"{flag}: got {path}, must be a .pt file of weights that ultralytics wrote") from error


def has_done_all_epochs(last: Path, arguments: dict[str, object]) -> bool:
    """Whether the run that checkpoint LAST is of has no epoch left. ValueError if it was begun with other settings."""
    content = load_checkpoint(str(last))[1]
    begun = content["train_args"]
    checkpoint.refuse_other_settings(last, begun, {name: arguments[name] for name in RESUME_SETTINGS})
    return bool(content["epoch"] + 1 >= begun["epochs"])


def ultralytics_arguments(job: Job[DetectorConfig]) -> dict[str, object]:
    """The settings of `job` as ultralytics calls them.

    `nbs` is the batch, as its default of 64 accumulates 16 batches of 4 in one step; `max_det` follows the photos, as its
    defaults of 300 and 100 are too few for shelves. bf16 on a GPU, because ultralytics downloads a model to check fp16.
    """
    config, photos, pretrained = job.config, job.photos, job.pretrained
    same_shape = len({(photo.width, photo.height) for photo in (*photos["train"], *job.synthetic)}) == 1
    cuda = select_device(config.device, verbose=False).type == "cuda"
    bf16 = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    loads_weights = pretrained is not None and not is_plain_tensors(pretrained)
    return FIXED_ARGUMENTS | {
        "model": str(pretrained.resolve() if loads_weights else config.model), "pretrained": loads_weights,
        "project": str(job.out.resolve().parent), "name": job.out.name, "imgsz": config.size,
        "epochs": epochs(config, len(photos["train"])),
        "batch": config.batch, "nbs": config.batch, "optimizer": config.optimizer, "lr0": config.lr, "lrf": config.lr_end,
        "weight_decay": config.weight_decay, "warmup_epochs": config.warmup_epochs, "scale": config.scale,
        "translate": config.translate, "mosaic": config.mosaic, "close_mosaic": 10 if config.mosaic else 0,
        "copy_paste": config.copy_paste, "fliplr": config.flip_lr, "hsv_h": config.hue, "hsv_s": config.saturation,
        "hsv_v": config.value, "freeze": config.freeze or None, "patience": config.patience or 10**6,
        "distill_model": str(Path(config.distill_model).resolve()) if config.distill_model else None, "dis": config.dis,
        "val": True, "seed": config.seed, "device": own_device(job), "rect": same_shape and not config.mosaic,
        "max_det": max_det([*photos["train"], *photos["valid"]]), "amp": "bf16" if bf16 else False, "deterministic": not cuda,
    }  # fmt: skip


def own_device(job: Job[DetectorConfig]) -> str:
    """The device of this process, as ultralytics names it: of several processes each has the GPU of its own number."""
    has_own_gpu = job.distributed.world_size > 1 and job.config.device != "cpu" and torch.cuda.is_available()
    return str(torch.cuda.current_device()) if has_own_gpu else job.config.device


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
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:  # a whole pickled model, as ultralytics saves it
        return unwrapped(load_checkpoint(str(weights), device="cpu")[0]).float().eval()
    config, model = content["config"], content["config"]["model"]
    if config["family"] == "rtdetr":
        model = rtdetr.with_queries(model, content["queries"], config["decoder_layers"])
    network = build(model, content["names"], config["family"])
    network.load_state_dict(content["network"])
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

"""One training of a detector, from a data set and folds to a run folder with weights, ONNX file, scores and run.json.

What a user can mend is refused before torch is loaded, which takes seconds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from fusion.models import read_object
from photos import fingerprint, folds, repairs, trained_names, trained_on
from photos.data import Dataset, Photo, read
from runs import fetched, record
from runs.command import note_result, say, say_progress
from runs.flags import Flag
from runs.pretrained import HELP, refuse_missing, refuse_own
from runs.stopwatch import Stopwatch
from stage1_detector import model_yaml, training_plan
from stage1_detector.config import STARTER, Config, DetectorConfig
from stage1_detector.pretrained import start
from stage1_detector.synthesis.coco_writer import REQUEST_FILE

if TYPE_CHECKING:
    from runs.distributed import Distributed
    from stage1_detector.engine import Job
    from stage1_detector.families import Family

CLASSES = ("one", "all")
COCO_FILE = "annotations.json"  # of a set of synthetic photos


@dataclass(frozen=True, kw_only=True)
class DetectorRun:
    """From what a detector is trained, into where, and what to do with what is there. Each field is a flag."""

    data: Annotated[Path, Flag("folder of photos and labels (COCO, YOLO, VOC or CSV)")]
    runs: Annotated[Path, Flag("run folder; holds folds.json", name="out")]
    classes: Annotated[str, Flag("one: find products; all: find and name them", choices=CLASSES)] = "one"
    pretrained: Annotated[Path | None, Flag(HELP)] = None
    synthetic: Annotated[Path | None, Flag("folder of synthetic photos, as hylle synth writes it")] = None
    trust: Annotated[Path | None, Flag("a weights file from elsewhere, or its folder, whose pickled code may run")] = None
    refit: Annotated[bool, Flag("train on all photos: none is in valid, and nothing is scored")] = False
    resume: Annotated[bool, Flag("go on with a stopped run")] = False
    force: Annotated[bool, Flag("start again, replacing what is there")] = False

    @property
    def out(self) -> Path:
        """The folder of this training."""
        return self.runs / self.classes

    @property
    def folds(self) -> Path:
        """The file that says which photos are to train on."""
        return self.runs / folds.NAME


def train_detector(
    request: DetectorRun,
    config: Config,
    family: "Family | None" = None,
    also: Mapping[str, Any] = MappingProxyType({}),
    distributed: "Distributed | None" = None,
    teachers: Sequence[Path] = (),
) -> Path:
    """Train into RUNS/one or RUNS/all and return the exported model's path; a finished run is reused.

    `family` comes in place of the one that `config` names, `also` is further settings, `teachers` are further weights that it
    learns from; of a `distributed` training, the main process alone writes. Raises ValueError for what the user can mend.
    """
    refuse_batch(config, 1 if distributed is None else distributed.world_size)
    parts, leads = read_parts(request, config), distributed is None or distributed.is_main
    if leads:
        repairs.tell(parts.dataset)
    request = with_weights_file(request, config, leads)
    settings = as_recorded(request, settings_of(request, config, parts) | also, leads)
    out, resume = request.out, request.resume
    if record.finished(out, settings, request.force):
        return reused(request, leads)
    with record.beginning(out, resume, request.force, distributed):
        from stage1_detector import engine, families, sidecar, validation  # here: they take seconds to load

        family = family or families.FAMILIES[config.family]
        synthetic = refuse_or_read(request, config, family, parts)
        photos, watch = photos_of(parts, request), Stopwatch(out, resume)
        distributed = distributed or engine.SINGLE_PROCESS
        distributed.all_gather(None)  # all have looked before the first writes
        if leads:
            begin(request, settings, parts, starting_weights(request, config, teachers))
    progress = progress_line(request, watch, leads)
    for line in training_plan.in_words(config, photos["train"], starts_random=not (resume or request.pretrained)):
        progress(line)
    ids, n_categories = category_ids(request, parts), len(parts.dataset.categories)
    names, described = class_names(ids), sidecar.sidecar(config, ids, photos)
    scorer = None if request.refit else validation.network_score(config, described, photos["valid"], n_categories)
    job = engine.Job(config, photos, names, out, progress, scorer, request.pretrained, resume, synthetic, distributed)
    weights = family.fit(job)
    if leads:
        metrics = exported(job, family.load(weights), described, n_categories)
        metrics |= {"epochs": engine.epochs(config, len(photos["train"])), "minutes": watch.seconds / 60}
        record.write_run(out, settings, metrics, trained_names.noted(ids and parts.dataset.categories))
        note_result(out=out, metrics=metrics, reused=False)
    return out / "model.onnx"


def exported(job: "Job[Config]", network: Any, described: dict[str, Any], n_categories: int) -> dict[str, Any]:
    """The metrics of the trained `network`, written to model.onnx; with none on valid where nothing is held out."""
    from stage1_detector import validation

    if job.score is None:
        return validation.finish_unscored(network, job.out, job.config, described, job.photos["train"])
    return validation.finish(network, job.out, job.config, described, job.photos["valid"], n_categories)


def refuse_batch(config: Config, n_processes: int) -> None:
    """Raises ValueError for a batch that so many processes cannot share; ultralytics gives each as many photos."""
    size = config.batch
    if size < n_processes:
        raise ValueError(f"--batch: got {size} photos for {n_processes} processes, need one for each")
    if isinstance(config, DetectorConfig) and size % n_processes:
        raise ValueError(f"--batch: got {size} photos for {n_processes} processes, must be a multiple of {n_processes}")


def photos_of(parts: folds.Folds, request: DetectorRun) -> dict[str, tuple[Photo, ...]]:
    """The photos to train on and to validate by; of a refit all are trained on. ValueError for a part without boxes."""
    held_out = parts.photos("valid") if request.refit else parts.labelled("valid")
    return {"train": parts.labelled("train"), "valid": held_out}


def refuse_refit(config: Config, parts: folds.Folds) -> None:
    """Raises ValueError where a refit would leave photos out, or be to choose an epoch by none."""
    if held_out := len(parts.photos("valid")):
        raise ValueError(f"--refit: got folds with {held_out} photos in valid, must be none: hylle fit makes such folds")
    if config.patience:
        raise ValueError(f"--refit: got --patience {config.patience}, must be 0: there is no valid part to choose an epoch by")


def with_weights_file(request: DetectorRun, config: Config, leads: bool) -> DetectorRun:
    """`request` with the file that its `pretrained` means; says which where that was left open."""
    chosen = start(request.pretrained, config)
    if leads and chosen.why:
        say(f"{request.classes}: {chosen.why}")
    fetched.refuse_changed(chosen.path)
    refuse_own("--pretrained", chosen.path, request.out)
    if distill_model := getattr(config, "distill_model", ""):
        refuse_own("--distill-model", Path(distill_model), request.out)
    return replace(request, pretrained=chosen.path)


def settings_of(request: DetectorRun, config: Config, parts: folds.Folds) -> dict[str, Any]:
    """What the run is made with: its settings, and fingerprints of the photos, labels and files that it is made from."""
    settings, synthetic = asdict(config), request.synthetic
    distill_model, weight = settings.pop("distill_model", ""), settings.pop("dis", None)
    if distill_model:
        settings |= {"distill_model": record.fingerprint(Path(distill_model)), "dis": weight}
    made_from = {
        "classes": request.classes,
        "pretrained": request.pretrained and record.fingerprint(request.pretrained),
        "folds": folds.fingerprint(request.folds),
        "synthetic": synthetic and [record.fingerprint(synthetic / COCO_FILE), fingerprint.of_folder(synthetic / "images")],
    }
    made_from |= {"refit": True} if request.refit else {}
    if file := model_yaml.own_file(getattr(config, "model", "")):
        made_from |= {"model_file": record.fingerprint(file)}
    if config.shrinking == "linear":
        del settings["shrinking"]  # as in runs made before there was a choice
    categories = None if request.classes == "one" else parts.dataset.categories
    return settings | made_from | fingerprint.of_training(parts.photos("train"), parts.photos("valid"), categories)


def as_recorded(request: DetectorRun, settings: dict[str, Any], leads: bool) -> dict[str, Any]:
    """`settings` without what the model YAML holds where the run to be reused or resumed is too old to record it; says so."""
    path = request.out / ("begun.json" if request.resume else "run.json")
    content = read_object(path) if path.is_file() and not request.force else {}
    recorded = content.get("settings", content)
    if "model_file" in recorded or recorded.get("model", "") != settings.get("model"):
        return settings
    if leads and "model_file" in settings:
        say(f"{request.classes}: {request.out} does not record what {settings['model']} held, so that is not compared")
    return {name: value for name, value in settings.items() if name != "model_file"}


def reused(request: DetectorRun, leads: bool) -> Path:
    """The model of a run that is finished already; says so."""
    if leads:
        say(f"{request.classes}: reuses {request.out}")
        note_result(out=request.out, reused=True)
    return request.out / "model.onnx"


def category_ids(request: DetectorRun, parts: folds.Folds) -> list[int] | None:
    """The categories that the detector is to know; None where it finds products of one class."""
    return None if request.classes == "one" else [category.id for category in parts.dataset.categories]


def class_names(ids: list[int] | None) -> list[str]:
    """The names of a detector's classes.

    >>> class_names(None), class_names([4, 7])
    (['product'], ['c4', 'c7'])
    """
    return ["product"] if ids is None else [f"c{category}" for category in ids]


def read_parts(request: DetectorRun, config: Config) -> folds.Folds:
    """The data set and its folds. Raises ValueError where they, the weights, or the ratio of synthetic photos are missing."""
    refuse_missing(request.pretrained)
    if (request.synthetic is None) != (config.synthetic_ratio == 0):
        given = f"{request.synthetic} with --synthetic-ratio {config.synthetic_ratio}"
        raise ValueError(f"--synthetic: got {given}, give both or neither")
    parts = folds.load(request.folds, read(request.data))
    if request.refit:
        refuse_refit(config, parts)
    return parts


def last_weights(request: DetectorRun) -> Path:
    """The checkpoint that a stopped run goes on from."""
    return request.out / "weights" / "last.pt"


def refuse_or_read(request: DetectorRun, config: Config, family: "Family", parts: folds.Folds) -> tuple[Photo, ...]:
    """The synthetic photos that join in. Raises ValueError for what training could not begin with."""
    if isinstance(config, DetectorConfig):
        refuse_untrusted_weights(request, config)
    if isinstance(config, DetectorConfig) and config.distill_model:
        fetched.refuse_changed(Path(config.distill_model), "--distill-model")
        trained_on.refuse_held_out("--distill-model", Path(config.distill_model), request.folds, parts)
    if request.pretrained is not None:
        trained_on.refuse_held_out("--pretrained", request.pretrained, request.folds, parts)
    family.refuse(config, request.pretrained, last_weights(request) if request.resume else None)
    if request.synthetic is None:
        return ()
    return synthetic_photos(request.synthetic, parts.dataset, request.classes, fingerprint.of_labelled(parts.photos("train")))


def refuse_untrusted_weights(request: DetectorRun, config: DetectorConfig) -> None:
    """Raises ValueError for files whose pickled code ultralytics would run, unless they are ours or `request.trust`."""
    from runs.pickled_file import refuse_untrusted  # here: it loads torch, which takes a second

    teacher, last = Path(config.distill_model or "."), last_weights(request)
    files = {"--pretrained": request.pretrained, "--distill-model": teacher, "--resume": last if request.resume else None}
    for flag, path in files.items():
        if path is not None and path.is_file():
            refuse_untrusted(flag, path, request.trust)


def begin(request: DetectorRun, settings: dict[str, Any], parts: folds.Folds, starts: Sequence[Path]) -> None:
    """Note what the run is made with, and which photos its weights and those it `starts` from will have seen; say where that
    is not known. A run that starts anew removes older checkpoints.
    """
    for weights in starts:
        trained_on.tell_unknown(weights, [STARTER])
    older = sorted(last_weights(request).parent.glob("*.pt"))
    record.begin(request.out, settings, request.resume, older)
    if not (request.resume and (request.out / trained_on.NAME).is_file()):
        trained_on.write(request.out, parts.photos("train"), parts.photos("valid"), starts)


def starting_weights(request: DetectorRun, config: Config, teachers: Sequence[Path]) -> list[Path]:
    """All weights that a run learns from: what it starts from, and its teachers."""
    model = getattr(config, "distill_model", "")
    return [*teachers, *([Path(model)] if model else []), *([request.pretrained] if request.pretrained else [])]


def progress_line(request: DetectorRun, watch: Stopwatch, leads: bool) -> Callable[[str], None]:
    """What says a line and leaves it in the folder of `request`; of several processes, the first does."""

    def progress(line: str) -> None:
        if leads:
            say_progress(f"{request.classes}: {line}")
            record.note(request.out, line, watch.seconds)

    return progress


def synthetic_photos(folder: Path, dataset: Dataset, classes: str, train: str) -> tuple[Photo, ...]:
    """The photos in `folder`, labelled with the categories of `dataset` of the same names.

    Raises ValueError where they are made of other photos than those of the fingerprint `train` (`fingerprint.of_labelled`), and
    where `classes` is "all" and a category there is not one of the data set's.
    """
    synthetic = read(folder)
    repairs.tell(synthetic)
    request = read_object(folder / REQUEST_FILE) if (folder / REQUEST_FILE).is_file() else {}
    if request.get("train", "") not in ("", train):
        raise ValueError(f"--synthetic: {folder} is made of other photos than these folds train on; make it anew with --runs")
    if classes == "one":
        return synthetic.photos
    if synthetic.categories == dataset.categories:
        return synthetic.photos
    index = {category.name: i for i, category in enumerate(dataset.categories)}
    other = [category.name for category in synthetic.categories if category.name not in index]
    if other:
        raise ValueError(f"--synthetic: {folder} has the category {other[0]!r}, the data set has not; --classes one takes any")
    names = np.array([index[category.name] for category in synthetic.categories], np.int64)
    return tuple(replace(photo, labels=names[photo.labels]) for photo in synthetic.photos)

"""One training of a detector, from a data set and folds to a run folder with weights, ONNX file, scores and run.json.

What a user can mend is refused before torch is loaded, which takes seconds.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from fusion.models import read_object
from photos import folds
from photos.data import Dataset, Photo, read
from runs import record
from runs.command import say
from runs.flags import Flag
from runs.pretrained import pretrained_file
from stage1_detector.config import STARTER, Config, DetectorConfig
from stage1_detector.synthesis.coco_writer import REQUEST_FILE

if TYPE_CHECKING:
    from stage1_detector.families import Family
    from stage1_detector.torch_engine.distributed import Distributed

CLASSES = ("one", "all")


@dataclass(frozen=True, kw_only=True)
class DetectorRun:
    """From what a detector is trained, into where, and what to do with what is there. Each field is a flag."""

    data: Annotated[Path, Flag("folder with annotations.json (or train.json ...) and images/")]
    runs: Annotated[Path, Flag("run folder; holds folds.json", name="out")]
    classes: Annotated[str, Flag("one: find products; all: find and name them", choices=CLASSES)] = "one"
    pretrained: Annotated[Path | None, Flag("local weights file to start from, or starter; nothing is ever downloaded")] = None
    synthetic: Annotated[Path | None, Flag("folder of synthetic photos, as hylle synth writes it")] = None
    trust: Annotated[Path | None, Flag("a weights file from elsewhere, or its folder, whose pickled code may run")] = None
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
) -> Path:
    """Train into RUNS/one or RUNS/all and return the exported model's path; a finished run is reused.

    `family` comes in place of the one that `config` names, `also` is further settings that make the run what it is; of a
    `distributed` training, the main process alone speaks and writes. Raises ValueError for what the user can mend.
    """
    parts, leads = read_parts(request, config), distributed is None or distributed.is_main
    request = replace(request, pretrained=pretrained_file(request.pretrained, STARTER))
    settings = record.made_with(request.folds, request.classes, config, request.pretrained, request.synthetic) | also
    classes, out, pretrained, resume = request.classes, request.out, request.pretrained, request.resume
    if record.finished(out, settings, request.force):
        return reused(request, leads)
    record.refuse_unfinished(out, resume, request.force)
    from stage1_detector import engine, families, sidecar, validation  # here: they take seconds to load

    family = family or families.FAMILIES[config.family]
    synthetic = refuse_or_read(request, config, family, parts)
    distributed = distributed or engine.SINGLE_PROCESS
    distributed.all_gather(None)  # all have looked before the first writes
    if leads:
        begin(request, settings)
    photos, started = {part: parts.labelled(part) for part in ("train", "valid")}, time.time()
    progress = progress_line(out, classes, leads)
    n_train, network = len(photos["train"]), getattr(config, "model", config.family)
    progress(f"{network} on {n_train} photos at {config.size} px, {engine.epochs(config, n_train)} epochs")
    ids, n_categories = category_ids(request, parts), len(parts.dataset.categories)
    names = ["product"] if ids is None else [f"c{category}" for category in ids]
    described = sidecar.sidecar(config, ids, photos)
    scorer = validation.network_score(config, described, photos["valid"], n_categories)
    weights = family.fit(engine.Job(config, photos, names, out, progress, scorer, pretrained, resume, synthetic, distributed))
    if leads:
        metrics = validation.finish(family.load(weights), out, config, described, photos["valid"], n_categories)
        record.write_run(out, settings, metrics | {"minutes": (time.time() - started) / 60})
    return out / "model.onnx"


def reused(request: DetectorRun, leads: bool) -> Path:
    """The model of a run that is finished already; says so."""
    if leads:
        say(f"{request.classes}: reuses {request.out}")
    return request.out / "model.onnx"


def category_ids(request: DetectorRun, parts: folds.Folds) -> list[int] | None:
    """The categories that the detector is to know; None where it finds products of one class."""
    return None if request.classes == "one" else [category.id for category in parts.dataset.categories]


def read_parts(request: DetectorRun, config: Config) -> folds.Folds:
    """The data set and its folds. Raises ValueError where they, the weights, or the ratio of synthetic photos are missing."""
    pretrained_file(request.pretrained, STARTER)
    if (request.synthetic is None) != (config.synthetic_ratio == 0):
        given = f"{request.synthetic} with --synthetic-ratio {config.synthetic_ratio}"
        raise ValueError(f"--synthetic: got {given}, give both or neither")
    return folds.load(request.folds, read(request.data))


def last_weights(request: DetectorRun) -> Path:
    """The checkpoint that a stopped run goes on from."""
    return request.out / "weights" / "last.pt"


def refuse_or_read(request: DetectorRun, config: Config, family: "Family", parts: folds.Folds) -> tuple[Photo, ...]:
    """The synthetic photos that join in. Raises ValueError for what training could not begin with."""
    if isinstance(config, DetectorConfig):
        refuse_untrusted_weights(request, config)
    family.refuse(config, request.pretrained, last_weights(request) if request.resume else None)
    if isinstance(config, DetectorConfig) and config.distill_model:
        record.refuse_other_folds("--distill-model", Path(config.distill_model).parents[1], request.folds)
    if request.synthetic is None:
        return ()
    return synthetic_photos(request.synthetic, parts.dataset, request.classes, folds.photo_fingerprint(parts.photos("train")))


def refuse_untrusted_weights(request: DetectorRun, config: DetectorConfig) -> None:
    """Raises ValueError for files whose pickled code ultralytics would run, unless they are ours or `request.trust`."""
    from runs.pickled_file import refuse_untrusted  # here: it loads torch, which takes a second

    teacher, last = Path(config.distill_model or "."), last_weights(request)
    files = {"--pretrained": request.pretrained, "--distill-model": teacher, "--resume": last if request.resume else None}
    for flag, path in files.items():
        if path is not None and path.is_file():
            refuse_untrusted(flag, path, request.trust)


def begin(request: DetectorRun, settings: dict[str, Any]) -> None:
    """Note what the run is made with; one that starts anew removes an older checkpoint, unless it is what it starts from."""
    last, pretrained = last_weights(request), request.pretrained
    keeps = pretrained is not None and last.resolve() == pretrained.resolve()
    record.begin(request.out, settings, request.resume, () if keeps else (last,))


def progress_line(out: Path, classes: str, leads: bool) -> Callable[[str], None]:
    """What says a line and leaves it in OUT; of several processes, the first does."""

    def progress(line: str) -> None:
        if leads:
            say(f"{classes}: {line}")
            record.note(out, line)

    return progress


def synthetic_photos(folder: Path, dataset: Dataset, classes: str, train: str) -> tuple[Photo, ...]:
    """The photos in `folder`, labelled with the categories of `dataset` of the same names.

    Raises ValueError where they are made of other photos than those of the fingerprint `train` (`folds.photo_fingerprint`), and
    where `classes` is "all" and a category there is not one of the data set's.
    """
    synthetic = read(folder)
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

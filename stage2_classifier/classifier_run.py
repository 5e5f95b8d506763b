"""One training of the crop classifier, from a data set and folds to a folder with weights, ONNX file, metrics and run.json.

What a user can mend is refused before torch is loaded, which takes seconds.
"""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fusion.models import Model, read_object
from photos import fingerprint, folds, repairs, trained_names, trained_on
from photos.data import read
from photos.studio import studio_folder
from runs import fetched, record
from runs.command import note_result, say
from runs.pretrained import refuse_missing, refuse_own
from stage2_classifier.config import STARTER, ClassifierConfig, columns
from stage2_classifier.pretrained import ALLOWED, start
from stage2_classifier.training_request import ClassifierRun

if TYPE_CHECKING:
    from runs.distributed import Distributed

# Of a run that is replaced.
OLD = (
    "last.pt",
    "model.before_enroll.onnx",
    "model.before_enroll.json",
    "enrolled.json",
    "enrolling.json",
    "held_out.npz",
    "prototypes.npz",
)


def train_classifier(request: ClassifierRun, config: ClassifierConfig, distributed: "Distributed | None" = None) -> Path:
    """Train into RUNS/NAME (default: classifier_CROPS) and return the exported model's path; a finished run is reused.

    Of a `distributed` training the main process alone writes and speaks. Raises ValueError for what the user can mend.
    """
    refuse_combination(request, 1 if distributed is None else distributed.world_size)
    leads = distributed is None or distributed.is_main
    parts, out = folds.load(request.runs / folds.NAME, read(request.data)), request.out
    if leads:
        repairs.tell(parts.dataset)
    request = with_weights_file(request, config.model, leads)
    settings = settings_of(request, config, parts)
    if record.finished(out, settings, request.force):
        return reused(request, leads)
    starts = [] if request.pretrained is None else [request.pretrained]
    with record.beginning(out, request.resume, request.force, distributed):
        for weights in starts:
            trained_on.refuse_held_out("--pretrained", weights, request.runs / folds.NAME, parts)
        from runs.distributed import SINGLE_PROCESS  # here: they take seconds to load
        from stage2_classifier import learning, model

        outputs = columns(config, [category.name for category in parts.dataset.categories])
        model.refuse_size(config)
        network = model.build(config, outputs, request.pretrained)
        refuse_unmeasured(request, config, parts)
        if (detector := request.runs / "one" / "model.onnx").is_file():
            Model(detector)  # refuses one that cannot be loaded, likewise
        distributed = distributed or SINGLE_PROCESS
        distributed.all_gather(None)  # all have looked before the first writes
        if leads:
            begin(request, settings, parts, starts)
    metrics = learning.learn(network, request, config, parts, distributed)
    if leads:
        record.write_run(out, settings, metrics, trained_names.noted(parts.dataset.categories))
        note_result(out=out, metrics=metrics, reused=False)
    return out / "model.onnx"


def begin(request: ClassifierRun, settings: dict[str, Any], parts: folds.Folds, starts: Sequence[Path]) -> None:
    """Note what the run is made with, and which photos its weights and those it `starts` from will have seen; say where that
    is not known.
    """
    for weights in starts:
        trained_on.tell_unknown(weights, [STARTER])
    record.begin(request.out, settings, request.resume, [request.out / file for file in OLD])
    if not (request.resume and (request.out / trained_on.NAME).is_file()):
        trained_on.write(request.out, parts.photos("train"), parts.photos("valid"), starts)


def refuse_combination(request: ClassifierRun, n_processes: int) -> None:
    """Raises ValueError for flags that exclude each other, or several processes, and for files that are not there."""
    if request.detector_weights and not request.folds:
        raise ValueError(f"--detector-weights: got {request.detector_weights}, which is for --folds K")
    if request.folds and (kept := request.runs / "one" / "start_share.json").is_file() and read_object(kept)["share"]:
        raise ValueError(
            f"--folds: got {request.folds}, but R/one keeps a share of its start, and the folds' detectors would not; leave it "
            "out, or call train-detector with --start-share 0 first"
        )
    if request.refit and request.folds:
        raise ValueError(f"--folds: got {request.folds} with --refit, which takes the boxes of its own folds")
    if request.folds and n_processes > 1:
        raise ValueError(
            f"--folds: got {request.folds} in {n_processes} processes, must be 0: the folds' detectors are trained by one "
            "process; call it without torchrun"
        )
    if request.crops != "shelf":
        refuse_without_studio_photos(request)
    refuse_missing(request.pretrained, ALLOWED)


def reused(request: ClassifierRun, leads: bool) -> Path:
    """The model of a run that is finished already; says so."""
    if leads:
        say(f"{request.title}: reuses {request.out}")
        note_result(out=request.out, reused=True)
    return request.out / "model.onnx"


def refuse_unmeasured(request: ClassifierRun, config: ClassifierConfig, parts: folds.Folds) -> None:
    """Raises ValueError before the work begins, where there are no crops to learn from, or none held out to calibrate on."""
    if request.crops != "studio":
        parts.labelled("train")
    if request.refit is None:
        parts.labelled("valid")
        return
    if held_out := len(parts.photos("valid")):
        raise ValueError(f"--refit: got folds with {held_out} photos in valid, must be none: hylle fit makes such folds")
    from stage2_classifier import pooled_folds

    width = columns(config, [category.name for category in parts.dataset.categories]).width
    pooled_folds.read(request.refit, request.out.name, parts, width)


def with_weights_file(request: ClassifierRun, model: str, leads: bool = True) -> ClassifierRun:
    """`request` with the file that its `pretrained` means for the backbone `model`; says which where that was left open."""
    chosen = start(request.pretrained, model)
    if leads and chosen.why:
        say(f"{request.title}: {chosen.why}")
    fetched.refuse_changed(chosen.path)
    refuse_own("--pretrained", chosen.path, request.out)
    return replace(request, pretrained=chosen.path)


def refuse_without_studio_photos(request: ClassifierRun) -> None:
    """Raises ValueError, naming the crops that need none, where there is no folder of studio photos."""
    try:
        studio_folder(request.data, request.studio)
    except ValueError as error:
        raise ValueError(f"--crops {request.crops}: {error}; or learn from shelf photos alone, --crops shelf") from None


def settings_of(request: ClassifierRun, config: ClassifierConfig, parts: folds.Folds) -> dict[str, Any]:
    """What the run is made with: its settings, and fingerprints of the photos, labels and files that it is made from."""
    from stage2_classifier.out_of_fold import fold_settings

    studio = None if request.crops == "shelf" else studio_folder(request.data, request.studio)
    detector = request.runs / "one" / "model.onnx"
    made_from = {
        "crops": request.crops,
        "pretrained": request.pretrained and record.fingerprint(request.pretrained),
        "folds": folds.fingerprint(request.runs / folds.NAME),
        "detector": record.fingerprint(detector) if detector.is_file() else None,
        "out_of_fold": fold_settings(request.runs, request.plan, parts) if request.folds else None,
        "studio files": studio and fingerprint.of_folder(studio),
    }
    if request.refit:
        from stage2_classifier import pooled_folds

        made_from["folds' runs"] = pooled_folds.fingerprint(request.refit, request.out.name)
    train, valid = parts.photos("train"), parts.photos("valid")
    return asdict(config) | made_from | fingerprint.of_training(train, valid, parts.dataset.categories)

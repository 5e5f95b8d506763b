"""How R/ensemble.json joins its models: as the default ensemble of its time did, or as a user or a search asked for.

One that nobody edited follows its models: where they were trained again at another size, or R/all was trained since, it is made
anew. R/gate.json records the default's way of joining, so that an edited one is known. That is kept; what may be amiss is told.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from fusion.ensemble import Ensemble, Member, read_ensemble
from fusion.models import read_object, read_sidecar
from runs import record
from runs.counted import counted
from stage2_classifier.gate.ensemble import NAME

WHY = "gate.json"
RECORDED = "default"  # in gate.json: `joining_of` the default ensemble that the gate was fitted to, else None
OF_JOINING = ("detectors", "classifiers", "merge", "most", "time_budget_s", "shed", "threads")  # fields that no gate fits


def joining_of(ensemble: Ensemble) -> str:
    """The fingerprint of how an ensemble joins models: their files, views and weights, and how boxes are merged."""
    values = asdict(ensemble)
    return record.digest([values[name] for name in OF_JOINING])


def takes_default(runs: Path, classifiers: Sequence[str] | None) -> bool:
    """Whether the default ensemble is wanted: `classifiers` ask for it, there is none, or that which is there is one."""
    if classifiers is not None or not (runs / NAME).is_file():
        return True
    why = read_object(runs / WHY) if (runs / WHY).is_file() else {}
    return why.get(RECORDED) == joining_of(read_ensemble(runs))


def differences(before: Ensemble, now: Ensemble) -> list[str]:
    """In words what the models of the default ensemble changed in it: each detector that came, went or is looked at anew."""
    old, new = ({member.file: member for member in ensemble.detectors} for ensemble in (before, now))
    changed = [file for file in new if file in old and old[file] != new[file]]
    return [
        *(f"with {file}" for file in new if file not in old),
        *(f"without {file}" for file in old if file not in new),
        *(f"{file} at {_look(new[file])}, before {_look(old[file])}" for file in changed),
    ]


def amiss(runs: Path, ensemble: Ensemble) -> Iterator[str]:
    """In words what an edited ensemble may have overlooked: a detector that is not looked at as trained, a trained R/all."""
    for member in ensemble.detectors:
        path = (runs / member.file).with_suffix(".json")
        trained = read_sidecar(path).size if path.is_file() else None
        if member.views and trained and all(view.get("size") != trained for view in member.views):
            yield f"{member.file} was trained at {trained} px and is looked at at {_sides(member)} px"
    if (runs / "all").exists() and all(member.file != "all/model.onnx" for member in ensemble.detectors):
        yield f"{runs / 'all'} is {'not yet ' * is_unfinished(runs)}trained and takes no part"


def is_unfinished(runs: Path) -> bool:
    """Whether the training of RUNS/all has begun and not ended."""
    return (runs / "all").exists() and not (runs / "all" / "model.onnx").is_file()


def without_unknown(ensemble: Ensemble, known: Collection[int]) -> Ensemble:
    """`ensemble` without those of its last categories that are not among `known`."""
    keep = max((k for k, i in enumerate(ensemble.categories, 1) if i in known), default=0)
    return replace(ensemble, categories=ensemble.categories[:keep], names=ensemble.names[:keep])


def gone(before: Sequence[int], now: Sequence[int]) -> list[str]:
    """In words which categories an ensemble no longer has.

    >>> gone([1, 2, 41], [1, 2]), gone([1], [1, 2])
    (['without category 41, which neither the data set nor a model knows any more'], [])
    """
    left = [str(i) for i in before if i not in now]
    word = "category" if len(left) == 1 else "categories"
    return [f"without {word} {', '.join(left)}, which neither the data set nor a model knows any more"] if left else []


def _look(member: Member) -> str:
    """How a detector looks at a photo: the sides of its canvases, and how many boxes it keeps.

    >>> _look(Member("a.onnx", max_det=300, views=[{"size": 640}, {"size": 640, "flip": True}]))
    '640 px, 300 boxes'
    """
    return f"{_sides(member)} px, {counted(member.max_det, 'box', 'boxes')}"


def _sides(member: Member) -> str:
    return " and ".join(dict.fromkeys(str(view.get("size")) for view in member.views))

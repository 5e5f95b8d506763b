"""Which photos a file of weights has seen, so that none is used as held out, by a training that starts from it or by a score.

Each training leaves OUT/trained_on.json: the fingerprints of the bytes of its train and valid photos, and of those that the
weights which it started from, or was taught by, have seen.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fusion.models import read_object
from photos import folds
from photos.data import Photo
from photos.fingerprint import of_file
from photos.folds import Folds
from runs import record
from runs.counted import counted

NAME = "trained_on.json"
PARTS = ("train", "valid")  # valid photos choose the epoch
Seen = dict[str, set[str]]  # fingerprints of the photos of each of PARTS


def run_folder(weights: Path) -> Path:
    """The run folder that a weights file lies in, at its top or in weights/; a folder is its own."""
    folder = weights.resolve() if weights.is_dir() else weights.resolve().parent
    return folder.parent if folder.name == "weights" else folder


def seen_by(weights: Path) -> Seen:
    """What the weights in a file or run folder have seen; nothing where that is not known."""
    path = run_folder(weights) / NAME
    recorded = read_object(path) if path.is_file() else {}
    return {part: set(recorded.get(part, [])) for part in PARTS}


def write(out: Path, train: Sequence[Photo], valid: Sequence[Photo], starts: Sequence[Path] = ()) -> None:
    """Leave in OUT what its weights will have seen: these photos, and what the weights `starts` have."""
    earlier = [seen_by(weights) for weights in starts]
    own = {"train": train, "valid": valid}
    seen = {part: {of_file(photo.path) for photo in own[part]}.union(*(e[part] for e in earlier)) for part in PARTS}
    out.mkdir(parents=True, exist_ok=True)
    record.write_json(out / NAME, {part: sorted(seen[part]) for part in PARTS})


def refuse_held_out(flag: str, weights: Path, path: Path, parts: Folds) -> None:
    """Raises ValueError, naming `flag`, where `weights` have seen photos that `parts`, of the file PATH, hold out.

    Those are the valid and test photos among those trained on, and the test photos among those that chose the epoch. A photo
    whose bytes are in train as well is held out by nothing: the training itself would see it. A run of an earlier version,
    which tells no photos, must have been trained with the same folds. Weights outside a run folder tell nothing.
    """
    if not (run_folder(weights) / NAME).is_file():
        _refuse_other_folds(flag, weights, path)
        return
    if known := seen_of("valid", weights, parts) | seen_of("test", weights, parts):
        raise ValueError(
            f"{flag}: {weights} has seen {counted(len(known), 'photo')} that {path} holds out now; start from other weights"
        )


def seen_of(part: str, weights: Path, parts: Folds) -> set[str]:
    """The photos of `part` that `parts` hold out and `weights` have seen, by their bytes: see `refuse_held_out`.

    None of the part train, which is not held out, and none where the weights' run tells no photos.
    """
    if part == "train" or not (run_folder(weights) / NAME).is_file():
        return set()
    seen = seen_by(weights)
    train, valid, own = ({of_file(photo.path) for photo in parts.photos(name)} for name in (*PARTS, part))
    return (seen["train"] & own - train) | (seen["valid"] & own - train - valid)


def refuse_judging(models: Iterable[Path], part: str, parts: Folds) -> None:
    """Raises ValueError where one of the `models` has seen photos of `part`, so that nothing may be fitted or scored there.

    That happens where the photos were dealt anew after it was trained.
    """
    for model in models:
        if known := seen_of(part, model, parts):
            raise ValueError(
                f"{run_folder(model)}: trained with {counted(len(known), 'photo')} that the folds hold out now, in {part}; "
                "train it again from the start, or deal the folds as they were"
            )


def _refuse_other_folds(flag: str, weights: Path, path: Path) -> None:
    """Raises ValueError where the run of `weights` was trained with other folds than the file PATH."""
    run = run_folder(weights) / "run.json"
    settings = read_object(run).get("settings", {}) if run.is_file() else {}
    if settings.get("folds", "") not in ("", folds.fingerprint(path), record.fingerprint(path)):  # the last: earlier versions
        raise ValueError(f"{flag}: {weights} was trained with other folds than {path}: it may know what is held out here")

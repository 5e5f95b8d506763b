"""Which photos a file of weights has seen, so that none is used as held out, by a training that starts from it or by a score.

Each training leaves OUT/trained_on.json: the fingerprints of the bytes of its train and valid photos, and of those that the
weights which it started from, or was taught by, have seen. Its checkpoints hold the same (`runs.seen_photos`), and the manifest
of a zip what all its models have seen and what its gate was fitted on (`submission.built_of`).
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from fusion.models import read_object
from photos import folds
from photos.data import Photo
from photos.fingerprint import of_file
from photos.folds import Folds
from runs import command, fetched, local_weights, record, seen_photos
from runs.counted import counted
from runs.seen_photos import NAME, run_folder

PARTS = ("train", "valid")  # valid photos choose the epoch
CHOSEN = "chosen_on"  # in gate.json: fingerprints of the photos that the gate was fitted on
Seen = dict[str, set[str]]  # fingerprints of the photos of each of PARTS
_told: set[str] = set()  # fingerprints of weights: a command that trains several times says it once of each


def seen_by(weights: Path) -> Seen:
    """What the weights in a file or run folder have seen; nothing where that is not known."""
    recorded = seen_photos.read(weights) or {}
    return {part: set(recorded.get(part, [])) for part in PARTS}


def seen_by_run(runs: Path, models: Iterable[Path]) -> Seen | None:
    """What the `models` in RUNS have seen, and as valid what its gate was fitted on; None where one of them tells nothing."""
    why = read_object(runs / "gate.json") if (runs / "gate.json").is_file() else {CHOSEN: []}
    recorded = [seen_photos.read(model) for model in models]
    if CHOSEN not in why or None in recorded:
        return None
    told = [*filter(None, recorded), {"valid": why[CHOSEN]}]
    return {part: set().union(*(one.get(part, []) for one in told)) for part in PARTS}


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
    which tells no photos, must have been trained with the same folds. Other weights that tell none are let pass: see
    `tell_unknown`.
    """
    if seen_photos.read(weights) is None:
        _refuse_other_folds(flag, weights, path)
        return
    if known := seen_of("valid", weights, parts) | seen_of("test", weights, parts):
        raise ValueError(
            f"{flag}: {weights} has seen {counted(len(known), 'photo')} that {path} holds out now; start from other weights"
        )


def seen_of(part: str, weights: Path, parts: Folds) -> set[str]:
    """The photos of `part` that `parts` hold out and `weights` have seen, by their bytes: see `refuse_held_out`.

    None of the part train, which is not held out, and none where the weights tell no photos.
    """
    return held_out(part, seen_by(weights), parts)


def held_out(part: str, seen: Seen, parts: Folds) -> set[str]:
    """The photos of `part` that `parts` hold out and are among those `seen`, by their bytes; none of the part train."""
    if part == "train" or not any(seen.values()):
        return set()
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


def tell_unknown(weights: Path, known: Iterable[Path]) -> None:
    """Say, once in a process, that nothing tells which photos `weights` have seen, unless they are as one of `known` is.

    Nor is it said of files that `hylle fetch` noted, or that lie where other libraries keep their ImageNet and COCO weights.
    """
    digest = record.fingerprint(weights) if weights.is_file() else ""
    if not digest or digest in _told or seen_photos.read(weights) is not None or _folds_of(weights):
        return
    if fetched.knows(weights) or local_weights.is_in_a_cache(weights) or digest in map(record.fingerprint, known):
        return
    _told.add(digest)
    unknown = f"nothing is known of the photos that {weights} was trained on"
    command.say(f"weights: {unknown}; if test photos are among them, scores are too high")


def forget() -> None:
    """Begin anew, as a new process does."""
    _told.clear()


def _folds_of(weights: Path) -> str:
    """The fingerprint of the folds that the run of `weights` was trained with; empty where it tells none."""
    run = run_folder(weights) / "run.json"
    settings = read_object(run).get("settings", {}) if run.is_file() else {}
    return str(settings.get("folds", ""))


def _refuse_other_folds(flag: str, weights: Path, path: Path) -> None:
    """Raises ValueError where the run of `weights` was trained with other folds than the file PATH."""
    if _folds_of(weights) not in ("", folds.fingerprint(path), record.fingerprint(path)):  # the last: earlier versions
        raise ValueError(f"{flag}: {weights} was trained with other folds than {path}: it may know what is held out here")

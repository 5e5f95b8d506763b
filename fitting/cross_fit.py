"""All photos dealt into folds, each left out once: R/folds.json, and a run folder R/cross_fit/K for each fold.

R/folds.json has every photo in train but those of a test part that the set came with, which stay out of everything;
R/cross_fit/K/folds.json has fold K in valid and the other folds in train. No scene is in two folds. Without a refit one fold
alone is left out (`for_good`): R/folds.json has it in valid, and R is its run folder.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fitting.procedure import MIN_FOLDS, Procedure, Say
from photos import folds
from photos.data import DataError, Dataset
from photos.dealing import balanced, names_apart
from photos.folds import Folds, Settings
from photos.groups import find_scenes, groups_setting
from runs.counted import counted, named

FOLDER = "cross_fit"


class TooFewLeftOut(DataError):
    """The fold that would be left out for good has fewer labelled photos than are needed to fit a gate; the message says so."""


def deal(dataset: Dataset, runs: Path, procedure: Procedure, say: Say, least: int = 0) -> list[Folds]:
    """Make or reuse RUNS/folds.json and those of the folds, and say what they hold: the whole, then one for each fold left out.

    TooFewLeftOut where one that is left out for good has not `least` labelled photos; nothing is written then. DataError where
    RUNS/folds.json is of `hylle folds` or of other settings, or the photos have too few scenes.
    """
    path = runs / folds.NAME
    folds.refuse_file(runs)
    if path.is_file():
        whole = folds.load(path, dataset)
        refuse_other(path, whole.settings, settings_of(dataset, procedure))
    else:
        runs.mkdir(parents=True, exist_ok=True)  # before the scenes are found, which takes minutes
        whole = dealt(dataset, procedure, least)
        folds.save(path, whole)
    if holds_out(whole) == procedure.refit:
        raise DataError(f"fit: {path} was made with{'out' * holds_out(whole)} a refit; fit into another folder, by --out")
    (runs / FOLDER).mkdir(exist_ok=True)  # also without a refit: what is chosen on the folds is kept there
    by_fold = turns(whole)
    for folder, fold in zip(folders(runs, by_fold), by_fold, strict=True):
        write_if_other(folder / folds.NAME, fold)
    for line in in_words(whole, procedure.folds):
        say(line)
    return [whole, *by_fold]


def settings_of(dataset: Dataset, procedure: Procedure) -> Settings:
    """What RUNS/folds.json is made from."""
    groups = groups_setting(procedure.groups)
    return Settings(dataset.root.resolve().name, groups, procedure.folds, procedure.seed, pooled=True)


def dealt(dataset: Dataset, procedure: Procedure, least: int = 0) -> Folds:
    """The whole as `deal` makes it, nothing of it written: with one fold in valid where there is no refit."""
    whole = all_in_train(dataset, find_scenes(dataset, procedure.groups), settings_of(dataset, procedure))
    return whole if procedure.refit else left_out(whole, for_good(whole, least))


def turns(whole: Folds) -> list[Folds]:
    """The same photos with each fold in valid in turn; only `whole` itself where one fold is left out for good."""
    return [whole] if holds_out(whole) else [left_out(whole, k) for k in range(count_of(whole))]


def folders(runs: Path, by_fold: Sequence[Folds]) -> list[Path]:
    """The run folder of the models that leave each fold out: RUNS/cross_fit/K, or RUNS where it is a single one."""
    return [runs / FOLDER / str(k) for k in range(len(by_fold))] if len(by_fold) > 1 else [runs]


def holds_out(whole: Folds) -> bool:
    """Whether one fold is left out for good."""
    return "valid" in whole.part.values()


def all_in_train(dataset: Dataset, scene: np.ndarray, settings: Settings) -> Folds:
    """Every photo in train but those of a given test part; `scene` (P,) of each decides its fold. DataError for one scene."""
    free = np.array([photo.part != "test" for photo in dataset.photos], bool)  # (P,)
    boxes = np.array([len(photo.boxes) for photo in dataset.photos], np.int64)  # (P,)
    labelled, scenes_with_boxes = int((boxes[free] > 0).sum()), len(np.unique(scene[free & (boxes > 0)]))
    if scenes_with_boxes < MIN_FOLDS:
        raise DataError(
            f"fit: {counted(labelled, 'labelled photo')}, of {counted(scenes_with_boxes, 'scene')}: need {MIN_FOLDS} or more, "
            "so that one can be left out; pass --groups photo or --groups FILE.csv if they are different shelves"
        )
    count, rng = min(settings.folds, scenes_with_boxes), np.random.default_rng(settings.seed)
    dealt = balanced(boxes[free] + 1, scene[free], count, rng, boxes[free] > 0)  # (F,)
    dealt = names_apart(dealt, boxes[free] + 1, scene[free], [dataset.photos[i].labels for i in np.flatnonzero(free)])
    fold: dict[int, int | None] = {photo.id: None for photo in dataset.photos}
    fold |= {dataset.photos[i].id: number for i, number in zip(np.flatnonzero(free), dealt.tolist(), strict=True)}
    part = {photo.id: "test" if photo.part == "test" else "train" for photo in dataset.photos}
    scene_of = {photo.id: int(number) for photo, number in zip(dataset.photos, scene, strict=True)}
    return Folds(settings, dataset, part, scene_of, fold)


def left_out(whole: Folds, number: int) -> Folds:
    """The same photos with fold `number` in valid."""
    return replace(whole, part={i: "valid" if whole.fold[i] == number else part for i, part in whole.part.items()})


def for_good(whole: Folds, least: int = 0) -> int:
    """The fold to leave out for good: with `least` labelled photos, at most half of all, and nearest to an equal share of them.

    Folds are of whole scenes, so one of them may hold nearly all photos, and the others one each. TooFewLeftOut where there is
    none.
    """
    numbers = [whole.fold[photo.id] for photo in whole.dataset.photos if len(photo.boxes) and whole.fold[photo.id] is not None]
    labelled = np.bincount(np.array(numbers, np.int64))  # (K,)
    off = np.abs(np.log(labelled * whole.settings.folds / labelled.sum()))  # (K,): twice as many are as far off as half as many
    allowed = (labelled <= labelled.sum() / 2) & (labelled >= least)  # (K,)
    if not allowed.any():
        held = f"the folds hold {', '.join(map(str, sorted(labelled.tolist())))} labelled photos"
        raise TooFewLeftOut(f"{held}: none has {least} or more, and no more than half of all, to be left out for good")
    return int(np.where(allowed, off, np.inf).argmin())


def count_of(whole: Folds) -> int:
    """How many folds there are."""
    return 1 + max(number for number in whole.fold.values() if number is not None)


def refuse_other(path: Path, old: Settings, new: Settings) -> None:
    """DataError where the folds at `path` were made with other settings than are asked for now."""
    if not old.pooled:
        raise DataError(f"fit: {path} holds photos out, as hylle folds deals them; fit into another folder, by --out")
    if differ := old.differences(new):
        raise DataError(
            f"fit: {path} was made with {', '.join(differ)}; ask for the same, or fit into another folder, by --out"
        )


def write_if_other(path: Path, fold: Folds) -> None:
    """Write a fold's folds.json unless it is there as it should be."""
    if not path.is_file() or folds.load(path, fold.dataset).part != fold.part:
        folds.save(path, fold)


def in_words(whole: Folds, wanted: int) -> list[str]:
    """How the photos are used, and what of it the user may not expect."""
    held_out, test, count = whole.photos("valid"), whole.photos("test"), count_of(whole)
    photos = [*whole.photos("train"), *held_out]
    scenes = len({whole.scene[photo.id] for photo in photos})
    given = sorted({photo.part for photo in photos if photo.part})
    used = (
        f"one left out for good, {counted(len(held_out), 'photo')}" if held_out else "each left out once, then all trained on"
    )
    lines = [f"fit: {counted(len(photos), 'photo')} of {counted(scenes, 'scene')} in {count} folds, {used}"]
    lines += [f"fit: {count} folds and not {wanted}, as no more scenes have boxes"] if count < wanted else []
    lines += [f"fit: the given parts {' and '.join(given)} are dealt anew, together"] if len(given) > 1 else []
    lines += [f"fit: the given test part, {counted(len(test), 'photo')}, stays out of everything"] if test else []
    if lost := left_out_names(whole):
        one, them = ("is", "it") if len(lost) == 1 else ("are", "them")
        alone = f"{counted(len(lost), 'name')} ({named(lost)}) {one} only on photos that are left out"
        lines += [f"fit: {alone}: no shelf shows {them} to the models that ship; --refit yes trains on all"]
    return lines + list(folds.leaks(whole))


def left_out_names(whole: Folds) -> list[str]:
    """The names that are on photos of the fold left out for good and on no others."""
    held_out, learned = ({int(i) for photo in whole.photos(part) for i in photo.labels} for part in ("valid", "train"))
    return [whole.dataset.categories[i].name or "the one without a name" for i in sorted(held_out - learned)]

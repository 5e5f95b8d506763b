"""Which of the photos to label were confirmed before, whatever they are called now: by files of the same bytes, else by bytes.

A photo's name begins at the folder that all named photos have in common, so that it is another one where more are named. The
data set of what was confirmed keeps the first: OUT/confirmed/images/NAME is a link to the photo, or a copy.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from photos.fingerprint import of_file
from photos.photo_file import DataError, is_cut_off, same_name
from recognition.inputs import Input, is_hidden
from runs.counted import counted

Value = TypeVar("Value", Path, str)
BYTES = "photo"  # in a confirmation: the fingerprint of the photo's bytes; those of earlier versions have none


def under_confirmed_names(
    photos: Sequence[Input], confirmed: Mapping[str, Mapping[str, Any]], images: Path
) -> dict[str, Input]:
    """The photos by their names: those of then, of photos that were `confirmed`.

    One that was replaced in place keeps its name; see `is_replaced`. Raises ValueError where a name means a photo elsewhere now
    than when it was confirmed: its boxes would be written beside other pixels.
    """
    same = [name for name, row in confirmed.items() if not is_replaced(row, images / name)]
    links = _by_value((name, [(images / name).resolve()]) for name in same if (images / name).is_symlink())
    named, others = dict[str, Input](), list[Input]()
    for photo in _own_first(photos, {photo: links.get(photo.path.resolve(), []) for photo in photos}):
        if name := _taken(links.get(photo.path.resolve(), []), photo.name):
            named[name] = photo._replace(name=name)
        else:
            others.append(photo)
    known = {name: known_bytes(row, images / name) for name, row in confirmed.items() if name not in named}
    alike, own = _by_value(known.items()), {photo: bytes_of(photo.path) if known else "" for photo in others}
    for photo in _own_first(others, {photo: alike.get(own[photo], []) for photo in others}):
        name = _taken(alike.get(own[photo], []), photo.name) or photo.name
        in_place = is_linked(images / name) and (images / name).resolve() == photo.path.resolve()
        others_name = is_linked(images / name) or (known.get(name) and own[photo] not in known[name])
        if name in named or (others_name and not in_place):
            was = f"holds what was confirmed on {(images / name).resolve()}, another photo of the name {name}"
            raise ValueError(f"{images.parents[1]}: {was}; pass another --out")
        named[name] = photo._replace(name=name)
    return dict(sorted(named.items()))


def _by_value(values_of: Iterable[tuple[str, Iterable[Value]]]) -> dict[Value, list[str]]:
    """The names of each value: one photo may have been confirmed under several names, as a link to it or a copy."""
    names: dict[Value, list[str]] = {}
    for name, values in values_of:
        for value in values:
            names.setdefault(value, []).append(name)
    return names


def _own_first(photos: Sequence[Input], names: Mapping[Input, list[str]]) -> list[Input]:
    """`photos`, those before that keep their own name: a copy or link of one must not take it."""
    return sorted(photos, key=lambda photo: photo.name not in names[photo])


def _taken(names: list[str], own: str) -> str | None:
    """One of `names`, no longer among them: `own` where it is there; None where there is none left."""
    name = own if own in names else next(iter(names), None)
    if name is not None:
        names.remove(name)
    return name


def known_bytes(row: Mapping[str, Any], kept: Path) -> set[str]:
    """The bytes of the photo of a confirmation, where its file is not known: those recorded, and those of a copy, if any."""
    if is_linked(kept):
        return {row[BYTES]} if is_replaced(row, kept) else set()
    return {value for value in (row.get(BYTES, ""), bytes_of(kept)) if value}


def is_replaced(row: Mapping[str, Any], path: Path) -> bool:
    """Whether the file at PATH has other bytes than the photo that was confirmed: what was confirmed is not about it."""
    return bool(row.get(BYTES)) and bytes_of(path) not in ("", row[BYTES])


def is_linked(kept: Path) -> bool:
    """Whether the data set has a link to a photo that is still there."""
    return kept.is_symlink() and kept.exists()


def bytes_of(path: Path) -> str:
    """The fingerprint of a file's bytes; empty where it cannot be read."""
    try:
        return of_file(path)
    except OSError:
        return ""


def unusable(places: Mapping[str, Path]) -> dict[str, str]:
    """The names of photos that no data set takes, and why; `places` are the files of the confirmed ones, by their names.

    None of these is confirmed any more, but earlier versions did, and a file may be damaged afterwards.
    """
    first, found = dict[str, str](), dict[str, str]()
    for name, path in places.items():
        if why := damage(path):
            found[name] = why
        elif (own := first.setdefault(same_name(name), name)) != name:
            found[name] = f"{own} has the same letters"
    return found


def damage(path: Path) -> str:
    """What is wrong with the file of a photo; empty for a whole one."""
    try:
        return "the file ends early" if is_cut_off(path) else ""
    except DataError as error:
        return str(error).removeprefix(f"{path.name}: ")


def refuse_unknown(confirmed: Mapping[str, Any], images: Path, log: Path) -> None:
    """Raises ValueError where the data set holds photos that the log does not know: their boxes would be lost, or others'."""
    there = sorted(path.relative_to(images).as_posix() for path in images.rglob("*") if path.is_symlink() or path.is_file())
    unknown = [name for name in there if name not in confirmed and not is_hidden(Path(name).name)]
    if unknown:
        holds = f"{images.parent}: holds {counted(len(unknown), 'photo')} that {log} does not know, the first is {unknown[0]}"
        raise ValueError(f"{holds}; move the folder away too, or pass another --out")

"""One numbering of photos and of categories over all files of a data set, where each file may have its own."""

from photos.findings import Note, Problem
from photos.formats.source import Source

Names = dict[int, str]


def photo_ids(sources: list[Source]) -> tuple[list[dict[int, int]], list[Note]]:
    """For each source its ids of photos -> those of the data set; all numbered anew from 1 where two files use the same."""
    own = [[image["id"] for image in source.lists["images"]] for source in sources]
    if len({number for ids in own for number in ids}) == sum(map(len, own)):
        return [{number: number for number in ids} for ids in own], []
    what = "photos numbered anew from 1, since files use the same ids"
    maps, notes, new = [], [], 0
    for source, ids in zip(sources, own, strict=True):
        maps.append({number: new + k for k, number in enumerate(ids, 1)})
        notes += [Note(f"{number} of {source.name} is {new + k}", what) for k, number in enumerate(ids, 1)]
        new += len(ids)
    return maps, notes


def category_ids(sources: list[Source]) -> tuple[Names, list[dict[int, int]], list[Note]]:
    """The names of the data set by id, for each source its ids -> those, and what was merged, or has the name of another.

    Where one id has two names the names count: a name keeps the id of the first file that has it, if that id is free.
    """
    own = [{category["id"]: category["name"] for category in source.lists["categories"]} for source in sources]
    joint: Names = {}
    for names in own:
        joint |= {number: name for number, name in names.items() if number not in joint}
    if all(joint[number] == name for names in own for number, name in names.items()):
        notes = [
            Note(f"{number} {joint[number]!r} not in {source.name}", "categories that not every file lists, taken together")
            for source, names in zip(sources, own, strict=True)
            for number in sorted(joint.keys() - names.keys())
        ]
        return joint, [{number: number for number in names} for names in own], notes + _equal_names(joint)
    return _by_name(sources, own)


def _equal_names(names: Names) -> list[Note]:
    """The categories that have the name of an earlier one; without a name none is meant."""
    first: dict[str, int] = {}
    for number in sorted(names):
        first.setdefault(names[number], number)
    later = [(number, name) for number, name in sorted(names.items()) if name and first[name] != number]
    what = "categories of the same name as another, kept apart by their ids"
    return [Note(f"{number} {name!r} as {first[name]}", what, repaired=False) for number, name in later]


def _by_name(sources: list[Source], own: list[Names]) -> tuple[Names, list[dict[int, int]], list[Note]]:
    numbers: dict[str, int] = {}
    maps, notes = [], []
    for source, names in zip(sources, own, strict=True):
        for number, name in names.items():
            if name not in numbers:
                taken = set(numbers.values())
                numbers[name] = number if number not in taken else max(taken) + 1
        maps.append({number: numbers[name] for number, name in names.items()})
        what = "categories whose ids differ between files, merged by name"
        notes += [Note(f"{old} {names[old]!r} of {source.name} is {new}", what) for old, new in maps[-1].items() if old != new]
    return {number: name for name, number in numbers.items()}, maps, notes


def ambiguous_names(sources: list[Source]) -> list[Problem]:
    """Names that one file gives to two ids, where ids differ between files, so that only names could tell which is which."""
    own = [{category["id"]: category["name"] for category in source.lists["categories"]} for source in sources]
    if all(other.get(number, name) == name for names in own for other in own for number, name in names.items()):
        return []
    problems = []
    for source, names in zip(sources, own, strict=True):
        repeated = sorted({name for name in names.values() if list(names.values()).count(name) > 1})
        wrong = "several categories have this name, and ids differ between the files; make the ids agree, or the names unique"
        problems += [Problem(source.name, repr(name), wrong) for name in repeated]
    return problems

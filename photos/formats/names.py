"""Names that a format can hold: of photos in one flat folder, and of products where the name is all that tells them apart."""

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath


def flat_names(names: Iterable[str]) -> dict[str, str]:
    """For each photo's name one without folders; no two have the same stem, in any case, as label files are named by it.

    >>> flat_names(["a/1.jpg", "b/1.jpg", "b/2.jpg", "2.png", "c/3.jpg"])
    {'a/1.jpg': 'a__1.jpg', 'b/1.jpg': 'b__1.jpg', 'b/2.jpg': 'b__2.jpg', '2.png': '2.png', 'c/3.jpg': '3.jpg'}
    """
    names = list(names)
    times = Counter(_key(PurePosixPath(name).stem) for name in names)
    taken: set[str] = set()
    flat = {}
    for name in sorted(names, key=lambda name: (name.count("/"), name)):
        path = PurePosixPath(name)
        alone = times[_key(path.stem)] == 1
        new = path.name if alone else "__".join(part for part in path.parts if part not in ("/", ".."))
        number = 2
        while _key(PurePosixPath(new).stem) in taken:
            new = f"{number}_{path.name}"
            number += 1
        taken.add(_key(PurePosixPath(new).stem))
        flat[name] = new
    return {name: flat[name] for name in names}


def told_apart(products: Sequence[tuple[int, str]]) -> tuple[list[str], list[str]]:
    """A name for each product (id, name), none empty and no two the same; and lines that say how many had to change.

    >>> told_apart([(1, "te"), (2, " te"), (3, "")])[0]
    ['te', 'te (2)', 'product 3']
    """
    taken = Counter(_key(name) for _, name in products)
    new, seen = [], set()
    for product_id, name in products:
        unique = name.strip() or f"product {product_id}"
        while _key(unique) in seen or (unique != name.strip() and _key(unique) in taken):
            unique = f"{unique} ({product_id})"
        seen.add(_key(unique))
        new.append(unique)
    changed = [(i, old, name) for (i, old), name in zip(products, new, strict=True) if old != name]
    if not changed:
        return new, []
    i, old, name = changed[0]
    return new, [f"{len(changed)} products get another name, to be told apart (the first is {i}: {old!r}, now {name!r})"]


def _key(name: str) -> str:
    """One form for names that some system takes for the same."""
    return unicodedata.normalize("NFC", name).strip().casefold()

"""Under which names models were trained, so that an id that means another product now is noticed.

A training of names leaves them in OUT/run.json. What a model says of an id stays the product that it was trained with, also
where the labels are exported again and number the products in another order: that is refused. One that is only called otherwise
is told.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fusion.models import read_object
from photos import fingerprint
from photos.data import Category, Dataset, product_key
from photos.folds import Folds
from runs.counted import counted, named

KEY = "names"  # in run.json
Names = Mapping[int, str]


def noted(categories: Sequence[Category] | None) -> dict[str, dict[str, str]]:
    """What run.json notes of a model that knows `categories`; nothing of one that finds products of one class."""
    return {} if categories is None else {KEY: {str(category.id): category.name for category in categories}}


def trained_under(folder: Path) -> Names:
    """The names that the model in a run folder was trained under, by id; none where that is not noted."""
    path = folder / "run.json"
    names = read_object(path).get(KEY, {}) if path.is_file() else {}
    return {int(number): name for number, name in names.items()}


def exchanged(then: Names, now: Names) -> dict[int, int]:
    """The ids that mean another product `now`: each with the id that this product had `then`, and has no more.

    >>> exchanged({1: "tea", 2: "milk", 3: "rye"}, {1: "milk", 2: "oats", 3: "Rye "}), exchanged({1: "tea"}, {1: "tee"})
    ({1: 2}, {})
    >>> exchanged({1: "tea", 2: "tee"}, {1: "tea", 2: "tea"})  # two names of one product became one
    {}
    >>> exchanged({1: "tea", 2: "tea"}, {1: "tea", 2: "milk"})  # one name of two ids became two
    {}
    """
    keys_then, keys_now = ({number: product_key(name) for number, name in names.items()} for names in (then, now))
    left = {key: number for number, key in keys_then.items() if key and keys_now.get(number) != key}
    return {number: left[key] for number, key in keys_now.items() if key in left and keys_then.get(number, key) != key}


def renamed(then: Names, now: Names) -> list[str]:
    """The products that are called otherwise `now`, each as a text; other spellings of `product_key` are the same.

    >>> renamed({1: "tea", 2: "milk"}, {1: "green tea", 2: "Milk"})
    ["'tea', now 'green tea'"]
    """
    both = [(name, now[number]) for number, name in then.items() if number in now]
    return [f"{old!r}, now {new!r}" for old, new in both if product_key(old) != product_key(new)]


def refuse_exchanged(folders: Iterable[Path], dataset: Dataset) -> None:
    """Raises ValueError where a model in one of the `folders` was trained under other ids of the products of `dataset`."""
    now = {category.id: category.name for category in dataset.categories}
    for folder in folders:
        then = trained_under(folder)
        if moved := exchanged(then, now):
            number, before = next(iter(moved.items()))
            raise ValueError(
                f"category {number}: got {now[number]!r} in {dataset.root}, but {folder} was trained with {then[number]!r} "
                f"under this id, and {now[number]!r} under {before} ({counted(len(moved), 'id')} like this): it would call "
                "products by each other's names; give them the ids of then, or train it again"
            )


def changes(folders: Iterable[Path], parts: Folds) -> list[str]:
    """What is called otherwise than when the models in the `folders` were trained, in words; and where that is not known,
    because a model of an earlier version notes no names, and the names or boxes of its train photos are others.
    """
    now = {category.id: category.name for category in parts.dataset.categories}
    otherwise: dict[tuple[str, ...], list[str]] = {}  # the folders of the models that were trained under the same other names
    unknown = []
    for folder in folders:
        then = trained_under(folder)
        if other := renamed(then, now):
            otherwise.setdefault(tuple(other), []).append(str(folder))
        elif not then and is_of_other_names(folder, parts):
            unknown.append(
                f"{folder} notes no names, and names or boxes of its train photos changed since: where ids mean other products "
                "now, it calls them by wrong names; train it again, unless you know better"
            )
    return [_in_words(names, trained) for names, trained in otherwise.items()] + unknown


def _in_words(names: Sequence[str], trained: Sequence[str]) -> str:
    """Which products are called otherwise than when the models in some folders were trained."""
    are, were = ("is" if len(names) == 1 else "are", "was" if len(trained) == 1 else "were")
    products = f"{counted(len(names), 'product')} {are} called otherwise than when {' and '.join(trained)} {were} trained"
    return f"{products}: {named(names)}"


def is_of_other_names(folder: Path, parts: Folds) -> bool:
    """Whether a training in FOLDER was on the train photos of `parts`, but with other names or boxes, by its run.json."""
    path = folder / "run.json"
    settings = read_object(path).get("settings", {}) if path.is_file() else {}
    if "train names" not in settings:
        return False
    made = fingerprint.of_photos(parts.photos("train"), parts.dataset.categories)
    return bool(settings.get("train photos") == made["photos"] and settings["train names"] != made["names"])

"""The products of a drawn shop: families of look-alikes with made-up names, and their frequencies."""

from dataclasses import dataclass

import numpy as np

from stage1_detector.synthesis.pack import BANDS, FONTS, ICONS, PATTERNS, SHAPES, Colour, Family, Product


@dataclass(frozen=True)
class Catalogue:
    """All C products (index = category id) and how often each occurs."""

    products: tuple[Product, ...]
    weights: tuple[float, ...]  # (C,) > 0, sum 1


BRANDS = (
    "Fjell", "Nordlys", "Solvik", "Bekken", "Tind", "Myra", "Havn", "Lykke", "Vidda", "Skogly", "Aasen", "Fonna",
    "Brisen", "Elva", "Bjork", "Lien", "Haugen", "Varde", "Sjo", "Dal", "Kveik", "Rimfrost", "Eng", "Stabbur",
)  # fmt: skip
GOODS = {  # goods: (pack shapes, eight tastes, weight)
    "Kaffe": (("pouch", "jar", "carton"), "mork lys medium hel espresso filter ekstra mild", "250 g"),
    "Te": (("carton",), "gronn svart sitron kamille ingefar mynte bringebar kveld", "40 g"),
    "Knekkebrod": (("carton", "pouch"), "rug havre sesam tynn urter grov salt fiber", "520 g"),
    "Musli": (("carton", "pouch"), "natur frukt nott eple bar honning kakao protein", "450 g"),
    "Juice": (("bottle", "carton"), "eple appelsin mango tropisk druer paere ananas tomat", "1 l"),
    "Syltetoy": (("jar",), "jordbar bringebar blabar plomme aprikos tyttebar solbar rips", "400 g"),
    "Suppe": (("can", "pouch"), "tomat brokkoli lauk sopp gulrot fisk kylling linse", "300 g"),
    "Chips": (("pouch", "can"), "salt paprika lok ost pepper chili dill bacon", "180 g"),
    "Saus": (("bottle", "jar"), "tomat hvitlok chili basilikum bbq karri sennep ost", "350 ml"),
    "Kjeks": (("carton", "pouch"), "vanilje sjoko havre kanel sitron kokos nott smor", "200 g"),
    "Brus": (("can", "bottle"), "cola sitron paere eple appelsin cherry lime null", "0,5 l"),
    "Bonner": (("can",), "hvite sorte rode kikert mais erter linser brune", "380 g"),
}
ACCENTS: tuple[Colour, ...] = (
    (214, 30, 38), (242, 128, 20), (250, 208, 30), (60, 150, 40), (20, 150, 160), (30, 70, 180), (120, 50, 150),
    (236, 100, 160), (110, 62, 30), (30, 30, 36), (150, 205, 70), (130, 190, 235),
)  # fmt: skip
BASES: tuple[Colour, ...] = (
    (240, 236, 224), (180, 24, 36), (28, 60, 120), (30, 96, 60), (238, 196, 60), (70, 40, 30), (236, 240, 244),
    (120, 170, 60), (90, 40, 100), (225, 110, 40), (40, 44, 52), (200, 175, 140),
)  # fmt: skip


def make_catalogue(categories: int, families: int, tail: float, rng: np.random.Generator) -> Catalogue:
    """A shop of `categories` products; the frequency of rank r falls as exp(-r / (tail * categories)).

    ValueError if `families` is more than there are names for, or does not fit `categories` at 1 to 8 members each.
    """
    most = len(BRANDS) * len(GOODS)
    if not 1 <= families <= most or not families <= categories <= 8 * families:
        raise ValueError(f"families: got {families} for {categories} categories, allowed 1 to {most} of 1 to 8 members each")
    kinds = rng.choice(most, families, replace=False)  # (F,) brand and goods of each family
    members = [m for k, n in zip(kinds, _sizes(categories, families, rng), strict=True) for m in _members(int(k), n, rng)]
    order = rng.permutation(categories)  # (C,) frequency ranks
    weights = np.exp(-order / (tail * categories))
    return Catalogue(tuple(members), tuple((weights / weights.sum()).tolist()))


def _sizes(categories: int, families: int, rng: np.random.Generator) -> list[int]:
    """How many members each family has: 1 to 8 each, `categories` in all."""
    sizes = np.full(families, categories // families)
    sizes[: categories % families] += 1
    for _ in range(families):
        giver, taker = rng.integers(families, size=2)
        if sizes[giver] > 2 and sizes[taker] < 8:
            sizes[[giver, taker]] += (-1, 1) if giver != taker else (0, 0)
    return sizes.tolist()


def _members(kind: int, count: int, rng: np.random.Generator) -> list[Product]:
    """`count` members of one family: no two share a word or a colour; their icons differ where the family's icon varies."""
    family = _family(kind, rng)
    words = rng.permutation(GOODS[family.goods][1].split())[:count].tolist()
    far = [a for a in ACCENTS if np.abs(np.subtract(a, family.base)).sum() > 110]
    accents = [far[i] for i in rng.permutation(len(far))[:count]]
    icons = [str(i) for i in rng.permutation(list(ICONS))]
    codes = 70 * 10**11 + kind * 10**6 + rng.choice(10**6, count, replace=False)  # (count,) 13 digits
    return [_member(family, str(codes[i]), words[i], accents[i], icons[i * family.icon_varies]) for i in range(count)]


def _member(family: Family, code: str, word: str, accent: Colour, icon: str) -> Product:
    weight = GOODS[family.goods][2]
    name = f"{family.brand} {family.goods} {word} {weight}"
    return Product(name, code, family, word, accent, icon, note=f"{family.goods} {weight}")


def _family(kind: int, rng: np.random.Generator) -> Family:
    goods = list(GOODS)[kind % len(GOODS)]
    shape = str(rng.choice(GOODS[goods][0]))
    base, second, old_second = rng.choice(len(BASES), 3, replace=False)
    band, old_band, changed = str(rng.choice(BANDS)), str(rng.choice(BANDS)), rng.random() < 0.5
    return Family(
        brand=BRANDS[kind // len(GOODS)], goods=goods, shape=shape,
        aspect=float(np.exp(rng.uniform(*np.log(SHAPES[shape].aspect)))), size=float(rng.uniform(0.85, 1.2)),
        base=BASES[base], second=BASES[second], pattern=str(rng.choice(PATTERNS)), band=band,
        icon_varies=bool(rng.random() < 0.5), font=int(rng.choice(FONTS)),
        old_band=old_band if changed else band, old_second=BASES[old_second if changed else second],
    )  # fmt: skip

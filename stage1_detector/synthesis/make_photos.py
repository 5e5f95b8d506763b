"""Make shelf photos with boxes and names: of a drawn shop, of studio photos, or of real photos whose facings are swapped.

    python -m stage1_detector.synthesis --out DIR [--recipe demo|contest] [--count N] [--seed 0]
    python -m stage1_detector.synthesis --out DIR --studio DIR [--backgrounds DIR | --data D [--runs R]] --count N [--size 1280]
    python -m stage1_detector.synthesis --out DIR --paste --data D [--runs R] --count N

The first is a data set in the contest's layout, with studio photos and the scene of each photo; the others are for
`stage1_detector.train --synthetic`, and of D only train photos are used.

DIR gets annotations.json, images/, NM_NGD_product_images/, scenes.csv, and world.json, which says what was asked for: the same
again reuses DIR, a stopped run goes on, another wish is refused. A photo depends on (seed, scene, shot) alone.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from photos.data import Photo, read
from photos.folds import told_apart, train_photos
from photos.studio import STUDIO
from runs.command import Parser, run, say
from runs.record import write_json
from stage1_detector.synthesis import coco_writer, studio_shelves
from stage1_detector.synthesis.camera import photograph
from stage1_detector.synthesis.cutouts import Backs, Studio, cut_all, sources
from stage1_detector.synthesis.layout import Look
from stage1_detector.synthesis.pack import Image, Product, draw_pack, old_print
from stage1_detector.synthesis.paste import Pasted
from stage1_detector.synthesis.shelf import ShelfConfig, arrange, paint
from stage1_detector.synthesis.world import World, make_world

VERSION = 1  # of the drawing: raise it when the same seed no longer gives the same photos
VIEWS = ("main", "front", "left", "right")
FORMS = 8  # chosen: forms of photos, width x height, that a composed set copies
TOLD = 20  # chosen: photos, or products, from one line of progress to the next
STUDIO_SIDE = 400  # chosen: pixels of a studio photo
WORLD, PLAN, SCENE, SHOT = range(4)  # the second number of every seed: what is drawn by chance
RECIPES = {
    # About 25 s of one core; for rehearsing the whole road on 2 cores.
    "demo": ShelfConfig(count=120, categories=60, families=12, tail=0.35, sizes=((640, 480), (480, 640), (640, 640)),
                        rows=(4, 6), side=0.09, stock=(0.4, 0.95)),
    # As dense, as many names and as long a tail as the contest's photos; about 2 s of one core a photo.
    "contest": ShelfConfig(count=248, categories=356, families=72, tail=0.175, sizes=((1600, 1200), (1200, 1600)),
                           rows=(6, 16), side=0.06, stock=(0.1, 0.7)),
}  # fmt: skip


class Task(NamedTuple):
    """One scene to draw: the numbers of its photos in the order of its shots."""

    out: Path
    config: ShelfConfig
    seed: int
    scene: int
    numbers: tuple[int, ...]


def recipe(name: str, count: int | None = None) -> ShelfConfig:
    """The recipe called `name`, with `count` photos if given. Raises ValueError for an unknown name or a count below 1."""
    if name not in RECIPES:
        raise ValueError(f"--recipe: got {name!r}, allowed: {', '.join(RECIPES)}")
    if count is not None and count < 1:
        raise ValueError(f"--count: got {count}, need at least 1 photo")
    return RECIPES[name] if count is None else replace(RECIPES[name], count=count)


def draw(config: ShelfConfig, out: Path, seed: int = 0, workers: int = 2, tell: Callable[[str], object] = str) -> bool:
    """Draw the data set into `out`; False if it is there already. `tell` hears of progress (default: nobody).

    Raises ValueError if `out` is a file, holds other things, or holds a data set of another config, seed or version.
    """
    if seed < 0:
        raise ValueError(f"--seed: got {seed}, need 0 or more")
    if not coco_writer.claim(out, {"version": VERSION, "seed": seed, **asdict(config)}, [STUDIO]):
        return False
    products = world(config, seed).products
    tasks = [Task(out, config, seed, scene, numbers) for scene, numbers in enumerate(plan(config, seed))]
    with coco_writer.mapper(workers) as mapper:
        for i, _ in enumerate(mapper(_draw_studio, [(out / STUDIO / p.code, p) for p in products]), 1):
            if i % TOLD == 0 or i == len(products):
                tell(f"studio photos of {i} of {len(products)} products")
        done = 0
        for task, _ in zip(tasks, mapper(_draw_scene, tasks), strict=True):
            done += len(task.numbers)
            if done // TOLD > (done - len(task.numbers)) // TOLD:
                tell(f"{done} of {config.count} photos")
    _write_lists(out, products, tasks)
    return True


@lru_cache(maxsize=2)
def world(config: ShelfConfig, seed: int) -> World:
    """The shop that `draw` draws: product i is category i."""
    return make_world(config.categories, config.families, config.tail, np.random.default_rng((seed, WORLD)))


def plan(config: ShelfConfig, seed: int) -> list[tuple[int, ...]]:
    """The photos of each scene, numbered from 1 in an order that does not tell the scenes."""
    rng = np.random.default_rng((seed, PLAN))
    numbers, scenes = (rng.permutation(config.count) + 1).tolist(), []
    while numbers:
        shots = 1 + rng.choice(len(config.shots), p=np.array(config.shots) / sum(config.shots))
        scenes.append(tuple(numbers[:shots]))
        del numbers[:shots]
    return scenes


def _draw_scene(task: Task) -> None:
    """Draw those photos of a scene that are not on disk; for each, drawn/NAME.json says that it is whole and what is on it."""
    todo = [(shot, n) for shot, n in enumerate(task.numbers) if not coco_writer.is_whole(task.out, n)]
    if not todo:
        return
    shop, rng = world(task.config, task.seed), np.random.default_rng((task.seed, SCENE, task.scene))
    scene = arrange(task.config, shop, rng)
    painting = paint(scene, shop, rng)
    for shot, number in todo:
        rng = np.random.default_rng((task.seed, SHOT, task.scene, shot))
        photo = photograph(task.config, scene, painting, rng)
        coco_writer.add(task.out, number, photo, int(rng.integers(*task.config.jpeg)))


def _draw_studio(job: tuple[Path, Product]) -> None:
    """The studio photos of one product that are not on disk."""
    folder, product = job
    folder.mkdir(exist_ok=True)
    for view in VIEWS:
        if not (folder / f"{view}.jpg").is_file():
            coco_writer.write_jpeg(folder / f"{view}.jpg", studio(product, view), 95)


def studio(product: Product, view: str) -> Image:
    """A studio photo (STUDIO_SIDE, STUDIO_SIDE, 3): on white in even light; `main` straight, `front` from a little aside."""
    side, away = STUDIO_SIDE, 0.06 if view == "front" else 0.0
    tall = round(0.9 * side / max(1, product.family.aspect))
    pack = draw_pack(old_print(product), tall, "front" if view == "main" else view)  # (h, w, 4)
    height, width = pack.shape[:2]
    bare = 255 - pack[..., 3:].astype(np.uint16)  # (h, w, 1)
    pack = ((pack[..., :3] * (255 - bare) + 255 * bare) // 255).astype(np.uint8)  # (h, w, 3)
    ends = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)  # (4, 2)
    shown = ends * (1 - 2 * away, 1) + np.array([(0, 0), (0, away * height), (0, -away * height), (0, 0)])  # (4, 2)
    shown += np.array([(side - width) / 2, (side - height) / 2])
    matrix = cv2.getPerspectiveTransform(ends, shown.astype(np.float32))
    return cv2.warpPerspective(pack, matrix, (side, side), borderValue=(255, 255, 255))


def _write_lists(out: Path, products: tuple[Product, ...], tasks: list[Task]) -> None:
    """Write scenes.csv, the studio's metadata.json and, last, annotations.json; its presence says that all is done."""
    scenes = sorted((number, task.scene) for task in tasks for number in task.numbers)
    (out / "scenes.csv").write_text("file_name,scene\n" + "".join(f"{coco_writer.name(n)}.jpg,{s}\n" for n, s in scenes))
    numbers = [number for number, _ in scenes]
    counts = Counter(coco_writer.labels(out, numbers))
    write_json(out / STUDIO / "metadata.json", [_metadata(p, counts[i]) for i, p in enumerate(products)])
    coco_writer.close(out, numbers, [{"id": i, "name": p.name, "supercategory": "product"} for i, p in enumerate(products)])


def _metadata(product: Product, count: int) -> dict[str, Any]:
    return {"product_code": product.code, "product_name": product.name, "annotation_count": count, "corrected_count": 0,
            "has_images": True, "image_types": list(VIEWS)}  # fmt: skip


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="folder to draw into")
    p.add_argument("--recipe", default="demo", help=f"a drawn shop: one of {', '.join(RECIPES)}")
    p.add_argument("--studio", type=Path, help="compose shelves of these studio photos, FOLDER/PRODUCT/*.jpg")
    p.add_argument("--paste", action="store_true", help="swap facings between the train photos of --data")
    p.add_argument("--data", type=Path, help="data set whose photos and names are taken")
    p.add_argument("--runs", type=Path, help="run folder whose folds.json says which photos are to train on")
    p.add_argument("--backgrounds", type=Path, help="folder of photos with no product on them")
    p.add_argument("--size", type=int, default=1280, help="long side of composed photos, pixels")
    p.add_argument("--count", type=int, help="photos, instead of the recipe's number")
    p.add_argument("--seed", type=int, default=0)
    return p


def main(argv: list[str] | None = None, prog: str = "python -m stage1_detector.synthesis") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and draw. Raises ValueError for what the user can mend."""
    args = parser(prog).parse_args(argv)
    if args.studio is None and not args.paste:
        lost = [name for name in ("data", "runs", "backgrounds") if getattr(args, name) is not None]
        if lost:
            raise ValueError(f"--{lost[0]}: got {getattr(args, lost[0])}, which goes with --studio or --paste")
        drawn = draw(recipe(args.recipe, args.count), args.out, args.seed, tell=say)
    else:
        names = [field.name for field in fields(Composition)]
        drawn = compose(Composition(**{name: getattr(args, name) for name in names}))
    say(f"drew {args.out}" if drawn else f"reuses {args.out}")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """A set of composed or pasted photos that is asked for; each field is a flag of the command."""

    out: Path
    studio: Path | None = None
    paste: bool = False
    data: Path | None = None
    runs: Path | None = None
    backgrounds: Path | None = None
    size: int = 1280
    count: int | None = None
    seed: int = 0


def compose(request: Composition) -> bool:
    """Compose or swap as asked; False if it is there already. Raises ValueError for what the user can mend."""
    for flag, got, lowest, highest in (
        ("--count", request.count or 0, 1, 10**6),
        ("--size", request.size, 64, 8192),
        ("--seed", request.seed, 0, 2**32),
    ):
        if not lowest <= got <= highest:
            raise ValueError(f"{flag}: got {got}, allowed {lowest} to {highest}")
    if request.paste and request.studio is not None:
        raise ValueError("--paste: got --studio too; they make two data sets, give one")
    if request.backgrounds is not None and (request.data is not None or request.paste):
        raise ValueError("--backgrounds: got --data too, whose photos are the backgrounds; give one")
    return paste(request) if request.paste else compose_studio(request)


def paste(request: Composition) -> bool:
    """Swap facings between the train photos of a data set; False if that is there already."""
    if request.data is None:
        raise ValueError("--paste: needs --data, the photos to swap facings between")
    dealt = told_apart(train_photos(request.data, request.runs))
    source, categories = Pasted(request.data, request.runs, dealt), categories_of(request.data)
    return studio_shelves.draw(source, Look(), categories, request.count, request.out, request.seed, tell=say)


def compose_studio(request: Composition) -> bool:
    """Compose shelves of studio photos; False if they are there already."""
    photos = () if request.data is None else train_photos(request.data, request.runs)
    backs = Backs(request.backgrounds, request.data, request.runs, told_apart(photos) if photos else "")
    sources(backs)
    cutouts = request.out.with_name(request.out.name + ".cutouts")
    products = cut_all(request.studio, cutouts, 2, say)
    categories, labels = named(products, categories_of(request.data) if request.data is not None else [], say)
    source, look = Studio(cutouts, labels, backs), look_like(photos, request.size)
    return studio_shelves.draw(source, look, categories, request.count, request.out, request.seed, tell=say)


def categories_of(data: Path) -> list[dict[str, Any]]:
    """The categories of a data set as its JSON has them."""
    return [{"id": category.id, "name": category.name, "supercategory": "product"} for category in read(data).categories]


def named(
    products: dict[str, str], known: list[dict[str, Any]], tell: Callable[[str], object] = str
) -> tuple[list[dict[str, Any]], tuple[tuple[str, int], ...]]:
    """Categories, and which of them each product's folder is: those of `known` where most products have the name of one.

    The others are then left out. Else every product is a category of its own, which goes with `--classes one` only.

    >>> named({"70": "Tea", "71": "Rye"}, [{"id": 4, "name": "tea"}])[1], named({"70": "Tea", "71": "Rye"}, [])[1]
    ((('70', 4),), (('70', 0), ('71', 1)))
    """
    ids = {category["name"].strip().casefold(): category["id"] for category in known}
    plain = {folder: name.strip().casefold() for folder, name in products.items()}
    labels = tuple((folder, ids[name]) for folder, name in plain.items() if name in ids)
    if known:
        rest = "the others are left out" if 2 * len(labels) >= len(products) else "too few: good for --classes one only"
        tell(f"{len(labels)} of {len(products)} products have the name of a category; {rest}")
    if labels and 2 * len(labels) >= len(products):
        return known, labels
    own = [{"id": i, "name": name, "supercategory": "product"} for i, name in enumerate(products.values())]
    return own, tuple((folder, i) for i, folder in enumerate(products))


def look_like(photos: tuple[Photo, ...], size: int) -> Look:
    """A look with photos of `size` pixels on the long side and, where `photos` have boxes, of their forms and as dense."""
    if not any(len(photo.boxes) for photo in photos):
        return Look(sizes=((size, round(0.75 * size)), (round(0.75 * size), size)))
    forms = [form for form, _ in Counter((photo.width, photo.height) for photo in photos).most_common(FORMS)]
    sizes = tuple((round(w * size / max(w, h)), round(h * size / max(w, h))) for w, h in forms)
    tall = [photo.height / np.median(photo.boxes[:, 3] - photo.boxes[:, 1]) for photo in photos if len(photo.boxes)]
    rows = np.clip(np.round(np.quantile(tall, (0.1, 0.9)) * np.mean(Look.fill)), 1, 20).astype(int)
    return Look(sizes=sizes, rows=(int(rows[0]), int(rows[1])))


if __name__ == "__main__":
    raise SystemExit(main())

"""Make shelf photos with boxes and names: of a drawn shop, of studio photos, or of real photos whose facings are swapped.

    python -m stage1_detector.synthesis --out DIR [--recipe demo|contest] [--count N] [--seed 0]
    python -m stage1_detector.synthesis --out DIR --studio DIR [--backgrounds DIR | --data D [--runs R]] --count N [--size 1280]
    python -m stage1_detector.synthesis --out DIR --paste --data D [--runs R] --count N

The first is a data set in the contest's layout, with studio photos and the scene of each photo; the others are for
`stage1_detector.train --synthetic`, and of D only train photos are used.

DIR gets annotations.json, images/, NM_NGD_product_images/, scenes.csv, and world.json, which records what was asked for: the
same command again reuses DIR, or resumes a stopped run; other settings are refused. A photo depends on (seed, scene, shot).
"""

from argparse import Namespace
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from photos.studio import STUDIO
from runs.command import Parser, note_result, run, say, say_progress
from runs.record import write_json
from stage1_detector.synthesis import coco_writer
from stage1_detector.synthesis.camera import photograph
from stage1_detector.synthesis.catalogue import Catalogue, make_catalogue
from stage1_detector.synthesis.composition import Composition, draw_from_photos
from stage1_detector.synthesis.pack import Image, Product, draw_pack, old_print
from stage1_detector.synthesis.shelf import ShelfConfig, arrange, paint

VERSION = 1  # of the drawing: raise it when the same seed no longer gives the same photos
VIEWS = ("main", "front", "left", "right")
PROGRESS_STEP = 20  # chosen: photos, or products, from one line of progress to the next
STUDIO_SIDE = 400  # chosen: pixels of a studio photo
CATALOGUE, PLAN, SCENE, SHOT = range(4)  # the second number of every seed: what the random numbers are for
RECIPES = {
    # About 25 s of one core; for trying all steps on 2 cores.
    "demo": ShelfConfig(count=120, categories=60, families=12, tail=0.35, sizes=((640, 480), (480, 640), (640, 640)),
                        rows=(4, 6), side=0.09, stock=(0.4, 0.95)),
    # As dense, as many names and as long a tail as the contest's photos; about 2 s of one core a photo.
    "contest": ShelfConfig(count=248, categories=356, families=72, tail=0.175, sizes=((1600, 1200), (1200, 1600)),
                           rows=(6, 16), side=0.06, stock=(0.1, 0.7)),
}  # fmt: skip

DEFAULT_RECIPE = "demo"
DRAWN = "a drawn shop, without --studio and --paste"
# Which sets a flag has a say in.
TAKEN_BY = {
    "recipe": (DRAWN,),
    "data": ("--studio", "--paste"),
    "runs": ("--studio", "--paste"),
    "backgrounds": ("--studio",),
    "size": ("--studio",),
}


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
    """Draw the data set into `out`; False if it is there already. `tell` is called with lines of progress.

    Raises ValueError if `out` is a file, holds other things, or holds a data set of another config, seed or version.
    """
    if seed < 0:
        raise ValueError(f"--seed: got {seed}, need 0 or more")
    if not coco_writer.begin(out, {"version": VERSION, "seed": seed, **asdict(config)}, [STUDIO]):
        return False
    products = catalogue(config, seed).products
    tasks = [Task(out, config, seed, scene, numbers) for scene, numbers in enumerate(plan(config, seed))]
    with coco_writer.parallel_map(workers) as mapper:
        for i, _ in enumerate(mapper(_draw_studio, [(out / STUDIO / p.code, p) for p in products]), 1):
            if i % PROGRESS_STEP == 0 or i == len(products):
                tell(f"studio photos of {i} of {len(products)} products")
        done = 0
        for task, _ in zip(tasks, mapper(_draw_scene, tasks), strict=True):
            done += len(task.numbers)
            if done // PROGRESS_STEP > (done - len(task.numbers)) // PROGRESS_STEP:
                tell(f"{done} of {config.count} photos")
    _write_lists(out, products, tasks)
    return True


@lru_cache(maxsize=2)
def catalogue(config: ShelfConfig, seed: int) -> Catalogue:
    """The products of the shop that `draw` draws: product i is category i."""
    return make_catalogue(config.categories, config.families, config.tail, np.random.default_rng((seed, CATALOGUE)))


def plan(config: ShelfConfig, seed: int) -> list[tuple[int, ...]]:
    """The numbers of the photos of each scene, from 1, in random order: neighbouring numbers are of different scenes."""
    rng = np.random.default_rng((seed, PLAN))
    numbers, scenes = (rng.permutation(config.count) + 1).tolist(), []
    while numbers:
        shots = 1 + rng.choice(len(config.shots), p=np.array(config.shots) / sum(config.shots))
        scenes.append(tuple(numbers[:shots]))
        del numbers[:shots]
    return scenes


def _draw_scene(task: Task) -> None:
    """Draw those photos of a scene that are not on disk yet."""
    missing = [(shot, n) for shot, n in enumerate(task.numbers) if not coco_writer.is_written(task.out, n)]
    if not missing:
        return
    products, rng = catalogue(task.config, task.seed), np.random.default_rng((task.seed, SCENE, task.scene))
    scene = arrange(task.config, products, rng)
    painting = paint(scene, products, rng)
    for shot, number in missing:
        rng = np.random.default_rng((task.seed, SHOT, task.scene, shot))
        photo = photograph(task.config, scene, painting, rng)
        coco_writer.write_photo(task.out, number, photo, int(rng.integers(*task.config.jpeg)))


def _draw_studio(job: tuple[Path, Product]) -> None:
    """Draw those studio photos of one product that are not on disk yet."""
    folder, product = job
    folder.mkdir(exist_ok=True)
    for view in VIEWS:
        if not (folder / f"{view}.jpg").is_file():
            coco_writer.write_jpeg(folder / f"{view}.jpg", studio_photo(product, view), 95)


def studio_photo(product: Product, view: str) -> Image:
    """A studio photo (STUDIO_SIDE, STUDIO_SIDE, 3), on white in even light; `main` is frontal, `front` from slightly aside."""
    side, slant = STUDIO_SIDE, 0.06 if view == "front" else 0.0
    tall = round(0.9 * side / max(1, product.family.aspect))
    pack = draw_pack(old_print(product), tall, "front" if view == "main" else view)  # (h, w, 4)
    height, width = pack.shape[:2]
    transparency = 255 - pack[..., 3:].astype(np.uint16)  # (h, w, 1)
    pack = ((pack[..., :3] * (255 - transparency) + 255 * transparency) // 255).astype(np.uint8)  # (h, w, 3)
    ends = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)  # (4, 2)
    corners = ends * (1 - 2 * slant, 1) + np.array([(0, 0), (0, slant * height), (0, -slant * height), (0, 0)])  # (4, 2)
    corners += np.array([(side - width) / 2, (side - height) / 2])
    matrix = cv2.getPerspectiveTransform(ends, corners.astype(np.float32))
    return cv2.warpPerspective(pack, matrix, (side, side), borderValue=(255, 255, 255))


def _write_lists(out: Path, products: tuple[Product, ...], tasks: list[Task]) -> None:
    """Write scenes.csv, the studio's metadata.json and, last, annotations.json, which marks the set as complete."""
    scenes = sorted((number, task.scene) for task in tasks for number in task.numbers)
    (out / "scenes.csv").write_text("file_name,scene\n" + "".join(f"{coco_writer.photo_name(n)}.jpg,{s}\n" for n, s in scenes))
    numbers = [number for number, _ in scenes]
    counts = Counter(coco_writer.labels(out, numbers))
    write_json(out / STUDIO / "metadata.json", [_metadata(p, counts[i]) for i, p in enumerate(products)])
    coco_writer.finish(out, numbers, [{"id": i, "name": p.name, "supercategory": "product"} for i, p in enumerate(products)])


def _metadata(product: Product, count: int) -> dict[str, Any]:
    return {"product_code": product.code, "product_name": product.name, "annotation_count": count, "corrected_count": 0,
            "has_images": True, "image_types": list(VIEWS)}  # fmt: skip


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="folder to draw into")
    p.add_argument("--recipe", help=f"a drawn shop: one of {', '.join(RECIPES)} [default {DEFAULT_RECIPE}]")
    p.add_argument("--studio", type=Path, help="compose shelves of these studio photos, FOLDER/PRODUCT/*.jpg")
    p.add_argument("--paste", action="store_true", help="swap facings between the train photos of --data")
    p.add_argument("--data", type=Path, help="data set whose photos and names are taken")
    p.add_argument("--runs", type=Path, help="run folder whose folds.json says which photos are to train on")
    p.add_argument("--backgrounds", type=Path, help="folder of photos with no product on them")
    p.add_argument("--size", type=int, help=f"long side of the photos of --studio, pixels [default {Composition.size}]")
    p.add_argument("--count", type=int, help="photos, instead of the recipe's number; --studio and --paste need it")
    p.add_argument("--seed", type=int, default=0, help="another one draws other photos [default 0]")
    return p


def refuse_unused(args: Namespace) -> None:
    """Raises ValueError for a flag that has no say in what is drawn, and would be ignored."""
    given = (("--studio", args.studio is not None), ("--paste", args.paste))
    kinds = [flag for flag, is_given in given if is_given] or [DRAWN]
    for name, takes in TAKEN_BY.items():
        if (value := getattr(args, name)) is not None and not set(kinds) & set(takes):
            raise ValueError(f"--{name}: got {value}, which goes with {' or '.join(takes)}")


def main(argv: list[str] | None = None, prog: str = "python -m stage1_detector.synthesis") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and draw. Raises ValueError for what the user can mend."""
    args = parser(prog).parse_args(argv)
    refuse_unused(args)
    if args.studio is None and not args.paste:
        drawn = draw(recipe(args.recipe or DEFAULT_RECIPE, args.count), args.out, args.seed, tell=say_progress)
    else:
        given = {field.name: getattr(args, field.name) for field in fields(Composition)}
        drawn = draw_from_photos(Composition(**{name: value for name, value in given.items() if value is not None}))
    say(f"drew {args.out}" if drawn else f"reuses {args.out}")
    note_result(out=args.out, reused=not drawn)


if __name__ == "__main__":
    raise SystemExit(main())

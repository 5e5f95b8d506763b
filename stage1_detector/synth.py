"""Draw a data set in the contest's layout: shelf photos with boxes and names, studio photos, and the scene of each photo.

    python -m stage1_detector.synth --out DIR [--recipe demo|contest] [--count N] [--seed 0]

DIR gets annotations.json, images/, NM_NGD_product_images/, scenes.csv, and world.json, which says what was asked for: the same
again reuses DIR, a stopped run goes on, another wish is refused. A photo depends on (seed, scene, shot) alone.
"""

import argparse
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from stage1_detector import album
from stage1_detector.camera import photograph
from stage1_detector.command import run, say
from stage1_detector.pack import Image, Product, draw_pack, old_print
from stage1_detector.record import write_json
from stage1_detector.shelf import ShelfConfig, arrange, paint
from stage1_detector.world import World, make_world

VERSION = 1  # of the drawing: raise it when the same seed no longer gives the same photos
STUDIO = "NM_NGD_product_images"
VIEWS = ("main", "front", "left", "right")
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
    if not album.claim(out, {"version": VERSION, "seed": seed, **asdict(config)}, [STUDIO]):
        return False
    products = world(config, seed).products
    tasks = [Task(out, config, seed, scene, numbers) for scene, numbers in enumerate(plan(config, seed))]
    with album.mapper(workers) as mapper:
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
    todo = [(shot, n) for shot, n in enumerate(task.numbers) if not album.is_whole(task.out, n)]
    if not todo:
        return
    shop, rng = world(task.config, task.seed), np.random.default_rng((task.seed, SCENE, task.scene))
    scene = arrange(task.config, shop, rng)
    painting = paint(scene, shop, rng)
    for shot, number in todo:
        rng = np.random.default_rng((task.seed, SHOT, task.scene, shot))
        photo = photograph(task.config, scene, painting, rng)
        album.add(task.out, number, photo, int(rng.integers(*task.config.jpeg)))


def _draw_studio(job: tuple[Path, Product]) -> None:
    """The studio photos of one product that are not on disk."""
    folder, product = job
    folder.mkdir(exist_ok=True)
    for view in VIEWS:
        if not (folder / f"{view}.jpg").is_file():
            album.write_jpeg(folder / f"{view}.jpg", studio(product, view), 95)


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
    (out / "scenes.csv").write_text("file_name,scene\n" + "".join(f"{album.name(n)}.jpg,{s}\n" for n, s in scenes))
    numbers = [number for number, _ in scenes]
    counts = Counter(album.labels(out, numbers))
    write_json(out / STUDIO / "metadata.json", [_metadata(p, counts[i]) for i, p in enumerate(products)])
    album.close(out, numbers, [{"id": i, "name": p.name, "supercategory": "product"} for i, p in enumerate(products)])


def _metadata(product: Product, count: int) -> dict[str, Any]:
    return {"product_code": product.code, "product_name": product.name, "annotation_count": count, "corrected_count": 0,
            "has_images": True, "image_types": list(VIEWS)}  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    """The command: see the module."""
    p = argparse.ArgumentParser(prog="python -m stage1_detector.synth", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True, help="folder to draw into")
    p.add_argument("--recipe", default="demo", help=f"one of {', '.join(RECIPES)}")
    p.add_argument("--count", type=int, help="photos, instead of the recipe's number")
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args(argv)
    drawn = draw(recipe(args.recipe, args.count), args.out, args.seed, tell=say)
    say(f"drew {args.out}" if drawn else f"reuses {args.out}")


if __name__ == "__main__":
    raise SystemExit(run(main, None))

"""How fast shelves are composed of studio photos, and how they look.

    python -m experiments.studies.synthetic_photos --out X [--count 60] [--rounds 3] [--record]

X/shop is a drawn shop as large as the contest's; its studio photos are cut out and composed to photos of 1280 px, as dense as
its own. They are timed with two workers, start included, and one by one in turns with the drawn shop's painter. The sheet of
24 is written to experiments/results/synth.sheet.jpg.
"""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from experiments.figures import records
from photos.data import read
from photos.studio import STUDIO
from runs.command import Parser, run, say
from stage1_detector.synthesis import camera, coco_writer, composed_dataset, composition, make_photos, shelf
from stage1_detector.synthesis.cutouts import Backgrounds, Studio, cut_all
from stage1_detector.synthesis.layout import ShelfAppearance
from stage1_detector.synthesis.pack import Image

SIZE = 1280  # taken: the issue's
SHOP = 12  # photos of the shop, to know its density by
PAIRS = 8  # photos that take turns with the drawn shop's
COLUMNS, ROWS, SIDE = 6, 4, 300  # of the sheet; pixels of a picture


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Make the shop, time the composing, record it, and write the sheet."""
    p = Parser(prog="python -m experiments.studies.synthetic_photos", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--count", type=int, default=60)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.count < COLUMNS * ROWS or args.rounds < 1:
        raise ValueError(f"--count, --rounds: got {args.count}, {args.rounds}, need at least {COLUMNS * ROWS} and 1")
    config = replace(make_photos.RECIPES["contest"], count=SHOP)
    make_photos.draw(config, args.out / "shop", tell=say)
    shop = read(args.out / "shop")
    products = cut_all(args.out / "shop" / STUDIO, args.out / "cutouts", 2, say)
    categories, labels = composition.match_categories(products, composition.categories_of(args.out / "shop"))
    source, look = Studio(args.out / "cutouts", labels, Backgrounds()), composition.appearance_of(shop.photos, SIZE)
    rates = []
    for k in range(args.rounds):
        out, started = args.out / f"composed{k}", time.perf_counter()
        if composed_dataset.draw(composed_dataset.ComposedSet(source, look, categories, args.count, k), out):
            rates.append(args.count / (time.perf_counter() - started))
    boxes = np.mean([len(photo.boxes) for photo in read(out).photos])
    ratios = turns(source, look, replace(config, sizes=look.sizes))
    if not rates:
        raise ValueError(f"--out: got {args.out}, whose photos are there already: nothing was timed; give another folder")
    photos_text = f"{args.count} photos of {SIZE} px, {boxes:.0f} boxes each, {len(products)} products"
    rows = as_records(rates, ratios, photos_text, records.command("studies.synthetic_photos", argv))
    for row in rows:
        say(f"{row['key']}: {row['value']:.3g} [{row['low']:.3g}, {row['high']:.3g}] {row['unit']}")
    if args.record:
        records.write("synth", rows)
        coco_writer.write_jpeg(records.RESULTS / "synth.sheet.jpg", sheet(out), 80)


def as_records(rates: list[float], ratios: list[float], photos_text: str, command: str) -> list[dict[str, Any]]:
    """synth.photos_per_second and synth.drawn_over_composed, the medians with the smallest and the largest."""
    rate = records.Estimate(float(np.median(rates)), len(rates), min(rates), max(rates))
    ratio = records.Estimate(float(np.median(ratios)), len(ratios), min(ratios), max(ratios))
    composed = f"{photos_text}, 2 workers, start included; median, in brackets the slowest and the fastest round"
    paired = (
        "one photo of the drawn shop's painter over one composed, in turns, one core; median, in brackets the smallest and the "
        "largest"
    )
    return [
        records.figure("synth.photos_per_second", rate, "photos/s", composed, command),
        records.figure("synth.drawn_over_composed", ratio, "ratio of times", paired, command),
    ]


def turns(source: Studio, look: ShelfAppearance, config: shelf.ShelfConfig) -> list[float]:
    """Seconds of a drawn photo over those of a composed one, PAIRS times, on one core; the first pair warms up."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    ratios = []
    for k in range(PAIRS + 1):
        rng, shop = np.random.default_rng(k), make_photos.catalogue(config, 0)
        started = time.perf_counter()
        scene = shelf.arrange(config, shop, rng)
        camera.photograph(config, scene, shelf.paint(scene, shop, rng), rng)
        between = time.perf_counter()
        source.shot(look, 0, k, rng)
        ratios.append((between - started) / (time.perf_counter() - between))
    cv2.setNumThreads(threads)
    return ratios[1:]


def sheet(data: Path) -> Image:
    """The first photos of a data set, COLUMNS x ROWS, on one white page."""
    page = np.full((ROWS * (SIDE + 6), COLUMNS * (SIDE + 6), 3), 255, np.uint8)
    for k, photo in enumerate(read(data).photos[: COLUMNS * ROWS]):
        image = cv2.cvtColor(cv2.imread(str(photo.path)), cv2.COLOR_BGR2RGB)
        scale = SIDE / max(image.shape[:2])
        small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        y, x = (k // COLUMNS) * (SIDE + 6) + 3, (k % COLUMNS) * (SIDE + 6) + 3
        y, x = y + (SIDE - small.shape[0]) // 2, x + (SIDE - small.shape[1]) // 2
        page[y : y + small.shape[0], x : x + small.shape[1]] = small
    return page


if __name__ == "__main__":
    raise SystemExit(main())

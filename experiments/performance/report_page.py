"""How long `hylle report` takes for 50 photos, how large its page is, and whether it asks any other machine for anything.

    python -m experiments.performance.report_page --runs R --out OUT [--photos 50] [--pictures docs/pictures] [--record]

R is a run folder of `hylle demo`. Its models judge so many photos of the same drawn shop, all in part test: models and gate
have seen some of them, which makes no difference to the time. The page is written twice: once with the models' outputs to
compute, once with them there, as after a fit. Figures report.seconds_N (the second), report.megabytes_N and
report.external_requests.
"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from experiments.figures import records
from experiments.performance import browser
from photos import folds
from photos.data import Dataset, read
from photos.folds import Folds, Settings
from reporting.data_set import folds_of
from reporting.report import NAME, Written, write_report
from runs.command import Parser, run, say
from stage1_detector.synthesis import make_photos

if TYPE_CHECKING:
    from playwright.sync_api import Page

WIDTHS, SCHEMES = (1280, 400), ("light", "dark")
SHOT_HEIGHT = 1200  # chosen: pixels of the page that a picture for the docs shows, from its top
COLOURS = 64  # chosen: of a picture for the docs, so that it stays under 200 kB


class Looked(NamedTuple):
    """What the browser noticed over all widths and schemes."""

    external: int
    complaints: list[str]


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Draw the photos, write the page twice, look at it, tell and record."""
    p = Parser(prog="python -m experiments.performance.report_page", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--runs", type=Path, required=True, help="run folder of hylle demo")
    p.add_argument("--out", type=Path, required=True, help="folder for the photos, a copy of the models, and the page")
    p.add_argument("--photos", type=int, default=50)
    p.add_argument("--pictures", type=Path, help="folder to save pictures of the page of R itself in")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    if args.photos < 2:
        raise ValueError(f"--photos: got {args.photos}, need 2 or more")
    browser.executable()  # before the work
    parts = prepare(args.runs, args.out, args.photos)
    first, second = (write_report(args.out, parts, args.out / NAME) for _ in range(2))
    say(f"report: with models to run {first}")
    say(f"report: with their outputs there {second}")
    looked = look(args.out / NAME, None)
    if args.pictures is not None:
        own = write_report(args.runs, folds_of(args.runs, None), args.out / "own.html")
        look(own.path, args.pictures)
    say(f"report: {looked.external} requests beyond the page; on the console: {looked.complaints or 'nothing'}")
    if args.record:
        call = records.command("performance.report_page", argv)
        rows = figures(parts, first, second, looked.external, call)
        say(f"figures: {records.write('report_page', rows)}")


def prepare(runs: Path, out: Path, count: int) -> Folds:
    """The models of RUNS in OUT, and so many drawn photos in OUT/data, all in the part test."""
    make_photos.draw(make_photos.recipe("demo", count), out / "data", tell=say)
    for path in runs.iterdir():
        if path.name in ("one", "all", "ensemble.json", "gate.json") or path.name.startswith("classifier_"):
            copy = shutil.copytree if path.is_dir() else shutil.copyfile
            if not (out / path.name).exists():
                copy(path, out / path.name)
    parts = all_in_test(read(out / "data"))
    folds.save(out / folds.NAME, parts)
    return parts


def all_in_test(dataset: Dataset) -> Folds:
    """Every photo in the part test, each a scene of its own."""
    ids = [photo.id for photo in dataset.photos]
    scenes = {number: k for k, number in enumerate(ids)}
    return Folds(Settings("data", "photo", 1, 0), dataset, dict.fromkeys(ids, "test"), scenes, dict.fromkeys(ids, 0))


def look(page: Path, pictures: Path | None) -> Looked:
    """Open the page in all widths and schemes; with `pictures` save report_WIDTH_SCHEME.png there."""
    external, complaints = 0, list[str]()
    with browser.launched() as chromium:
        for width in WIDTHS:
            for scheme in SCHEMES:
                window, noticed = browser.visit(chromium, page, width, scheme)
                external += len(noticed.external)
                complaints += noticed.complaints
                if pictures is not None:
                    pictures.mkdir(parents=True, exist_ok=True)
                    save_picture(window, pictures / f"report_{width}_{scheme}.png")
                window.close()
    return Looked(external, complaints)


def save_picture(window: "Page", path: Path) -> None:
    """The upper part of the page, with few colours."""
    from PIL import Image

    window.set_viewport_size({"width": window.evaluate("innerWidth"), "height": SHOT_HEIGHT})
    window.screenshot(path=path)
    with Image.open(path) as shot:
        few = shot.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


def figures(parts: Folds, first: Written, second: Written, external: int, call: str) -> list[dict[str, object]]:
    """The records; single values, so without intervals."""
    photos, boxes = len(parts.dataset.photos), sum(len(photo.boxes) for photo in parts.dataset.photos)
    setting = f"{photos} drawn photos, {boxes} boxes, {len(parts.dataset.categories)} products"
    seconds = f"{setting}; the models' outputs there, as after a fit ({first.seconds:.1f} s with models to run); no interval"
    measured = [
        records.Measured(f"report.seconds_{photos}", records.Estimate(second.seconds, photos), "s", seconds),
        records.Measured(
            f"report.megabytes_{photos}",
            records.Estimate(second.bytes / 1e6, photos),
            "MB",
            f"{setting}; one page, no interval",
        ),
        records.Measured(
            "report.external_requests",
            records.Estimate(external, len(WIDTHS) * len(SCHEMES)),
            "requests",
            f"{setting}; all requests beyond the file, over {len(WIDTHS) * len(SCHEMES)} visits: counted, no interval",
        ),
    ]
    return [records.figure(*row, call) for row in measured]


if __name__ == "__main__":
    raise SystemExit(main())

"""How many clicks and keys it takes to label photos on the page of `hylle review`, against drawing each box by hand.

    python -m experiments.studies.labelling_in_the_browser --model R --data D [--photos N] [--record]

R was fitted on a few photos; D holds the labels of others. A script plays the person: it opens the page in Debian's chromium,
confirms what is right and mends the rest by mouse and keyboard until the boxes of each photo are those of D (overlap 0.5 or
more, and the name). A product without a box it clicks first; where the box that appears does not fit, it deletes that and draws
one, and all of it counts. A box that is drawn costs 4 clicks, there and by hand, where each box also costs its name, typed as
on the page: the first letters that tell it, and Enter. A wrong box that the mouse cannot reach stays; the setting tells how
many boxes were confirmed, and how many of the true ones are among them.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from experiments.figures import records
from experiments.performance import browser
from experiments.performance.review_server import review_server
from fitting import ledger
from fusion.boxes import iou, xywh_to_xyxy
from fusion.models import read_object
from photos import folds
from photos.data import Dataset, Photo, read
from runs.command import Parser, run, say

SAME = 0.5  # taken: the contest's overlap
CLICKS_OF_A_BOX = 4  # taken: its corners
DRAWS = 2000  # chosen: of the bootstrap over photos
VIEWPORT = {"width": 1500, "height": 1500}  # chosen: the whole photo can be seen
POINTS = np.linspace(0.08, 0.92, 9)  # chosen: shares of a box at which the mouse looks for its topmost place
TOPMOST = """([x, y]) => { const node = document.elementFromPoint(x, y);
  return node?.tagName === "rect" ? ["x", "y"].map((key) => +node.getAttribute(key)) : null; }"""
ACTIVE = """() => { const node = document.querySelector("#confirm-view rect.selected");
  return node && ["x", "y", "width", "height"].map((key) => +node.getAttribute(key)); }"""
NAMED = "() => !document.getElementById('box-name').textContent.startsWith('looking')"
PICKS = """() => [...document.querySelectorAll("#box-names button")].map((button) => [button.querySelector("kbd").textContent,
  button.lastChild.textContent.trim().replace(/ again$/, "")]).filter(([key]) => /^[0-9]$/.test(key))"""


class Labelled(NamedTuple):
    """What a photo took: boxes of the truth, clicks and keys on the page, the same by hand, seconds of the script."""

    boxes: int
    actions: int
    by_hand: int
    seconds: float


class Person:
    """Mouse and keyboard on the page, counted: a click and a key are one action each, a box that is drawn CLICKS_OF_A_BOX."""

    def __init__(self, page: Any) -> None:
        self.page, self.actions = page, 0

    def show(self, size: Sequence[int]) -> None:
        """The photo of `size` (width, height) is on the page now."""
        self.size, self.place = size, self.page.locator("#confirm-view svg").bounding_box()

    def at(self, x: float, y: float) -> tuple[float, float]:
        """The point of the screen that shows pixel x, y of the photo, inside the photo's edges."""
        shares = [min(max(v / side, 0.001), 0.999) for v, side in zip((x, y), self.size, strict=True)]
        return self.place["x"] + shares[0] * self.place["width"], self.place["y"] + shares[1] * self.place["height"]

    def click(self, bbox: Sequence[float], button: str = "left") -> bool:
        """Click a box where it is topmost; False where no point of it is."""
        if not self.point(bbox):
            return False
        self.page.mouse.down(button=button)
        self.page.mouse.up(button=button)
        self.actions += 1
        return True

    def point(self, bbox: Sequence[float]) -> bool:
        """Move the mouse onto a box where it is topmost; False where no point of it is."""
        x, y, width, height = bbox
        for share_y in POINTS:
            for share_x in POINTS:
                point = self.at(x + share_x * width, y + share_y * height)
                if self.page.evaluate(TOPMOST, list(point)) == [x, y]:
                    self.page.mouse.move(*point)
                    return True
        return False

    def click_at(self, x: float, y: float) -> bool:
        """Click the photo where no box is; False where one is."""
        point = self.at(x, y)
        if self.page.evaluate(TOPMOST, list(point)) is not None:
            return False
        self.page.mouse.click(*point)
        self.actions += 1
        return True

    def active_box(self) -> list[float] | None:
        """The box that keys act on, x, y, width, height; None where there is none."""
        box: list[float] | None = self.page.evaluate(ACTIVE)
        return box

    def names(self) -> tuple[str, dict[str, str]]:
        """What the page says of the box that keys act on: its name, and the key of each name to pick from."""
        self.page.wait_for_function(NAMED)
        picks = {name: key for key, name in reversed(self.page.evaluate(PICKS))}
        return self.page.inner_text("#box-name").removeprefix("not counted: "), picks

    def drag(self, bbox: Sequence[float]) -> None:
        """Draw a box."""
        x, y, width, height = bbox
        self.page.mouse.move(*self.at(x, y))
        self.page.mouse.down()
        self.page.mouse.move(*self.at(x + width, y + height), steps=3)
        self.page.mouse.up()
        self.actions += CLICKS_OF_A_BOX

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            self.page.keyboard.press(key)
        self.actions += len(keys)


def keys_of(name: str, products: Sequence[str]) -> list[str]:
    """The first letters of a name by which the page finds it, and Enter.

    >>> keys_of("mustard", ["mushroom", "mustard"])
    ['m', 'u', 's', 't', 'Enter']
    """
    for length in range(1, len(name) + 1):
        start = name[:length].lower()
        if next((own for own in products if own.lower().startswith(start)), None) == name:
            return [*start, "Enter"]
    return [*name, "Enter"]


def pairs(boxes: Sequence[dict[str, Any]], photo: Photo, floor: float) -> dict[int, int]:
    """The place among `boxes` for each box of the truth that one overlaps by SAME: counted ones first, then the best."""
    offered = xywh_to_xyxy(np.array([box["bbox"] for box in boxes], np.float64).reshape(-1, 4))
    overlap = iou(photo.boxes.astype(np.float64), offered)  # (T, N)
    taken: dict[int, int] = {}
    order = sorted(range(len(boxes)), key=lambda j: (boxes[j]["score"] < floor, -boxes[j]["score"]))
    for j in order:
        free = [t for t in range(len(photo.boxes)) if t not in taken and overlap[t, j] >= SAME]
        if free:
            taken[max(free, key=lambda t: float(overlap[t, j]))] = j
    return taken


def label_photo(person: Person, shown: dict[str, Any], photo: Photo, names: list[str], products: list[str]) -> None:
    """Mend what is wrong on one photo, and confirm it; `names` (T,) are those of the truth."""
    boxes, floor = shown["boxes"], shown["floor"]
    taken = pairs(boxes, photo, floor)
    for j, box in enumerate(boxes):
        if box["score"] >= floor and j not in taken.values():
            person.click(box["bbox"], "right")
    for t, name in enumerate(names):
        box = boxes[taken[t]] if t in taken else None
        if box is None or not person.point(box["bbox"]):
            add_box(person, photo.boxes[t])
            give_name(person, name, products)
        elif box["name"] != name:
            give_name(person, name, products)
        elif box["score"] < floor:
            person.click(box["bbox"])
    person.press("Enter")


def add_box(person: Person, box: npt.NDArray[np.float32]) -> None:
    """A box for a product at `box` (4,) that has none: one click, where the page shows a box that fits; else draw it."""
    x0, y0, x1, y1 = box.tolist()
    if person.click_at((x0 + x1) / 2, (y0 + y1) / 2):
        shown = person.active_box()
        if shown is not None and iou(box[None], xywh_to_xyxy(np.array([shown], np.float32)))[0, 0] >= SAME:
            return
        if shown is not None:
            person.press("Delete")
    person.drag([x0, y0, x1 - x0, y1 - y0])


def give_name(person: Person, name: str, products: list[str]) -> None:
    """Give the box that keys act on this name, by the fewest keys; none where it has the name already."""
    shown, picks = person.names()
    if shown != name:
        person.press(*([picks[name]] if name in picks else keys_of(name, products)))


def label_all(page: Any, dataset: Dataset, base: str, total: int) -> list[Labelled]:
    """Label `total` photos in the order in which the page shows them."""
    by_name, results = {photo.name: photo for photo in dataset.photos}, list[Labelled]()
    products = [product["name"] for product in page.request.get(f"{base}/state").json()["products"]]
    person = Person(page)
    while len(results) < total:
        page.wait_for_selector("#confirm-view rect", timeout=60_000)
        name = page.inner_text("#confirm-title")
        photo, begun, before = by_name[name], time.monotonic(), person.actions
        shown = page.request.get(f"{base}/labelling/photo", params={"name": name}).json()
        names = [dataset.categories[label].name for label in photo.labels]
        page.wait_for_function("() => document.querySelector('#confirm-view img').complete")
        person.show(shown["size"])
        label_photo(person, shown, photo, names, products)
        by_hand = sum(CLICKS_OF_A_BOX + len(keys_of(own, products)) for own in names)
        results.append(Labelled(len(names), person.actions - before, by_hand, time.monotonic() - begun))
        say(f"labelling: {name}: {len(names)} boxes, {results[-1].actions} actions, {by_hand} by hand")
        page.wait_for_function(
            "old => ['', old].indexOf(document.querySelector('#confirm-title').textContent) !== 1", arg=name, timeout=60_000
        )
    return results


def rightly_confirmed(photo: Photo, confirmed: Dataset, truth: Dataset) -> int:
    """How many boxes of the truth on a confirmed photo have a box of their name that overlaps them by SAME."""
    true = next(own for own in truth.photos if own.name == photo.name)
    names = [[of.categories[label].name for label in own.labels] for of, own in ((truth, true), (confirmed, photo))]
    same = iou(true.boxes, photo.boxes) >= SAME  # (T, N)
    return sum(any(same[t, j] and other == name for j, other in enumerate(names[1])) for t, name in enumerate(names[0]))


def how_made(model: Path) -> str:
    """How a run folder was fitted, by its own records.

    >>> how_made(Path("nowhere"))
    'a model of unknown making'
    """
    plan, parts = (read_object(path) if (path := model / name).is_file() else None for name in (ledger.NAME, folds.NAME))
    if plan is None or parts is None:
        return "a model of unknown making"
    return f"a model of hylle fit --minutes {plan['minutes']:g} on {len(parts['photos'])} other labelled photos of the set"


def per_box(results: Sequence[Labelled], of: str) -> records.Estimate:
    """Actions for each box of the truth, with a 95 % interval by a bootstrap over photos."""
    sums = np.array([(getattr(result, of), result.boxes) for result in results], np.float64)  # (N, 2)
    drawn = sums[np.random.default_rng(0).integers(0, len(sums), (DRAWS, len(sums)))].sum(1)  # (DRAWS, 2)
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], (0.025, 0.975))
    return records.Estimate(float(sums[:, 0].sum() / sums[:, 1].sum()), len(results), float(low), float(high))


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Label the photos on the page, and record what it took. Raises ValueError for what the user can mend."""
    p = Parser(prog="python -m experiments.studies.labelling_in_the_browser", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--model", type=Path, required=True, help="a run folder, fitted on other photos than those of D")
    p.add_argument("--data", type=Path, required=True, help="the photos to label, with the labels that they should get")
    p.add_argument("--photos", type=int, default=20, help="how many [default 20]")
    p.add_argument("--record", action="store_true", help="write the figures to experiments/results")
    args = p.parse_args(argv)
    browser.executable()  # before the work
    dataset = read(args.data)
    if not 1 <= args.photos <= len(dataset.photos):
        raise ValueError(f"--photos: got {args.photos}, must be in [1, {len(dataset.photos)}], the photos of {args.data}")
    with tempfile.TemporaryDirectory() as out:
        words = [str(args.model), "--photos", str(args.data / "images"), "--out", out]
        with review_server(words) as base, browser.launched() as chromium:
            page = chromium.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]  # a TypedDict there
            page.goto(base)
            page.click("[data-tab=confirm]")
            results = label_all(page, dataset, base, args.photos)
        confirmed = read(Path(out) / "confirmed")
    kept = sum(len(photo.boxes) for photo in confirmed.photos)
    right = sum(rightly_confirmed(photo, confirmed, dataset) for photo in confirmed.photos)
    left = f"{kept} boxes confirmed, {right} of {sum(result.boxes for result in results)} true ones among them"
    say(f"labelling: {left}")
    setting = f"{args.data.resolve().name}, {how_made(args.model)}; {left}; a script in chromium, interval over photos"
    figures = [
        records.Measured("review.actions_per_box", per_box(results, "actions"), "clicks and keys", setting),
        records.Measured("review.actions_per_box_by_hand", per_box(results, "by_hand"), "clicks and keys", setting),
    ]
    for measured in figures:
        say(f"labelling: {measured.key} {measured.estimate}")
    say(f"labelling: {np.mean([result.seconds for result in results]):.2f} s a photo of the script, which is no person")
    if args.record:
        command = records.command("studies.labelling_in_the_browser", argv)
        rows = [records.figure(m.key, m.estimate, m.unit, m.setting, command) for m in figures]
        say(f"labelling: written to {records.write('review', rows)}")


if __name__ == "__main__":
    raise SystemExit(main())

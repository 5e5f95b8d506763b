"""How long a person waits on the page of `hylle review`: from dropping a photo until its boxes and names stand.

    python -m experiments.performance.review_page --model R --data D [--photos 20] [--record]

The page is open in Debian's chromium, the server runs on this machine, and photos of D (a data set, or a folder of photos) are
dropped one after the other. Measured in the page, from the drop until the photo is decoded and its boxes, table and planogram
are painted. The first photo, which also warms the models up, is dropped once before. Figure review.seconds_per_photo: the
median, and as its interval the 5th and 95th of 100 photos.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.figures import records
from experiments.performance import browser
from experiments.performance.review_server import review_server
from recognition.inputs import find_inputs
from runs.command import Parser, run, say

if TYPE_CHECKING:
    from playwright.sync_api import Page

VIEWPORT = {"width": 1280, "height": 1000}
SPREAD = (5, 95)  # chosen: percentiles that are told as the spread
DROP = """async ({name, data}) => {
  const bytes = Uint8Array.from(atob(data), (letter) => letter.charCodeAt(0));
  const files = new DataTransfer();
  files.items.add(new File([bytes], name));
  const result = document.getElementById("result"), before = result.dataset.photo;
  const started = performance.now();
  document.getElementById("drop").dispatchEvent(new DragEvent("drop", {dataTransfer: files, cancelable: true}));
  while (result.dataset.photo === before) {
    const message = document.getElementById("message");
    if (message.classList.contains("error") && !message.hidden) throw new Error(message.textContent);
    await new Promise(requestAnimationFrame);
  }
  await document.querySelector("#try-view img").decode();
  await new Promise(requestAnimationFrame);
  return [(performance.now() - started) / 1000, document.querySelectorAll("#try-view rect").length];
}"""


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Drop the photos, tell and record how long it takes. Raises ValueError for what the user can mend."""
    p = Parser(prog="python -m experiments.performance.review_page", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--model", required=True, help="a run folder, a submission zip, or starter")
    p.add_argument("--data", type=Path, required=True, help="photos to drop")
    p.add_argument("--photos", type=int, default=20, help="how many [default 20]")
    p.add_argument("--record", action="store_true", help="write the figure to experiments/results")
    args = p.parse_args(argv)
    photos = photos_of(args.data, args.photos)
    browser.executable()  # before the work
    with review_server([args.model]) as base, browser.launched() as chromium:
        page = chromium.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]  # a TypedDict there
        page.goto(base)
        page.wait_for_selector("body[data-ready]")
        measured = dropped(page, photos)
    row = figure(args, measured, records.command("performance.review_page", argv))
    say(f"review: {row['value']} s a photo [{row['low']}, {row['high']}], {row['setting']}")
    if args.record:
        say(f"figures: {records.write('review', [row])}")


def photos_of(data: Path, count: int) -> list[Path]:
    """The first `count` photos in DATA. Raises ValueError where there are fewer."""
    folder = data / "images" if (data / "images").is_dir() else data
    found = [item.path for item in find_inputs([str(folder)], folder / "none").items if not item.is_video]
    if not 2 <= count <= len(found):
        raise ValueError(f"--photos: got {count}, must be in [2, {len(found)}], the photos in {folder}")
    return found[:count]


def dropped(page: "Page", photos: Sequence[Path]) -> list[tuple[float, int]]:
    """Seconds and boxes of each photo; the first is dropped once before."""
    from playwright.sync_api import Error

    rows = []
    for photo in [photos[0], *photos]:
        data = base64.b64encode(photo.read_bytes()).decode()
        try:
            seconds, boxes = page.evaluate(DROP, {"name": photo.name, "data": data})
        except Error as error:
            raise ValueError(f"{photo}: {error.message.splitlines()[0]}") from None
        rows.append((float(seconds), int(boxes)))
        say(f"review: {photo.name}: {boxes} boxes in {seconds:.2f} s")
    return rows[1:]


def figure(args: Any, measured: Sequence[tuple[float, int]], call: str) -> dict[str, Any]:
    """The record: the median over photos and their spread."""
    seconds, boxes = np.array(measured, np.float64).T  # (N,), (N,)
    low, high = np.percentile(seconds, SPREAD)
    setting = (
        f"{args.data.resolve().name}, model {Path(args.model).resolve().name}, CPU, chromium on the same machine, "
        f"{boxes.mean():.0f} boxes a photo; median, and the {SPREAD[0]}th and {SPREAD[1]}th of 100 photos"
    )
    estimate = records.Estimate(float(np.median(seconds)), len(seconds), float(low), float(high))
    return records.figure("review.seconds_per_photo", estimate, "s", setting, call)


if __name__ == "__main__":
    raise SystemExit(main())

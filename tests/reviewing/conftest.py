"""A desk with constant models and a small labelled set, and a client that asks its server as a browser here does."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from constant_models import CATEGORIES
from page_in_browser import BROWSER, Served
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytest.importorskip("starlette", reason="needs the extra [review]")
NAMES = ["Müsli", "Blåbær", "Te"]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """D: two photos of 64 x 64 with a box each, one without."""
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    rng = np.random.default_rng(0)
    images = [{"id": i, "file_name": f"img_{i}.png", "width": 64, "height": 64} for i in (1, 2, 3)]
    for image in images:
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(root / "images" / str(image["file_name"]))
    boxes = [{"id": i, "image_id": i, "category_id": 7, "bbox": [8, 16, 20, 24], "area": 480, "iscrowd": 0} for i in (1, 2)]
    categories = [{"id": i, "name": name} for i, name in zip(CATEGORIES, NAMES, strict=True)]
    (root / "annotations.json").write_text(json.dumps({"images": images, "annotations": boxes, "categories": categories}))
    return root


@pytest.fixture
def named(runs: Path) -> Path:
    """R with names of products, and with proposals about D."""
    ensemble = json.loads((runs / "ensemble.json").read_text()) | {"names": NAMES, "min_scores": {"f1": 0.3}}
    (runs / "ensemble.json").write_text(json.dumps(ensemble))
    label = {"bbox": [8, 16, 20, 24], "category_id": 7}
    rows = [
        {"id": 1, "kind": "mislabelled", "image_id": 1, "file_name": "img_1.png", "annotation_id": 1, "current": label,
         "proposed": label | {"category_id": 3}, "score": 0.9, "why": "for a test", "apply": False},
        {"id": 2, "kind": "duplicate", "image_id": 2, "file_name": "img_2.png", "annotation_id": 2, "current": label,
         "proposed": None, "score": 0.6, "why": "for a test", "apply": False},
        {"id": 3, "kind": "missing", "image_id": 3, "file_name": "img_3.png", "annotation_id": None, "current": None,
         "proposed": {"bbox": [30, 30, 20, 20], "category_id": 40}, "score": 0.5, "why": "for a test", "apply": False},
    ]  # fmt: skip
    (runs / "labels").mkdir()
    (runs / "labels" / "proposals.json").write_text(json.dumps(rows))
    return runs


@pytest.fixture
def desk(named: Path, data: Path, tmp_path: Path) -> Callable[..., object]:
    """Makes a desk as `hylle review R --data D` does; flags may follow."""
    from reviewing.review import checked, desk_for, loaded, parser

    def make(*flags: str) -> object:
        args = checked(parser("hylle review").parse_args([str(named), "--data", str(data), *flags]))
        made = desk_for(args, loaded(args, tmp_path))
        if made.labelling:
            made.labelling.predict(made.recognise_file, lambda: False)
        return made

    return make


@pytest.fixture
def words(named: Path, data: Path) -> list[str]:
    """What the server is started with."""
    return [str(named), "--data", str(data)]


@pytest.fixture
def served(words: list[str], tmp_path: Path) -> Iterator[Served]:
    server = Served(words, tmp_path / "server.log")
    yield server
    with contextlib.suppress(ProcessLookupError):
        server.kill()


@pytest.fixture
def visit(served: Served) -> Iterator[Callable[[], "Page"]]:
    """Opens the page as another visitor each time; a console error or a request elsewhere fails the test at its end."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright, in [dev]")
    wrong: list[str] = []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])

        def opened() -> "Page":
            page = browser.new_context(accept_downloads=True).new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("request", lambda request: None if request.url.startswith(served.base) else wrong.append(request.url))
            page.goto(f"{served.base}/")
            page.wait_for_selector("body[data-ready]")
            return page

        yield opened
        browser.close()
    assert [text for text in wrong if not text.startswith(("data:", "blob:"))] == []

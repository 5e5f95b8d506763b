"""A page looked at by Debian's Chromium without a screen: what it asks for, what it complains of, whether it fits."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

HEIGHT = 900  # chosen: pixels of the window
PATIENCE = 120_000.0  # chosen: milliseconds before a page counts as stuck; a machine may be busy
UNSIZED = """() => [...document.images].filter((image) => !image.naturalWidth || !image.getBoundingClientRect().width
    || !image.hasAttribute('width') || !image.hasAttribute('height')).length
  + [...document.querySelectorAll('svg')].filter((svg) => !svg.getBoundingClientRect().width).length"""
NAMELESS = """() => [...document.images].filter((image) => !image.hasAttribute('alt')).length
  + [...document.querySelectorAll('svg')].filter((svg) => !svg.ariaLabel && svg.ariaHidden !== 'true').length"""


@dataclass
class Visit:
    """What was noticed: addresses asked for beyond the file itself, words on the console, pictures without size or without
    alternative text, and pixels by which the page is wider than the window.
    """

    external: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    unsized: int = 0
    nameless: int = 0
    overflow: int = 0


def executable() -> str:
    """The browser's path. Raises ValueError where there is none."""
    path = shutil.which("chromium")
    if path is None:
        raise ValueError("chromium: not installed here; make browser installs it on Debian")
    return path


@contextmanager
def launched() -> Iterator["Browser"]:
    """The browser, without a sandbox of its own, as root has none. Nothing is downloaded."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        yield browser
        browser.close()


def visit(browser: "Browser", page: Path, width: int, scheme: str) -> tuple["Page", Visit]:
    """Open the file PAGE in a window of `width` pixels, `scheme` light or dark; what goes beyond the file is refused."""
    noticed = Visit()
    own = page.resolve().as_uri()
    window = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme="dark" if scheme == "dark" else "light")

    def allow(route: "Route") -> None:
        if route.request.url.partition("#")[0] == own:
            route.continue_()
        else:
            noticed.external.append(route.request.url[:200])
            route.abort()

    window.set_default_timeout(PATIENCE)
    window.route("**/*", allow)
    window.on("console", lambda message: noticed.complaints.append(message.text))
    window.on("pageerror", lambda error: noticed.complaints.append(str(error)))
    window.goto(own)
    noticed.unsized, noticed.nameless = window.evaluate(UNSIZED), window.evaluate(NAMELESS)
    noticed.overflow = window.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return window, noticed

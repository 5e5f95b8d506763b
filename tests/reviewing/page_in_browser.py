"""A server process and Debian's chromium for tests of the page, and what a person does there with the mouse."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Page

BROWSER = shutil.which("chromium")
needs_browser = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="needs Debian's chromium: apt-get install chromium"),
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),  # of playwright's own pipes
]
ROOT = Path(__file__).resolve().parents[2]
WAIT = 90  # seconds that a server may take to begin


class Served:
    """A server process; `base` is its address."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.words, self.log, self.base = words, log, ""
        self.start()

    def start(self, port: str = "0") -> None:
        """Begin, and wait until it says where it listens."""
        with self.log.open("w") as out:
            command = [sys.executable, "-m", "hylle", "review", *self.words, "--port", port]
            self.process = subprocess.Popen(
                command, stdout=out, stderr=out, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)}
            )
        begun = time.monotonic()
        while not (found := re.search(r"open (http://\S+?)/ ", self.log.read_text())):
            assert self.process.poll() is None and time.monotonic() - begun < WAIT, self.log.read_text()
            time.sleep(0.1)
        self.base = found[1]

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def drag(page: "Page", view: str, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Drag the mouse over a picture, from and to shares of its width and height."""
    place = page.locator(f"{view} svg").bounding_box()
    points = [(place["x"] + x * place["width"], place["y"] + y * place["height"]) for x, y in (start, end)]
    page.mouse.move(*points[0])
    page.mouse.down()
    page.mouse.move(*points[1], steps=4)
    page.mouse.up()


def last(path: Path) -> dict:
    return json.loads(path.read_text().splitlines()[-1])


def seen(page: "Page", view: str) -> None:
    """Wait until a picture is there, as a person does."""
    page.wait_for_function(
        f"() => document.querySelector('{view} img').complete && document.querySelector('{view} img').naturalWidth"
    )

"""Whether photos are decoded and warped here by the OpenCV that the judge has, which the package pins."""

import importlib.metadata
from functools import cache

import cv2

from runs.command import say

PACKAGE = "opencv-python-headless"


def pinned() -> str:
    """The version of PACKAGE that hylle asks for; empty where hylle is not installed, so that nobody knows."""
    try:
        asked = importlib.metadata.requires("hylle") or []
    except importlib.metadata.PackageNotFoundError:
        return ""
    versions = [line.partition("==")[2] for line in asked if line.startswith(f"{PACKAGE}==")]
    return versions[0] if versions else ""


def difference(version: str, wanted: str) -> str:
    """What is amiss with OpenCV `version`, as cv2 tells it, in words; empty for a build of the `wanted` package.

    >>> difference("4.9.0", "4.9.0.80"), difference("4.11.0", "4.9.0.80")[:58]
    ('', 'OpenCV 4.11.0 decodes and warps photos here, the judge has')
    """
    if not wanted or f"{wanted}.".startswith(f"{version}."):
        return ""
    uv = ".venv/bin/uv pip"
    remedy = f"{uv} uninstall opencv-python; {uv} install --reinstall --no-deps {PACKAGE}=={wanted}"
    what = f"OpenCV {version} decodes and warps photos here, the judge has {wanted}, so scores may differ"
    return f"{what}; in the checkout: {remedy}"


@cache
def tell_difference() -> None:
    """Say, once in a process, where another OpenCV is installed than the judge's. Where predictions or trainings begin."""
    if line := difference(cv2.__version__, pinned()):
        say(line)

"""Which version of each library is installed, under whichever of its names it was packaged."""

import importlib.metadata
import sys
from collections.abc import Iterable
from contextlib import suppress

UNKNOWN = "unknown"
PACKAGES = {  # by module: the packages that bring it, the usual one first
    "numpy": ("numpy",),
    "cv2": ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python"),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "torch": ("torch",),
    "torchvision": ("torchvision",),
    "ultralytics": ("ultralytics",),
    "timm": ("timm",),
}


def installed(modules: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The version of each of `modules`, by the package that brings it here.

    One without a package, as a build from source may be, has what it says of itself where it is imported, else UNKNOWN.
    """
    return dict(_found(module) for module in modules)


def _found(module: str) -> tuple[str, str]:
    for package in PACKAGES[module]:
        with suppress(importlib.metadata.PackageNotFoundError):
            return package, importlib.metadata.version(package)
    return PACKAGES[module][0], str(getattr(sys.modules.get(module), "__version__", UNKNOWN))

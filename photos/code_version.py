"""Which version of the code and of the libraries reads photos and predicts: the boxes of two versions are never mixed."""

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnxruntime

import fusion
import photos
from runs.record import digest, fingerprint


def code_version(*further: ModuleType, engine: str = "") -> str:
    """The fingerprint of what reads photos and runs models, of the packages `further`, and of the libraries' versions.

    `engine` is the version of what runs the models, where that is not onnxruntime.
    """
    packages = (fusion, photos, *further)
    code = [path for package in packages for path in sorted(Path(package.__path__[0]).glob("*.py"))]
    return digest(
        [fingerprint(*code), [library.__version__ for library in (cv2, np, onnxruntime)], *([engine] if engine else [])]
    )

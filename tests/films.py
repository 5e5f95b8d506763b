"""Videos for tests."""

from pathlib import Path

import cv2
import numpy as np


def film(path: Path, seconds: int) -> None:
    """Write an MP4 of 64 x 48 pixels, five frames a second, each of another grey."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), 5, (64, 48))
    for k in range(5 * seconds):
        writer.write(np.full((48, 64, 3), 5 * k, np.uint8))
    writer.release()

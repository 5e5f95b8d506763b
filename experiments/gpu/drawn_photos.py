"""The photos of the checks, drawn by the project itself: shelves to train on, and large photos to judge."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from experiments.gpu.scale import Work
from stage1_detector.synthesis import make_photos

DRAWN = 8  # chosen: different judged photos; the others are copies, which cost run.py as much
GRAIN = 5.0  # chosen: sensor noise, grey levels, without which an enlarged photo is a JPEG of a sixth of a camera's bytes
QUALITY = 90  # chosen: of those JPEGs


def shelves(work: Work) -> Path:
    """A data set of drawn shelves in OUT/shelves, drawn where it is not there yet."""
    width, height = work.scale.shelf_size
    kind = make_photos.RECIPES["demo" if work.rehearsed else "contest"]
    few = {"categories": 6, "families": 2, "rows": (2, 3)} if work.rehearsed else {"categories": 60, "families": 12}
    config = replace(kind, count=work.scale.shelves, sizes=((width, height),), **few)
    make_photos.draw(config, work.out / "shelves", workers=len(os.sched_getaffinity(0)))
    return work.out / "shelves"


def judged(work: Work) -> Path:
    """A folder of `judged_photos` JPEGs of `photo_size`: drawn shelves, enlarged and grained."""
    folder, count = work.out / "judged_photos", work.scale.judged_photos
    if len(list(folder.glob("*.jpg"))) == count:
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rng, drawn = np.random.default_rng(0), sorted((shelves(work) / "images").iterdir())[:DRAWN]
    for i, path in enumerate(drawn[:count]):
        image = cv2.resize(cv2.imread(str(path)), work.scale.photo_size, interpolation=cv2.INTER_CUBIC)  # (H, W, 3)
        grain = GRAIN * rng.standard_normal(image.shape, np.float32)
        large = np.clip(image + grain, 0, 255).astype(np.uint8)
        cv2.imwrite(str(folder / f"img_{i + 1:05d}.jpg"), large, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    for i in range(len(drawn), count):
        shutil.copyfile(folder / f"img_{i % len(drawn) + 1:05d}.jpg", folder / f"img_{i + 1:05d}.jpg")
    return folder

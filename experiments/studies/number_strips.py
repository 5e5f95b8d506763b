"""Drawn number strips, to learn digits from where photos are few: `python -m experiments.studies.number_strips --out OUT`.

OUT is a COCO folder of ten categories, 0 to 9: tilted rows of digits on a plate, in a font that matplotlib brings along.
`--synthetic` of stage1_detector.train takes it. No photo is used.
"""

import argparse
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from runs.command import run, say, ticker
from stage1_detector.synthesis import coco_writer
from stage1_detector.synthesis.camera import Shot
from stage1_detector.synthesis.pack import Image as Pixels

SIDE = 640  # chosen: pixels of a photo's side
FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSerif", "DejaVuSerif-Bold",
          "STIXGeneral", "STIXGeneralBol", "cmr10", "cmss10", "cmtt10", "cmb10")  # fmt: skip
TILT = 13.0  # chosen: degrees
QUALITY = 92
SEEN, SEEN_CUT = 0.4, 0.25  # chosen: share of a digit's box above which it is labelled; the latter on strips cut on purpose


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Draw the photos that do not exist yet. Raises ValueError for a folder that holds something else."""
    p = argparse.ArgumentParser(prog="python -m experiments.studies.number_strips", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--out", type=Path, required=True)
    p.add_argument("--count", type=int, default=400)
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--cut", type=float, default=0.0, help="share of the strips whose end lies outside the photo")
    args = p.parse_args(argv)
    if args.count < 1 or args.seed < 0 or not 0 <= args.cut <= 1:
        got = f"{args.count}, {args.seed} and {args.cut}"
        raise ValueError(f"--count, --seed, --cut: got {got}, need at least 1, at least 0, and 0 to 1")
    if coco_writer.begin(args.out, {"kind": "strips", "count": args.count, "seed": args.seed, "cut": args.cut}):
        tell = ticker("strips: photo")
        for number in range(args.count):
            if not coco_writer.is_written(args.out, number):
                coco_writer.write_photo(args.out, number, strip(np.random.default_rng((args.seed, number)), args.cut), QUALITY)
            tell(number + 1, args.count)
        coco_writer.finish(args.out, list(range(args.count)), [{"id": i, "name": str(i)} for i in range(10)])
    say(f"strips: {args.count} photos in {args.out}")


def strip(rng: np.random.Generator, cut: float = 0.0) -> Shot:
    """One photo of a tilted plate with 4 to 9 digits, the box of each and its label.

    With probability `cut` one end lies outside, and the box of a digit there is what is seen of it.
    """
    count = int(rng.integers(4, 10))
    cell = np.array([SIDE / count * rng.uniform(0.85, 1.05), SIDE / count * rng.uniform(1.1, 1.8)])  # width, height
    plate, boxes, labels = drawn_plate(count, cell, rng)
    angle, scale = np.deg2rad(rng.uniform(-TILT, TILT)), rng.uniform(0.75, 1.0)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = np.array([plate.shape[1], plate.shape[0]]) / 2
    shift = SIDE / 2 + rng.uniform(-0.1, 0.1, 2) * SIDE - turn @ middle
    outside = cut > 0 and rng.random() < cut
    if outside:
        shift[0] += beyond(turn @ middle, float(cell[0]) * scale, shift[0] + (turn @ middle)[0], rng)
    matrix = np.column_stack([turn, shift])
    dark = float(rng.choice([0, 0, 15, 35]))
    photo = cv2.warpAffine(plate, matrix, (SIDE, SIDE), flags=cv2.INTER_AREA, borderValue=(dark,) * 3)
    corners = boxes[:, [[0, 1], [2, 1], [2, 3], [0, 3]]] @ turn.T + shift  # (N, 4, 2)
    around = np.concatenate([corners.min(1), corners.max(1)], 1)
    inside = np.clip(around, 0, SIDE)
    share = (inside[:, 2:] - inside[:, :2]).prod(1) / (around[:, 2:] - around[:, :2]).prod(1)
    seen = share > (SEEN_CUT if outside else SEEN)
    return Shot(degraded(photo, rng), inside[seen], labels[seen])


def beyond(half: np.ndarray, cell: float, middle: float, rng: np.random.Generator) -> float:
    """How far to move a plate along x so that one of its ends, `half` (2,) from its middle, is up to a cell outside."""
    over, side = rng.uniform(0.1, 0.9) * cell, rng.choice([-1.0, 1.0])
    edge = SIDE + over if side > 0 else -over
    return float(edge - (middle + side * half[0]))


def drawn_plate(count: int, cell: np.ndarray, rng: np.random.Generator) -> tuple[Pixels, np.ndarray, np.ndarray]:
    """A plate uint8 (H, W, 3) of `count` cells, boxes (N, 4) of the digits on it, and which these are (N,)."""
    width, height = (cell * [count, 1.6]).astype(int)
    paper = rng.uniform(60, 245, 3) if rng.random() < 0.3 else np.full(3, rng.uniform(60, 245)) + rng.uniform(-12, 12, 3)
    ink = rng.uniform(0, 60, 3) if paper.mean() > 120 else rng.uniform(170, 255, 3)
    image = Image.new("RGB", (width, height), tuple(int(c) for c in paper.clip(0, 255)))
    pen = ImageDraw.Draw(image)
    font = str(rng.choice(FONTS))
    file = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf"
    face = ImageFont.truetype(str(file), int(cell[1] * rng.uniform(0.6, 0.85)))
    labels, boxes, framed = rng.integers(0, 10, count), [], rng.random() < 0.6
    for i, digit in enumerate(labels):
        x, y = (i + 0.5) * cell[0] + rng.uniform(-0.05, 0.05) * cell[0], height / 2 + rng.uniform(-0.04, 0.04) * height
        if framed:
            shade = tuple(int(c) for c in (paper * rng.uniform(0.6, 0.95)).clip(0, 255))
            pen.rectangle((x - 0.42 * cell[0], y - 0.5 * cell[1], x + 0.42 * cell[0], y + 0.5 * cell[1]), fill=shade)
        pen.text((x, y), str(digit), fill=tuple(int(c) for c in ink), font=face, anchor="mm")
        boxes.append(pen.textbbox((x, y), str(digit), font=face, anchor="mm"))
    return np.array(image), np.array(boxes, np.float64), labels


def degraded(photo: Pixels, rng: np.random.Generator) -> Pixels:
    """`photo` as a camera takes it: blurred, noisy, the light falling off to one side."""
    blur = rng.uniform(0.3, 2.0)
    photo = cv2.GaussianBlur(photo, (0, 0), blur)
    light = np.linspace(rng.uniform(0.6, 1.0), rng.uniform(0.6, 1.0), SIDE)[None, :, None]
    noise = rng.normal(0, rng.uniform(1, 7), photo.shape)
    return np.asarray((photo * light + noise).clip(0, 255), np.uint8)


if __name__ == "__main__":
    raise SystemExit(main())

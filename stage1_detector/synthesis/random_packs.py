"""Random packages, no two alike: cartons, bottles, jars, tubs, cans, tubes, pouches, bags, fruit. For the starter detector.

A package is drawn flat and from the front, on a transparent ground. `pack` draws the look-alike products of the drawn shop;
here only variety counts.
"""

import cv2
import numpy as np
import numpy.typing as npt

from stage1_detector.synthesis.pack import ICONS, Colour, Image, outline_of, polygon

Floats = npt.NDArray[np.float64]
WORDS = (
    "kaffe", "te", "juice", "melk", "brod", "ost", "nori", "salt", "pepper", "cola", "mais", "bonner", "havre", "ris", "pasta",
    "saft", "eple", "vann", "lys", "is", "100", "2x", "500g", "NY", "%",
)  # fmt: skip
FONTS = (0, 1, 2, 3, 4, 5, 6, 7)  # every font of cv2.putText
KINDS = ("carton", "bottle", "jar", "tub", "can", "tube", "pouch", "bag", "fruit", "tray")
ASPECT = {  # least and most width / height
    "carton": (0.3, 2.4), "bottle": (0.22, 0.5), "jar": (0.6, 1.1), "tub": (0.8, 1.9), "can": (0.45, 1.1), "tube": (0.2, 0.45),
    "pouch": (0.55, 1.3), "bag": (0.6, 1.4), "fruit": (0.8, 1.25), "tray": (1.3, 2.6),
}  # fmt: skip
ROUND = ("bottle", "jar", "tub", "can", "tube", "fruit")


def draw_random_pack(rng: np.random.Generator, height: int) -> Image:
    """One package, `height` pixels tall: uint8 (H, W, 4) RGBA, alpha 0 outside."""
    kind = str(rng.choice(KINDS))
    width = max(8, round(height * np.exp(rng.uniform(*np.log(ASPECT[kind])))))
    background = _colour(rng)
    image = _print(rng, background, width, height)
    if kind in ("bottle", "jar", "tub", "can") and rng.random() < 0.7:
        image = _glass(rng, image)
    profile = _profile(kind, rng)
    alpha = np.zeros((height, width), np.uint8)
    polygon(alpha, outline_of(profile), 255)
    lit = image * _light(kind, rng, width, height)[..., None]  # (H, W, 3)
    if kind == "carton" and rng.random() < 0.4:
        _side(lit, rng)
    return cv2.merge([*cv2.split(np.clip(lit, 0, 255).astype(np.uint8)), alpha])


def _profile(kind: str, rng: np.random.Generator) -> Floats:
    """The outline's right half: (P, 2) y and half width, in shares of the pack, from top to bottom."""
    u = rng.uniform
    if kind == "bottle":
        neck, end, shoulder = u(0.1, 0.25), u(0.08, 0.4), u(0.05, 0.25)
        points = [(0, neck), (end, neck * u(0.9, 1.2)), (end + shoulder, 0.5), (u(0.9, 0.98), 0.5), (1, u(0.4, 0.5))]
    elif kind in ("jar", "can"):
        lid = u(0.02, 0.2)
        points = [(0, u(0.38, 0.5)), (lid, u(0.38, 0.5)), (lid + 0.04, 0.5), (u(0.92, 0.98), 0.5), (1, u(0.4, 0.5))]
    elif kind in ("tub", "tray"):
        points = [(0, 0.5), (u(0.05, 0.15), 0.5), (u(0.16, 0.2), u(0.44, 0.49)), (1, u(0.34, 0.48))]
    elif kind == "tube":
        points = [(0, 0.5), (0.05, 0.5), (u(0.6, 0.8), 0.47), (u(0.82, 0.88), u(0.25, 0.45)), (1, u(0.2, 0.4))]
    elif kind == "pouch":
        y = np.linspace(0, 1, 12)
        points = np.stack([y, 0.46 + 0.04 * np.sin(np.pi * y * u(0.8, 2)) * u(-1, 1) + u(-0.01, 0.01, 12)], 1).tolist()
    elif kind in ("bag", "fruit"):
        y, bulge = (1 - np.cos(np.linspace(0, np.pi, 16))) / 2, u(0.25, 0.9) if kind == "bag" else u(0.8, 1)
        width = 0.5 * (1 - np.abs(2 * y - 1) ** (2 / bulge)) ** (bulge / 2)
        points = np.stack([y, np.maximum(width, 0.02) * (1 + u(-0.06, 0.06, 16) * (kind == "bag"))], 1).tolist()
    else:
        points = [(0, 0.5), (1, 0.5)] if rng.random() < 0.7 else [(0, u(0.25, 0.45)), (u(0.08, 0.25), 0.5), (1, 0.5)]
    return np.clip(np.array(points, np.float64), 0, (1, 0.5))


def _print(rng: np.random.Generator, background: Colour, width: int, height: int) -> Image:
    """The print of a package (H, W, 3): a background colour, fields, pictures and words, a random number of each."""
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[:] = background
    if rng.random() < 0.5:
        canvas = _wash(rng, canvas)
    for _ in range(rng.integers(0, 5)):
        x0, y0 = rng.uniform(-0.2, 0.8, 2)
        w, h = rng.uniform(0.2, 1.2), rng.uniform(0.05, 0.5)
        slant = rng.normal(0, 0.05, 4)
        corners = np.array([(x0, y0 + slant[0]), (x0 + w, y0 + slant[1]), (x0 + w, y0 + h + slant[2]), (x0, y0 + h + slant[3])])
        polygon(canvas, corners, _colour(rng))
    for _ in range(rng.integers(0, 4)):
        _picture(rng, canvas)
    for _ in range(rng.integers(0, 6)):
        _word(rng, canvas)
    return canvas


def _wash(rng: np.random.Generator, canvas: Image) -> Image:
    """`canvas` blended with smooth random colours, like a picture out of focus."""
    coarse = rng.uniform(0, 255, (int(rng.integers(2, 6)), int(rng.integers(2, 6)), 3)).astype(np.float32)
    soft = cv2.resize(coarse, canvas.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    share = rng.uniform(0.2, 0.8)
    return np.clip(canvas * (1 - share) + soft * share, 0, 255).astype(np.uint8)


def _picture(rng: np.random.Generator, canvas: Image) -> None:
    """Paint 1, 3 or 8 icons of one colour."""
    spokes = ICONS[str(rng.choice(list(ICONS)))]
    turn = np.linspace(0, 2 * np.pi, len(spokes), endpoint=False)
    form = np.stack([np.cos(turn), np.sin(turn)], 1) * spokes[:, None]  # (60, 2)
    colour, ratio = _colour(rng), canvas.shape[0] / canvas.shape[1]
    for _ in range(rng.choice((1, 1, 3, 8))):
        polygon(
            canvas,
            rng.uniform(0.1, 0.9, 2) + form * rng.uniform(0.05, 0.35) * np.array([min(1, ratio), min(1, 1 / ratio)]),
            colour,
        )


def _word(rng: np.random.Generator, canvas: Image) -> None:
    """Write one to three words across the package or, on a narrow one, along it."""
    text = " ".join(rng.choice(WORDS, rng.integers(1, 4)))
    text = text.upper() if rng.random() < 0.5 else text
    along = canvas.shape[1] < canvas.shape[0] * rng.uniform(0.2, 0.6)
    page = np.ascontiguousarray(np.rot90(canvas)) if along else canvas
    font, share = int(rng.choice(FONTS)), rng.uniform(0.4, 1.0)
    (long, tall), _ = cv2.getTextSize(text, font, 1, 2)
    scale = min(page.shape[1] * share / long, page.shape[0] * 0.5 / tall)
    x = rng.uniform(0, max(1.0, page.shape[1] - long * scale))
    y = rng.uniform(tall * scale, max(page.shape[0], tall * scale + 1))
    cv2.putText(
        page, text, (round(x), round(y)), font, scale, _colour(rng), max(1, round(scale * rng.uniform(1, 4))), cv2.LINE_AA
    )
    if along:
        canvas[:] = np.rot90(page, -1)


def _glass(rng: np.random.Generator, image: Image) -> Image:
    """`image` as the label of a package with a lid and a body of other colours."""
    height = len(image)
    y0, y1 = round(rng.uniform(0.15, 0.45) * height), round(rng.uniform(0.75, 1) * height)
    body = np.empty_like(image)
    body[:] = _colour(rng)
    body[: round(rng.uniform(0, 0.18) * height)] = _colour(rng)
    label = cv2.resize(image, (image.shape[1], y1 - y0), interpolation=cv2.INTER_AREA)
    body[y0:y1] = label
    return body


def _light(kind: str, rng: np.random.Generator, width: int, height: int) -> npt.NDArray[np.float32]:
    """Factors of light and shade (H, W) by the form of the package, about 0.4 to 1.4."""
    x, y = np.linspace(-1, 1, width)[None], np.linspace(-1, 1, height)[:, None]
    if kind in ROUND:
        across = (
            0.5 + 0.5 * np.sqrt(1 - 0.95 * x**2) + rng.uniform(0, 0.5) * np.exp(-(((x - rng.uniform(-0.6, 0.6)) / 0.1) ** 2))
        )
        shade = across * (1 - 0.3 * y**2 * (kind == "fruit"))
    elif kind in ("pouch", "bag"):
        folds = cv2.resize(rng.normal(0, 1, (7, 5)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        shade = (1 - 0.25 * x**4 - 0.15 * y**4) * (1 + rng.uniform(0.05, 0.3) * folds)
    else:
        shade = 1 + rng.uniform(-0.12, 0.12) * x + rng.uniform(-0.12, 0.12) * y
    return np.broadcast_to(shade, (height, width)).astype(np.float32)


def _side(lit: npt.NDArray[np.floating], rng: np.random.Generator) -> None:
    """Paint a second, darker face on one side of a carton, as if seen from an angle."""
    edge = round(lit.shape[1] * rng.uniform(0.1, 0.4))
    face = slice(None, edge) if rng.random() < 0.5 else slice(-edge, None)
    lit[:, face] = lit[:, face] * 0.3 + np.array(_colour(rng)) * 0.35


def _colour(rng: np.random.Generator) -> Colour:
    """A random colour; a third of them pale or dark, as grounds often are."""
    hue, saturation, value = rng.uniform(0, 180), 255 * rng.beta(1.3, 1.3), rng.uniform(20, 255)
    if rng.random() < 0.35:
        saturation, value = saturation * 0.2, rng.choice([rng.uniform(210, 255), rng.uniform(10, 70)])
    pixel = cv2.cvtColor(np.array([[[hue, saturation, value]]], np.uint8), cv2.COLOR_HSV2RGB)[0, 0]
    red, green, blue = (int(c) for c in pixel)
    return red, green, blue

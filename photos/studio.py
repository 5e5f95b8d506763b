"""Studio photos: the product of each folder, and the product cut out of its background. Knows nothing about shelves."""

import json
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fusion.reading import turned
from fusion.views import Image
from photos.photo_file import photo_kind, read_header, same_name
from photos.photo_folder import PHOTO_SUFFIXES, visible

STUDIO = "NM_NGD_product_images"  # taken: the contest's name for the folder
FLAT_TOLERANCE = 12  # chosen: of 255; largest difference of a flat background from the colour of the photo's corner
GROUNDS = (255, 128, 0)  # chosen: the greys that what is transparent may become, the first where two are equally good
SUFFIXES = tuple(sorted(PHOTO_SUFFIXES))
TRANSPARENT = ("PNG", "WebP")  # kinds whose alpha is read
PLAIN_SHARE = 0.9  # chosen: share of a photo's rim that must be flat background; otherwise GrabCut finds the background
RIM_SHARE, ITERATIONS = 0.04, 4  # chosen: share of the sides that GrabCut starts from as background, and its iterations
GAP_SHARE = 0.06  # chosen: share of a photo's shorter side; narrower gaps in an outline are closed
MIN_SHARE = 0.02  # chosen: least share of a photo that its product covers


class StudioProduct(NamedTuple):
    """The name of a product, by metadata.json or else by its folder, and its photos."""

    name: str
    photos: list[Path]


def studio_folder(data: Path, given: Path | None) -> Path:
    """The folder of studio photos. Raises ValueError where there is none."""
    folder = given or data / STUDIO
    if not folder.is_dir():
        raise ValueError(f"studio photos: got {folder}, must be a folder with one folder per product; pass --studio DIR")
    return folder


def studio_names(folder: Path) -> dict[str, str]:
    """Folder name, as by `same_name`, -> product name, by metadata.json (product_code, product_name).

    Without that file the folder's name is the product's. Raises ValueError for a metadata.json of another form. A code that is
    a number may have lost leading zeros: it counts only where a folder is called just so. Of products without a folder, which
    have no photos, nothing is asked.
    """
    path = folder / "metadata.json"
    folders = {same_name(p.name): p.name for p in visible(folder, "*") if p.is_dir()}
    if not path.is_file():
        return folders
    try:
        rows = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path}: broken JSON: {error}") from None
    rows = rows.get("products", rows) if isinstance(rows, dict) else rows
    try:
        pairs = [(row["product_code"], row["product_name"]) for row in rows]
    except (TypeError, KeyError) as error:
        raise ValueError(f"{path}: each row must have product_code and product_name, got {error!r}") from None
    for code, name in pairs:
        _refuse_no_text(path, folders, code, name)
    _refuse_two_names(path, folders, pairs)
    return {same_name(str(code)): name for code, name in pairs if isinstance(name, str)}


def _refuse_no_text(path: Path, folders: Collection[str], code: object, name: object) -> None:
    """ValueError for a product of one of the `folders` whose name is no text, or whose code is a number without its zeros; and
    for a code that could be no folder's.
    """
    number = type(code) is int
    its = [f for f in folders if f == same_name(str(code)) or (number and f.isdecimal() and int(f) == code)]
    if its and not isinstance(name, str):
        raise ValueError(f"{path}: product_name of {code!r}: got {name!r}, need a text; name the product, or remove the row")
    if not isinstance(code, str) and not (number and (not its or str(code) in its)):
        raise ValueError(f"{path}: product_code of {name!r}: got {code!r}, need its folder's name as a text, zeros and all")


def _refuse_two_names(path: Path, folders: Collection[str], pairs: Iterable[tuple[object, object]]) -> None:
    """ValueError for a product of one of the `folders` that has two names, of which the last would count."""
    names: dict[str, str] = {}
    for code, name in pairs:
        if (its := same_name(str(code))) in folders and isinstance(name, str):
            before = names.setdefault(its, name)
            if same_name(before).strip().casefold() != same_name(name).strip().casefold():
                raise ValueError(
                    f"{path}: product_name of {its!r}: got {before!r} and {name!r}, need one; remove the other row"
                )


def read_studio(path: Path) -> Image:
    """A studio photo as shown, RGB uint8 (h, w, 3). What is transparent becomes a flat ground in a colour the product lacks.

    Raises ValueError, with the path, where it is not a readable photo, or has too many pixels.
    """
    try:
        orientation = read_header(path).orientation
        data = np.frombuffer(path.read_bytes(), np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        whole = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if photo_kind(path) in TRANSPARENT else None
    except (OSError, ValueError, cv2.error) as error:
        raise ValueError(f"{path} is not a readable photo ({error}); mend or remove it") from None
    if image is None:
        raise ValueError(f"{path} is not a readable photo; mend or remove it")
    rgb = np.ascontiguousarray(_as_shown(image, orientation)[..., ::-1])
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4:
        return rgb
    return _on_ground(rgb, _as_shown(whole, orientation)[..., 3])


def _as_shown(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels (h, w, channels) as EXIF's orientation (1..8) turns them."""
    mirrored = {2: pixels[:, ::-1], 3: pixels[::-1, ::-1], 4: pixels[::-1]}
    return mirrored.get(orientation, turned(pixels, orientation))


def _on_ground(rgb: Image, alpha: np.ndarray) -> Image:
    """`rgb` (h, w, 3) with `alpha` (h, w) laid on white, grey or black: the one that the fewest of its pixels resemble."""
    share = (alpha.astype(np.float32) / np.iinfo(alpha.dtype).max)[..., None]  # (h, w, 1)
    product = rgb[share[..., 0] > 0.5].astype(np.int16)  # (P, 3)
    ground = min(GROUNDS, key=lambda grey: int((np.abs(product - grey).max(1) <= 2 * FLAT_TOLERANCE).sum()))
    return np.asarray(np.rint(rgb * share + ground * (1 - share)), np.uint8)


def content_mask(image: Image) -> Image:
    """255 on the product and 0 on the flat background connected to the picture's edge, uint8 (h, w)."""
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=[int(c) for c in image[0, 0]])
    filled = np.zeros((height + 4, width + 4), np.uint8)  # floodFill wants a border of 1 around its picture
    options = 4 | cv2.FLOODFILL_MASK_ONLY | cv2.FLOODFILL_FIXED_RANGE | (255 << 8)
    cv2.floodFill(padded, filled, (0, 0), 0, (FLAT_TOLERANCE,) * 3, (FLAT_TOLERANCE,) * 3, options)
    return np.ascontiguousarray(255 - filled[2:-2, 2:-2])


def content_box(image: Image) -> npt.NDArray[np.float32]:
    """The box (4,) of the pixels that differ from the corner's colour by more than FLAT_TOLERANCE; all of it without any."""
    differs = np.abs(image.astype(np.int16) - image[0, 0].astype(np.int16)).max(2) > FLAT_TOLERANCE
    ys, xs = np.nonzero(differs)
    if len(xs) == 0:
        return np.array([0, 0, image.shape[1], image.shape[0]], np.float32)
    return np.array([xs.min(), ys.min(), xs.max() + 1, ys.max() + 1], np.float32)


def studio_photos(folder: Path) -> dict[str, list[Path]]:
    """The photos of each product, by the name of its folder. Raises ValueError where there are no photos."""
    photos = _by_folder(folder)
    if not photos:
        raise ValueError(f"studio photos: got {folder}, need FOLDER/PRODUCT/*.jpg")
    return photos


def studio_products(folder: Path) -> list[StudioProduct]:
    """The products that have photos in FOLDER, in the order of their folders; none where there are no photos.

    A folder that metadata.json does not list is called what its product is. Raises ValueError as `studio_names`.
    """
    names = studio_names(folder)
    return [StudioProduct(names.get(code, code), files) for code, files in _by_folder(folder).items()]


def told_without_photos(data: Path) -> str:
    """What to say of a folder of studio photos in the data set that holds none: it counts as none. Else empty."""
    folder = data / STUDIO
    if not folder.is_dir() or _by_folder(folder):
        return ""
    return f"{folder} holds no photos, so there are no studio photos; they lie in {STUDIO}/PRODUCT/ as {', '.join(SUFFIXES)}"


def _by_folder(folder: Path) -> dict[str, list[Path]]:
    photos: dict[str, list[Path]] = {}
    for path in [p for p in visible(folder, "*/*") if p.suffix.lower() in SUFFIXES]:
        photos.setdefault(same_name(path.parent.name), []).append(path)
    return photos


def cutout(rgb: Image) -> Image:
    """The product on a studio photo, uint8 (h, w, 4) RGBA, cut to its box.

    A flat background is what is connected to the rim in the rim's colour; any other background is found by GrabCut (Rother et
    al. 2004), which starts from the rim as background. The outline is then filled across and down, as a package has no holes.
    ValueError where too little is left.
    """
    rim = _ring(rgb.shape[:2])
    mask = content_mask(rgb)
    if np.mean(mask[rim] == 0) < PLAIN_SHARE:
        mask = _grab(rgb)
    solid = _largest(_filled(mask))
    if np.mean(solid > 0) < MIN_SHARE:
        raise ValueError("no product stands out from the ground")
    x, y, w, h = cv2.boundingRect(solid)
    thinner = cv2.erode(solid, np.ones((3, 3), np.uint8))
    alpha = cv2.GaussianBlur(thinner, (0, 0), 0.8)
    return np.ascontiguousarray(np.dstack([rgb, alpha])[y : y + h, x : x + w])


def _ring(shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """The outermost pixels (H, W)."""
    ring = np.ones(shape, bool)
    ring[1:-1, 1:-1] = False
    return ring


def _grab(rgb: Image) -> Image:
    """255 where GrabCut finds the product, else 0: uint8 (H, W)."""
    height, width = rgb.shape[:2]
    x, y = max(1, round(RIM_SHARE * width)), max(1, round(RIM_SHARE * height))
    mask = np.zeros((height, width), np.uint8)
    cv2.setRNGSeed(0)
    cv2.grabCut(
        rgb,
        mask,
        (x, y, width - 2 * x, height - 2 * y),
        np.zeros((1, 65)),
        np.zeros((1, 65)),
        ITERATIONS,
        cv2.GC_INIT_WITH_RECT,
    )
    return np.where((mask == cv2.GC_FGD) | (mask == cv2.GC_PR_FGD), 255, 0).astype(np.uint8)


def _filled(mask: Image) -> Image:
    """`mask` (H, W) without specks, with narrow gaps closed, and filled between its outermost pixels in both row and column.

    >>> _filled(np.pad(np.pad(np.zeros((2, 2), np.uint8), 3, constant_values=255), 2))[4:8, 4:8].min()
    255
    """
    gap = 1 + 2 * round(GAP_SHARE * min(mask.shape) / 2)
    clean = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    clean = cv2.copyMakeBorder(clean, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=0)  # else closing connects it to the edge
    clean = cv2.morphologyEx(clean, cv2.MORPH_CLOSE, np.ones((gap, gap), np.uint8))[gap:-gap, gap:-gap] > 0
    between = [np.maximum.accumulate(clean, a) & np.flip(np.maximum.accumulate(np.flip(clean, a), a), a) for a in (0, 1)]
    return np.where(between[0] & between[1], 255, 0).astype(np.uint8)


def _largest(mask: Image) -> Image:
    """The largest connected part of `mask` (H, W)."""
    count, parts, stats, _ = cv2.connectedComponentsWithStats(mask)
    if count == 1:  # background only
        return mask
    return np.where(parts == 1 + stats[1:, cv2.CC_STAT_AREA].argmax(), 255, 0).astype(np.uint8)

"""Which photos show the same shelf (scene). Near-duplicates in two parts of a split would make validation too optimistic.

Two photos are one scene if they look the same as a whole (thumbnails correlate), if a large part of one, moved by a single
homography, is found in the other (ORB features), or if one laid over the other by that homography has the same pixels: a crop.
Each photo is also compared with the mirror image of the other. Scenes are the connected components. Knows nothing about folds.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from photos.data import DataError, Dataset, Photo, read_image, refuse
from photos.formats.csv_rows import Row, extent, separated, surplus
from photos.photo_file import same_name

Progress = Callable[[int, int], None]  # steps done, steps in all

COLUMNS = ("file_name", "scene")
MIN_PIXELS = 1000  # chosen: of a small grey photo; copies that meet in fewer are too small to be told from chance


@dataclass(frozen=True)
class SceneConfig:
    """When two photos are compared, and when they show one scene.

    Two photos are compared if they share at least `min_jaccard` of their products (each photo with its `neighbours` likeliest
    of these only), or if their thumbnails correlate by `min_correlation`. They show one scene if
      - their thumbnails correlate by `same_correlation`, or
      - `min_inliers` matched ORB points or more move by one homography, and their hull covers `min_cover` of both photos; or
        only `min_part`, if the thumbnails correlate by `like_correlation` (packs moved about in front of the same camera); or
      - one laid over the other by that homography correlates by `copy_correlation` where they meet, and that is `copy_cover`
        of one of them.

    Measured on phone videos of the same 19 packs on two tables (187 and 60 photos): of 11,220 pairs across the tables none
    correlates above 0.51; of the 939 of these that share products one reaches a cover above 0.15 (0.178: one pack held close);
    of 222 pairs of successive photos, between which packs were moved and swapped, 45 % are joined, of 600 pairs more than 15
    photos apart none. Crops of 80 % of both sides correlate by 0.95 or more with their photo, mirrored ones by 0.87; of 2,500
    pairs more than 15 photos apart 387 have a common homography, with 0.67 at most, and none has one with the mirror image. On
    119 photos of book shelves 10 of 7,021 pairs correlate above 0.85, none above 0.97. Chosen, trading
    time for missed pairs: `min_jaccard`, `neighbours`, `long_side` (pixels), `features`, `max_distance` (of 256 bits),
    `reprojection` (pixels at `long_side`), `iterations`.
    """

    min_jaccard: float = 0.3
    min_correlation: float = 0.85
    neighbours: int = 40
    same_correlation: float = 0.97
    like_correlation: float = 0.8
    min_inliers: int = 25
    min_cover: float = 0.2
    min_part: float = 0.05
    copy_correlation: float = 0.85
    copy_cover: float = 0.4
    copy_side: int = 160
    long_side: int = 640
    features: int = 500
    max_distance: int = 52
    reprojection: float = 4.0
    iterations: int = 300


class Features(NamedTuple):
    """ORB points float32 (K, 2) in fractions of the photo's long side, and their descriptors uint8 (K, 32), 8 bits a byte."""

    points: np.ndarray
    bits: np.ndarray


class PhotoDescriptor(NamedTuple):
    """What is compared of photos: a unit thumbnail float32 (1024,), the features of the photo and of its mirror image.

    `small` is the photo in grey, uint8 (h, w); `area` is the photo's area in squares of its long side.
    """

    thumbnail: np.ndarray
    features: Features
    mirrored_features: Features
    small: np.ndarray
    area: float

    def mirrored(self) -> "PhotoDescriptor":
        """The descriptor of the mirror image."""
        thumbnail = np.ascontiguousarray(self.thumbnail.reshape(32, 32)[:, ::-1]).ravel()  # (1024,)
        small = np.ascontiguousarray(self.small[:, ::-1])
        return PhotoDescriptor(thumbnail, self.mirrored_features, self.features, small, self.area)


def groups(dataset: Dataset, config: SceneConfig | None = None, progress: Progress | None = None) -> np.ndarray:
    """The scene of each photo, int64 (n_photos,), numbered 0.. in order of first appearance. DataError for a broken photo."""
    from scipy.cluster.hierarchy import DisjointSet

    config, n = config or SceneConfig(), len(dataset.photos)
    descriptors = []
    for i, photo in enumerate(dataset.photos):
        descriptors.append(describe(photo, config))
        if progress:
            progress(i + 1, 2 * n)
    joined = DisjointSet(range(n))
    for i, j in _with_progress(candidates(dataset, descriptors, config), n, progress):
        if not joined.connected(i, j) and same_scene(descriptors[i], descriptors[j], config):
            joined.merge(i, j)
    return _numbered([joined[i] for i in range(n)])


def _with_progress(pairs: list[tuple[int, int]], n: int, progress: Progress | None) -> Iterator[tuple[int, int]]:
    """Yield the pairs, and report the steps n..2n to `progress` meanwhile."""
    for done, pair in enumerate(pairs):
        if progress and done % (len(pairs) // n + 1) == 0:
            progress(n + done * n // len(pairs), 2 * n)
        yield pair
    if progress:
        progress(2 * n, 2 * n)


def _numbered(names: list) -> np.ndarray:
    """Names -> int64 (n,), numbered in order of first appearance.

    >>> _numbered(["b", "a", "b"])
    array([0, 1, 0])
    """
    order = {name: i for i, name in enumerate(dict.fromkeys(names))}
    return np.array([order[name] for name in names], np.int64)


def describe(photo: Photo, config: SceneConfig) -> PhotoDescriptor:
    """Read a photo at reduced size and describe it."""
    longest = max(photo.width, photo.height)
    shrink = max(s for s in (1, 2, 4, 8) if s == 1 or longest // s >= config.long_side)
    grey = cv2.cvtColor(read_image(photo.path, photo.width, photo.height, shrink), cv2.COLOR_RGB2GRAY)  # (h, w)
    thumbnail = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()  # (1024,)
    thumbnail -= thumbnail.mean()
    thumbnail /= max(float(np.linalg.norm(thumbnail)), 1e-6)
    scaled, small = _shrunk(grey, config.long_side), _shrunk(grey, config.copy_side)
    features, mirrored = (_features(np.ascontiguousarray(image), config) for image in (scaled, scaled[:, ::-1]))
    return PhotoDescriptor(thumbnail, features, mirrored, small, scaled.size / max(scaled.shape) ** 2)


def _shrunk(grey: np.ndarray, side: int) -> np.ndarray:
    """The image (h, w), `side` pixels long at most."""
    scale = min(1.0, side / max(grey.shape))
    if round(scale * min(grey.shape)) < 1:  # a strip, of which a pixel's breadth stays
        size = [max(1, round(scale * length)) for length in grey.shape[::-1]]
        return cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _features(grey: np.ndarray, config: SceneConfig) -> Features:
    """ORB features of an image (h, w); there are none of one that is all border, which may be too thin for ORB."""
    orb = cv2.ORB_create(config.features)
    all_border = min(grey.shape) <= 2 * orb.getEdgeThreshold()
    points, descriptors = ((), None) if all_border else orb.detectAndCompute(grey, None)
    if not points:
        return Features(np.zeros((0, 2), np.float32), np.zeros((0, 32), np.uint8))
    return Features(np.array([point.pt for point in points], np.float32) / max(grey.shape), descriptors)


def candidates(dataset: Dataset, descriptors: list[PhotoDescriptor], config: SceneConfig) -> list[tuple[int, int]]:
    """Pairs i < j to compare closely, the most similar first: they share products, or their thumbnails correlate."""
    thumbnails = np.array([descriptor.thumbnail for descriptor in descriptors])  # (n, 1024)
    mirrored = thumbnails.reshape(-1, 32, 32)[:, :, ::-1].reshape(len(thumbnails), -1)  # (n, 1024)
    correlation, shared = np.maximum(thumbnails @ thumbnails.T, thumbnails @ mirrored.T), jaccard(dataset)  # (n, n) each
    likely = np.where(shared >= config.min_jaccard, correlation + shared, -np.inf)  # (n, n)
    np.fill_diagonal(likely, -np.inf)
    rank = np.argsort(np.argsort(-likely, axis=1, kind="stable"), axis=1)  # (n, n): 0 is the likeliest of the row
    near = (likely > -np.inf) & (np.minimum(rank, rank.T) < config.neighbours)
    i, j = np.nonzero(np.triu(near | (correlation >= config.min_correlation), 1))
    order = np.argsort(-correlation[i, j], kind="stable")
    return list(zip(i[order].tolist(), j[order].tolist(), strict=True))


def jaccard(dataset: Dataset) -> np.ndarray:
    """Common / all products of each two photos, float64 (n, n); 0 where both are unlabelled."""
    has = np.zeros((len(dataset.photos), len(dataset.categories)))  # (n, C)
    for row, photo in zip(has, dataset.photos, strict=True):
        row[photo.labels] = 1
    common, count = has @ has.T, has.sum(1)
    return common / np.maximum(count[:, None] + count - common, 1)


def same_scene(a: PhotoDescriptor, b: PhotoDescriptor, config: SceneConfig) -> bool:
    """Whether two photos show one shelf, as they are or one of them mirrored, by the rule of SceneConfig."""
    return _shows(a, b, config) or _shows(a, b.mirrored(), config)


def _shows(a: PhotoDescriptor, b: PhotoDescriptor, config: SceneConfig) -> bool:
    correlation = float(a.thumbnail @ b.thumbnail)
    if correlation >= config.same_correlation:
        return True
    motion = common_motion(a, b, config)
    if motion is None:
        return False
    enough = config.min_part if correlation >= config.like_correlation else config.min_cover
    return motion.cover >= enough or _is_copy(a.small, b.small, motion.matrix, config)


class Motion(NamedTuple):
    """One homography (3, 3) from a photo to another, in fractions of their long sides, and what its points cover.

    `cover` is the part of the photo covered by the hull of the points that move by it (the smaller of both photos').
    """

    matrix: np.ndarray
    cover: float


def common_motion(a: PhotoDescriptor, b: PhotoDescriptor, config: SceneConfig) -> Motion | None:
    """The homography by which most matched points move from `a` to `b`; None where fewer than `min_inliers` do."""
    p, q = _matched(a.features, b.features, config)
    if len(p) < config.min_inliers:
        return None
    tolerance = config.reprojection / config.long_side
    matrix, inside = cv2.findHomography(p, q, cv2.RANSAC, tolerance, maxIters=config.iterations)
    inside = np.zeros(len(p), bool) if inside is None else inside.ravel().astype(bool)  # (M, 1) -> (M,)
    if inside.sum() < config.min_inliers:
        return None
    return Motion(matrix, min(_hull(p[inside]) / a.area, _hull(q[inside]) / b.area))


def _is_copy(a: np.ndarray, b: np.ndarray, matrix: np.ndarray, config: SceneConfig) -> bool:
    """Whether the grey photo `a` (h, w), laid over `b` (h', w') by `matrix`, has its pixels there."""
    to_b = np.diag([max(b.shape), max(b.shape), 1.0]) @ matrix @ np.diag([1 / max(a.shape), 1 / max(a.shape), 1.0])  # (3, 3)
    size = b.shape[::-1]
    met = cv2.warpPerspective(np.full_like(a, 255), to_b, size) == 255  # (h', w')
    back = cv2.warpPerspective(np.full_like(b, 255), to_b, a.shape[::-1], flags=cv2.WARP_INVERSE_MAP) == 255  # (h, w)
    if max(met.mean(), back.mean()) < config.copy_cover or min(met.sum(), back.sum()) < MIN_PIXELS:
        return False
    over, under = cv2.warpPerspective(a, to_b, size)[met].astype(np.float64), b[met].astype(np.float64)  # (P,) each
    spread = over.std() * under.std()
    return spread > 0 and float(((over - over.mean()) * (under - under.mean())).mean() / spread) >= config.copy_correlation


def _matched(a: Features, b: Features, config: SceneConfig) -> tuple[np.ndarray, np.ndarray]:
    """Points (M, 2) of `a` and of `b` whose descriptors are each other's nearest, within `max_distance` bits."""
    if not len(a.bits) or not len(b.bits):
        return np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32)
    matches = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True).match(a.bits, b.bits)
    near = [(match.queryIdx, match.trainIdx) for match in matches if match.distance <= config.max_distance]
    index = np.array(near, np.int64).reshape(-1, 2)  # (M, 2)
    return a.points[index[:, 0]], b.points[index[:, 1]]


def _hull(points: np.ndarray) -> float:
    return cv2.contourArea(cv2.convexHull(points))


def from_csv(path: Path, dataset: Dataset) -> np.ndarray:
    """The scene of each photo, int64 (n_photos,), from a table `file_name,scene`; a scene may be any text.

    DataError with one line for each photo that is unknown, listed twice, without a scene, or missing.
    """
    names = [photo.name for photo in dataset.photos]
    rows = _rows(path)
    times = Counter(name for _, name, _ in rows)
    known = set(names)
    problems = [
        *(f"{path}, line {line}: {name!r} is not a photo of {dataset.root}" for line, name, _ in rows if name not in known),
        *(f"{path}, line {line}: {name!r} has no scene" for line, name, scene in rows if not scene),
        *(f"{path}: {name!r} is listed {count} times, need once" for name, count in times.items() if count > 1),
        *(f"{path}: {name!r} is missing" for name in names if name not in times),
    ]
    refuse(problems)
    scene_of = {name: scene for _, name, scene in rows}
    return _numbered([scene_of[name] for name in names])


def _rows(path: Path) -> list[tuple[int, str, str]]:
    """Line number, file name and scene of each row."""
    try:
        (header, *rows), is_open = _separated(path)
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a CSV table in UTF-8 ({error})") from error
    if not set(COLUMNS) <= set(header):
        raise DataError(f"{path}: got the columns {', '.join(header) or 'none'}, need {', '.join(COLUMNS)}")
    if twice := [column for column in COLUMNS if header.count(column) > 1]:
        raise DataError(f"{path}: the column {twice[0]} stands twice, need it once")
    if is_open:
        raise DataError(f"{path}, line {[header, *rows][-1].line}: a quote is opened and not closed; close or remove it")
    for row in rows:
        if surplus(row, extent(header)):
            raise DataError(f"{path}, line {row.line}: more cells than columns; put a scene with a comma in quotes")
    name, scene = map(header.index, COLUMNS)
    cells = ((row.line, *(row[at].strip() if at < len(row) else "" for at in (name, scene))) for row in rows if extent(row))
    return [(line, same_name(name) if name else "", scene) for line, name, scene in cells]


def _separated(path: Path) -> tuple[list[Row], bool]:
    """The rows of a table, the header first, and whether the last is open as `separated` says it."""
    rows, is_open = separated(path.read_bytes().decode("utf-8-sig"))
    return rows or [Row()], is_open

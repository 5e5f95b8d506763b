"""Near-duplicates of one shelf are one scene, different shelves are not, one pack on two shelves joins nothing."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments.performance.photo_copies import CHANGES, copy_of
from photos.data import Category, DataError, Dataset, Photo, read
from photos.scenes import SceneConfig, candidates, describe, from_csv, groups, jaccard, same_scene

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "snacks"
WIDTH, HEIGHT = 480, 360


def shelf(rng: np.random.Generator, products: int = 60) -> np.ndarray:
    """A drawn shelf: rows of packs, each with a print of its own."""
    image = np.full((HEIGHT, WIDTH, 3), rng.integers(60, 200, 3), np.uint8)
    for i in range(products):
        x, y = i % 10 * 48 + 4, i // 10 * 60 + 4
        image[y : y + 52, x : x + 40] = pack(rng, 40, 52)
    return image


def pack(rng: np.random.Generator, width: int, height: int, prints: int = 8) -> np.ndarray:
    """A pack with a printed pattern whose corners ORB finds again."""
    image = np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    for _ in range(prints):
        x, y = int(rng.integers(0, width)), int(rng.integers(0, height))
        size = int(rng.integers(4, 14))
        cv2.rectangle(image, (x, y), (x + size, y + size), rng.integers(0, 256, 3).tolist(), -1)
    return image


def dataset(tmp_path: Path, images: list[np.ndarray], labels: list[list[int]] | None = None) -> Dataset:
    """The images as photos of a set; `labels` are the products of each (all the same by default)."""
    (tmp_path / "images").mkdir(exist_ok=True)
    photos = []
    for i, image in enumerate(images):
        path = tmp_path / "images" / f"{i}.jpg"
        cv2.imwrite(str(path), image)
        named = np.array(labels[i] if labels else [0], np.int64)
        boxes = np.tile(np.float32([0, 0, 9, 9]), (len(named), 1))
        photos.append(Photo(i, path, image.shape[1], image.shape[0], boxes, named, np.arange(len(named)), None, path.name))
    return Dataset(tmp_path, tuple(Category(i, str(i)) for i in range(6)), tuple(photos))


def moved(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same shelf from a slightly other place: turned, zoomed in and shifted, with noise."""
    matrix = cv2.getRotationMatrix2D((WIDTH / 2, HEIGHT / 2), rng.uniform(-4, 4), rng.uniform(1.0, 1.15))
    matrix[:, 2] += rng.uniform(-20, 20, 2)
    warped = cv2.warpAffine(image, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
    return np.clip(warped + rng.normal(0, 4, image.shape), 0, 255).astype(np.uint8)


def brightened(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image * 1.2 + 15, 0, 255).astype(np.uint8)


def cropped(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return image[20:320, 60:460]


def turned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.rot90(image)


def test_one_flat_photo(tmp_path: Path) -> None:
    assert groups(dataset(tmp_path, [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)])).tolist() == [0]


def test_flat_photos_without_any_label_do_not_join(tmp_path: Path) -> None:
    flat = [np.full((HEIGHT, WIDTH, 3), 90 + 10 * i, np.uint8) for i in range(3)]
    assert groups(dataset(tmp_path, flat, [[], [], []])).tolist() == [0, 1, 2]


@pytest.mark.parametrize("change", [moved, brightened, cropped, turned])
def test_near_duplicates_join_and_other_shelves_do_not(tmp_path: Path, change) -> None:
    rng = np.random.default_rng(0)
    shelves = [shelf(rng) for _ in range(3)]
    images = [image for one in shelves for image in (one, change(one, rng))]
    scene = groups(dataset(tmp_path, images))
    assert scene.dtype == np.int64
    assert scene.tolist() == [0, 0, 1, 1, 2, 2]


def shelves_of_one_assortment(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Shops that sell the same 60 packs, each in an order of its own, before a wall of its own."""
    packs, shelves = [pack(rng, 40, 52) for _ in range(60)], []
    for _ in range(count):
        image = np.full((HEIGHT, WIDTH, 3), rng.integers(60, 200, 3), np.uint8)
        for i, number in enumerate(rng.permutation(60)):
            x, y = i % 10 * 48 + 4, i // 10 * 60 + 4
            image[y : y + 52, x : x + 40] = packs[number]
        shelves.append(image)
    return shelves


@pytest.mark.parametrize("kind", CHANGES)
def test_copies_join_their_photo_and_shops_with_the_same_assortment_do_not(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(0)
    shelves = shelves_of_one_assortment(rng, 5)
    images = [image for shelf_image in shelves for image in (shelf_image, copy_of(shelf_image, CHANGES[kind], rng).image)]
    scene = groups(dataset(tmp_path, images))
    assert [int(scene[2 * i] == scene[2 * i + 1]) for i in range(5)] == [1] * 5
    false_joins = 5 - len(set(scene.tolist()))
    assert false_joins == 0


def test_joins_chain(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    wide = np.hstack([shelf(rng), shelf(rng)])
    walk = [wide[:, x : x + WIDTH] for x in range(0, WIDTH + 1, WIDTH // 4)]  # the first and the last share nothing
    data = dataset(tmp_path, walk)
    descriptors = [describe(photo, SceneConfig()) for photo in data.photos]
    assert not same_scene(descriptors[0], descriptors[-1], SceneConfig())
    assert groups(data).tolist() == [0] * len(walk)


def test_one_pack_on_two_shelves_joins_nothing(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    large, images = pack(rng, 150, 125, prints=120), []  # 11 % of the photo
    for x, y in [(20, 30), (250, 180)]:
        images.append(shelf(rng, 20))
        images[-1][y : y + 125, x : x + 150] = large
    data = dataset(tmp_path, images)
    assert groups(data, replace(SceneConfig(), min_cover=0.04)).tolist() == [0, 0]  # the pack itself is found again
    assert groups(data).tolist() == [0, 1]


def test_photos_that_share_no_product_and_look_different_are_not_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    data = dataset(tmp_path, [shelf(rng) for _ in range(4)], [[0, 1], [1, 2], [3], []])
    descriptors = [describe(photo, SceneConfig()) for photo in data.photos]
    assert candidates(data, descriptors, SceneConfig()) == [(0, 1)]
    assert candidates(data, descriptors, replace(SceneConfig(), min_jaccard=0.5)) == []


def test_candidates_per_photo_are_limited(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    data = dataset(tmp_path, [shelf(rng) for _ in range(8)])
    descriptors = [describe(photo, SceneConfig()) for photo in data.photos]
    pairs = candidates(data, descriptors, replace(SceneConfig(), neighbours=2, min_correlation=2.0))
    assert 8 <= len(pairs) <= 16
    assert {i for pair in pairs for i in pair} == set(range(8))


def test_jaccard_against_sets(tmp_path: Path) -> None:
    labels = [[0, 0, 1], [1, 2], [], [0, 1]]
    data = dataset(tmp_path, [np.zeros((8, 8, 3), np.uint8)] * 4, labels)
    slow = [[len(set(a) & set(b)) / max(len(set(a) | set(b)), 1) for b in labels] for a in labels]
    np.testing.assert_allclose(jaccard(data), slow)


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    steps: list[tuple[int, int]] = []
    groups(dataset(tmp_path, [shelf(rng) for _ in range(5)]), progress=lambda done, total: steps.append((done, total)))
    assert steps == sorted(steps)
    assert steps[-1] == (10, 10)


# -- a user's table ------------------------------------------------------------------------------------------------------


def table(tmp_path: Path, text: str) -> tuple[Path, Dataset]:
    (tmp_path / "scenes.csv").write_bytes(text.encode("utf-8-sig"))
    return tmp_path / "scenes.csv", dataset(tmp_path, [np.zeros((8, 8, 3), np.uint8)] * 3)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("file_name,scene,note\r\n2.jpg,tea shelf,x\r\n0.jpg,tea shelf,\r\n1.jpg,7,\r\n", id="commas"),
        pytest.param("file_name;scene\n2.jpg;Oslo, 1\n0.jpg;Oslo, 1\n;\n1.jpg;Oslo, 2\n", id="semicolons, an empty row"),
        pytest.param('file_name,scene\n2.jpg,"Oslo, 1"\n0.jpg,"Oslo, 1"\n\n1.jpg,"Oslo, 2"', id="commas in quotes"),
    ],
)
def test_table(tmp_path: Path, text: str) -> None:
    assert from_csv(*table(tmp_path, text)).tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "got the columns none, need file_name, scene", id="empty"),
        pytest.param("file_name,scene\n0.jpg,Oslo, 1\n", "line 2: more cells than columns; put a scene", id="a comma"),
        pytest.param("file_name,scene,,\n0.jpg,Oslo, 1,\n", "line 2: more cells than columns", id="a comma, saved by Excel"),
        pytest.param('file_name,scene\n0.jpg,a\n1.jpg,"b\n2.jpg,c\n', "line 3: a quote is opened", id="an open quote"),
        pytest.param('file_name,scene,"x\n0.jpg,a\n', "line 1: a quote is opened", id="a quote opened in the header"),
        pytest.param("file_name,scene,scene\n0.jpg,a,b\n", "the column scene stands twice, need it once", id="two scenes"),
        pytest.param("0.jpg,a\n1.jpg,b\n2.jpg,c\n", "got the columns 0.jpg, a, need file_name, scene", id="no header"),
        pytest.param("file_name,scene\n0.jpg,a\n2.jpg,c\n", "'1.jpg' is missing", id="photo missing"),
        pytest.param("file_name,scene\n0.jpg,a\n1.jpg,a\n2.jpg,c\n3.jpg,c\n", "line 5: '3.jpg' is not a photo", id="unknown"),
        pytest.param("file_name,scene\n0.jpg,a\n1.jpg,a\n2.jpg,c\n0.jpg,c\n", "'0.jpg' is listed 2 times", id="photo twice"),
        pytest.param("file_name,scene\n0.jpg,a\n1.jpg\n2.jpg,c\n", "line 3: '1.jpg' has no scene", id="no scene"),
    ],
)  # fmt: skip
def test_table_problems(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError) as caught:
        from_csv(*table(tmp_path, text))
    assert message in str(caught.value)


def test_table_that_is_no_text(tmp_path: Path) -> None:
    path, data = table(tmp_path, "")
    path.write_bytes(b"file_name,scene\n\xff\xfe,1\n")
    with pytest.raises(DataError, match="not a CSV table in UTF-8"):
        from_csv(path, data)


# -- real photos ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="the real photos (shared/data/snacks) are not on this machine")
def test_real_videos_of_the_same_packs_on_two_tables_share_no_scene() -> None:
    whole = read(REAL)
    chosen = [photo for photo in whole.photos if photo.part == "test"][:20] + [p for p in whole.photos if 228 <= p.id <= 244]
    scene = groups(replace(whole, photos=tuple(chosen)))
    assert not set(scene[:20]) & set(scene[20:])
    assert np.bincount(scene[20:]).max() >= 14  # 17 successive photos of nearly one arrangement


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_strips_are_compared_as_other_photos_are(tmp_path: Path, suffix: str) -> None:
    """A pixel wide, or so narrow that shrinking leaves less than one; also sides that no power of two divides."""
    (tmp_path / "images").mkdir()
    sizes = [(1, 240), (240, 1), (1, 1), (1, 2000), (4, 2000), (2000, 3), (1283, 963)]
    photos = []
    for i, (width, height) in enumerate([*sizes, *sizes]):
        path = tmp_path / "images" / f"{i}{suffix}"
        cv2.imwrite(str(path), np.random.default_rng(i % len(sizes)).integers(0, 255, (height, width, 3), np.uint8))
        boxes = np.float32([[0, 0, width, height]])
        photos.append(Photo(i, path, width, height, boxes, np.int64([0]), np.int64([i]), None, path.name))
    scene = groups(Dataset(tmp_path, (Category(0, "tea"),), tuple(photos)))
    same = scene[: len(sizes)] == scene[len(sizes) :]
    assert same[[size != (1, 1) for size in sizes]].all()  # one pixel is like no other photo

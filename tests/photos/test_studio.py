"""Cut-outs of studio photos: the outline that was drawn comes back; ground of any kind; what cannot be cut is said."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from photos.studio import content_box, cutout, read_studio, studio_names, studio_photos, studio_products
from stage1_detector.synthesis.catalogue import make_catalogue
from stage1_detector.synthesis.pack import draw_pack

PRODUCTS = make_catalogue(24, 12, 0.5, np.random.default_rng(1)).products


def on(ground: np.ndarray, pack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A pack in the middle of `ground`, and its mask (H, W)."""
    y, x = (ground.shape[0] - pack.shape[0]) // 2, (ground.shape[1] - pack.shape[1]) // 2
    photo, mask = ground.copy(), np.zeros(ground.shape[:2], bool)
    part, alpha = photo[y : y + len(pack), x : x + pack.shape[1]], pack[..., 3:] / 255
    part[:] = part * (1 - alpha) + pack[..., :3] * alpha
    mask[y : y + len(pack), x : x + pack.shape[1]] = pack[..., 3] > 127
    return photo, mask


def agreement(cut: np.ndarray, mask: np.ndarray) -> float:
    """IoU of a cut-out's outline with the true one, both cut to their boxes."""
    x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
    true = mask[y : y + h, x : x + w]
    got = cv2.resize((cut[..., 3] > 127).astype(np.uint8), true.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
    return float((true & got).sum() / (true | got).sum())


@pytest.mark.parametrize("i", range(24))
def test_the_outline_on_white_comes_back(i: int) -> None:
    photo, mask = on(np.full((260, 500, 3), 255, np.uint8), draw_pack(PRODUCTS[i], 160))
    cut = cutout(photo)
    assert cut.shape[2] == 4 and agreement(cut, mask) > 0.9


@pytest.mark.slow
@pytest.mark.parametrize("i", range(0, 24, 4))
def test_ground_that_is_not_flat_is_found_too(i: int) -> None:
    rng = np.random.default_rng(i)
    field = cv2.resize(rng.uniform(150, 215, (5, 5, 3)).astype(np.float32), (360, 260), interpolation=cv2.INTER_CUBIC)
    photo, mask = on((field + rng.normal(0, 3, field.shape)).clip(0, 255).astype(np.uint8), draw_pack(PRODUCTS[i], 110))
    assert agreement(cutout(photo), mask) > 0.75


def test_colours_stay() -> None:
    photo = np.full((100, 100, 3), 255, np.uint8)
    photo[20:80, 30:70] = (10, 120, 200)
    cut = cutout(photo)
    np.testing.assert_array_equal(cut[len(cut) // 2, cut.shape[1] // 2], (10, 120, 200, 255))


def test_a_hole_in_the_print_is_filled() -> None:
    photo = np.full((100, 100, 3), 255, np.uint8)
    cv2.rectangle(photo, (20, 20), (80, 80), (200, 30, 30), 4)  # white paper inside, which ground does not reach
    cv2.line(photo, (50, 16), (50, 30), (255, 255, 255), 4)  # a gap through which it does
    cut = cutout(photo)
    assert cut[4:-4, 4:-4, 3].min() == 255


@pytest.mark.parametrize("grey", [255, 0])
def test_nothing_on_a_photo_is_said(grey: int) -> None:
    with pytest.raises(ValueError, match="no product stands out"):
        cutout(np.full((60, 90, 3), grey, np.uint8))


def test_photos_by_product(tmp_path: Path) -> None:
    for name in ("a/main.jpg", "a/front.PNG", "a/notes.txt", "b/x.jpeg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    found = {product: [path.name for path in paths] for product, paths in studio_photos(tmp_path).items()}
    assert found == {"a": ["front.PNG", "main.jpg"], "b": ["x.jpeg"]}
    (tmp_path / "metadata.json").write_text('[{"product_code": "a", "product_name": "tea"}]')
    assert [(product.name, len(product.photos)) for product in studio_products(tmp_path)] == [("tea", 2), ("b", 1)]


def test_what_systems_hide_is_no_product_and_no_photo(tmp_path: Path) -> None:
    for name in ("a/main.jpg", "a/._main.jpg", ".ipynb_checkpoints/main.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert studio_products(tmp_path) == [("a", [tmp_path / "a" / "main.jpg"])] and studio_names(tmp_path) == {"a": "a"}


@pytest.mark.parametrize(
    ("row", "told"),
    [
        pytest.param(
            '"product_code": "123", "product_name": null', "product_name of '123': got None, need a text", id="no name"
        ),
        pytest.param('"product_code": 7038010, "product_name": "melk"', "got 7038010, need its folder's name", id="lost zero"),
        pytest.param('"product_code": null, "product_name": "melk"', "product_code of 'melk': got None", id="no code"),
        pytest.param('"product_code": 123.0, "product_name": "melk"', "got 123.0, need its folder's name", id="a fraction"),
        pytest.param(
            '"product_code": 7038010, "product_name": null', "product_name of 7038010: got None", id="no name, lost zero"
        ),
    ],
)
def test_codes_and_names_that_are_no_texts(tmp_path: Path, row: str, told: str) -> None:
    for code in ("123", "07038010"):
        (tmp_path / code).mkdir()
    (tmp_path / "metadata.json").write_text(f"[{{{row}}}]")
    with pytest.raises(ValueError, match=told):
        studio_names(tmp_path)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param('"product_code": "456", "product_name": null', id="no name"),
        pytest.param('"product_code": 456, "product_name": null', id="neither"),
        pytest.param('"product_code": 456, "product_name": "saft"', id="a number"),
        pytest.param('"product_code": 123, "product_name": "melk"', id="a number that is a folder"),
    ],
)
def test_rows_of_products_without_photos_are_no_obstacle(tmp_path: Path, row: str) -> None:
    """The contest's list has a row for each product, with or without photos."""
    (tmp_path / "123").mkdir()
    (tmp_path / "123" / "main.jpg").write_text("")
    (tmp_path / "metadata.json").write_text(f'[{{"product_code": "123", "product_name": "melk"}}, {{{row}}}]')
    assert [product.name for product in studio_products(tmp_path)] == ["melk"]
    assert None not in studio_names(tmp_path).values()


def test_a_folder_without_products_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"studio photos: got .*, need FOLDER/PRODUCT"):
        studio_photos(tmp_path)
    assert studio_products(tmp_path) == []


def transparent(path: Path, print_colour: tuple[int, int, int], hidden: tuple[int, int, int]) -> Path:
    """A PNG of a product, 40 x 60, in one colour; under the transparent rest lies another one."""
    picture = np.zeros((120, 100, 4), np.uint8)
    picture[..., :3], picture[10:50, 10:90, :3] = hidden, (30, 160, 30)  # something is hidden that looks like a product
    picture[40:100, 30:70] = (*print_colour, 255)
    cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGBA2BGRA))
    return path


@pytest.mark.parametrize("colour", [(200, 20, 20), (255, 255, 255), (128, 128, 128), (0, 0, 0)], ids=str)
def test_what_lies_under_transparency_is_no_product(tmp_path: Path, colour: tuple[int, int, int]) -> None:
    image = read_studio(transparent(tmp_path / "a.png", colour, hidden=(255, 255, 255)))
    assert content_box(image).tolist() == [30, 40, 70, 100]
    assert image[70, 50].tolist() == list(colour)
    cut = cutout(image)
    assert np.abs(np.array(cut.shape[:2]) - (60, 40)).max() <= 4


def test_pictures_without_transparency_are_read_as_they_are(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    cv2.imwrite(str(tmp_path / "a.png"), picture[..., ::-1])
    np.testing.assert_array_equal(read_studio(tmp_path / "a.png"), picture)
    (tmp_path / "b.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"b.png is not a readable photo"):
        read_studio(tmp_path / "b.png")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_a_transparent_photo_that_exif_turns_keeps_its_product(tmp_path: Path, name: str, orientation: int) -> None:
    pixels = np.zeros((40, 60, 4), np.uint8)
    pixels[5:25, 10:40] = (200, 30, 40, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, lossless=True)
    shown = np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / name)))
    read = read_studio(tmp_path / name)
    assert read.shape[:2] == shown.shape[:2]
    np.testing.assert_array_equal((read == (200, 30, 40)).all(2), shown[..., 3] == 255)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.jpg", "a.webp", "a.bmp", "a.tif"])
def test_photos_of_every_kind_are_read_as_shown(tmp_path: Path, name: str, orientation: int) -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30], pixels[20:, 30:] = (200, 30, 40), (30, 180, 60)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / name, exif=exif, quality=95)
    with Image.open(tmp_path / name) as stored:
        shown = np.asarray(ImageOps.exif_transpose(stored).convert("RGB"), np.int16)
    read = read_studio(tmp_path / name)
    assert read.shape == shown.shape and np.abs(read - shown)[2:-2, 2:-2].mean() < 4


def test_a_product_with_two_names_is_refused(tmp_path: Path) -> None:
    for code in ("001", "002"):
        (tmp_path / code).mkdir()
    rows = [("001", "tea"), ("002", "Rod"), ("002", " rod"), ("003", "a"), ("003", "b")]
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps([{"product_code": code, "product_name": name} for code, name in rows]))
    assert studio_names(tmp_path)["001"] == "tea"
    path.write_text(json.dumps([{"product_code": code, "product_name": name} for code, name in [*rows, ("001", "coffee")]]))
    with pytest.raises(ValueError, match="product_name of '001': got 'tea' and 'coffee', need one"):
        studio_names(tmp_path)

"""The colour policy: torchvision's table without its geometry, drawn with its probabilities; Pillow says what each does."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance, ImageOps
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import AutoAugment, AutoAugmentPolicy

from stage1_detector.torch_engine import svhn

PHOTO = torch.from_numpy(np.random.default_rng(0).integers(20, 220, (3, 24, 36), np.uint8))
PICTURE = Image.fromarray(PHOTO.permute(1, 2, 0).numpy())
DRAWS = 2000


@pytest.fixture(autouse=True)
def drawn_alike() -> Iterator[None]:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


@pytest.fixture
def applied(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int | None]]:
    """The operations are replaced by ones that do nothing but enter their name and step here."""
    calls: list[tuple[str, int | None]] = []

    def enter(name: str, image: Tensor, step: int | None) -> Tensor:
        calls.append((name, step))
        return image

    fakes = {name: lambda image, step, name=name: enter(name, image, step) for name in svhn.OPERATIONS}
    monkeypatch.setattr(svhn, "OPERATIONS", fakes)
    return calls


def test_an_image_alone_comes_back_alone() -> None:
    made = svhn.ColourPolicy()(PHOTO)
    assert (made.dtype, made.shape) == (PHOTO.dtype, PHOTO.shape)


def test_boxes_and_labels_pass_untouched_and_the_image_keeps_its_type() -> None:
    boxes = tv_tensors.BoundingBoxes(np.zeros((0, 4), np.float32), format="XYXY", canvas_size=(24, 36))
    labels = torch.zeros(0, dtype=torch.int64)
    for _ in range(20):
        image, *others = svhn.ColourPolicy()(tv_tensors.Image(PHOTO), boxes, labels)
        assert isinstance(image, tv_tensors.Image)
        assert others[0] is boxes
        assert others[1] is labels


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(PHOTO.float() / 255, id="floats"),
        pytest.param(PHOTO.permute(1, 2, 0), id="channels last"),
        pytest.param(PHOTO[None], id="a batch"),
    ],
)
def test_another_kind_of_image_is_refused(image: Tensor) -> None:
    with pytest.raises(ValueError, match=r"image: got .* must be uint8 \(3, H, W\)"):
        svhn.ColourPolicy()(image)


def test_the_sub_policies_are_torchvisions_without_geometry() -> None:
    kept, single = [], []
    for row in AutoAugment(AutoAugmentPolicy.SVHN).policies:
        colour = [operation for operation in row if not operation[0].startswith(("Shear", "Translate", "Rotate"))]
        if len(colour) == 2:
            kept.append(tuple(colour))
        single += colour if len(colour) == 1 else []
    assert single.pop() == ("Invert", 0.1, None), "the odd one"
    assert list(svhn.SUB_POLICIES) == [*kept, *zip(single[::2], single[1::2], strict=True)]


def test_operations_are_drawn_with_the_tables_probabilities(applied: list[tuple[str, int | None]]) -> None:
    for _ in range(DRAWS):
        svhn.ColourPolicy()(PHOTO)
    want: Counter[tuple[str, int | None]] = Counter()
    for pair in svhn.SUB_POLICIES:
        for name, probability, step in pair:
            want[name, step] += probability * DRAWS / len(svhn.SUB_POLICIES)
    counts = Counter(applied)
    assert counts.keys() == want.keys()
    for key, expected in want.items():
        assert abs(counts[key] - expected) < 4 * expected**0.5 + 1, key


def test_an_image_gets_one_sub_policy_and_all_are_equally_likely(
    applied: list[tuple[str, int | None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = [(2 * i, 2 * i + 1) for i in range(len(svhn.SUB_POLICIES))]
    monkeypatch.setattr(svhn, "SUB_POLICIES", tuple((("Solarize", 1.0, a), ("Contrast", 1.0, b)) for a, b in steps))
    drawn: Counter[tuple[tuple[str, int | None], ...]] = Counter()
    for _ in range(DRAWS):
        applied.clear()
        svhn.ColourPolicy()(PHOTO)
        drawn[tuple(applied)] += 1
    assert set(drawn) == {(("Solarize", a), ("Contrast", b)) for a, b in steps}
    expected = DRAWS / len(steps)
    assert max(abs(count - expected) for count in drawn.values()) < 4 * expected**0.5


def test_invert_is_255_minus() -> None:
    assert torch.equal(svhn.OPERATIONS["Invert"](PHOTO, None), 255 - PHOTO)


@pytest.mark.parametrize(
    ("name", "step", "picture"),
    [
        pytest.param("Invert", None, ImageOps.invert(PICTURE), id="invert"),
        pytest.param("Equalize", None, ImageOps.equalize(PICTURE), id="equalize"),
        pytest.param("AutoContrast", None, ImageOps.autocontrast(PICTURE), id="autocontrast"),
        pytest.param("Solarize", 2, ImageOps.solarize(PICTURE, 199), id="solarize from 198 1/3"),
        pytest.param("Solarize", 3, ImageOps.solarize(PICTURE, 170), id="solarize from 170"),
        pytest.param("Solarize", 6, ImageOps.solarize(PICTURE, 85), id="solarize from 85"),
        pytest.param("Solarize", 8, ImageOps.solarize(PICTURE, 29), id="solarize from 28 1/3"),
    ],
)
def test_an_operation_does_what_pillows_does(name: str, step: int | None, picture: Image.Image) -> None:
    made = svhn.OPERATIONS[name](PHOTO, step).permute(1, 2, 0).numpy()  # (H, W, 3)
    off = made.astype(int) - np.asarray(picture)
    assert np.abs(off).max() <= (name == "AutoContrast"), "off by rounding at most"


def test_contrast_goes_up_or_down_by_three_tenths() -> None:
    want = [np.asarray(ImageEnhance.Contrast(PICTURE).enhance(gain)).astype(int) for gain in (0.7, 1.3)]
    found = Counter()
    for _ in range(40):
        made = svhn.OPERATIONS["Contrast"](PHOTO, 3).permute(1, 2, 0).numpy()  # (H, W, 3)
        off = [int(np.abs(made - one).max()) for one in want]
        assert min(off) <= 1, "Pillow rounds the mean grey"
        found[int(np.argmin(off))] += 1
    assert min(found[0], found[1]) > 8


@pytest.mark.parametrize("name", ["Invert", "Equalize", "Solarize", "Contrast"])
def test_an_operation_is_torchvisions_own_at_the_same_step(name: str) -> None:
    step = 3 if name in ("Solarize", "Contrast") else None
    theirs = AutoAugment(AutoAugmentPolicy.SVHN)
    theirs.policies = [((name, 1.0, step), ("Invert", -1.0, None))]
    ours = {svhn.OPERATIONS[name](PHOTO, step).numpy().tobytes() for _ in range(12)}
    assert {theirs(PHOTO).numpy().tobytes() for _ in range(12)} == ours
    assert PHOTO.numpy().tobytes() not in ours

"""A photo's rows, and the reasons of those that have none."""

import io
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("pyarrow", reason="the extra [scale] is not installed")
from fusion.gate import Gate
from scaling.destination import Destination
from scaling.listing import Part
from scaling.packed_model import load_packed, pack_model
from scaling.photo_rows import DeadLetter, Predictor, rows_of
from scaling.worker import predict_part


def jpeg() -> bytes:
    data = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    Image.fromarray(noise).save(data, "JPEG")
    return data.getvalue()


def huge() -> bytes:
    """The JPEG with a header that says 20,000 x 10,000 pixels."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = (10_000).to_bytes(2, "big") + (20_000).to_bytes(2, "big")
    return bytes(data)


def huge_png(width: int) -> Callable[[], bytes]:
    """A PNG whose header says `width` x 10,000 pixels, and that has none."""

    def data() -> bytes:
        head = b"IHDR" + struct.pack(">IIBBBBB", width, 10_000, 8, 2, 0, 0, 0)
        return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head)) + b"\0\0\0\0IDAT" * 9

    return data


def encoded(suffix: str, kind: type = np.uint8) -> Callable[[], bytes]:
    """A photo of noise as OpenCV writes it."""

    def data() -> bytes:
        noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(kind)
        return bytes(cv2.imencode(suffix, noise)[1])

    return data


@pytest.fixture
def predictor(runs: Path, tmp_path: Path) -> Predictor:
    packed = pack_model(runs, None)
    return Predictor(load_packed(packed, tmp_path / "packed"), packed.sha256, tmp_path)


def test_the_rows_are_what_the_pipeline_gives_with_both_evidences(predictor: Predictor) -> None:
    rows = rows_of("a.jpg", jpeg(), predictor)
    image = np.zeros((64, 64, 3), np.uint8)  # the models answer the same for every photo
    expected = predictor.model.pipeline(image)
    assert [[row["x"], row["y"], row["width"], row["height"]] for row in rows["boxes"]] == [row["bbox"] for row in expected]
    assert [(r["category_id"], r["score"]) for r in rows["boxes"]] == [(r["category_id"], r["score"]) for r in expected]
    assert [row["detector_category_id"] for row in rows["boxes"]] == [7, 40]  # columns 0 and 2 of CATEGORIES
    assert [row["detector_score"] for row in rows["boxes"]] == pytest.approx([0.8, 0.5])
    assert {row["classifier_category_id"] for row in rows["boxes"]} == {3}
    assert rows["photos"][0]["boxes"] == len(expected) == 2


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        pytest.param(bytes, "empty", id="no bytes"),
        pytest.param(lambda: b"text" * 99, "not a photo", id="text"),
        pytest.param(encoded(".ppm"), "not a photo", id="PPM, which OpenCV decodes and hylle predict refuses"),
        pytest.param(encoded(".tif", np.float32), "not a photo", id="TIFF of fractions, as well"),
        pytest.param(lambda: jpeg()[:-200], "truncated", id="cut off"),
        pytest.param(lambda: jpeg()[:-200] + b"\xff\xd9", "truncated", id="bytes missing before the end marker"),
        pytest.param(lambda: encoded(".webp")()[:-200], "truncated", id="WebP that is cut off"),
        pytest.param(lambda: encoded(".png")()[:-60], "truncated", id="PNG that is cut off"),
        pytest.param(lambda: encoded(".png")()[:20], "not a photo", id="PNG that ends in its header"),
        pytest.param(huge, "too large", id="200 megapixels"),
        pytest.param(huge_png(20_000), "too large", id="PNG of 200 megapixels, which is not decoded to be told so"),
        pytest.param(huge_png(30_000), "too large", id="PNG of 300 megapixels, more than any photo may have"),
        pytest.param(huge_png(60_000), "too large", id="PNG of 600 megapixels, which Pillow takes for a bomb"),
    ],
)
def test_a_broken_photo_has_a_reason(predictor: Predictor, data: Callable[[], bytes], reason: str) -> None:
    with pytest.raises(DeadLetter) as refused:
        rows_of("a.jpg", data(), predictor)
    assert refused.value.reason == reason and str(refused.value)


def test_a_photo_on_which_a_model_fails_has_a_reason(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError("no memory")

    monkeypatch.setattr(predictor.model.pipeline, "classify", fail)
    with pytest.raises(DeadLetter, match="MemoryError: no memory"):
        rows_of("a.jpg", jpeg(), predictor)


def test_a_part_with_broken_and_missing_photos_accounts_for_all(predictor: Predictor, tmp_path: Path) -> None:
    for name, data in {"1.jpg": jpeg(), "2.jpg": b"", "3.jpg": jpeg()[:-200], "5.jpg": jpeg()}.items():
        (tmp_path / name).write_bytes(data)
    part = Part(0, tuple(str(tmp_path / f"{i}.jpg") for i in range(1, 6)))
    entry = predict_part(part, predictor, Destination(str(tmp_path / "out")))
    assert entry == {"part": 0, "photos": 2, "boxes": 4, "dead_letters": {"empty": 1, "truncated": 1, "unreadable": 1}}


def test_a_pipe_named_as_a_photo_is_not_waited_for(predictor: Predictor, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "1.jpg")
    entry = predict_part(Part(0, (str(tmp_path / "1.jpg"),)), predictor, Destination(str(tmp_path / "out")))
    assert entry["dead_letters"] == {"unreadable": 1}


def test_another_model_or_rule_has_another_sha256(runs: Path) -> None:
    before, turned = pack_model(runs, None).sha256, pack_model(runs, "turned").sha256
    graph = runs / "one" / "model.onnx"
    graph.write_bytes(graph.read_bytes() + b"\0")
    assert len({before, turned, pack_model(runs, None).sha256}) == 3


@pytest.mark.parametrize("floor", [0.0, 0.7, 1.0], ids=["all named", "one of two named", "none named"])
def test_boxes_below_the_naming_floor_are_named_as_by_the_pipeline(predictor: Predictor, floor: float) -> None:
    pipeline = predictor.model.pipeline
    pipeline.ensemble = replace(pipeline.ensemble, naming_floor=floor)
    rows = rows_of("a.jpg", jpeg(), predictor)["boxes"]
    expected = pipeline(np.zeros((64, 64, 3), np.uint8))
    assert [(row["category_id"], row["score"]) for row in rows] == [(row["category_id"], row["score"]) for row in expected]
    assert sum(row["classifier_category_id"] is not None for row in rows) == {0.0: 2, 0.7: 1, 1.0: 0}[floor]


def test_a_box_that_the_gate_puts_first_keeps_the_classifiers_word_of_itself(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline = predictor.model.pipeline
    pipeline.ensemble = replace(pipeline.ensemble, gate=Gate("raw", name_exponent=1.0))
    monkeypatch.setattr(pipeline, "name", lambda *_: np.array([[0.1, 0.2, 0.1], [0, 0, 0.9]], np.float32))
    first, second = rows_of("a.jpg", jpeg(), predictor)["boxes"]
    assert (first["x"], second["x"]) == (44, 8)  # the second box that was found comes first
    assert (first["classifier_category_id"], second["classifier_category_id"]) == (40, 3)
    assert (first["classifier_probability"], second["classifier_probability"]) == pytest.approx((0.9, 0.2))

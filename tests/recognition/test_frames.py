"""Photos of every format give their pixels; a video gives a frame for each step of time; what is damaged says so."""

from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from recognition.frames import estimated_frames, read_photo, read_video
from recognition.inputs import Input
from recognition.matroska import MARK, start_seconds

HALVES = np.repeat(np.array([[[250, 10, 10], [10, 10, 250]]], np.uint8), 24, 0).repeat(24, 1)  # (24, 48, 3): red, then blue


def source(path: Path) -> Input:
    return Input(path, path.name, path.suffix == ".mp4")


def film(path: Path, seconds: float, rate: float = 5.0) -> Path:
    """A video whose frame k is grey of level 20 k, modulo 240."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), rate, (64, 48))
    for k in range(round(seconds * rate)):
        writer.write(np.full((48, 64, 3), 20 * k % 240, np.uint8))
    writer.release()
    return path


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".bmp", ".tiff"])
def test_every_format_gives_its_pixels(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(HALVES).save(tmp_path / f"a{suffix}")
    frame = read_photo(source(tmp_path / f"a{suffix}"), "stored")
    assert (frame.image.shape, frame.turned, frame.remark) == ((24, 48, 3), False, "")
    assert np.abs(frame.image[12, [8, 40]].astype(int) - HALVES[12, [8, 40]]).max() < 20


def test_exif_turns_the_photo_only_where_it_is_asked_for_and_is_counted(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(HALVES).save(tmp_path / "a.jpg", exif=exif)
    stored, turned = (read_photo(source(tmp_path / "a.jpg"), rule) for rule in ("stored", "turned"))
    assert (stored.image.shape, turned.image.shape) == ((24, 48, 3), (48, 24, 3))
    assert stored.turned and turned.turned


@pytest.mark.parametrize(
    ("data", "message"),
    [
        pytest.param(b"", "not a readable photo .got 0 bytes", id="empty"),
        pytest.param(b"\xff\xd8\xff rubbish", "readable|not a photo", id="rubbish"),
        pytest.param(b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC or AVIF is not read; export it as JPEG", id="a phone's HEIC"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.jpg").write_bytes(data)
    with pytest.raises(ValueError, match=message):
        read_photo(source(tmp_path / "a.jpg"), "stored")


def test_a_photo_that_is_cut_off_is_remarked_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    data = cv2.imencode(".jpg", rng.integers(0, 255, (64, 64, 3), np.uint8))[1].tobytes()
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2])
    assert "ends early" in read_photo(source(tmp_path / "a.jpg"), "stored").remark
    (tmp_path / "a.jpg").write_bytes(data[: len(data) // 2] + b"\xff\xd9")
    assert "damaged or missing" in read_photo(source(tmp_path / "a.jpg"), "stored").remark


@pytest.mark.parametrize(
    ("suffix", "share", "message"),
    [
        pytest.param(".png", 0.6, "the file ends early, and what is there cannot be decoded", id="PNG"),
        pytest.param(".bmp", 0.6, "the file ends early", id="BMP"),
        pytest.param(".tif", 0.6, "the file ends early", id="TIFF"),
        pytest.param(".lzw.tif", 0.6, r"^a.lzw.tif: not a readable photo .damaged, or of a form", id="TIFF, by name alone"),
        pytest.param(".webp", 0.6, "the photo is cut off", id="WebP"),
        pytest.param(".webp", 1.0, "got an animated WebP, need a still photo", id="animated WebP"),
    ],
)
def test_damage_is_told_by_true_words_and_not_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, share: float, message: str
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    frames = [Image.fromarray(255 - noise)] * (suffix == ".webp")
    how = {"compression": "tiff_lzw"} if "lzw" in suffix else {"save_all": True, "append_images": frames} if frames else {}
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path, **how)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ValueError, match=message) as refused:
        read_photo(source(path), "stored")
    assert "not a photo" not in str(refused.value) and str(tmp_path) not in str(refused.value)
    assert "loadsave.cpp" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("fps", "seconds"),
    [
        pytest.param(1.0, [0.0, 1.0, 2.0, 3.0], id="one a second"),
        pytest.param(0.5, [0.0, 2.0], id="one in two seconds"),
        pytest.param(2.0, [0.0, 0.6, 1.0, 1.6, 2.0, 2.6, 3.0, 3.6], id="between two frames: the next"),
        pytest.param(100.0, [k / 5 for k in range(20)], id="more than there are"),
    ],
)
def test_a_video_gives_frames_by_time(tmp_path: Path, fps: float, seconds: list[float]) -> None:
    path = film(tmp_path / "walk.mp4", 4)
    frames = list(read_video(source(path), fps, lambda name: False))
    assert [frame.name for frame in frames] == [f"walk.mp4/{s:09.3f}s" for s in seconds]
    levels = [20 * round(s * 5) % 240 for s in seconds]
    assert [abs(float(frame.image.mean()) - level) < 8 for frame, level in zip(frames, levels, strict=True)] == [True] * len(
        levels
    )
    assert abs(estimated_frames(path, fps) - len(seconds)) <= 1


def test_frames_that_are_done_are_passed_over(tmp_path: Path) -> None:
    path = film(tmp_path / "walk.mp4", 3)
    names = [frame.name for frame in read_video(source(path), 1, lambda name: name.endswith("01.000s"))]
    assert names == ["walk.mp4/00000.000s", "walk.mp4/00002.000s"]


def test_a_video_that_is_none_and_one_that_ends_early_say_so(tmp_path: Path) -> None:
    (tmp_path / "none.mp4").write_bytes(b"\0\0\0\x18ftypisom nothing")
    with pytest.raises(ValueError, match=r"cannot be opened|no frame"):
        list(read_video(source(tmp_path / "none.mp4"), 1, lambda name: False))


@pytest.mark.parametrize("cut", [0, 20], ids=["whole", "cut off"])
def test_jpegs_one_after_the_other_are_frames(tmp_path: Path, cut: int) -> None:
    levels = [0, 60, 120]
    jpegs = [cv2.imencode(".jpg", np.full((48, 64, 3), level, np.uint8))[1].tobytes() for level in levels]
    (tmp_path / "raw.mjpeg").write_bytes(b"".join(jpegs)[: sum(map(len, jpegs)) - cut])
    frames, given = read_video(source(tmp_path / "raw.mjpeg"), 25, lambda name: False), []
    with pytest.raises(ValueError, match="the file ends early") if cut else nullcontext():
        given += [next(frames) for _ in levels[cut > 0 :]]
        given += list(frames)
    assert [frame.name for frame in given] == [f"raw.mjpeg/00000.{40 * k:03}s" for k in range(len(given))]
    assert [round(float(frame.image.mean()), -1) for frame in given] == levels[: len(given)] and len(given) >= 2
    assert estimated_frames(tmp_path / "raw.mjpeg", 25) == 1, "nothing tells how many there are"


@pytest.mark.parametrize(("frames", "whole"), [(30, True), (12, False)], ids=["whole", "cut off"])
def test_a_clock_that_does_not_begin_at_0_is_no_missing_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: int, whole: bool
) -> None:
    """As OpenCV tells of an MKV whose first frame is at 5 s of its clock: 30 frames, 10 a second, that end at 7.9 s."""

    class Film:
        def __init__(self, path: str) -> None:
            self.at = -1

        def isOpened(self) -> bool:
            return True

        def get(self, what: int) -> float:
            return {cv2.CAP_PROP_FRAME_COUNT: 238.0, cv2.CAP_PROP_FPS: 30.0, cv2.CAP_PROP_POS_MSEC: 100.0 * self.at}[what]

        def grab(self) -> bool:
            self.at += 1
            return self.at < frames

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Film)
    scale, cluster = b"\x2a\xd7\xb1\x83\x0f\x42\x40", b"\x1fC\xb6u\x20\xd9\x30\xbf\x84abcd\xe7\x82\x13\x88"
    (tmp_path / "walk.mkv").write_bytes(MARK + bytes(9) + scale + bytes(9) + cluster)
    assert start_seconds(tmp_path / "walk.mkv") == 5.0
    with nullcontext() if whole else pytest.raises(ValueError, match="the video ends after 12 of 88 frames"):
        assert list(read_video(source(tmp_path / "walk.mkv"), 1, lambda name: True)) == []


def test_a_clock_that_nothing_tells_of_begins_at_0(tmp_path: Path) -> None:
    for name, data in (("empty.mkv", b""), ("a.mkv", MARK), ("a.mp4", b"\x1fC\xb6u\x81\xe7\x82\x13\x88")):
        (tmp_path / name).write_bytes(data)
        assert start_seconds(tmp_path / name) == 0
    assert start_seconds(tmp_path / "missing.mkv") == 0


@pytest.mark.parametrize(("seconds", "whole"), [(20.0, True), (4.0, False)], ids=["a nominal rate", "cut off"])
def test_fewer_frames_than_are_claimed_are_a_fault_only_where_time_is_missing_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, whole: bool
) -> None:
    """As OpenCV tells of MKV and WebM: 400 frames claimed at 20 a second, of which 100 are there."""

    class Film:
        def __init__(self, path: str) -> None:
            self.left = 100

        def isOpened(self) -> bool:
            return True

        def get(self, what: int) -> float:
            at = 1000 * seconds * (100 - self.left) / 100
            return {cv2.CAP_PROP_FRAME_COUNT: 400.0, cv2.CAP_PROP_FPS: 20.0, cv2.CAP_PROP_POS_MSEC: at}[what]

        def grab(self) -> bool:
            self.left -= 1
            return self.left >= 0

        def retrieve(self) -> tuple[bool, np.ndarray]:
            return True, np.zeros((4, 4, 3), np.uint8)

        def release(self) -> None:
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Film)
    frames = read_video(source(tmp_path / "walk.mkv"), 1, lambda name: True)
    if whole:
        assert list(frames) == []
    else:
        with pytest.raises(ValueError, match="the video ends after 100 of 400 frames"):
            list(frames)

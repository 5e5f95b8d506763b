"""Photos read ahead: in their order, within the bytes allowed, and whatever goes wrong with one costs that one only."""

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import until

from fusion import reading
from fusion.reading import Canvases, ReadAhead, decoded_bytes, file_bytes, photo_header, threads_beside
from runs.record import ROOT

BYTES = 3 * 64 * 48  # of a photo's pixels


def photos(folder: Path, count: int, size: tuple[int, int] = (64, 48)) -> list[Path]:
    """Grey photos, the k-th of value 10 k."""
    folder.mkdir(exist_ok=True)
    paths = [folder / f"{size[0]}_{k}.jpg" for k in range(count)]
    for k, path in enumerate(paths):
        Image.new("RGB", size, (10 * k,) * 3).save(path, quality=95)
    return paths


def values(reader: ReadAhead) -> list[int | None]:
    """The mean of each photo that is left, None for one that could not be read."""
    taken = [reader.take().photo for _ in range(len(reader.paths) + len(reader.ahead))]
    return [None if photo is None else round(float(photo.image.mean())) for photo in taken]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files read so far."""
    names, plain = [], reading.read_photo

    def recording(path: Path, exif: str = "stored") -> object:
        names.append(path.name)
        return plain(path, exif)

    monkeypatch.setattr(reading, "read_photo", recording)
    return names


def test_no_photos() -> None:
    reader = ReadAhead([])
    with pytest.raises(IndexError):
        reader.take()
    reader.close()


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_photos_come_in_their_order(tmp_path: Path, threads: int) -> None:
    reader = ReadAhead(photos(tmp_path, 12), threads=threads)
    assert reader.total == 12
    assert values(reader) == [10 * k for k in range(12)]
    reader.close()


def test_the_next_ones_are_read_while_the_caller_works(tmp_path: Path, read: list[str]) -> None:
    paths = photos(tmp_path, 6)
    reader = ReadAhead(paths, threads=1)
    first = reader.take()
    assert first.path == paths[0] and first.seconds > 0
    assert until(lambda: len(read) == 3)  # one thread: two more, and then it waits
    time.sleep(0.02)
    assert len(read) == 3
    reader.close()


@pytest.mark.parametrize("threads", [1, 3])
def test_what_no_work_was_done_beside_is_not_told_as_read_aside(tmp_path: Path, threads: int) -> None:
    """PNG bytes in files called .jpg, whose header tells no size: a thread reads them, but only when their turn comes."""
    paths = photos(tmp_path, 4)
    for path in paths:
        Image.new("RGB", (64, 48)).save(path, "PNG")
    reader = ReadAhead(paths, threads=threads)
    taken = [reader.take() for _ in paths]
    assert [(read.photo is not None, read.seconds) for read in taken] == [(True, 0.0)] * 4
    reader.close()


@pytest.mark.parametrize(
    ("photos_at_once", "at_once"),
    [pytest.param(2, 1, id="one ahead"), pytest.param(3, 2, id="two ahead"), pytest.param(9, 4, id="one for each thread")],
)
def test_reading_keeps_the_next_photo_waiting_for_its_share_of_what_is_read_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos_at_once: int, at_once: int
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", photos_at_once * BYTES)
    monkeypatch.setattr(ReadAhead, "_read", lambda self, path: reading.Reading(path, Canvases(None), None, 12.0))
    reader = ReadAhead(photos(tmp_path, 12), threads=4)
    assert [reader.take().seconds for _ in range(8)] == [12 / at_once] * 8
    reader.close()


def test_without_threads_nothing_is_read_before_its_turn(tmp_path: Path, read: list[str]) -> None:
    reader = ReadAhead(photos(tmp_path, 3), threads=0)
    assert reader.take().seconds == 0 and len(read) == 1


@pytest.mark.parametrize(
    ("photos_at_once", "ahead"),
    [
        pytest.param(0.5, 0, id="less than one photo: each in its turn"),
        pytest.param(1.5, 0, id="one: none beside that in use"),
        pytest.param(2.0, 1, id="two: one ahead"),
        pytest.param(3.5, 2, id="three: two ahead"),
        pytest.param(100.0, 5, id="many: as many as there are threads, and one"),
    ],
)
def test_pixels_in_memory_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str], photos_at_once: float, ahead: int
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", int(photos_at_once * BYTES))
    reader, most = ReadAhead(photos(tmp_path, 10), threads=4), 0
    for k in range(10):
        assert reader.take().photo is not None
        most = max(most, len(reader.ahead))
        assert len(read) <= k + 1 + ahead
        if len(reader.ahead):
            assert reader.bytes_in_use + sum(size for _, size, _ in reader.ahead) <= photos_at_once * BYTES
    assert most == ahead
    assert read == [f"64_{k}.jpg" for k in range(10)] or ahead
    reader.close()


def test_a_large_photo_waits_until_the_others_are_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[str]
) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 4 * BYTES)
    small, (large,) = photos(tmp_path, 3), photos(tmp_path, 1, (256, 96))
    reader = ReadAhead([small[0], small[1], large, small[2]], threads=2)
    reader.take()
    reader.take()
    time.sleep(0.02)
    assert large.name not in read
    assert reader.take().photo.image.shape == (96, 256, 3)
    time.sleep(0.02)
    assert read[-1] == large.name  # beside it none is read
    assert values(reader) == [20]
    reader.close()


@pytest.mark.parametrize("threads", [0, 1, 2])
@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError("gone"), RuntimeError("bomb"), reading.cv2.error("no memory")],
    ids=lambda e: type(e).__name__,
)
def test_what_fails_in_reading_costs_its_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, threads: int, error: Exception
) -> None:
    plain = reading.read_photo
    failing = {1: error, 4: error}

    def read_photo(path: Path, exif: str) -> object:
        if (number := int(path.stem.split("_")[1])) in failing:
            raise failing[number]
        return plain(path, exif)

    monkeypatch.setattr(reading, "read_photo", read_photo)
    reader = ReadAhead(photos(tmp_path, 6), threads=threads)
    assert values(reader) == [0, None, 20, 30, None, 50]
    reader.close()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit, BaseException])
def test_a_thread_that_is_ended_costs_its_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    plain = reading.read_photo

    def read_photo(path: Path, exif: str) -> object:
        if path.stem.endswith("_2"):
            raise kind
        return plain(path, exif)

    monkeypatch.setattr(reading, "read_photo", read_photo)
    reader = ReadAhead(photos(tmp_path, 5), threads=1)
    taken = [reader.take() for _ in range(5)]
    assert [photo.photo is None for photo in taken] == [False, False, True, False, False]
    assert isinstance(taken[2].error, kind) and taken[2].seconds == 0
    reader.close()


@pytest.mark.parametrize("exif", ["stored", "turned"])
def test_a_thread_needs_room_for_a_second_copy_and_no_third(tmp_path: Path, exif: str) -> None:
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.new("RGB", (6000, 4000)).save(tmp_path / "1.jpg", exif=tag)
    code = (
        "import re, sys\nfrom pathlib import Path\nfrom fusion.reading import decode_photo\n"
        "def peak(): return int(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1]) * 1024\n"
        "data, before = Path(sys.argv[1]).read_bytes(), peak()\ndecode_photo(data, sys.argv[2])\nprint(peak() - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "1.jpg"), exif], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 1.5 < int(done.stdout) / (3 * 6000 * 4000) < 2.3


def test_a_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A JPEG of some hundred bytes whose header promises 65,000 x 65,000 pixels."""
    paths = photos(tmp_path, 3)
    data = bytearray(paths[1].read_bytes())
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = b"\xfd\xe8\xfd\xe8"
    paths[1].write_bytes(data)
    reader = ReadAhead(paths, threads=2)
    taken = [reader.take() for _ in range(3)]
    assert [photo.photo is None for photo in taken] == [False, True, False]
    assert "65000 x 65000 pixels" in str(taken[1].error)
    reader.close()


def test_where_no_thread_can_be_started_photos_are_read_in_their_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit(*_: object) -> object:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    reader = ReadAhead(photos(tmp_path, 4), threads=2)
    assert values(reader) == [0, 10, 20, 30]


def test_what_is_given_up_is_not_read(tmp_path: Path, read: list[str]) -> None:
    reader = ReadAhead(photos(tmp_path, 9), threads=1)
    reader.take()
    reader.close()
    time.sleep(0.02)
    assert len(read) <= 3


@pytest.mark.parametrize(
    ("make", "size"),
    [
        pytest.param(lambda path: path.write_bytes(b""), reading.MAX_BYTES, id="empty file"),
        pytest.param(lambda path: None, reading.MAX_BYTES, id="missing file"),
        pytest.param(lambda path: path.mkdir(), reading.MAX_BYTES, id="folder"),
        pytest.param(lambda path: Image.new("RGB", (64, 48)).save(path, "PNG"), reading.MAX_BYTES, id="no JPEG: unknown"),
        pytest.param(lambda path: Image.new("RGB", (64, 48)).save(path), BYTES, id="JPEG"),
        pytest.param(lambda path: Image.new("L", (64, 48)).save(path), BYTES, id="grey: three channels too"),
        pytest.param(
            lambda path: Image.new("RGB", (64, 48)).save(path, icc_profile=b"x" * 200_000),
            BYTES,
            id="size after 200 kB of others",
        ),
    ],
)
def test_the_size_in_memory_is_known_before_decoding(tmp_path: Path, make: Callable[[Path], object], size: int) -> None:
    make(tmp_path / "1.jpg")
    assert decoded_bytes(tmp_path / "1.jpg") == size


def test_bytes_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert (file_bytes(tmp_path / "a"), file_bytes(tmp_path / "none")) == (3, 0)


def test_threads_leave_the_processors_to_models_on_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading.cv2, "getNumberOfCPUs", lambda: 4)
    gpu = "CUDAExecutionProvider"
    assert [threads_beside(set(p)) for p in ((gpu,), ("CPUExecutionProvider",), (gpu, "CPUExecutionProvider"))] == [3, 1, 1]
    monkeypatch.setattr(reading.cv2, "getNumberOfCPUs", lambda: 1)
    assert threads_beside({gpu}) == 1


def test_pixels_are_the_photos(tmp_path: Path) -> None:
    (path,) = photos(tmp_path, 1)
    with Image.open(path) as photo:
        np.testing.assert_array_equal(ReadAhead([path]).take().photo.image, np.asarray(photo))


def test_the_orientation_of_a_png_counts_only_before_its_pixels() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + bytes(4)

    turned = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0" + bytes(4))
    start, pixels = b"\x89PNG\r\n\x1a\n", chunk(b"IDAT", b"12345")
    assert [photo_header(start + one + other)[2] for one, other in ((turned, pixels), (pixels, turned))] == [6, 1]

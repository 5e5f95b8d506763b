"""The pixels that are predicted on: those of a photo, read as run.py reads them, or some frames of a video."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from fusion.reading import decode_photo, photo_header
from photos.jpeg_scan import runs_out
from photos.photo_file import is_cut_off, read_header
from recognition import jpeg_stream, matroska
from recognition.file_kind import unread_format
from recognition.inputs import Input

Image = npt.NDArray[np.uint8]
SWAPS_SIDES = 5  # EXIF orientations from here on turn a photo by a quarter
WHOLE = 0.9  # chosen: a video of which a smaller share of the frames it claims can be decoded is told to end early
SLACK = 1e-3  # chosen: seconds by which a frame may come before its time, since files round the times of frames


class Frame(NamedTuple):
    """A photo or a frame of a video, uint8 (H, W, 3) RGB; `remark` tells what is wrong with it, `turned` that EXIF turns it."""

    name: str
    image: Image
    remark: str = ""
    turned: bool = False


def read_photo(source: Input, exif: str) -> Frame:
    """The photo, by the rule `exif` of `fusion.views.EXIF`. Raises ValueError or OSError where it cannot be read."""
    if name := unread_format(source.path):
        raise ValueError(f"{name} is not read; export it as JPEG")
    data = source.path.read_bytes()
    read_header(source.path)  # refuses what is no photo, or has too many pixels, before they are decoded
    remark = "the file ends early: what is missing is grey" if is_cut_off(source.path) else ""
    try:
        image = decode_photo(data, exif)
    except ValueError as error:
        if not remark:
            raise
        raise ValueError("the file ends early, and what is there cannot be decoded; get it again") from error
    if not remark and runs_out(data, image):
        remark = "bytes are damaged or missing: what could not be decoded is grey"
    return Frame(source.name, image, remark, photo_header(data)[2] >= SWAPS_SIDES)


def read_video(source: Input, fps: float, skips: Callable[[str], bool]) -> Iterator[Frame]:
    """The frames of a video at `fps` a second, or all where it has fewer; turned as a player turns them.

    A frame is called NAME/SECONDSs; one whose name `skips` lets through is passed over without decoding. The first frame at or
    after each multiple of 1 / `fps` seconds is taken; a stream of JPEGs has no times: OpenCV takes 25 a second. Raises
    ValueError where the file cannot be opened, has no frame, or ends before WHOLE of the frames and of the time that it
    claims, or within the last JPEG of a stream; the frames before have then been given.
    """
    video = cv2.VideoCapture(str(source.path))
    try:
        if not video.isOpened():
            raise ValueError("cannot be opened as a video")
        claimed, rate = _claimed(video, source.path)
        count, due, seconds = 0, 0.0, 0.0
        while video.grab():
            seconds, count = _seconds(video, count), count + 1
            if seconds < due - SLACK:
                continue
            due = (np.floor((seconds + SLACK) * fps) + 1) / fps
            name = f"{source.name}/{seconds:09.3f}s"
            if not skips(name):
                yield _decoded(video, name)
    finally:
        video.release()
    # in MKV and WebM what is claimed is the length times a nominal rate, of which a varying rate has fewer frames
    if count < max(1.0, WHOLE * claimed) and (count == 0 or rate <= 0 or seconds < WHOLE * (claimed - 1) / rate):
        raise ValueError(f"the video ends after {count} of {claimed:.0f} frames" if count else "the video has no frame")
    if jpeg_stream.is_stream(source.path) and jpeg_stream.ends_early(source.path):
        raise ValueError("the file ends early: what is missing of the last frame is grey")


def estimated_frames(path: Path, fps: float) -> int:
    """About how many frames `read_video` gives, for the progress."""
    video = cv2.VideoCapture(str(path))
    count, rate = _claimed(video, path)
    video.release()
    return max(1, round(count / rate * min(fps, rate))) if rate > 0 and count > 0 else 1


def _claimed(video: cv2.VideoCapture, path: Path) -> tuple[float, float]:
    """How many frames the file says it has, and how many a second; a number below 1 where it does not say.

    OpenCV counts them from the length that is told, which for MKV and WebM is the time of the end by the file's own clock.
    """
    rate = video.get(cv2.CAP_PROP_FPS)
    return video.get(cv2.CAP_PROP_FRAME_COUNT) - max(0.0, rate) * matroska.start_seconds(path), rate


def _seconds(video: cv2.VideoCapture, index: int) -> float:
    """When the frame that was grabbed is shown; by its number where the file does not tell, which may read as long before 0."""
    told, rate = video.get(cv2.CAP_PROP_POS_MSEC) / 1000, video.get(cv2.CAP_PROP_FPS)
    return float(told) if told > 0 else index / rate if rate > 0 else 0.0


def _decoded(video: cv2.VideoCapture, name: str) -> Frame:
    done, image = video.retrieve()  # (H, W, 3) BGR
    if not done or image is None:
        raise ValueError(f"{name.rpartition('/')[2]}: the frame cannot be decoded")
    return Frame(name, np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))

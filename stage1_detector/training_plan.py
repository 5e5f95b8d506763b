"""What a detector's training is about to do, in words, and what of it its user may not expect."""

from collections.abc import Sequence

from photos.data import Photo
from runs.counted import counted
from stage1_detector.config import Config


def in_words(config: Config, photos: Sequence[Photo], starts_random: bool = False) -> list[str]:
    """What is trained, on how many photos and for how long; then what it cannot find, and what its start means, if anything."""
    from stage1_detector.engine import epochs, max_det
    from stage1_detector.ultralytics_engine import rtdetr

    network, n_photos = getattr(config, "model", config.family), len(photos)
    plan = f"{network} on {counted(n_photos, 'photo')} at {config.size} px, {counted(epochs(config, n_photos), 'epoch')}"
    fullest = max((len(photo.boxes) for photo in photos), default=0)
    limit = rtdetr.limit_in_words(config.size, fullest) if config.family == "rtdetr" else ""
    if config.family == "rcnn" and (wanted := max_det(photos)) > getattr(config, "proposals", wanted):
        limit = (
            f"at most {config.proposals} places of a photo are looked at, the fullest has {fullest} boxes: --proposals {wanted}"
        )
    slow_start = rtdetr.RANDOM_START if config.family == "rtdetr" and starts_random else ""
    return [line for line in (plan, limit, slow_start) if line]

"""How many processes may load photos for ultralytics: its batches go through /dev/shm, which a container may have little of."""

import os
from pathlib import Path

SHM = Path("/dev/shm")
AHEAD = 5  # taken: ultralytics' prefetch of 4 batches for each process, and the one that is being made
RESERVE = 0.8  # chosen: share of what is free that batches may take


def workers_that_fit(wanted: int, batch_bytes: int, folder: Path = SHM) -> int:
    """As many of the `wanted` processes as the free space of `folder` holds the batches of, of `batch_bytes` each.

    All of them where there is no such folder: then the system shares memory in another way.
    """
    if not folder.is_dir():
        return wanted
    usage = os.statvfs(folder)
    free = usage.f_bavail * usage.f_frsize
    return min(wanted, int(RESERVE * free / (AHEAD * batch_bytes)))

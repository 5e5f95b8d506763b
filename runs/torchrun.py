"""Whether torchrun started this process among others; asked before torch is loaded, which takes seconds."""

import os


def is_torchrun() -> bool:
    """Whether the environment describes several processes that train together, of which this is one."""
    return "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1

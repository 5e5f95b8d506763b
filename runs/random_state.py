"""torch's random generators as they were, after a block that seeds them."""

from contextlib import AbstractContextManager

import torch


def kept() -> AbstractContextManager[None]:
    """torch's generators, of the CPU and of this process's GPU, are afterwards as they were before.

    Without a word on devices `torch.random.fork_rng` begins to use every GPU of the machine, and warns where there are several.
    """
    return torch.random.fork_rng([torch.cuda.current_device()] if torch.cuda.is_available() else [])

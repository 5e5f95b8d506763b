"""GPU memory that torch keeps after use: onnxruntime, in the same process, and smaller batches cannot have it meanwhile."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def release() -> None:
    """Give back what no tensor needs any more; where an error is being handled, its traceback still holds tensors.

    Nothing to do, and no second of collecting, in a process that has used no GPU.
    """
    if torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


@contextmanager
def released_afterwards() -> Iterator[None]:
    """As a decorator: `release` when the function is left, and its variables are gone."""
    try:
        yield
    finally:
        release()

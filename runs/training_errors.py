"""What can go wrong in any training: a loss that is not finite, a batch that memory does not hold."""

import math
from collections.abc import Sequence
from typing import NamedTuple

from runs.counted import named
from runs.refusal import NonFiniteLoss

OUT_OF_MEMORY = (
    "out of memory", "can't allocate memory", "status_alloc_failed", "device_allocation_failed", "cudnn_status_internal_error",
    "unable to find an engine to execute this computation",
)  # fmt: skip


class BatchesPerStep(NamedTuple):
    """Photos of a batch, and how many batches' gradients are accumulated for one step of the optimiser."""

    batch: int
    accumulate: int

    def with_smaller_batch(self) -> "BatchesPerStep":
        """Half the batch or less, and so many more of them that a step stays of as many photos.

        >>> [tuple(BatchesPerStep(n, 1).with_smaller_batch()) for n in (8, 6, 5, 2)]
        [(4, 2), (3, 2), (1, 5), (1, 2)]
        """
        batch = next(n for n in range(self.batch // 2, 0, -1) if self.batch % n == 0)
        return BatchesPerStep(batch, self.batch * self.accumulate // batch)

    @property
    def told(self) -> str:
        """The line that tells of a smaller batch."""
        return f"out of memory: goes on with a batch of {self.batch}, {self.accumulate} to a step"


def refuse_non_finite(loss: float, epoch: int, lr: float, photos: Sequence[str] = ()) -> None:
    """Raises FloatingPointError, which the command shows as the user's to mend, for a loss that is infinite or not a number.

    Args:
        loss: of one step.
        epoch: from 0; the message counts from 1.
        lr: the setting, which the message advises to lower.
        photos: file names of the step's batch, whose boxes may be the reason; none where it does not learn from whole photos.

    >>> refuse_non_finite(float("nan"), 2, 0.5)
    Traceback (most recent call last):
    runs.refusal.NonFiniteLoss: loss of epoch 3: got nan, must be finite; lower --lr (now 0.5)
    """
    if not math.isfinite(loss):
        batch = f"mend the boxes of this batch: {named(photos)}" if photos else ""
        what = f"loss of epoch {epoch + 1}: got {loss}, must be finite"
        raise NonFiniteLoss(what, f"lower --lr (now {lr}){batch and f', or {batch}'}", batch or "another --seed may help")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU, or torch on a CPU, reports that memory ran out.

    cuDNN and cuBLAS, which allocate workspaces of their own, report it as a status, or as no algorithm that fits.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    >>> is_out_of_memory(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"))
    True

    >>> cudnn = (
    ...     "GET was unable to find an engine to execute this computation",
    ...     "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
    ...     "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    ... )
    >>> [is_out_of_memory(RuntimeError(line)) for line in cudnn], is_out_of_memory(RuntimeError("CUDNN_STATUS_NOT_SUPPORTED"))
    ([True, True, True], False)
    """
    message = str(error).lower()
    return any(words in message for words in OUT_OF_MEMORY)


def refuse_lost_worker(error: RuntimeError) -> None:
    """Raises OSError, of one line, where `error` is torch's word that a process which loads photos is gone, or answers no more.

    >>> refuse_lost_worker(RuntimeError("DataLoader timed out after 900 seconds"))
    Traceback (most recent call last):
    OSError: loading photos: DataLoader timed out after 900 seconds; is there too little memory, or is the disk gone?
    """
    message = (str(error).splitlines() or [""])[0]
    if message.startswith(("DataLoader worker", "DataLoader timed out")):
        raise OSError(f"loading photos: {message.rstrip('. ')}; is there too little memory, or is the disk gone?") from error

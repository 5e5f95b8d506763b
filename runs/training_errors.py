"""What can go wrong in any training: a loss that is not finite, a batch that memory does not hold."""

import math


def refuse_non_finite(loss: float, epoch: int, lr: float) -> None:
    """Raises FloatingPointError, which the command shows as the user's to mend, for a loss that is infinite or not a number.

    Args:
        loss: of one step.
        epoch: from 0; the message counts from 1.
        lr: the setting, which the message advises to lower.

    >>> refuse_non_finite(float("nan"), 2, 0.5)
    Traceback (most recent call last):
    FloatingPointError: loss of epoch 3: got nan, must be finite; lower --lr (now 0.5)
    """
    if not math.isfinite(loss):
        raise FloatingPointError(f"loss of epoch {epoch + 1}: got {loss}, must be finite; lower --lr (now {lr})")


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU, or torch on a CPU, reports that memory ran out.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower()

"""What can go wrong in any training: a loss that is not finite, a batch that memory does not hold."""

import math
from collections.abc import Sequence

NAMED = 8  # chosen: photos of a batch that a message names


def refuse_non_finite(loss: float, epoch: int, lr: float, photos: Sequence[str] = ()) -> None:
    """Raises FloatingPointError, which the command shows as the user's to mend, for a loss that is infinite or not a number.

    Args:
        loss: of one step.
        epoch: from 0; the message counts from 1.
        lr: the setting, which the message advises to lower.
        photos: file names of the step's batch, whose boxes may be the reason; none where it does not learn from whole photos.

    >>> refuse_non_finite(float("nan"), 2, 0.5)
    Traceback (most recent call last):
    FloatingPointError: loss of epoch 3: got nan, must be finite; lower --lr (now 0.5)
    """
    if not math.isfinite(loss):
        batch = f", or mend the boxes of this batch: {listed(photos)}" if photos else ""
        raise FloatingPointError(f"loss of epoch {epoch + 1}: got {loss}, must be finite; lower --lr (now {lr}){batch}")


def listed(names: Sequence[str]) -> str:
    """The first NAMED of `names`, and how many more there are.

    >>> listed(["a.jpg", "b.jpg"]), listed(["a.jpg"] * 10)[-21:]
    ('a.jpg, b.jpg', 'jpg, a.jpg and 2 more')
    """
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a GPU, or torch on a CPU, reports that memory ran out.

    >>> is_out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")), is_out_of_memory(RuntimeError("shape"))
    (True, False)
    """
    return "out of memory" in str(error).lower() or "can't allocate memory" in str(error).lower()


def refuse_lost_worker(error: RuntimeError) -> None:
    """Raises OSError, of one line, where `error` is torch's word that a process which loads photos is gone, or answers no more.

    >>> refuse_lost_worker(RuntimeError("DataLoader timed out after 900 seconds"))
    Traceback (most recent call last):
    OSError: loading photos: DataLoader timed out after 900 seconds; is there too little memory, or is the disk gone?
    """
    message = (str(error).splitlines() or [""])[0]
    if message.startswith(("DataLoader worker", "DataLoader timed out")):
        raise OSError(f"loading photos: {message.rstrip('. ')}; is there too little memory, or is the disk gone?") from error

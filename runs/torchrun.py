"""Whether torchrun started this process among others; asked before torch is loaded, which takes seconds."""

import os


def is_torchrun() -> bool:
    """Whether the environment describes several processes that train together, of which this is one.

    Raises ValueError for a WORLD_SIZE that is no number.
    """
    world_size = os.environ.get("WORLD_SIZE", "1")
    if "RANK" in os.environ and not world_size.isdecimal():
        raise ValueError(f"WORLD_SIZE: got {world_size!r}, must be a number of processes, as torchrun sets it; or unset RANK")
    return "RANK" in os.environ and int(world_size) > 1


def refuse_torchrun(command: str) -> None:
    """Raises ValueError where torchrun started several processes of `command`, each of which would do the whole of its work."""
    if is_torchrun():
        raise ValueError(
            f"{command}: got {os.environ['WORLD_SIZE']} processes of torchrun, must be one: several share the work of "
            "train-detector, train-classifier and distill alone; call it without torchrun, or with RANK unset"
        )

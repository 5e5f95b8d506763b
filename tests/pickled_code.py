"""A weights file that runs code when it is unpickled: it leaves a file that tells so."""

import os
import pickle
from pathlib import Path

import torch

MARKER = "the code has run"


class Evil:
    """Makes the folder MARKER in `folder` when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.folder / MARKER),)


def write_evil(path: Path, folder: Path, legacy: bool = False) -> Path:
    """Write PATH, as torch does or, `legacy`, as a bare pickle."""
    if legacy:
        path.write_bytes(pickle.dumps({"model": Evil(folder)}, 0))
    else:
        torch.save({"model": Evil(folder)}, path)
    return path

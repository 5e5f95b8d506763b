"""The files of a model, in memory, so that workers on other machines get them through Ray."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from fusion.ensemble import read_ensemble
from fusion.models import read_sidecar
from recognition.recogniser import Recogniser, load_recogniser
from runs.model_files import files_of
from runs.named_file import naming


class PackedModel(NamedTuple):
    """ensemble.json, sidecars and graphs by their paths; `exif` as in `load_recogniser`."""

    files: dict[str, bytes]
    exif: str | None

    @property
    def sha256(self) -> str:
        """Of the names and bytes of all files, in order, and of how photos are read."""
        digest = hashlib.sha256(repr(self.exif).encode())
        for name, data in sorted(self.files.items()):
            digest.update(f"\n{name} {len(data)}\n".encode() + data)
        return digest.hexdigest()


def pack_model(folder: Path, exif: str | None) -> PackedModel:
    """The model in FOLDER. Raises ValueError where it is malformed, OSError where a file is missing."""
    sidecars = [(folder / file).with_suffix(".json") for file in files_of(read_ensemble(folder))]
    graphs = [path.with_name(read_sidecar(path).graph or path.with_suffix(".onnx").name) for path in sidecars]
    listed = [path for path in (folder / "ensemble.json",) if path.is_file()]
    return PackedModel({str(path.relative_to(folder)): path.read_bytes() for path in (*listed, *sidecars, *graphs)}, exif)


def load_packed(model: PackedModel, folder: Path) -> Recogniser:
    """Write the files to FOLDER and load them. Raises ValueError where one is broken."""
    for name, data in model.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with naming(path):
            path.write_bytes(data)
    return load_recogniser(folder, model.exif)

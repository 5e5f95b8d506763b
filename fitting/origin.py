"""What a fit is made from, as it was when the fit began: fingerprints of its data set and of the files that its flags name."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from photos import fingerprint
from photos.data import DataError, Dataset, read
from photos.studio import STUDIO
from runs import record
from runs.pretrained import WORDS
from stage1_detector import model_yaml

if TYPE_CHECKING:
    from fitting.procedure import Procedure

CHANGED = (
    "changed while the fit was at work, and models of both must not be mixed; put back what was there and call it again, or "
    "fit anew, by --out"
)


class Origin(NamedTuple):
    """The folder of the data set, and its fingerprints by `fingerprints_of`; and those of further `files`, by `wished_files`.

    Each training reads the folder and the files itself, an hour after another one: they must hold the same.
    """

    data: Path
    made_from: Mapping[str, str]
    files: Mapping[Path, str] = MappingProxyType({})

    def refuse_changed(self) -> None:
        """Raises DataError where the folder holds other photos or labels than when the fit began, or a file something else."""
        for path, value in self.files.items():
            if not path.is_file() or record.fingerprint(path) != value:
                raise DataError(f"fit: {path} {CHANGED}")
        now = fingerprints_of(read(self.data), "studio" in self.made_from)
        changed = [name for name, value in self.made_from.items() if now.get(name) != value]
        if changed:
            raise DataError(f"fit: {self.data}: {' and '.join(changed)} {CHANGED}")


def wished_files(procedure: "Procedure") -> dict[Path, str]:
    """Fingerprints of the files that a procedure names: weights to start from, photos of one shelf, a detector's YAML."""
    given = [Path(text) for text in (procedure.pretrained, procedure.crop_pretrained, procedure.groups) if text not in WORDS]
    models = (getattr(config, "model", "") for config in (procedure.detector, procedure.aware))
    own = (model_yaml.own_file(model) for model in models)
    return {path: record.fingerprint(path) for path in (*given, *own) if path is not None and path.is_file()}


def fingerprints_of(dataset: Dataset, with_studio: bool) -> dict[str, str]:
    """Fingerprints of the photos, boxes and names, and of the studio photos, if any, where they may be learnt from."""
    studio = dataset.root / STUDIO
    made_from = fingerprint.of_photos(dataset.photos, dataset.categories)
    return made_from | ({"studio": fingerprint.of_folder(studio)} if with_studio and studio.is_dir() else {})

"""What a fit is of: the folder of its data set, and fingerprints of what that held when the fit began."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from photos import fingerprint
from photos.data import DataError, Dataset, read
from photos.studio import STUDIO


class Origin(NamedTuple):
    """The folder of the data set, and its fingerprints by `fingerprints_of`.

    Each training reads the folder itself, an hour after another one: it must hold the same.
    """

    data: Path
    made_from: Mapping[str, str]

    def refuse_changed(self) -> None:
        """Raises DataError where the folder holds other photos or labels than when the fit began."""
        now = fingerprints_of(read(self.data), "studio" in self.made_from)
        changed = [name for name, value in self.made_from.items() if now.get(name) != value]
        if changed:
            what = f"{' and '.join(changed)} changed while the fit was at work, and models of both must not be mixed"
            raise DataError(f"fit: {self.data}: {what}; put back what was there and call it again, or fit anew, by --out")


def fingerprints_of(dataset: Dataset, with_studio: bool) -> dict[str, str]:
    """Fingerprints of the photos, boxes and names, and of the studio photos, if any, where they may be learnt from."""
    studio = dataset.root / STUDIO
    made_from = fingerprint.of_photos(dataset.photos, dataset.categories)
    return made_from | ({"studio": fingerprint.of_folder(studio)} if with_studio and studio.is_dir() else {})

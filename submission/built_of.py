"""Of which models and which ensemble.json a zip was built, noted in its manifest: figures of others are not its own."""

import json
import zipfile
from pathlib import Path
from typing import Any

from fusion.ensemble import Ensemble, read_ensemble
from runs.command import say
from runs.model_files import measured_of

KEY = "built_of"  # in manifest.json


def entry(runs: Path, ensemble: Ensemble) -> dict[str, Any]:
    """What the manifest says of it."""
    return {KEY: measured_of(runs, ensemble)}


def refuse_other(archive: Path, runs: Path) -> None:
    """Raises ValueError where ARCHIVE was built of other models, or by another method, than RUNS has now.

    Says so where that is not known: of a zip by another builder or an older version.
    """
    if not (runs / "ensemble.json").is_file():
        return
    try:
        with zipfile.ZipFile(archive) as opened:
            told = json.loads(opened.read("manifest.json")).get(KEY)
    except (KeyError, ValueError, AttributeError):
        told = None
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{archive}: not a zip: {error}") from None
    if told is None:
        say(f"{archive.name}: whether it was built of the models in {runs} is not known: its manifest does not say")
    elif told != measured_of(runs, read_ensemble(runs)):
        raise ValueError(
            f"{archive}: was built of other models, or by another ensemble.json, than {runs} has now; build it again, or name "
            "the run folder that it is of"
        )

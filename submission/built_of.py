"""Of which models and which ensemble.json a zip was built, noted in its manifest: figures of others are not its own.

It also notes which photos these have seen, by fingerprints of their bytes, so that a score on them is not taken for one on new
photos, wherever the zip is and whatever has become of the run folder.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from fusion.ensemble import Ensemble, read_ensemble
from photos import trained_on
from photos.fingerprint import of_file
from photos.folds import Folds
from runs.command import say
from runs.counted import counted
from runs.model_files import files_of, measured_of

KEY = "built_of"  # in manifest.json
SEEN = "seen"  # likewise: what its models were trained on, and what it was chosen on, where all of them tell


def entry(runs: Path, ensemble: Ensemble) -> dict[str, Any]:
    """What the manifest says of it."""
    seen = trained_on.seen_by_run(runs, [runs / file for file in files_of(ensemble)])
    told = {} if seen is None else {SEEN: {part: sorted(photos) for part, photos in seen.items()}}
    return {KEY: measured_of(runs, ensemble)} | told


def seen_by(archive: Path) -> trained_on.Seen | None:
    """The photos that ARCHIVE was trained, or chosen, on; None where its manifest does not tell."""
    told = _manifest(archive).get(SEEN)
    if not isinstance(told, dict) or not all(isinstance(told.get(part), list) for part in trained_on.PARTS):
        return None
    return {part: set(map(str, told[part])) for part in trained_on.PARTS}


def refuse_seen(archive: Path, part: str, parts: Folds) -> None:
    """Raises ValueError where ARCHIVE was trained, or chosen, on photos that `parts` hold out in `part`."""
    if known := trained_on.held_out(part, seen_by(archive) or {}, parts):
        raise ValueError(
            f"{archive}: was trained, or chosen, on {counted(len(known), 'photo')} of the part {part}, by their bytes, so a "
            "score there says little of new ones; name the run folder that it was built from, or train its models without them"
        )


def seen_in_words(archive: Path, photos: Iterable[Path]) -> str:
    """How many of `photos` ARCHIVE was trained, or chosen, on, as a sentence that belongs beside a score on them."""
    seen = seen_by(archive)
    if seen is None:
        return "whether the models were trained, or chosen, on these photos is not known: the zip does not tell"
    known, files = seen["train"] | seen["valid"], list(photos)
    count = sum(of_file(photo) in known for photo in files)
    if not count:
        return f"by their bytes, none of these {len(files)} photos was used in training or for a choice"
    return f"{count} of these {len(files)} photos were used in training or for a choice: the score says little of new photos"


def precision_entry(half: bool, int8: Sequence[str]) -> dict[str, Any]:
    """What the manifest says of models that are not packed as they were trained: all in FP16, or those of `int8` in 8 bits."""
    return ({"half": True} if half else {}) | ({"int8": list(int8)} if int8 else {})


def precision_of(archive: Path) -> str:
    """Which models of ARCHIVE are not in float32, by its manifest, in words; empty where it tells of none."""
    told = _manifest(archive)
    if told.get("half"):
        return "all models are in FP16"
    return f"these are in 8 bits: {', '.join(map(str, told['int8']))}" if isinstance(told.get("int8"), list) else ""


def _manifest(archive: Path) -> dict[str, Any]:
    """The manifest of ARCHIVE; empty where that has none that can be read. Raises ValueError where it is no zip."""
    try:
        with zipfile.ZipFile(archive) as opened:
            return dict(json.loads(opened.read("manifest.json")))
    except (KeyError, ValueError, TypeError):
        return {}
    except (zipfile.BadZipFile, OSError) as error:
        raise ValueError(f"{archive}: not a zip: {error}") from None


def _changed(archive: Path, packed: object) -> str:
    """The first file of ARCHIVE whose bytes are not those that its manifest tells of, `packed`; "" where it tells of none."""
    if not isinstance(packed, dict):
        return ""
    with zipfile.ZipFile(archive) as opened:
        names = {name for name in opened.namelist() if not name.endswith("/")} - {"manifest.json"}
        for name in sorted(names | packed.keys()):
            told = packed.get(name)
            whole = told.get("sha256") if isinstance(told, dict) and name in names else None
            if hashlib.sha256(opened.read(name) if name in names else b"").hexdigest() != whole:
                return name
    return ""


def refuse_other(archive: Path, runs: Path) -> None:
    """Raises ValueError where ARCHIVE was built of other models, or by another method, than RUNS has now.

    Says so where that is not known: of a zip by another builder or an older version.
    """
    if not (runs / "ensemble.json").is_file():
        return
    manifest = _manifest(archive)
    if changed := _changed(archive, manifest.get("files")):
        raise ValueError(
            f"{archive}: {changed} is not what hylle build packed, so no figure of {runs} is its own; build it again"
        )
    told = manifest.get(KEY)
    if told is None:
        say(f"{archive.name}: whether it was built of the models in {runs} is not known: its manifest does not say")
    elif told != measured_of(runs, read_ensemble(runs)):
        raise ValueError(
            f"{archive}: was built of other models, or by another ensemble.json, than {runs} has now; build it again, or name "
            "the run folder that it is of"
        )

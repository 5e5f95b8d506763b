"""OUT: three Parquet tables, each partitioned by part, and the manifest of the parts that are finished.

    OUT/process.json                               while a call writes to a local OUT: which
    OUT/job.json                                   what the run is of: model, photos, photos a part, code
    OUT/boxes/part=000012/boxes.parquet            one row a box
    OUT/photos/part=000012/photos.parquet          one row a photo that was predicted, with boxes or without
    OUT/dead_letters/part=000012/dead_letters.parquet    one row a photo that could not be, and why
    OUT/manifest/part=000012.json                  written last: the part is finished

Every file appears whole or not at all. A part that is done again, because its worker was killed, replaces its own files.
"""

import io
import json
import os
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from runs import process
from runs.named_file import naming
from scaling.listing import Part, filesystem

EVIDENCE = [
    ("detector_category_id", pa.int64()),
    ("detector_score", pa.float32()),
    ("classifier_category_id", pa.int64()),
    ("classifier_probability", pa.float32()),
]
SCHEMAS = {
    "boxes": pa.schema(
        [
            *(("photo", pa.string()), ("x", pa.float64()), ("y", pa.float64()), ("width", pa.float64())),
            *(("height", pa.float64()), ("category_id", pa.int64()), ("category_name", pa.string()), ("score", pa.float64())),
            *EVIDENCE,
            ("model_sha256", pa.string()),
        ]
    ),
    "photos": pa.schema(
        [
            ("photo", pa.string()),
            ("width", pa.int32()),
            ("height", pa.int32()),
            ("boxes", pa.int32()),
            ("seconds", pa.float64()),
        ]
    ),
    "dead_letters": pa.schema([("photo", pa.string()), ("reason", pa.string()), ("detail", pa.string())]),
}


@dataclass(frozen=True)
class Destination:
    """The folder at a URI that a run writes to."""

    uri: str

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A block in which no other call of this machine writes to OUT, a local folder. Raises ValueError where one does."""
        files, root = self._folder()
        local = "file" in _protocols(files)
        with process.claimed(Path(root), "writes to it; wait until it is done, or end it first") if local else nullcontext():
            yield

    def claim(self, job: dict[str, Any]) -> None:
        """Make OUT that of `job`, or go on with it. Raises ValueError where it is another run's, or of other things."""
        names = self._names()
        held = self._object("job.json")
        if held is None:
            if names:
                raise ValueError(f"--out {self.uri}: holds files and no job.json; need a new or empty folder")
            self.write("job.json", json.dumps(job, indent=1).encode())
            return
        if not held:
            raise ValueError(f"--out {self.uri}: job.json is damaged, so what the folder is of is unknown; give another --out")
        other = [name for name in job if held.get(name) != job[name]]
        if other:
            what = "; ".join(f"{name} {held.get(name)}, now {job[name]}" for name in other)
            raise ValueError(
                f"--out {self.uri}: made from something else: {what}; give another --out, or what it was made from"
            )

    def finished(self) -> dict[int, dict[str, Any]]:
        """The manifest: what is recorded of each finished part, by its number; one whose tables are gone is not finished."""
        names = self._names()
        parts = [name.split("/")[1].removesuffix(".json") for name in names if name.startswith("manifest/part=")]
        whole = [part for part in parts if all(f"{table}/{part}/{table}.parquet" in names for table in SCHEMAS)]
        return {int(part.removeprefix("part=")): self._entry(part) for part in whole}

    def _entry(self, part: str) -> dict[str, Any]:
        """The line of the manifest of a finished part. Raises ValueError where it is damaged."""
        entry = self._object(f"manifest/{part}.json") or {}
        if not {"part", "photos", "boxes", "dead_letters"} <= entry.keys():
            raise ValueError(
                f"--out {self.uri}: manifest/{part}.json is damaged; remove it, and call again: its part is redone"
            )
        return entry

    def finish(self, part: Part, tables: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        """Write the tables of a part, then its line of the manifest, which is returned.

        Raises ValueError where the rows do not account for each photo of the part exactly once.
        """
        accounted = Counter(row["photo"] for table in ("photos", "dead_letters") for row in tables[table])
        if accounted != Counter(part.uris):
            raise ValueError(f"{part.name}: {accounted.total()} rows, must account for each of {len(part.uris)} photos once")
        for table, schema in SCHEMAS.items():
            buffer = io.BytesIO()
            pq.write_table(pa.Table.from_pylist(tables[table], schema), buffer, compression="zstd")
            self.write(f"{table}/{part.name}/{table}.parquet", buffer.getvalue())
        reasons = Counter(row["reason"] for row in tables["dead_letters"])
        entry = {"part": part.number, "photos": len(tables["photos"]), "boxes": len(tables["boxes"]), "dead_letters": reasons}
        self.write(f"manifest/{part.name}.json", json.dumps(entry).encode())
        return entry

    def write(self, name: str, data: bytes) -> None:
        """Write a file of OUT, whole or not at all: locally by renaming, in an object store as one object."""
        files, root = filesystem(self.uri)
        if "file" not in _protocols(files):
            files.pipe_file(f"{root}/{name}", data)
            return
        path, beside = Path(root) / name, Path(root) / "unfinished" / uuid.uuid4().hex
        for folder in (path.parent, beside.parent):
            folder.mkdir(parents=True, exist_ok=True)
        with naming(path), beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a machine that loses power keeps no manifest of tables that it lost
        beside.replace(path)

    def clear_unfinished(self) -> int:
        """Remove what killed workers left half written; how many files that were. Only while no other run writes here."""
        files, root = filesystem(self.uri)
        left = list((Path(root) / "unfinished").glob("*")) if "file" in _protocols(files) else []
        for path in left:
            path.unlink()
        return len(left)

    def _object(self, name: str) -> dict[str, Any] | None:
        """The JSON object in a file of OUT, {} where it is damaged; None where there is no such file."""
        files, root = filesystem(self.uri)
        try:
            content = json.loads(files.cat_file(f"{root}/{name}"))
        except FileNotFoundError:
            return None
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def _names(self) -> set[str]:
        """The files below OUT, by their paths in it, without those that are half written."""
        files, root = self._folder()
        files.invalidate_cache()
        names = {name.removeprefix(root).lstrip("/") for name in files.find(root)}
        return {name for name in names if name != process.NAME and not name.startswith("unfinished/")}

    def _folder(self) -> tuple[Any, str]:
        """The file system and OUT in it. Raises ValueError where that is a file."""
        files, root = filesystem(self.uri)
        if files.isfile(root):
            raise ValueError(f"--out {self.uri}: got a file, need a folder")
        return files, root


def totals(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Photos, boxes and dead letters by reason of manifest entries.

    >>> totals([])
    {'photos': 0, 'boxes': 0, 'dead_letters': {}}
    >>> totals([{"photos": 2, "boxes": 9, "dead_letters": {"empty": 1}}] * 2)
    {'photos': 4, 'boxes': 18, 'dead_letters': {'empty': 2}}
    """
    entries, dead = list(entries), Counter[str]()
    for entry in entries:
        dead.update(entry["dead_letters"])
    return {
        "photos": sum(entry["photos"] for entry in entries),
        "boxes": sum(entry["boxes"] for entry in entries),
        "dead_letters": dict(dead),
    }


def _protocols(files: Any) -> tuple[str, ...]:
    return (files.protocol,) if isinstance(files.protocol, str) else tuple(files.protocol)

"""What one worker does: it loads the model once, then predicts part after part, each as a whole."""

import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from fsspec.implementations.local import LocalFileSystem

from scaling.destination import SCHEMAS, Destination
from scaling.listing import Part, filesystem
from scaling.packed_model import PackedModel, load_packed
from scaling.photo_rows import DeadLetter, Predictor, Rows, rows_of

AHEAD = 2  # chosen: photos read while one is predicted; their bytes are all that a worker holds besides rows of one part


class CannotWrite(Exception):
    """A worker could not write, to OUT or to its folder for temporary files; the message is one line.

    Ray appends lines of its own to what a worker raises, and to an OSError in the place of the file's name.
    """


class PartWorker:
    """A callable for `map_batches`, whose batches are parts."""

    def __init__(self, model: Any, out: Destination) -> None:
        """`model`: Ray's reference to a PackedModel.

        What cannot be written here is told with the first part: Ray would start a worker that fails here again and again.
        """
        import ray

        packed: PackedModel = ray.get(model)
        self.out, self.failure = out, ""
        try:
            with ExitStack() as held:
                folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix="hylle-scale-")))
                self.predictor = Predictor(load_packed(packed, folder / "model"), packed.sha256, folder)
                self.scratch = held.pop_all()  # goes with this worker
        except OSError as error:
            self.failure = _told(error, "the folder for temporary files (TMPDIR)")

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, list[int]]]:
        """Predict and write each part of the batch; yields how many photos, boxes and dead letters it gave.

        Raises CannotWrite.
        """
        if self.failure:
            raise CannotWrite(self.failure)
        for number, uris in zip(batch["part"], batch["uris"], strict=True):
            try:
                entry = predict_part(Part(int(number), tuple(uris)), self.predictor, self.out)
            except OSError as error:
                raise CannotWrite(_told(error, self.out.uri)) from None
            dead = sum(entry["dead_letters"].values())
            yield {"photos": [entry["photos"]], "boxes": [entry["boxes"]], "dead_letters": [dead]}


def _told(error: OSError, place: str) -> str:
    """One line of what could not be written, and where: at `place` if the error does not name it."""
    return f"{error.filename or place}: {error.strerror or error}"


def predict_part(part: Part, predictor: Predictor, out: Destination) -> dict[str, Any]:
    """Predict the photos of a part and write its tables; returns its line of the manifest."""
    tables: Rows = {table: [] for table in SCHEMAS}
    for uri, data in read_ahead(part.uris):
        try:
            rows = rows_of(uri, _bytes(data), predictor)
        except DeadLetter as error:
            rows = {"dead_letters": [{"photo": uri, "reason": error.reason, "detail": str(error)}]}
        for table, new in rows.items():
            tables[table] += new
    return out.finish(part, tables)


def read_ahead(uris: tuple[str, ...]) -> Iterator[tuple[str, Future[bytes]]]:
    """Each URI and its bytes to come, in order; AHEAD of them are read while the caller works."""
    with ThreadPoolExecutor(AHEAD) as pool:
        waiting: list[tuple[str, Future[bytes]]] = []
        for uri in uris:
            waiting.append((uri, pool.submit(read_bytes, uri)))
            if len(waiting) > AHEAD:
                yield waiting.pop(0)
        yield from waiting


def read_bytes(uri: str) -> bytes:
    """The bytes of a file anywhere. Raises OSError also for a local pipe or device: reading one could wait forever."""
    files, path = filesystem(uri)
    if isinstance(files, LocalFileSystem) and Path(path).exists() and not Path(path).is_file():
        raise OSError(f"{path}: not a file")
    return bytes(files.cat_file(path))


def _bytes(data: Future[bytes]) -> bytes:
    """Raises DeadLetter where they cannot be read."""
    try:
        return data.result()
    except Exception as error:  # each client raises its own
        raise DeadLetter("unreadable", f"{type(error).__name__}: {error}") from error

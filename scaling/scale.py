"""Name the products on millions of photos: on one machine or a Ray cluster, Parquet out, resumed where it was stopped.

    python -m scaling.scale --photos URI --model R|ZIP|starter --out URI [--workers N] [--gpus F] [--address A]

URIs are local folders or what fsspec knows (s3://, gs://). The same call goes on where the last one was stopped or killed.
"""

import importlib.util
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from runs.command import Parser, note_result, run, say, say_progress
from runs.counted import counted
from runs.extras import install

if TYPE_CHECKING:
    from scaling.destination import Destination
    from scaling.listing import Listing, Part
    from scaling.packed_model import PackedModel

PART = 100  # chosen: photos a part: the most that a kill costs, and one file of each table


def main(argv: list[str] | None = None, prog: str = "python -m scaling.scale") -> int:
    """The command; returns its exit code: 0, or 2 for a mistake."""
    return run(body, argv, prog)


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("--photos", required=True, metavar="URI", help="a folder of photos, or a .txt file with a URI a line")
    p.add_argument("--model", required=True, help="a run folder, a submission zip, or starter: boxes without names")
    p.add_argument("--out", required=True, metavar="URI", help="folder to write, or to go on with")
    p.add_argument("--address", default="", help="a running Ray cluster, HOST:PORT or auto [default one on this machine]")
    p.add_argument("--workers", type=int, default=1, help="processes, each with its own models [default 1]")
    p.add_argument("--gpus", type=float, default=0.0, help="GPUs that each worker has; 0.5: two share one [default 0]")
    p.add_argument("--part", type=int, default=PART, help=f"photos written together [default {PART}]")
    return p


def checked(args: Namespace) -> Namespace:
    """`args`; raises ValueError for a number out of its range, a useless --out, or where Ray is not installed."""
    for flag, value, least in (("--workers", args.workers, 1), ("--gpus", args.gpus, 0), ("--part", args.part, 1)):
        if not least <= value < 1e6:
            raise ValueError(f"{flag}: got {value}, must be at least {least}")
    if args.out.startswith("memory://"):
        raise ValueError(f"--out {args.out}: got the memory of one process; need a place that every worker sees")
    missing = [name for name in ("ray", "pyarrow", "fsspec") if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"hylle scale needs {', '.join(missing)}, not installed; {install('scale')}")
    return args


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments, predict what is left, and account for every photo. Raises ValueError for what the user can mend."""
    args = checked(parser(prog).parse_args(argv))
    import recognition
    import scaling
    from photos.code_version import code_version
    from scaling.destination import Destination
    from scaling.listing import absolute, client_errors, deal, list_photos

    with client_errors("--photos", args.photos):
        listing = list_photos(args.photos)
    _tell_of_listing(listing, args.photos)
    model = _packed(args.model)
    parts, out = deal(listing.uris, args.part), Destination(absolute(args.out))
    photos = f"{len(listing.uris)} (digest of names, sizes and times: {listing.digest[:16]})"
    code = code_version(recognition, scaling)
    job = {"model": model.sha256, "photos": photos, "photos a part": args.part, "code of fusion": code}
    with ExitStack() as held:
        with client_errors("--out", args.out):
            held.enter_context(out.alone())
            out.claim(job)
            done = out.finished()
        left = [part for part in parts if part.number not in done]
        if done:
            say(f"scale: {len(done)} of {counted(len(parts), 'part')} finished before, and kept")
        seconds = _predict(left, model, out, args) if left else 0.0
        return _account(out, parts, seconds)


def _tell_of_listing(listing: "Listing", uri: str) -> None:
    """Say how many photos there are, and what of them is not seen."""
    such_as = f", such as {', '.join(listing.such_as)}" if listing.such_as else ""
    say(f"scale: {counted(len(listing.uris), 'photo')} in {uri}; {counted(listing.others, 'other file')} passed over{such_as}")
    if listing.undecodable:
        photos = counted(listing.undecodable, "photo")
        say(f"scale: {photos} of a name that is not UTF-8 cannot be read, and will be dead letters; rename them")
    over = listing.passed_over
    for count, what in ((over.links, "linked"), (over.hidden, "hidden"), (over.outputs, "that commands of hylle wrote")):
        if count:
            say(f"scale: {counted(count, 'folder')} ({what}) not entered; photos there are not predicted")
    if listing.unversioned:
        remote = counted(listing.unversioned, "remote photo")
        say(f"scale: {remote} listed by name alone: if one changes, a later call keeps its rows")


def _packed(model: str) -> "PackedModel":
    """The model's files in memory; a broken model is told here, not by every worker. Raises ValueError."""
    from recognition import recogniser
    from runs.opencv import tell_difference
    from scaling.packed_model import load_packed, pack_model

    with tempfile.TemporaryDirectory() as scratch:
        folder = recogniser.model_folder(model, Path(scratch))
        try:
            packed = pack_model(folder, "turned" if model == recogniser.STARTER else None)
            load_packed(packed, Path(scratch) / "trial")
        except ValueError as error:
            raise ValueError(str(error).replace(str(folder), model)) from None
        tell_difference()
        return packed


def _predict(left: "Sequence[Part]", model: "PackedModel", out: "Destination", args: Namespace) -> float:
    """Predict the parts that are left, telling how far it is; returns the seconds it took, from the first worker's start."""
    from scaling.cluster import Workers, connected, predict_parts

    workers = Workers(args.workers, args.gpus, args.address)
    photos, total, started = 0, sum(len(part.uris) for part in left), time.monotonic()
    with connected(workers, sum(map(len, model.files.values()))):
        for row in predict_parts(left, model, out, workers):
            photos += row["photos"] + row["dead_letters"]
            rate = photos / (time.monotonic() - started)
            say_progress(f"scale: {photos}/{total} photos, {rate:.2f} photos/s, {(total - photos) / rate:.0f} s left")
    rate = photos / (time.monotonic() - started)
    say(f"scale: {counted(photos, 'photo')} now, {rate:.2f} photos/s with {counted(args.workers, 'worker')}")
    return time.monotonic() - started


def _account(out: "Destination", parts: "Sequence[Part]", seconds: float) -> int:
    """Say what OUT holds now. Raises ValueError where a part is missing, or where all photos are dead letters."""
    from scaling.destination import totals

    done = out.finished()
    if missing := [part.name for part in parts if part.number not in done]:
        raise ValueError(
            f"--out {out.uri}: {counted(len(missing), 'part')} not finished, such as {missing[0]}; call again to go on"
        )
    if leftover := out.clear_unfinished():
        say(f"scale: removed {counted(leftover, 'file')} half written when a worker was killed")
    result = totals(done.values())
    dead = ", ".join(f"{count} {reason}" for reason, count in sorted(result["dead_letters"].items())) or "none"
    in_all = f"{counted(result['photos'], 'photo')}, {counted(result['boxes'], 'box', 'boxes')}"
    say(f"scale: {in_all}; dead letters: {dead}; see {out.uri}")
    note_result(out=out.uri, seconds=seconds, **result)
    if not result["photos"]:
        raise ValueError(f"--out {out.uri}: none of the photos could be predicted; the detail column of dead_letters says why")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""A page in the browser to try photos, look at doubtful labels one by one, and confirm boxes on photos without labels.

    python -m reviewing.review R [--data D] [--photos PHOTOS ...] [--port 8000] [--out R/review]

R is a run folder with ensemble.json, a submission zip, or `starter`. The server
listens on this machine only and asks nobody else.
"""

import secrets
import socket
import tempfile
import threading
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from runs import process
from runs.command import Parser, run, say
from runs.counted import counted
from runs.extras import install
from runs.typed import typed

if TYPE_CHECKING:
    from photos.data import Dataset
    from recognition.inputs import Inputs
    from recognition.prediction_run import Job
    from reviewing.desk import Desk

PORT = 8000  # taken: the usual port of a server on one's own machine
CONNECTIONS = 100  # chosen: at once; more are answered 503
TOKEN_BYTES = 16  # chosen: 128 bits


class Given(NamedTuple):
    """What the command line names besides the model: the labelled set, and the photos without labels."""

    dataset: "Dataset | None"
    inputs: "Inputs | None"


def main(argv: list[str] | None = None, prog: str = "python -m reviewing.review") -> int:
    """The command; returns its exit code."""
    return run(body, argv, prog)


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("model", metavar="R", help="a run folder, a submission zip, or starter: boxes without names")
    p.add_argument("--data", type=Path, metavar="D", help="the labelled set: its doubtful labels, its photos without boxes")
    p.add_argument("--proposals", type=Path, metavar="FILE", help="doubtful labels [default R/labels/proposals.json]")
    p.add_argument("--studio", type=Path, help="studio photos [default those in D]")
    p.add_argument("--photos", nargs="+", default=[], metavar="PHOTOS", help="photos without labels, to confirm boxes on")
    p.add_argument("--out", type=Path, help="where decisions are kept [default R/review, or review beside a zip]")
    p.add_argument("--min-score", type=float, metavar="X", help="where the floor starts [default the floor fitted for F1]")
    p.add_argument("--host", default="127.0.0.1", help="address to listen on [default 127.0.0.1: this machine only]")
    p.add_argument("--port", type=int, default=PORT, help=f"port to listen on; 0: any free one [default {PORT}]")
    p.add_argument("--token", help="what visitors must know where others than this machine can ask [default a new one]")
    return p


def checked(args: Namespace) -> Namespace:
    """`args`; raises ValueError for what cannot be, and where the extra is not installed."""
    if args.min_score is not None and not 0 <= args.min_score <= 1:
        raise ValueError(f"--min-score: got {args.min_score}, must be in [0, 1]")
    if not 0 <= args.port < 65536:
        raise ValueError(f"--port: got {args.port}, must be in [0, 65535]")
    if args.token is not None and len(args.token) < TOKEN_BYTES:
        raise ValueError(f"--token: got {len(args.token)} letters, need {TOKEN_BYTES} or more; without it one is made")
    if args.proposals and not args.data:
        raise ValueError("--proposals: needs --data D, the set that they are about")
    if args.out and args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out}: got a file, need a folder")
    try:
        import jinja2  # noqa: F401
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ValueError(f"hylle review: {error.name} is not installed; {install('review')}") from None
    return args


def out_of(args: Namespace) -> Path:
    """Where decisions are kept."""
    if args.out:
        return Path(args.out)
    model = Path(args.model)
    return model / "review" if model.is_dir() else Path("review") if args.model == "starter" else model.parent / "review"


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and serve until Ctrl-C. Raises ValueError for what the user can mend."""
    args = checked(parser(prog).parse_args(argv))
    with listening(args.host, args.port) as listener, tempfile.TemporaryDirectory() as scratch:
        from reviewing.access import Access, is_loopback

        desk = claimed_desk(args, Path(scratch))
        token = args.token or ("" if is_loopback(args.host) else secrets.token_urlsafe(TOKEN_BYTES))
        port = listener.getsockname()[1]
        if not is_loopback(args.host):
            say(f"review: anyone who reaches this machine at port {port} and has the token can ask; nothing is encrypted")
        say(f"review: open http://{shown_host(args.host)}:{port}/{f'?token={token}' if token else ''} (Ctrl-C ends it)")
        serve(desk, Access(token=token), listener)
    return 0


def claimed_desk(args: Namespace, scratch: Path) -> "Desk":
    """The desk, where this process alone keeps decisions. What was named is read before models are loaded.

    Raises ValueError for what the user can mend, and leaves nothing then.
    """
    if not (args.data or args.photos):
        return desk_for(args, loaded(args, scratch))
    claim(out_of(args))
    try:
        given = given_by(args)
        return desk_for(args, loaded(args, scratch), given)
    except BaseException:
        process.release(out_of(args))
        raise


def claim(out: Path) -> None:
    """Note in OUT that this process keeps its decisions there. Raises ValueError where another one does: they would mix."""
    process.claim(out, "keeps its decisions there; end it first, or pass another --out")


def given_by(args: Namespace) -> Given:
    """The data set and the photos that were named, read and told. Raises ValueError for what cannot be used."""
    from photos.repairs import read_and_tell
    from recognition.inputs import find_inputs

    inputs = find_inputs(args.photos, out_of(args)) if args.photos else None
    return Given(read_and_tell(args.data) if args.data else None, inputs)


def shown_host(host: str) -> str:
    """The host as an address in a browser has it.

    >>> shown_host("::1"), shown_host("0.0.0.0"), shown_host("127.0.0.1")
    ('[::1]', '127.0.0.1', '127.0.0.1')
    """
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that listens. Raises ValueError where it cannot: before models are loaded."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
            listener.listen()  # who asks while the models are loaded waits, and is not refused
        except OSError as error:
            raise ValueError(f"--host {host} --port {port}: {error.strerror or error}; pass another --port, or 0") from None
        yield listener


def loaded(args: Namespace, scratch: Path) -> "Job":
    """The model, and the floor that boxes count from."""
    from recognition import prediction_run, recogniser
    from runs.opencv import tell_difference

    folder = recogniser.model_folder(args.model, scratch, flag="")
    try:
        model = recogniser.load_recogniser(folder, "turned" if args.model == recogniser.STARTER else None)
    except ValueError as error:
        raise ValueError(str(error).replace(str(folder), args.model)) from None
    tell_difference()
    floor = recogniser.choose_floor(model.pipeline.ensemble, args.min_score, None)
    say(f"review: boxes count from score {floor.score:.3f} ({floor.reason})")
    return prediction_run.Job(model, floor.score, 1.0, True)


def desk_for(args: Namespace, job: "Job", given: Given | None = None) -> "Desk":
    """What the server works with: the model, the doubtful labels and the photos without labels, where there are any.

    `given` is what was read already; without it, it is read now.
    """
    from reviewing.desk import Desk
    from reviewing.visitors import Bounds, Visitors

    desk, out = Desk(job, Visitors(Bounds())), out_of(args)
    given = given or given_by(args)
    add_doubts(desk, args, given.dataset, out)
    add_labelling(desk, given, out)
    for tab, note in desk.notes.items():
        say(f"review: tab {tab}: {note}")
    return desk


def add_doubts(desk: "Desk", args: Namespace, dataset: "Dataset | None", out: Path) -> None:
    """The proposals of `hylle labels`, or a note that says how to get them."""
    from photos.studio import told_without_photos
    from reviewing.doubts import Doubts

    proposals = args.proposals or Path(args.model) / "labels" / "proposals.json"
    if dataset is None:
        desk.notes["labels"] = "no data set was named; start with: hylle review R --data D"
    elif not proposals.is_file() and not args.proposals:
        desk.notes["labels"] = f"no label was looked at yet; {how_to_look(args.data, Path(args.model))}"
    else:
        desk.doubts = Doubts(dataset, proposals, out, args.studio)
        if not args.studio and (without := told_without_photos(dataset.root)):
            say(f"review: {without}")
        if desk.doubts.log.dropped:
            say("review: 1 decision was cut off by a kill and is dropped; it had not been answered")
        decided, total = len(desk.doubts.decided), len(desk.doubts.proposals)
        say(f"review: {decided} of {total} doubtful labels decided, in {desk.doubts.path}")


def how_to_look(data: Path, runs: Path) -> str:
    """What makes a list of doubtful labels, in words: not every model can be asked which photos it has not learnt."""
    from photos import folds
    from photos.fit_folds import is_of_a_fit_without
    from stage2_classifier.label_review import folds_of_fit

    if not (runs / folds.NAME).is_file():
        command = typed("hylle labels --data", data, "--runs R, then start again with --proposals R/labels/proposals.json")
        return f"{runs} does not tell which photos it has learnt, a run folder R with {folds.NAME} does; run: {command}"
    if not is_of_a_fit_without(runs / folds.NAME, "valid"):
        return typed("run: hylle labels --data", data, "--runs", runs) + ", then start again"
    if not (trained := folds_of_fit.trained_folds(runs)):
        return folds_of_fit.remedy(data, runs)
    again = typed("then start again with --proposals", trained[0] / "labels" / "proposals.json", "--out", trained[0] / "review")
    return f"{folds_of_fit.remedy(data, runs)}, {again}"


def add_labelling(desk: "Desk", given: Given, out: Path) -> None:
    """The photos without labels: those that are named, and those of the data set that have no box."""
    from recognition.inputs import Input
    from reviewing.labelling import Labelling

    photos = list[Input]()
    if found := given.inputs:
        videos = sum(item.is_video for item in found.items)
        photos = [item for item in found.items if not item.is_video]
        for note in (*found.notes, *([f"{videos} videos are left out"] if videos else [])):
            say(f"review: {note}")
    elif given.dataset is not None:
        photos = [Input(photo.path, photo.name, False) for photo in given.dataset.photos if not len(photo.boxes)]
    if not photos:
        desk.notes["confirm"] = "no photos without labels; start with: hylle review R --photos FOLDER"
        return
    desk.labelling = Labelling(photos, desk.job.products, desk.job.min_score, out)
    if desk.labelling.log.dropped:
        say("review: 1 confirmation was cut off by a kill and is dropped; it had not been answered")
    if lost := desk.labelling.lost:
        what = f"{counted(len(lost), 'confirmed photo')} not found any more, left out of the data set"
        say(f"review: {what}, the first is {lost[0]}; name its folder by --photos, wherever it is now")
    unusable = desk.labelling.unusable
    if replaced := [name for name in desk.labelling.replaced if name not in unusable]:
        what = f"{counted(len(replaced), 'confirmed photo')} replaced by another file, left out of the data set"
        say(f"review: {what}, the first is {replaced[0]}; confirm what is there now")
    if unusable:
        name, why = next(iter(unusable.items()))
        say(f"review: {counted(len(unusable), 'confirmed photo')} of no use, left out of the data set, such as {name}: {why}")
    done = len(desk.labelling.photos.keys() & desk.labelling.confirmed.keys())
    say(f"review: {done} of {counted(len(photos), 'photo')} confirmed, in {desk.labelling.folder}")


def serve(desk: "Desk", access: "object", listener: socket.socket) -> None:
    """Answer requests until Ctrl-C; photos without labels are predicted meanwhile."""
    import uvicorn

    from reviewing.access import Access
    from reviewing.server import application

    assert isinstance(access, Access)
    config = uvicorn.Config(
        application(desk, access), log_level="warning", access_log=False, limit_concurrency=CONNECTIONS, server_header=False,
        timeout_graceful_shutdown=3,
    )  # fmt: skip
    stopped = threading.Event()
    task = (desk.recognise_file, stopped.is_set)
    predicting = [threading.Thread(target=desk.labelling.predict, args=task, daemon=True)] if desk.labelling else []
    for thread in predicting:
        thread.start()
    try:
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
    finally:
        stopped.set()
        for thread in predicting:  # until its photo is done: a process that ends while a model runs is aborted
            thread.join()


if __name__ == "__main__":
    raise SystemExit(main())

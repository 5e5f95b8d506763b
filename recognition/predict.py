"""Find and name the products on photos and videos of your own: tables, COCO JSON and pictures.

    python -m recognition.predict PHOTOS ... --model R|ZIP|starter [--out OUT] [--precision P | --min-score X] [--resume]

PHOTOS are files, folders with all that is in them, and patterns. R is a run folder with ensemble.json or of one detector, ZIP a
submission zip, whose code is not run, and `starter` the detector of this package, which finds boxes without names.
"""

import math
import tempfile
from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

from runs.command import Parser, note_result, run, say, say_progress
from runs.counted import counted

if TYPE_CHECKING:
    from recognition.prediction_run import Finished
    from recognition.recogniser import Floor, Recogniser

EXIF = ("stored", "turned")  # as in fusion.reading, which takes long to import


def main(argv: list[str] | None = None, prog: str = "python -m recognition.predict") -> int:
    """The command; returns its exit code: 0, 1 where no photo has predictions, 2 for a mistake."""
    return run(body, argv, prog)


def parser(prog: str) -> Parser:
    """The command's arguments."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("photos", nargs="+", metavar="PHOTOS", help="photos, videos, folders of them, or patterns")
    p.add_argument("--model", required=True, help="a run folder, a submission zip, or starter: boxes without names")
    p.add_argument("--out", type=Path, default=Path("predictions"), help="folder to write [default predictions]")
    p.add_argument("--min-score", type=float, metavar="X", help="least score that counts [default the floor fitted for F1]")
    p.add_argument("--precision", type=float, metavar="P", help="count from the floor that was fitted for it: 0.9 or 0.95")
    p.add_argument("--fps", type=float, default=1.0, help="frames taken from each second of a video [default 1]")
    p.add_argument("--exif", choices=EXIF, help="read photos as stored, or turned as viewers show them [default as trained]")
    p.add_argument("--openvino", action="store_true", help="let OpenVINO run the models, for Intel processors with bfloat16")
    p.add_argument("--no-pictures", action="store_true", help="write the tables only")
    p.add_argument("--resume", action="store_true", help="go on with a run that was stopped")
    p.add_argument("--force", action="store_true", help="start again, replacing the predictions in OUT")
    return p


def checked(args: Namespace) -> Namespace:
    """`args`; raises ValueError for a number out of its range, or flags that contradict each other."""
    for flag, value in (("--min-score", args.min_score), ("--precision", args.precision)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{flag}: got {value}, must be in [0, 1]")
    if args.precision is not None and args.min_score is not None:
        raise ValueError("--precision, --min-score: got both, need at most one: each says from which score boxes count")
    if not (math.isfinite(args.fps) and args.fps > 0):
        raise ValueError(f"--fps: got {args.fps}, must be above 0")
    if args.resume and args.force:
        raise ValueError("--resume, --force: got both, need at most one")
    if args.out.exists() and not args.out.is_dir():
        raise ValueError(f"--out {args.out}: got a file, need a folder")
    if args.openvino:
        from recognition import openvino_session

        openvino_session.refuse_missing()
    return args


def body(argv: list[str] | None, prog: str) -> int:
    """Read the arguments and predict. Raises ValueError for what the user can mend."""
    args = checked(parser(prog).parse_args(argv))
    from recognition.inputs import find_inputs

    inputs = find_inputs(args.photos, args.out)
    from recognition import openvino_session, prediction_run, recogniser
    from runs.opencv import tell_difference

    claimed = prediction_run.claimed_output(args.out, args.resume, args.force)
    with claimed, tempfile.TemporaryDirectory() as scratch:
        folder = recogniser.model_folder(args.model, Path(scratch))
        exif = args.exif or ("turned" if args.model == recogniser.STARTER else None)  # its drawn photos are upright
        try:
            model = recogniser.load_recogniser(folder, exif)
            model = openvino_session.on_openvino(model) if args.openvino else model
        except ValueError as error:
            raise ValueError(str(error).replace(str(folder), args.model)) from None
        tell_difference()
        floor = recogniser.choose_floor(model.pipeline.ensemble, args.min_score, args.precision, folder)
        videos = sum(item.is_video for item in inputs.items)
        named = f"{counted(len(inputs.items) - videos, 'photo')}, {counted(videos, 'video')}"
        for line in (*inputs.notes, named, *_of_model(model, floor)):
            say(f"predict: {line}")
        job = prediction_run.Job(model, floor.score, args.fps, not args.no_pictures)
        if args.force:
            prediction_run.clear(args.out)
        looked_at = _looked_at(videos)
        progress = prediction_run.Progress(say_progress, looked_at[1])
        finished = prediction_run.predict_all(inputs, job, args.out, progress)
        for line in _of_result(finished, model, args, videos):
            say(f"predict: {line}")
        now = finished.now
        rate = f"{progress.per_second(now):.2f} {looked_at[1]}/s"
        say(f"predict: {counted(now, *looked_at)} predicted now, {rate}; see {args.out}")
        note_result(out=args.out, floor=floor.score, **finished.totals._asdict())
    return 0 if finished.totals.photos else 1


def _of_model(model: "Recogniser", floor: "Floor") -> list[str]:
    """What is to be known about the model before it predicts."""
    from recognition import openvino_session, recogniser
    from recognition.fonts import undrawn

    lines = [f"boxes count from score {floor.score:.3f} ({floor.reason})"]
    if model.engine != recogniser.ONNXRUNTIME:
        lines.insert(0, openvino_session.what_it_means(model.engine))
    if not model.knows_names:
        lines.append("the model finds boxes without names: everything is called product")
    elif not model.pipeline.ensemble.names:
        lines.append("the model has no product names, so they are called by their ids; hylle gate writes them")
    if foreign := undrawn(model.names):
        lines.append(
            f"pictures: no font here draws all letters of {counted(len(foreign), 'name')}, such as {foreign[0]}: ids instead"
        )
    return lines


def _looked_at(videos: int) -> tuple[str, str]:
    """What models look at where there are so many videos: one and several."""
    return ("photo or frame", "photos and frames") if videos else ("photo", "photos")


def _of_result(finished: "Finished", model: "Recogniser", args: Namespace, videos: int) -> list[str]:
    """What came out of photos and so many videos, and what was not as it should be."""
    totals, looked_at = finished.totals, _looked_at(videos)
    given = ("photo or video", "photos and videos") if videos else ("photo", "photos")
    products = f" of {counted(len(totals.facings), 'product')}" if model.knows_names else ""
    below = f"{counted(totals.below, 'box', 'boxes')} scored too low to count"
    lines = [f"{counted(totals.photos, *looked_at)}, {counted(totals.boxes, 'facing')}{products}; {below}"]
    if totals.empty:
        lines.append(f"{counted(totals.empty, *looked_at)} without a facing, and so in no table")
    if totals.failed or totals.remarks:
        lines.append(f"{totals.failed} failed, {counted(totals.remarks, 'remark')}: {args.out / 'problems.csv'}")
    if finished.changed:
        lines.append(f"{counted(finished.changed, *given)} changed since the last prediction, and predicted again")
    if finished.retried:
        lines.append(f"{counted(finished.retried, *given)} failed before, and tried again")
    if finished.earlier:
        lines.append(f"{counted(finished.earlier, 'photo')} predicted before and not named now, kept in the tables")
    for file, count in model.pipeline.not_finite().items():
        lines.append(f"{file}: left out {count} numbers that are not finite")
    for file, count in model.pipeline.full_answers().items():
        canvases = counted(count, "canvas", "canvases")
        lines.append(f"{file}: handed back as many boxes as it may on {canvases}, and may have kept faint ones")
    if totals.turned:
        rule = model.pipeline.ensemble.exif
        other = {"stored": "turned", "turned": "stored"}[rule]
        lines.append(f"EXIF turns {counted(totals.turned, 'photo')}, read as {rule}; --exif {other} reads them the other way")
    return lines


if __name__ == "__main__":
    raise SystemExit(main())

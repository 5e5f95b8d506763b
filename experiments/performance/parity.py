"""Our pipeline with one model, one view and NMS against ultralytics' own predict, on the same trained weights and photos.

    python -m experiments.performance.parity --run R/one --data D [D ...] [--name parity]

Letterbox, padding colour and rounding are where two-stage systems silently go wrong.
"""

from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from experiments.figures import records
from fusion.boxes import Detections
from fusion.decode import run_detector
from fusion.ensemble import Ensemble, Member
from fusion.merge import Merge
from fusion.models import Model
from fusion.pipeline import merge
from fusion.views import average, make_views
from photos.data import read, read_image
from runs.command import Parser, run, say
from runs.record import weights_of

CONF, IOU, MAX_DET, PHOTOS = 0.05, 0.7, 1000, 8  # chosen: a usual setting, and how many photos of each set


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Read the arguments, compare, say and record the largest differences."""
    p = Parser(prog="python -m experiments.performance.parity", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--run", type=Path, required=True, help="a finished detector, such as R/one")
    p.add_argument("--data", type=Path, required=True, nargs="+", help="data sets whose first photos are compared")
    p.add_argument("--name", help="write the figures to experiments/results under this name")
    args = p.parse_args(argv)
    photos = [photo for data in args.data for photo in read(data).photos[:PHOTOS]]
    pairs = compare(args.run, [read_image(photo.path, photo.width, photo.height) for photo in photos])
    worst = [difference(ours, boxes, scores) for ours, boxes, scores in pairs]
    boxes_px, score = (max(w[k] for w in worst) for k in (0, 1))
    n = sum(len(ours) for ours, _, _ in pairs)
    say(f"{len(photos)} photos, {n} boxes: predict and we differ by at most {boxes_px:.2g} px and {score:.2g} in score")
    if args.name:
        setting = f"{len(photos)} photos, {n} boxes, conf {CONF}, NMS {IOU}; a largest difference, so no interval"
        sets = " ".join(data.name for data in args.data)
        command = f"python -m experiments.performance.parity --run {args.run.parent.name}/{args.run.name} --data {sets}"
        rows = [
            records.figure("parity.predict_boxes_px", records.Estimate(boxes_px, n), "px", setting, command),
            records.figure("parity.predict_scores", records.Estimate(score, n), "score", setting, command),
        ]
        records.write(args.name, rows)


def compare(folder: Path, images: list[np.ndarray]) -> list[tuple[Detections, np.ndarray, np.ndarray]]:
    """For each photo our pipeline's detections, and ultralytics' boxes (N, 4) and scores (N,), from the detector in FOLDER."""
    from ultralytics import YOLO

    model, net = Model(folder / "model.onnx"), YOLO(str(weights_of(folder).resolve()))
    member = Member.of("model.onnx", model.sidecar, conf=CONF, nms_iou=IOU, max_det=MAX_DET)
    ensemble = Ensemble([0], [member], Merge("nms", iou=1.0, max_det=MAX_DET))
    options = {
        "imgsz": model.sidecar.size,
        "conf": CONF,
        "iou": IOU,
        "max_det": MAX_DET,
        "agnostic_nms": True,
        "verbose": False,
    }
    pairs = []
    for image in images:
        shown = before_interpolation(model, member, image)
        theirs = net.predict(shown[..., ::-1], rect=model.sidecar.shape == "rectangle", **options)[0].boxes
        boxes = theirs.xyxy.numpy() * np.tile(np.divide(image.shape[1::-1], shown.shape[1::-1]), 2)  # (N, 4)
        pairs.append((merge([run_detector(model, member, image)], ensemble), boxes, theirs.conf.numpy()))
    return pairs


def before_interpolation(model: Model, member: Member, image: np.ndarray) -> np.ndarray:
    """The photo as it is interpolated: averaged where the detector sees it so, since `predict` does not."""
    (view,) = make_views(member.views[0], image.shape[1], image.shape[0], model.sidecar.shrinking)
    return average(image, view.whole_shrink)


def difference(ours: Detections, boxes: np.ndarray, scores: np.ndarray) -> tuple[float, float]:
    """Largest difference in pixels and score between the best pairing of two lists; infinite where one is longer."""
    if len(ours) != len(boxes):
        return float("inf"), float("inf")
    apart = np.abs(boxes[:, None] - ours.boxes).max(2) + 100 * np.abs(scores[:, None] - ours.scores)  # (N, N)
    rows, columns = linear_sum_assignment(apart)
    pixels = np.abs(boxes[rows] - ours.boxes[columns]).max(initial=0.0)
    return float(pixels), float(np.abs(scores[rows] - ours.scores[columns]).max(initial=0.0))


if __name__ == "__main__":
    raise SystemExit(main())

"""One real set in ten layouts, and damaged ones: are boxes, names and a fixed model's score the same, and is each damage told?

    python -m experiments.studies.formats --data D [--work W] [--record]

Writes D in each of `performance.layouts`, reads it, and compares it with D, photo by photo (by their pixels), and with what
public readers make of it: pycocotools, supervision, pandas. The model is the starter detector of this project, one view. Then
damages each of `performance.damaged_layouts`: one line must tell it, with the remedy. --record writes formats.read.
"""

import contextlib
import io
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from experiments.figures import records
from experiments.figures.records import Estimate, Measured
from experiments.performance import layouts
from experiments.performance.damaged_layouts import DAMAGES, Damage
from fusion.decode import run_detector
from fusion.models import Model
from photos.data import DataError, Dataset, Photo, read, read_image
from photos.score import Truth, evaluate
from runs.command import Parser, run, say
from runs.record import digest
from stage1_detector import starter
from stage1_detector.validation import member

SAME_PX = 0.02  # chosen: pixels; supervision writes YOLO's fractions with five decimals
Labels = dict[str, tuple[np.ndarray, list[str]]]  # by a photo's pixels, or file stem: boxes (N, 4) and product names


class Reading(NamedTuple):
    """One layout, read: largest difference of a box from the original set and from the public reader (px), and the score."""

    layout: str
    boxes_px: float
    oracle_px: float
    det_map50: float


def labels_by_pixels(dataset: Dataset) -> Labels:
    """The boxes and names of each photo, by a fingerprint of what is seen on it."""
    return {digest(_pixels(photo).tolist()): _labels(dataset, photo) for photo in dataset.photos}


def _pixels(photo: Photo) -> np.ndarray:
    return read_image(photo.path, photo.width, photo.height)[::16, ::16]


def _labels(dataset: Dataset, photo: Photo) -> tuple[np.ndarray, list[str]]:
    return photo.boxes, [dataset.categories[label].name for label in photo.labels]


def labels_by_stem(dataset: Dataset) -> Labels:
    """The boxes and names of each photo, by its part and file stem."""
    return {f"{photo.part or ''}/{Path(photo.name).stem}": _labels(dataset, photo) for photo in dataset.photos}


def difference_px(one: Labels, other: Labels) -> float:
    """The largest difference of two boxes, in pixels; infinite where photos, counts or names differ."""
    if one.keys() != other.keys() or any(one[key][1] != other[key][1] for key in one):
        return float("inf")
    return max(float(np.abs(one[key][0] - other[key][0]).max(initial=0.0)) for key in one)


# -- public readers ------------------------------------------------------------------------------------------------------


def by_public_reader(name: str, root: Path, dataset: Dataset) -> Labels:
    """What a public reader makes of the set at `root`, by part and file stem."""
    if name.startswith("COCO"):
        return {key: value for path in _coco_files(root) for key, value in _by_pycocotools(path).items()}
    if name == "Pascal VOC":
        parts = {Path(photo.name).stem: photo.part for photo in dataset.photos}
        return {f"{parts[stem]}/{stem}": value for stem, value in _by_supervision_voc(root).items()}
    if name == "YOLO":
        return {f"{part}/{s}": v for part in ("train", "test") for s, v in _by_supervision_yolo(root, part).items()}
    if name.startswith("CSV"):
        return {f"{part}/{s}": v for part in ("train", "test") for s, v in _by_pandas(root, part).items()}
    return labels_by_stem(dataset)  # no public reader for lists of polygons


def _coco_files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*.json")) if not path.name.startswith("captions")]


def _by_pycocotools(path: Path) -> Labels:
    from pycocotools.coco import COCO

    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(path))
    part = next((part for part in ("train", "test") if part in path.as_posix().split("/")[-1] or path.parent.name == part), "")
    names = {number: category["name"] for number, category in coco.cats.items()}
    labels = {}
    for number, image in coco.imgs.items():
        rows = [row for row in coco.dataset["annotations"] if str(row["image_id"]) == str(int(float(number)))]
        corners = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        stem = Path(image["file_name"].replace("\\", "/")).stem
        labels[f"{part}/{stem}"] = corners, [names[row["category_id"]] for row in rows]
    return labels


def _by_supervision_voc(root: Path) -> Labels:
    import supervision

    read_set = supervision.DetectionDataset.from_pascal_voc(str(root / "JPEGImages"), str(root / "Annotations"))
    return {Path(path).stem: (d.xyxy, [read_set.classes[k] for k in d.class_id]) for path, _, d in read_set}


def _by_supervision_yolo(root: Path, part: str) -> Labels:
    import supervision

    folder = root / part
    read_set = supervision.DetectionDataset.from_yolo(str(folder / "images"), str(folder / "labels"), str(root / "data.yaml"))
    return {Path(path).stem: (d.xyxy, [read_set.classes[k] for k in d.class_id]) for path, _, d in read_set}


def _by_pandas(root: Path, part: str) -> Labels:
    import pandas

    table = pandas.read_csv(root / "annotations" / f"annotations_{part}.csv", header=None)
    return {
        Path(str(name)).stem: (rows[[1, 2, 3, 4]].to_numpy(np.float32), rows[5].tolist())
        for name, rows in table.groupby(0, sort=False)
    }


# -- the comparison ------------------------------------------------------------------------------------------------------


def readings(dataset: Dataset, work: Path) -> list[Reading]:
    """The set in each layout, written below `work` and read."""
    original = labels_by_pixels(dataset)
    (work / "starter").mkdir(parents=True)
    model = Model(starter.export(work / "starter"))
    found: dict[str, object] = {}
    rows = [Reading("as it is", 0.0, 0.0, det_map50(model, dataset, found))]
    for name, write in layouts.LAYOUTS.items():
        root = work / name
        write(dataset, root)
        again = read(root)
        say(f"{name}: {again.layout}")
        for note in again.notes:
            say(f"{name}: {note}")
        oracle = difference_px(labels_by_stem(again), by_public_reader(name, root, again))
        rows.append(Reading(name, difference_px(original, labels_by_pixels(again)), oracle, det_map50(model, again, found)))
    return rows


def det_map50(model: Model, dataset: Dataset, found: dict[str, object]) -> float:
    """The det mAP50 of a detector, one view; detections are kept in `found` by the photos' pixels."""
    detections = []
    for photo in dataset.photos:
        image = read_image(photo.path, photo.width, photo.height)
        key = digest([image.shape, image.tobytes().hex()])  # a layout that changes one pixel is detected on anew
        if key not in found:
            found[key] = run_detector(model, member(model), image)[0]
        detections.append(found[key])
    return float(evaluate([Truth.of(photo) for photo in dataset.photos], detections, len(dataset.categories)).det_map50)


def told(work: Path, damage: Damage) -> list[str]:
    """The lines that are told of a set in `work` once it is damaged: of the refusal, else the new notes."""
    root = work / "damaged"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(work / damage.layout, root)
    before = read(root).notes
    damage.spoil(root)
    try:
        return [note for note in read(root).notes if note not in before]
    except DataError as error:
        return str(error).splitlines()


def body(argv: list[str] | None) -> int:
    """Read the arguments, compare and damage. Raises ValueError for what the user can mend."""
    p = Parser(prog="python -m experiments.studies.formats", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--data", type=Path, required=True)
    p.add_argument("--work", type=Path, help="new folder for the layouts; default a temporary one")
    p.add_argument("--record", action="store_true")
    args = p.parse_args(argv)
    with tempfile.TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        dataset = read(args.data)
        rows = readings(dataset, work)
        same = [
            row
            for row in rows[1:]
            if row.boxes_px <= SAME_PX and row.oracle_px <= SAME_PX and row.det_map50 == rows[0].det_map50
        ]
        for row in rows:
            print(f"{row.layout:26} boxes {row.boxes_px:.1e} px, public {row.oracle_px:.1e} px, det mAP50 {row.det_map50:.6f}")
        lines = {name: told(work, damage) for name, damage in DAMAGES.items()}
    right = [name for name, texts in lines.items() if len(texts) == 1 and DAMAGES[name].told in texts[0]]
    for name, texts in lines.items():
        print(f"{name}: {' | '.join(texts)}")
    print(f"{len(same)} of {len(rows) - 1} layouts the same, {len(right)} of {len(lines)} damages told in one line")
    if args.record:
        largest = max(row.boxes_px for row in rows)
        setting = (
            f"{args.data.name}: layouts read with the same boxes (within {SAME_PX} px, at most {largest:.1e}), names and det "
            f"mAP50 of the starter, {rows[0].det_map50:.4f}, as by pycocotools, supervision and pandas; {len(right)} of "
            f"{len(lines)} damages told in one line; no interval: a count"
        )
        measured = Measured("formats.read", Estimate(len(same), len(rows) - 1), "layouts", setting)
        records.write("formats", [records.figure(*measured, records.command("studies.formats", argv))])
    return 0 if len(same) == len(rows) - 1 and len(right) == len(lines) else 1


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code: 1 where a layout differs or a damage is not told."""
    return run(body, argv)


if __name__ == "__main__":
    raise SystemExit(main())

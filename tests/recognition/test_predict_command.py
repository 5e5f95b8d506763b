"""The whole command: nothing is lost or merged, the numbers are run.py's, a killed run goes on, mistakes are one line."""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from constant_models import CATEGORIES
from cosine_models import BLUE, GREEN, RED, save_classifier
from films import film
from PIL import Image
from predicted import predict, put, table
from small_shop import SMALL

from fusion.gate import MIN_FIRST_SCORE
from fusion.pipeline import Pipeline
from recognition.recogniser import starter_folder
from stage1_detector.synthesis import make_photos
from submission import build

# names as phones, messengers and people give them
NAMES = (
    "WhatsApp Image 2024-05-01 at 10.11.12.jpeg", "WhatsApp Image 2024-05-01 at 10.11.12 (1).jpeg", "IMG-20240501-WA0001.jpg",
    "IMG_20240501_101112.jpg", "IMG_20240501_101112_1.jpg", "IMG_2041.JPG", "DSC00042.jpg", "oslo_2024.jpg", "bergen_2024.jpg",
    "hylle uten nummer.jpg", "blåbær æøå.png", "100%.jpg", "a,b;c.jpg", 'si "hei".jpg', "butikk 1/IMG_2041.JPG",
    "butikk 2/IMG_2041.JPG", "butikk 2/dypt/nede/2024.png", "Screenshot 2024-05-01.webp", "scan.tiff", "scan.bmp",
)  # fmt: skip


def test_a_folder_without_photos_is_one_line_and_leaves_nothing(
    named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "D").mkdir()
    (tmp_path / "file").touch()
    for photos, model, flags in (
        ("D", named, []), ("none", named, []), ("file", named, []), ("D", tmp_path / "none", []), ("D", named, ["--fps", "0"]),
        ("D", named, ["--precision", "2"]), ("D", named, ["--resume", "--force"]), ("D", named, ["--exif", "x"]),
    ):  # fmt: skip
        assert predict(tmp_path / photos, model, tmp_path / "out", *flags) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and error.count("\n") == 1
    put(tmp_path / "D", "a.jpg")
    assert predict(tmp_path / "D", tmp_path / "none", tmp_path / "out") == 2
    assert not (tmp_path / "out").exists()


def test_names_of_phones_are_neither_lost_nor_merged(named: Path, tmp_path: Path) -> None:
    photos = put(tmp_path / "D", *NAMES)
    film(photos / "gå langs hylla.mp4", 10)
    assert predict(photos, named, tmp_path / "out") == 0
    frames = [f"gå langs hylla.mp4/{s:05d}.000s" for s in range(10)]
    rows = table(tmp_path / "out" / "predictions.csv")
    assert sorted({row["photo"] for row in rows}) == sorted([*NAMES, *frames])
    assert len(rows) == 2 * (len(NAMES) + len(frames))  # the constant models find two boxes on each
    assert {row["product"] for row in rows} == {"Blåbær"}
    coco = json.loads((tmp_path / "out" / "predictions.json").read_text())
    sizes = {image["file_name"]: (image["width"], image["height"]) for image in coco["images"]}
    assert sizes == {name: (65 + i, 64) for i, name in enumerate(NAMES)} | dict.fromkeys(frames, (64, 48))
    assert len({image["id"] for image in coco["images"]}) == len(sizes) and len(coco["annotations"]) == len(rows)
    assert coco["categories"] == [{"id": 7, "name": "Müsli"}, {"id": 3, "name": "Blåbær"}, {"id": 40, "name": "Te"}]
    pictures = tmp_path / "out" / "pictures"
    assert len([path for path in pictures.rglob("*") if path.is_file()]) == len(sizes)
    assert all(cv2.imdecode(np.fromfile(path, np.uint8), 1) is not None for path in pictures.rglob("*.jp*g"))
    assert table(tmp_path / "out" / "problems.csv") == []


@pytest.mark.slow
def test_the_numbers_are_those_of_run_py(named: Path, tmp_path: Path) -> None:
    photos = put(tmp_path / "D", "img_00001.jpg", "img_00002.jpg", "img_00030.jpeg")
    save_classifier(named / "eye" / "model.onnx", [4 * np.stack([RED, GREEN, BLUE], 1)], CATEGORIES)  # it answers to colours
    gate = {"policy": "raw", "name_exponent": 0.5, "further": 2}
    ensemble = json.loads((named / "ensemble.json").read_text()) | {"classifiers": [{"file": "eye/model.onnx"}], "gate": gate}
    (named / "ensemble.json").write_text(json.dumps(ensemble))
    build.build(named, tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "code")
    command = [sys.executable, str(tmp_path / "code" / "run.py"), "--input", str(photos), "--output", str(tmp_path / "p.json")]
    subprocess.run(command, check=True, capture_output=True)
    theirs = [row for row in json.loads((tmp_path / "p.json").read_text()) if row["score"] >= MIN_FIRST_SCORE]
    assert len(theirs) == len({row["score"] for row in theirs}) == 6, "the photos must make a difference"
    assert predict(photos, tmp_path / "a.zip", tmp_path / "out", "--min-score", "0", "--no-pictures") == 0
    coco = json.loads((tmp_path / "out" / "predictions.json").read_text())
    number = {image["id"]: int(Path(image["file_name"]).stem[4:]) for image in coco["images"]}
    ours = [{**row, "image_id": number[row["image_id"]]} for row in coco["annotations"]]
    order = [sorted(rows, key=lambda row: (row["image_id"], -row["score"])) for rows in (ours, theirs)]
    for mine, its in zip(*order, strict=True):
        assert (mine["image_id"], mine["category_id"]) == (its["image_id"], its["category_id"])
        assert mine["bbox"] == pytest.approx(its["bbox"], abs=1e-3)
        assert mine["score"] == pytest.approx(its["score"], abs=1e-5)


def test_facings_rows_and_gaps_are_those_of_the_boxes(named: Path, tmp_path: Path) -> None:
    photos = put(tmp_path / "D", "a.png")
    assert predict(photos, named, tmp_path / "out", "--no-pictures") == 0
    boxes = table(tmp_path / "out" / "predictions.csv")
    assert [(row["row"], row["place"]) for row in boxes] == [("1", "1"), ("1", "2")]
    assert float(boxes[0]["x0"]) < float(boxes[1]["x0"])
    (facing,) = table(tmp_path / "out" / "facings.csv")
    assert facing == {"photo": "a.png", "product": "Blåbær", "id": "3", "facings": "2", "rows": "1",
                      "share_by_count": "1.0", "share_by_width": "1.0"}  # fmt: skip
    (gap,) = table(tmp_path / "out" / "gaps.csv")
    assert (gap["row"], gap["after_place"], gap["left"], gap["right"]) == ("1", "1", "Blåbær", "Blåbær")
    assert (float(gap["x0"]), float(gap["x1"])) == pytest.approx((float(boxes[0]["x1"]), float(boxes[1]["x0"])))
    assert not (tmp_path / "out" / "pictures").exists()


def test_the_floor_decides_what_counts_and_what_does_not_is_told(
    named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = put(tmp_path / "D", "a.png")
    assert predict(photos, named, tmp_path / "out", "--min-score", "0.7", "--no-pictures") == 0
    assert [float(row["score"]) for row in table(tmp_path / "out" / "predictions.csv")] == [pytest.approx(0.9)]
    assert "1 box scored too low to count" in capsys.readouterr().out


def test_two_ways_to_say_what_counts_are_refused(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = put(tmp_path / "D", "a.png")
    assert predict(photos, named, tmp_path / "out", "--min-score", "0.9", "--precision", "0.9") == 2
    assert capsys.readouterr().err.startswith("error: --precision, --min-score: got both, need at most one")
    missing = {"operating_points": {"missing": {"precision 0.95": "not shown: at best 3 of 9"}}}
    (named / "gate.json").write_text(json.dumps(missing))
    assert predict(photos, named, tmp_path / "out", "--precision", "0.95") == 2
    assert f"no floor for it, not shown: at best 3 of 9 ({named}/gate.json)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_photos_without_a_facing_are_told(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = put(tmp_path / "D", "a.png")
    assert predict(photos, named, tmp_path / "out", "--min-score", "0.99", "--no-pictures") == 0
    assert "1 photo without a facing" in capsys.readouterr().out


def test_frames_of_a_video_are_not_called_photos(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photos = put(tmp_path / "D", "a.png")
    assert predict(photos, named, tmp_path / "one", "--no-pictures") == 0
    assert "predict: 1 photo predicted now, " in (said := capsys.readouterr().out) and " photos/s; see" in said
    film(photos / "a.mp4", seconds=3)
    assert predict(photos, named, tmp_path / "two", "--no-pictures", "--min-score", "0.99") == 0
    said = capsys.readouterr().out
    assert "predict: 4 photos and frames predicted now, " in said and " photos and frames/s; see" in said
    assert "predict: 4 photos and frames, 0 facings" in said and "predict: 4 photos and frames without a facing" in said


def test_a_broken_photo_costs_itself_and_all_broken_are_exit_code_1(
    named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = put(tmp_path / "D", "good.jpg")
    (photos / "broken.jpg").write_bytes(b"no photo")
    (photos / "none.mp4").write_bytes(b"no video")
    assert predict(photos, named, tmp_path / "out") == 0
    assert {row["photo"] for row in table(tmp_path / "out" / "problems.csv")} == {"broken.jpg", "none.mp4"}
    assert {row["photo"] for row in table(tmp_path / "out" / "predictions.csv")} == {"good.jpg"}
    assert [image["file_name"] for image in json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]] == [
        "good.jpg"
    ]
    assert "2 failed" in capsys.readouterr().out
    assert predict(photos / "broken.jpg", named, tmp_path / "one") == 1
    assert "1 failed" in capsys.readouterr().out
    (photos / "good.jpg").write_bytes(b"")
    assert predict(photos, named, tmp_path / "out", "--resume") == 1
    assert len(table(tmp_path / "out" / "problems.csv")) == 3


def test_a_part_that_fails_is_a_remark_and_no_detection_at_all_a_problem(
    named: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = put(tmp_path / "D", "a.jpg")

    def fail(*given: object) -> None:
        raise RuntimeError("no memory")

    monkeypatch.setattr("fusion.pipeline.run_classifier_view", fail)
    assert predict(photos, named, tmp_path / "out") == 0
    (row,) = table(tmp_path / "out" / "problems.csv")
    assert row["problem"] == "predicted without shelf/model.onnx view 1, which failed: no memory"
    monkeypatch.setattr(Pipeline, "warm_up", lambda self: None)
    monkeypatch.setattr("fusion.pipeline.begin_detector_view", fail)
    assert predict(photos, named, tmp_path / "out", "--force") == 1
    assert table(tmp_path / "out" / "predictions.csv") == []


def test_photos_that_exif_turns_are_counted(named: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "D").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "D" / "a.jpg", exif=exif)
    for flags, size, told in ([], [64, 48], "read as stored; --exif turned"), (["--exif", "turned"], [48, 64], "as turned"):
        assert predict(tmp_path / "D", named, tmp_path / "out", "--force", *flags) == 0
        (image,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
        assert [image["width"], image["height"]] == size
        assert told in capsys.readouterr().out


@pytest.mark.slow
def test_the_starter_finds_boxes_without_names_and_is_exported_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from stage1_detector import starter

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    photos = tmp_path / "D"
    make_photos.draw(SMALL, tmp_path / "shop", workers=1)
    shutil.copytree(tmp_path / "shop" / "images", photos)
    assert predict(photos, Path("starter"), tmp_path / "out", "--min-score", "0.1") == 0
    assert "finds boxes without names" in capsys.readouterr().out
    rows = table(tmp_path / "out" / "predictions.csv")
    assert len(rows) > 5 and {row["product"] for row in rows} == {"product"}
    monkeypatch.setattr(starter, "write_run_folder", lambda folder: pytest.fail("exported again"))
    assert predict(photos, Path("starter"), tmp_path / "again", "--min-score", "0.1") == 0


@pytest.mark.slow
def test_another_version_of_the_code_exports_the_starter_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stage1_detector import starter

    code = tmp_path / "code" / "export.py"
    code.parent.mkdir()
    code.write_text("first")

    def write(folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "ensemble.json").write_text(code.read_text())

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(starter, "__file__", str(code.parent / "starter.py"))
    monkeypatch.setattr(starter, "write_run_folder", write)
    first = starter_folder()
    monkeypatch.chdir(tmp_path)  # from wherever it is asked for
    assert starter_folder() == first
    code.write_text("second")
    assert (starter_folder() / "ensemble.json").read_text() == "second" and starter_folder() != first
    (starter_folder() / "ensemble.json").unlink()  # as a cleaner of caches may
    assert (starter_folder() / "ensemble.json").is_file()
    assert sorted(path.name for path in first.parent.iterdir()) == sorted([first.name, starter_folder().name])

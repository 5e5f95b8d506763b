"""`hylle scale` as a user runs it, with a Ray of one worker: the same as run.py, and each photo once whatever is killed."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

for name in ("ray", "pyarrow", "duckdb", "pandas"):
    pytest.importorskip(name, reason="the extra [scale] is not installed")

from experiments.performance.scale_runs import ScaleRun, accounted, kill_driver, kill_worker, wait_for_parts, workers  # noqa: E402
from runs.record import ROOT  # noqa: E402
from submission import build  # noqa: E402
from submission.unpacking import unpack  # noqa: E402

PHOTOS = 30


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(1, PHOTOS + 1):
        pixels = rng.integers(0, 255, (rng.integers(40, 90), rng.integers(40, 90), 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"img_{i:05d}.jpg")
    return folder


def by_run_py(runs: Path, photos: Path, scratch: Path) -> list[tuple[Any, ...]]:
    """What the run.py of the zip of `runs` writes: image id, box, category, score."""
    build.build(runs, scratch / "a.zip")
    unpack(scratch / "a.zip", scratch / "code")
    words = ["run.py", "--input", str(photos), "--output", str(scratch / "out.json")]
    subprocess.run([sys.executable, *words], cwd=scratch / "code", check=True, capture_output=True)
    rows = json.loads((scratch / "out.json").read_text())
    return sorted((row["image_id"], *row["bbox"], row["category_id"], row["score"]) for row in rows)


def with_pandas(out: Path) -> list[tuple[Any, ...]]:
    import pandas as pd

    return list(pd.read_parquet(out / "boxes").itertuples(index=False, name=None))


def with_duckdb(out: Path) -> list[tuple[Any, ...]]:
    import duckdb

    return duckdb.sql(f"SELECT * FROM read_parquet('{out}/boxes/*/*.parquet', hive_partitioning = true)").fetchall()


READ_WITH_RAY = """
import ray, sys
ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 * 2**20, logging_level="ERROR")
print(ray.data.read_parquet(sys.argv[1] + "/boxes").count())
ray.shutdown()
"""


@pytest.mark.slow
def test_a_run_gives_what_run_py_gives_and_its_tables_can_be_read(runs: Path, photos: Path, tmp_path: Path) -> None:
    run = ScaleRun(photos, str(runs), tmp_path / "out", ["--part", "7"])
    run.finish()
    expected = by_run_py(runs, photos, tmp_path)
    rows = with_pandas(run.out)
    found = sorted((int(Path(row[0]).stem[-5:]), *row[1:6], row[7]) for row in rows)
    assert [row[0] for row in found] == [row[0] for row in expected] and len(found) == len(expected) > PHOTOS
    np.testing.assert_allclose(np.array(found)[:, 1:5], np.array(expected)[:, 1:5], atol=1e-3)
    np.testing.assert_allclose(np.array(found)[:, 5:], np.array(expected)[:, 5:], atol=1e-5)
    assert len(with_duckdb(run.out)) == len(expected)
    counted = subprocess.run([sys.executable, "-c", READ_WITH_RAY, str(run.out)], check=True, capture_output=True, text=True)
    assert int(counted.stdout.split()[-1]) == len(expected)


@pytest.mark.slow
def test_each_photo_is_there_once_after_kills_of_worker_and_driver(runs: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "img_00031.jpg").write_bytes(b"no photo")
    run = ScaleRun(photos, str(runs), tmp_path / "out", ["--part", "1"])
    driver = run.start()
    assert kill_worker(run, driver, 0.0)
    assert wait_for_parts(run, driver, run.finished_parts() + 1)
    kill_driver(driver)
    before = run.finished_parts()
    assert 0 < before < PHOTOS + 1 and workers(driver) == []
    run.finish()
    assert accounted(run.out) == {str(path): 1 for path in photos.iterdir()}


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        pytest.param(["--workers", "0"], "--workers: got 0, must be at least 1", id="no worker"),
        pytest.param(["--gpus", "-1"], "--gpus: got -1.0, must be at least 0", id="less than no GPU"),
        pytest.param(["--gpus", "nan"], "--gpus: got nan, need a finite number", id="no number of GPUs"),
        pytest.param(["--out", "memory://o"], "--out memory://o: got the memory of one process", id="nowhere to write"),
        pytest.param(["--out", "s3:/bucket/o"], "s3:/bucket/o: got s3:/, a URI begins with s3://", id="one slash"),
        pytest.param(["--photos", "/no/such/folder"], "--photos /no/such/folder: not a folder", id="no photos"),
    ],
)
def test_a_mistake_is_one_line(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    from scaling.scale import main

    assert main(["--photos", str(ROOT), "--model", "starter", "--out", "o", *flags]) == 2
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from scaling import scale

    monkeypatch.setattr(scale.importlib.util, "find_spec", lambda name: None)
    assert scale.main(["--photos", "p", "--model", "starter", "--out", "o"]) == 2
    assert "uv pip install -e '.[scale]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        pytest.param("", Exception("timed out during startup"), "Ray did not start on this machine (timed out", id="too busy"),
        pytest.param("auto", ConnectionError("none"), "--address auto: no Ray cluster answers there (none)", id="no cluster"),
        pytest.param("127.0.0.1:1", None, "--address 127.0.0.1:1: no Ray cluster answers there (", id="nobody at the port"),
        pytest.param("ray://127.0.0.1:70000", None, "no Ray cluster answers there (", id="no port"),
    ],
)
def test_a_ray_that_does_not_start_is_one_line(
    monkeypatch: pytest.MonkeyPatch, address: str, error: Exception | None, words: str
) -> None:
    from scaling import cluster

    def fail(**_: object) -> None:
        assert error is not None, "Ray is not asked"
        raise error

    monkeypatch.setattr(cluster.ray, "init", fail)
    with pytest.raises(ValueError, match=re.escape(words)), cluster.connected(cluster.Workers(1, address=address)):
        pass


def test_what_a_worker_cannot_write_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import ray

    from scaling import cluster, worker
    from scaling.destination import Destination
    from scaling.packed_model import PackedModel

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "/out/photos")

    class Stopped:
        def iter_rows(self) -> None:
            with pytest.raises(worker.CannotWrite) as told:
                list(worker.PartWorker.__call__(part_worker, {"part": [0], "uris": [["a.jpg"]]}))
            cause = worker.CannotWrite(f"{told.value}\nFailed to apply it after 1/1 attempts.")
            raise ray.exceptions.RayTaskError(
                "worker", "Traceback\n of lines", cause, "worker", 1, "host"
            ).as_instanceof_cause()

    part_worker = object.__new__(worker.PartWorker)
    part_worker.predictor, part_worker.out, part_worker.failure = None, Destination(str(tmp_path)), ""
    monkeypatch.setattr(worker, "predict_part", full)
    monkeypatch.setattr(cluster.ray, "put", lambda model: model)
    monkeypatch.setattr(cluster, "mapped_parts", lambda *_: Stopped())
    with pytest.raises(
        ValueError, match=r"^/out/photos: No space left on device; make room or give rights, and call again to go on$"
    ):
        list(cluster.predict_parts([], PackedModel({}, None), part_worker.out, cluster.Workers(1)))


@pytest.mark.parametrize("names_it", [True, False])
def test_a_worker_whose_temporary_folder_is_full_says_so_with_its_first_part(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names_it: bool
) -> None:
    from scaling import worker
    from scaling.destination import Destination
    from scaling.packed_model import PackedModel

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", *(["/t/a.onnx"] * names_it))

    monkeypatch.setattr(worker, "load_packed", full)
    monkeypatch.setattr("ray.get", lambda model: model)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    part_worker = worker.PartWorker(PackedModel({}, None), Destination(str(tmp_path / "out")))
    assert list(tmp_path.iterdir()) == [], "half a model is no use to anybody"
    where = "/t/a.onnx" if names_it else r"the folder for temporary files \(TMPDIR\)"
    with pytest.raises(worker.CannotWrite, match=f"^{where}: No space left on device$"):
        list(part_worker({"part": [0], "uris": [["a.jpg"]]}))


def test_a_model_or_a_photo_for_which_there_is_no_room_names_its_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from scaling.packed_model import PackedModel, load_packed
    from scaling.photo_rows import pixels

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*/a\.onnx'"):
        load_packed(PackedModel({"a.onnx": b"x"}, None), tmp_path)
    with pytest.raises(OSError, match=r"No space left on device: '.*\.photo'"):
        pixels(b"x", "stored", tmp_path)


@pytest.mark.parametrize(
    ("failed", "words"),
    [
        pytest.param(True, "a worker could not start (OSError: no GPU); call again to go on", id="it raised as it started"),
        pytest.param(False, "workers were killed again and again (The actor died); call again to go on", id="killed"),
    ],
)
def test_why_workers_ended_is_one_line_without_colours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, failed: bool, words: str
) -> None:
    import ray

    from scaling import cluster
    from scaling.destination import Destination
    from scaling.packed_model import PackedModel

    class Stopped:
        def iter_rows(self) -> None:
            told = "The actor died\n\x1b[36mray::MapWorker.__init__()\x1b[39m (pid=1)\nOSError: no GPU\n\n"
            raise ray.exceptions.RayActorError("1", told, actor_init_failed=failed)

    monkeypatch.setattr(cluster.ray, "put", lambda model: model)
    monkeypatch.setattr(cluster, "mapped_parts", lambda *_: Stopped())
    with pytest.raises(ValueError, match=f"^{re.escape(words)}$"):
        list(cluster.predict_parts([], PackedModel({}, None), Destination(str(tmp_path)), cluster.Workers(1)))


def test_photos_of_which_none_can_be_predicted_are_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As where a list names photos of another folder."""
    from scaling.destination import SCHEMAS, Destination
    from scaling.listing import Part
    from scaling.scale import _account

    out, part = Destination(str(tmp_path)), Part(0, ("a.jpg",))
    dead = {"photo": "a.jpg", "reason": "unreadable", "detail": "no such file"}
    out.finish(part, {table: [] for table in SCHEMAS} | {"dead_letters": [dead]})
    with pytest.raises(ValueError, match="none of the photos could be predicted; the detail column of dead_letters"):
        _account(out, [part], 1.0)
    assert "0 photos, 0 boxes; dead letters: 1 unreadable" in capsys.readouterr().out

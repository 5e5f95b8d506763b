"""What models find is cached by what they were shown: a photo replaced in place, or read another way up, is another."""

import errno
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from constant_models import save_model
from place import IDS, Place
from small_photos import photo

from fusion.boxes import Detections
from fusion.ensemble import read_ensemble
from photos.data import Photo, read
from stage2_classifier.gate import evidence as evidence_file
from stage2_classifier.gate.ensemble import default_ensemble
from stage2_classifier.gate.evidence import Evidence, cached, collect, no_progress, whole_arrays
from stage2_classifier.gate.oracles import with_true_names
from stage2_classifier.label_review.review import EvidenceSource


def bytes_of(photo: Photo) -> dict[str, np.ndarray]:
    """Stands for a model's outputs."""
    return {"size": np.array([photo.width]), "bytes": np.frombuffer(photo.path.read_bytes(), np.uint8)}


def test_no_photos_have_no_outputs(tmp_path: Path) -> None:
    assert cached(tmp_path / "cache", [], bytes_of, no_progress) == []


def test_a_photo_of_other_bytes_under_the_same_id_is_computed_anew(tmp_path: Path) -> None:
    one, calls = photo(tmp_path, 1, [[0, 0, 9, 9]]), []

    def compute(photo: Photo) -> dict[str, np.ndarray]:
        calls.append(photo.id)
        return bytes_of(photo)

    def outputs(photo: Photo) -> bytes:
        return cached(tmp_path / "cache", [photo], compute, no_progress)[0]["bytes"].tobytes()

    before = one.path.read_bytes()
    assert outputs(one) == outputs(replace(one, boxes=one.boxes + 1)) == before
    assert calls == [1]
    one.path.write_bytes(before + b"\0")
    assert outputs(one) == before + b"\0"
    assert calls == [1, 1]
    outputs(replace(one, width=one.height, height=one.width))
    assert calls == [1, 1, 1]


@pytest.mark.parametrize("is_there", [False, True], ids=["no cache", "a cache"])
def test_what_may_only_be_read_is_looked_at_and_nothing_is_kept(
    tmp_path: Path, is_there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, two = (photo(tmp_path, i, [[0, 0, 9, 9]]) for i in (1, 2))
    folder = tmp_path / "raw" / "key"
    if is_there:
        cached(folder, [one], bytes_of, no_progress)
    refuse_writing(monkeypatch, errno.EROFS)
    for _ in range(2):
        found = cached(folder, [one, two], bytes_of, no_progress)
        assert [arrays["bytes"].tobytes() for arrays in found] == [one.path.read_bytes(), two.path.read_bytes()]
    assert capsys.readouterr().out.count(f"{tmp_path / 'raw'} cannot be written: what the models find is not kept\n") == 1
    assert len(list(tmp_path.glob("raw/*/*"))) == is_there


def test_a_full_disk_is_an_error_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_writing(monkeypatch, errno.ENOSPC)
    with pytest.raises(OSError, match="there"):
        cached(tmp_path / "raw" / "key", [photo(tmp_path, 1, [[0, 0, 9, 9]])], bytes_of, no_progress)


def refuse_writing(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Stands for a disk that takes no new file: an administrator may write where nobody else may."""

    def refuse(path: Path, *given: object, **more: object) -> None:
        raise OSError(number, "nothing is written there", str(path))

    monkeypatch.setattr(evidence_file, "replacing", refuse)
    if number == errno.EROFS:
        monkeypatch.setattr(Path, "mkdir", lambda path, *given, **more: None if path.is_dir() else refuse(path))


def cache_outputs(folder: Path, photos: list[Photo]) -> None:
    """Cache what is large, so that two processes that do it at once write the same file."""
    assert len(cached(folder, photos, lambda photo: {"a": np.zeros((20000, 60), np.float32)}, no_progress)) == len(photos)


def test_two_processes_that_fill_a_cache_at_once_do_not_meet(tmp_path: Path) -> None:
    photos, context = [photo(tmp_path, i, [[0, 0, 9, 9]]) for i in range(1, 30)], multiprocessing.get_context("spawn")
    filling = [context.Process(target=cache_outputs, args=(tmp_path / "cache", photos)) for _ in range(2)]
    for process in filling:
        process.start()
    for process in filling:
        process.join(60)
    assert [process.exitcode for process in filling] == [0, 0]
    assert not list(tmp_path.rglob("*.part*")) and len(list((tmp_path / "cache").iterdir())) == len(photos)


@pytest.mark.parametrize("left", [b"", b"PK\x03\x04", b"junk", None], ids=["empty", "a start", "other bytes", "cut off"])
def test_a_damaged_file_of_a_cache_is_made_anew(place: Place, left: bytes | None) -> None:
    """As a loss of power leaves it."""
    dataset = read(place.data)
    source, one = EvidenceSource(default_ensemble(place.runs, ["classifier_shelf"], dataset), place.runs), dataset.photos[0]

    def told() -> list:
        return [*source.evidence([one]), source.names(one, one.boxes)]

    before = told()
    files = list((place.runs / "raw").rglob("*.npz"))
    assert len(files) == 3
    for path in files:
        path.write_bytes(path.read_bytes()[:-50] if left is None else left)
    (evidence, names), (found, named) = before, told()
    assert np.array_equal(found.merged.boxes, evidence.merged.boxes) and np.array_equal(named, names)
    assert all(whole_arrays(path) for path in files)


def test_what_another_version_of_the_code_found_is_computed_anew(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = read(place.data)
    one, ensemble = dataset.photos[0], default_ensemble(place.runs, ["classifier_shelf"], dataset)
    models = []
    for code, n_files in (("old", 3), ("old", 3), ("new", 6), ("old", 6)):  # of detectors, classifiers, the label review
        monkeypatch.setattr(evidence_file, "CODE", code)
        source = EvidenceSource(ensemble, place.runs)
        source.names(one, one.boxes)
        models.append(source.evidence([one])[0].models)
        assert len(list((place.runs / "raw").rglob("*.npz"))) == n_files
    assert models[0] == models[1] == models[3] != models[2]


def test_the_label_review_names_a_replaced_photo_anew(place: Place) -> None:
    dataset = read(place.data)
    source, one = EvidenceSource(default_ensemble(place.runs, ["classifier_shelf"], dataset), place.runs), dataset.photos[0]
    for changed, n_files in ((False, 1), (False, 1), (True, 2)):
        if changed:
            one.path.write_bytes(one.path.read_bytes() + b"\0")
        source.names(one, one.boxes)
        assert len(list(source.cache.glob("*.npz"))) == n_files


def test_a_classifier_that_gives_nan_is_refused(place: Place) -> None:
    save_model(place.runs / "classifier_shelf", np.array([np.nan, 0, 0]), task="classifier", family="timm", categories=IDS)
    photos, message = read(place.data).photos[:1], r"classifier_shelf/model\.onnx: got numbers that are not finite on .*jpg"
    with pytest.raises(ValueError, match=message):
        collect(read_ensemble(place.runs), place.runs, photos, place.runs / "raw", no_progress)


def test_perfect_names_are_those_of_the_products_found_and_of_no_other_box() -> None:
    true = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], np.float32)
    photo = Photo(1, Path("1.jpg"), 99, 99, true, np.array([0, 2]), np.arange(2), None)
    boxes = np.array([[0, 0, 10, 9], [20, 0, 30, 9], [50, 50, 60, 60]], np.float32)
    found = Detections(boxes, np.ones(3, np.float32), np.array([1, 1, 1]))
    assert with_true_names(Evidence(photo, found, None), found).labels.tolist() == [0, 2, 1]

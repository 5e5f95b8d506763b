"""GroceryStore: how it is read, what is kept, refused and recorded; the command on a small set and on the real one."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from experiments.figures import records
from experiments.studies import grocery

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "grocery"
COLOURS = {"Leek": (30, 200, 30), "Beet": (60, 20, 160), "Corn": (20, 200, 220)}  # BGR


def small_set(root: Path, per_part: int = 4) -> Path:
    """Three classes by colour, in GroceryStore's layout; ids not in the order of the names."""
    rng = np.random.default_rng(0)
    for name, colour in COLOURS.items():
        for part in ("train", "val", "test"):
            folder = root / "natural" / part / name
            folder.mkdir(parents=True)
            for i in range(per_part):
                picture = np.clip(np.full((48, 40, 3), colour) + rng.normal(0, 8, (48, 40, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(folder / f"{i}.jpg"), picture)
        studio = np.full((60, 60, 3), 255, np.uint8)
        studio[15:45, 20:40] = colour
        (root / "studio" / name).mkdir(parents=True)
        cv2.imwrite(str(root / "studio" / name / "main.jpg"), studio)
    rows = [{"id": 2, "name": "Leek"}, {"id": 0, "name": "Beet"}, {"id": 1, "name": "Corn"}]
    (root / "classes.json").write_text(json.dumps(rows))
    return root


def test_natural_photos_are_whole_and_studio_ones_are_cut_to_the_product(tmp_path: Path) -> None:
    photos = grocery.read_photos(small_set(tmp_path), 64)
    assert photos.names == ["Beet", "Corn", "Leek"]
    assert {part: len(regions) for part, regions in photos.natural.items()} == {"train": 12, "val": 12, "test": 12}
    assert photos.natural["test"][-1].box.tolist() == [0, 0, 40, 48] and photos.natural["test"][-1].label == 2
    np.testing.assert_allclose(photos.studio[0].box[2:] - photos.studio[0].box[:2], [20, 30], atol=4)  # JPEG blurs the edge
    assert [r.studio for r in photos.studio] == [True] * 3 and not any(r.studio for r in photos.natural["train"])
    beet = photos.natural["train"][0].image.mean((0, 1))
    np.testing.assert_allclose(beet, [160, 20, 60], atol=12)  # RGB


@pytest.mark.parametrize(
    ("gone", "message"),
    [
        pytest.param("classes.json", "classes.json not found", id="no classes"),
        pytest.param("natural/val", "none of the 3 classes has a photo there", id="no val"),
        pytest.param("studio", "none of the 3 classes has a photo there", id="no studio"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, gone: str, message: str) -> None:
    small_set(tmp_path)
    (tmp_path / gone).rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match=message):
        grocery.read_photos(tmp_path, 64)


def test_a_broken_photo_is_named(tmp_path: Path) -> None:
    (small_set(tmp_path) / "studio" / "Corn" / "main.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match=r"Corn/main\.jpg: not a readable photo"):
        grocery.read_photos(tmp_path, 64)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        pytest.param(["--seeds", "0"], "--seeds: got 0", id="no seeds"),
        pytest.param(["--quick", "--record"], "--record is not for --quick", id="a rehearsal is not recorded"),
        pytest.param(["--pretrained", "nowhere.pt"], "--pretrained: got nowhere.pt", id="missing weights"),
    ],
)
def test_mistakes_are_told_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], flags: list[str], message: str
) -> None:
    assert grocery.main(["--data", str(small_set(tmp_path)), "--out", str(tmp_path / "out"), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and message in error
    assert not (tmp_path / "out").exists()


def result(top1: float) -> dict[str, Any]:
    numbers = {"test_top1": top1, "ece_before": 0.1, "ece_after": 0.05, "n_train": 12, "n_test": 30}
    return {"settings": {"model": "resnet10t", "size": 64}, **numbers}


def test_figures_are_means_over_seeds_with_intervals() -> None:
    done = {"natural": [result(0.5), result(0.6), result(0.7)], "studio_bridge": [result(0.2)]}
    made = {f["key"]: f for f in grocery.as_records(done, "command")}
    assert set(made) == {
        f"grocery.{k}.{n}" for k in ("natural", "studio_to_natural") for n in ("top1", "ece_before", "ece_after")
    }
    top = made["grocery.natural.top1"]
    half = 4.302653 * 0.1 / 3**0.5  # t for 2 degrees of freedom, from a table
    assert (top["value"], top["low"], top["high"], top["n"]) == pytest.approx((0.6, 0.6 - half, 0.6 + half, 3), abs=1e-5)
    alone = made["grocery.studio_to_natural.top1"]
    assert alone["low"] is None and "one seed, so no interval" in alone["setting"]


def test_the_starter_is_compared_seed_by_seed(tmp_path: Path) -> None:
    for seed, top1 in enumerate((0.5, 0.9)):
        folder = tmp_path / "natural" / f"seed{seed}"
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps(result(top1)))
    made = grocery.gain_records({"natural": [result(0.6), result(1.0)]}, tmp_path, Path("starter"), "command")
    assert [f["key"] for f in made] == ["starter_embedding.grocery.minus_random"]
    assert made[0]["value"] == pytest.approx(0.1) and made[0]["high"] - made[0]["low"] < 1e-6  # paired: no spread is left


@pytest.mark.slow
def test_a_rehearsal_runs_is_kept_and_refuses_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    words = ["--data", str(small_set(tmp_path / "set")), "--out", str(tmp_path / "out"), "--seeds", "1", "--quick"]
    assert grocery.main(words) == 0
    paths = [tmp_path / "out" / kind / "seed0" / "result.json" for kind in grocery.KINDS]
    first = [path.read_bytes() for path in paths]
    assert all(0 <= json.loads(text)["test_top1"] <= 1 for text in first)
    assert grocery.main(words) == 0
    assert [path.read_bytes() for path in paths] == first
    capsys.readouterr()
    assert grocery.main([w for w in words if w != "--quick"]) == 2
    assert "is of other settings" in capsys.readouterr().err
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_colours_are_learned_from_natural_photos(tmp_path: Path) -> None:
    from dataclasses import replace

    photos = grocery.read_photos(small_set(tmp_path / "set", 16), 32)
    config = replace(grocery.KINDS["natural"], size=32, epochs=12, batch=16, colour=0.0)
    assert grocery.one_run(photos, tmp_path / "run", "natural", config, None)["test_top1"] > 0.9


@pytest.mark.slow
@pytest.mark.skipif(not REAL.is_dir(), reason="shared/data/grocery is not beside the checkout")
def test_the_published_split_is_read_whole() -> None:
    photos = grocery.read_photos(REAL, 16)
    assert {part: len(regions) for part, regions in photos.natural.items()} == {"train": 2640, "val": 296, "test": 2485}
    assert len(photos.names) == len(photos.studio) == 81

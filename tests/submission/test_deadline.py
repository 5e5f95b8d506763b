"""A run short of time does less on each photo, in the order of ensemble.json, and covers them all."""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from constant_models import CANDIDATES, CATEGORIES, save_model
from PIL import Image
from simulated_run import VIEWS, Simulated, ensemble

from fusion import models, reading
from fusion.ensemble import Ensemble, Part, Plan, parse, parts_of, plans_of
from submission import run

ONE, FLIPPED, LARGER = (Part("detectors", 0, view) for view in range(3))
AWARE, SHELF, MIRRORED = Part("detectors", 1, 0), Part("classifiers", 0, 0), Part("classifiers", 0, 1)


@pytest.mark.parametrize(
    ("shed", "order", "needed"),
    [
        pytest.param(None, [ONE, SHELF, AWARE, MIRRORED, FLIPPED, LARGER], 1, id="views, crops' views, detectors, classifiers"),
        pytest.param(
            ["classifiers", "classifier_views", "views"], [ONE, AWARE, FLIPPED, LARGER, MIRRORED, SHELF], 2,
            id="the classifier first, the second detector never",
        ),
        pytest.param([], [ONE, AWARE, SHELF, FLIPPED, MIRRORED, LARGER], 6, id="nothing"),
    ],
)  # fmt: skip
def test_the_order_in_which_work_is_shed(shed: list[str] | None, order: list[Part], needed: int) -> None:
    assert parts_of(ensemble(**({} if shed is None else {"shed": shed}))) == (order, needed)


def test_the_first_part_is_of_a_detector_that_forms_boxes() -> None:
    turned = Ensemble(CATEGORIES, ensemble().detectors[::-1])
    assert parts_of(turned)[0][0] == Part("detectors", 1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"shed": ["photos"]}, "shed: got 'photos', known: views", id="unknown group"),
        pytest.param({"classifiers": [{"file": "a.onnx", "weight": 0}]}, "classifiers: got none of weight > 0", id="all mute"),
        pytest.param({"detectors": [{"file": "a.onnx", "views": []}]}, "detectors: got none of weight > 0", id="no view"),
    ],
)
def test_an_ensemble_that_could_only_find_nothing_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse({"categories": CATEGORIES, "detectors": [{"file": "one.onnx", "views": VIEWS}]} | change)


def test_with_time_enough_everything_is_done_on_every_photo() -> None:
    simulated = Simulated(1000, lambda photo, part: 1.0)
    assert [len(parts) for parts in simulated.run(50)] == [6] * 50


@pytest.mark.parametrize(
    ("fails", "shelf"),
    [
        pytest.param(lambda photo, part: photo < 3, [0, 1, 2, *range(10, 40)], id="all parts, on the three largest photos"),
        pytest.param(lambda photo, part: part == SHELF, [0, 1, 2, 10, 20, 30], id="the classifier always"),
        pytest.param(lambda photo, part: photo % 3 > 0, range(40), id="all parts, never three times in a row"),
    ],
)
def test_a_part_that_fails_in_a_row_is_tried_now_and_then_and_the_first_detector_always(
    caplog: pytest.LogCaptureFixture, fails: object, shelf: Sequence[int]
) -> None:
    done = Simulated(1000, lambda photo, part: 0.1, fails=fails).run(40)
    assert [photo for photo, parts in enumerate(done) if ONE in parts] == list(range(40))
    assert [photo for photo, parts in enumerate(done) if SHELF in parts] == list(shelf)
    told = [note for note in caplog.messages if note.startswith("error: shelf.onnx view 1")]
    assert [note.endswith(", 3 times in a row") for note in told][2:3] == [len(shelf) < 40]


def test_work_that_hides_behind_reading_costs_nothing() -> None:
    """Reading takes 1 s a photo, all parts together 0.6 s beside it: there is nothing to shed."""
    simulated = Simulated(68, lambda photo, part: 0.1, reading=lambda photo: 1.0)
    assert [len(parts) for parts in simulated.run(60)] == [6] * 60
    assert simulated.seconds < 61


class InTurn(Simulated):
    """As `Simulated`, but photos are read by the reader itself, `seconds` each, which cannot tell their sizes beforehand."""

    def __init__(self, budget: float, cost: object, seconds: float, paths: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(budget, cost)
        plain = reading.read_photo

        def read_photo(path: Path, exif: str) -> object:
            self.now += seconds
            return plain(path, exif)

        monkeypatch.setattr(reading, "read_photo", read_photo)
        monkeypatch.setattr(reading.time, "perf_counter", lambda: self.now)
        self.reader = reading.ReadAhead(paths, threads=3)

    def take(self, photo: int) -> float:
        return self.reader.take().seconds


def test_reading_that_no_work_hides_is_paid_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """60 photos of 0.06 s to read and 0.02 s to look at, and 0.01 s: 5.4 s, so that of their names few fit into 6.2 s."""
    paths = [tmp_path / f"{k}.jpg" for k in range(60)]
    for path in paths:
        Image.new("RGB", (8, 8)).save(path, "PNG")
    seconds = {ONE: 0.02, SHELF: 0.06}
    simulated = InTurn(6.2, lambda photo, part: seconds.get(part, 0.001), 0.06, paths, monkeypatch)
    assert len(simulated.run(60)) == 60
    assert 5.8 < simulated.seconds < 6.2
    simulated.reader.close()


def test_shedding_does_not_make_a_photo_quicker_than_its_reading() -> None:
    """Reading 1 s, parts 0.5 s each: 60 photos fit into 75 s with two parts each, as with one; never with three."""
    simulated = Simulated(75, lambda photo, part: 0.5, reading=lambda photo: 1.0)
    done = simulated.run(60)
    assert len(done) == 60 and simulated.seconds < 75
    assert sum(len(parts) for parts in done) >= 2 * 60 - 15


def test_time_is_told_apart_by_part_and_adds_up() -> None:
    simulated = Simulated(1000, lambda photo, part: 0.1, reading=lambda photo: 1.0)
    deadline = run.Deadline(simulated, 1, lambda: simulated.now)
    deadline.next_photo()
    simulated.now += 1.0
    deadline.photo_read(1.0)
    simulated.spent = {ONE: 0.4}
    simulated.now += 0.5
    deadline.photo_done()
    assert deadline.total.pop("start") == 0.0
    assert deadline.total == {"one.onnx view 1": pytest.approx(0.4), "rest": pytest.approx(0.1), "waiting": 1.0}
    assert deadline.expected == {ONE: pytest.approx(0.4), "rest": pytest.approx(0.1), "reading": 1.0}


def test_no_photos_take_no_time() -> None:
    assert Simulated(1, lambda photo, part: 1.0).run(0) == []


@pytest.mark.parametrize("slow", [ONE, SHELF, AWARE, LARGER], ids=lambda part: f"{part.kind} {part.model} {part.view}")
@pytest.mark.parametrize("since", [0, 3, 30], ids=["from the start", "from the fourth photo", "from the thirty-first"])
def test_a_slow_part_is_shed_and_every_photo_covered(slow: Part, since: int) -> None:
    simulated = Simulated(100, lambda photo, part: 1.2 if part == slow and photo >= since else 0.1)
    done = simulated.run(60)
    assert len(done) == 60 and all(parts[0] == ONE for parts in done)
    assert simulated.seconds < 100 * 1.02


@pytest.mark.slow
def test_any_costs_end_within_the_budget_with_every_photo_covered() -> None:
    rng, parts = np.random.default_rng(0), parts_of(ensemble())[0]
    for trial in range(200):
        photos, mean = int(rng.integers(10, 100)), rng.gamma(1.0, 0.3, len(parts))
        costs = mean * rng.uniform(0.8, 1.2, (photos, len(parts)))
        reading = rng.uniform(0.0, 2.0) * (trial % 2) * mean.mean()  # beside the parts, in every other trial
        budget = 1.3 * photos * max(mean[0] + 0.01, reading) + 1.2 * mean.sum()  # noise, one try of what nobody has measured
        simulated = Simulated(
            budget,
            lambda photo, part, costs=costs: float(costs[photo, parts.index(part)]),
            lambda photo, reading=reading: reading,
        )
        assert len(simulated.run(photos)) == photos
        assert simulated.seconds < budget * 1.02


def test_time_to_spare_is_used() -> None:
    """What a rigid plan made at the start would leave: at least nine tenths of the budget go into work."""
    simulated = Simulated(60, lambda photo, part: 0.5)
    done = simulated.run(60)  # 30 s for one part each, 180 s for all
    assert len(done) == 60
    assert 54 < simulated.seconds < 61


def test_fewer_boxes_are_named_before_a_model_is_left_out() -> None:
    """50 photos of 2.8 s in 100 s: without further views 2.5 s, of which the classifier has 2; with half the boxes 1.5 s."""
    seconds = {SHELF: 2.0, ONE: 0.3, AWARE: 0.2, MIRRORED: 0.1, FLIPPED: 0.1, LARGER: 0.1}
    simulated = Simulated(100, lambda photo, part: seconds[part])
    deadline = run.Deadline(simulated, 50, lambda: simulated.now)
    deadline.expected, deadline.last = dict(seconds), dict(seconds)
    assert deadline.next_photo()
    assert deadline.plan == (3, 0.5) and simulated.naming_share == 0.5
    assert all(deadline.allows(part) for part in (ONE, SHELF, AWARE)) and not deadline.allows(MIRRORED)
    deadline.photo_done()
    assert deadline.less_named == 1


def test_with_fewer_boxes_named_every_photo_is_covered_in_time() -> None:
    """Names are all that is dear: 50 photos of 2.4 s in 60 s."""
    simulated = Simulated(60, lambda photo, part: 2.0 if part == SHELF else 0.08)
    done = simulated.run(50)
    assert len(done) == 50 and 45 < simulated.seconds < 61
    assert sum(SHELF in parts for parts in done) > 40 and 0.25 in simulated.shares


def test_a_classifier_that_is_not_needed_in_full_is_expected_to_take_its_whole_time_again() -> None:
    """Time measured on a quarter of the boxes counts fourfold, or the next photo would be planned as if names were cheap."""
    simulated = Simulated(1000, lambda photo, part: 1.0)
    deadline = run.Deadline(simulated, 2, lambda: simulated.now)
    deadline.next_photo()
    deadline.plan = Plan(6, 0.25)
    simulated.spent = {ONE: 1.0, SHELF: 0.25}
    deadline.photo_done()
    assert deadline.expected[SHELF] == deadline.last[SHELF] == 1.0 and deadline.expected[ONE] == 1.0


@pytest.mark.parametrize(
    ("values", "plans"),
    [
        pytest.param(
            {}, [(6, 1), (5, 1), (4, 1), *((n, share) for n in (3, 2, 1) for share in (1, 0.5, 0.25))], id="as by default"
        ),
        pytest.param({"shed": []}, [(6, 1), (6, 0.5), (6, 0.25)], id="no part may be left out"),
        pytest.param({"classifiers": []}, [(4, 1), (3, 1), (2, 1), (1, 1)], id="no classifier"),
    ],
)
def test_plans_for_less_and_less_time(values: dict[str, object], plans: list[tuple[int, float]]) -> None:
    assert plans_of(replace(ensemble(), **values)) == plans


def test_one_slow_moment_does_not_shed_a_part_for_good() -> None:
    done = Simulated(100, lambda photo, part: 20.0 if (photo, part) == (0, SHELF) else 0.05).run(100)
    assert sum(SHELF in parts for parts in done) > 50


def test_one_photo_that_took_half_the_time_does_not_cost_the_others() -> None:
    simulated = Simulated(270, lambda photo, part: 140.0 if (photo, part) == (0, ONE) else 0.5)
    assert len(simulated.run(50)) == 50
    assert simulated.seconds < 270


def test_broken_photos_teach_nothing() -> None:
    """A photo that cannot be read takes no time, which says nothing about those that can."""
    simulated = Simulated(60, lambda photo, part: 5.0 if part == SHELF else 0.4)
    deadline = run.Deadline(simulated, 400, lambda: simulated.now)
    deadline.expected, deadline.last = {ONE: 0.4, SHELF: 5.0}, {ONE: 0.4, SHELF: 5.0}
    for _ in range(50):
        assert deadline.next_photo()
        deadline.photo_done()
    assert deadline.expected[SHELF] == 5.0 and deadline.quickest == 0.0


def test_out_of_time_the_run_ends_and_says_so() -> None:
    simulated = Simulated(10, lambda photo, part: 3.0)
    assert len(simulated.run(10)) == 3
    assert simulated.seconds < 10


@pytest.mark.slow
@pytest.mark.parametrize("slow", ["one", "all", "shelf"])
def test_a_slowed_model_still_covers_every_photo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, slow: str
) -> None:
    """Real models, a real clock: 20 photos, 0.2 s more for each call of one model, 6 s in all."""
    code, seconds, sleep = tmp_path / "code", 6.0, 0.2
    save_model(code / "one", CANDIDATES, task="detector")
    aware = np.concatenate([CANDIDATES[:4], np.full((3, 2), 0.5)])
    save_model(code / "all", aware, task="detector", categories=CATEGORIES)
    save_model(code / "shelf", np.array([0.0, 9.0, 0.0]), task="classifier", family="timm", categories=CATEGORIES)
    views = [{"size": 64}, {"size": 64, "flip": True}, {"size": 128}]
    values = {
        "categories": CATEGORIES,
        "detectors": [{"file": "one/model.onnx", "views": views},
                      {"file": "all/model.onnx", "views": views[:1], "weight": 0, "evidence_weight": 1}],
        "classifiers": [{"file": "shelf/model.onnx", "batch": 1}],
        "time_budget_s": seconds,
    }  # fmt: skip
    (code / "ensemble.json").write_text(json.dumps(values))
    (tmp_path / "photos").mkdir()
    for i in range(20):
        Image.new("RGB", (64, 64), (10 * i, 30, 10)).save(tmp_path / "photos" / f"{i}.jpg")
    plain = models.Model.__call__

    def sleepy(self: models.Model, *arguments: object) -> object:
        time.sleep(sleep if self.path.parent.name == slow else 0)
        return plain(self, *arguments)

    monkeypatch.setattr(models.Model, "__call__", sleepy)
    monkeypatch.setattr(run, "__file__", str(code / "run.py"))
    monkeypatch.setattr(run, "STARTED", started := time.monotonic())
    monkeypatch.setattr(sys, "argv", ["run.py", "--input", str(tmp_path / "photos"), "--output", str(tmp_path / "out.json")])
    caplog.set_level("INFO")
    run.main()
    assert time.monotonic() - started < seconds
    assert {row["image_id"] for row in json.loads((tmp_path / "out.json").read_text())} == set(range(20))
    (done,) = [json.loads(note.removeprefix("parts done: ")) for note in caplog.messages if note.startswith("parts done: ")]
    assert done["one/model.onnx view 1"] == 20
    assert sum(done.values()) < 20 * 6  # the whole work would take 12 s at least


def test_a_part_never_tried_is_expected_to_take_as_long_as_the_slowest() -> None:
    simulated = Simulated(100, lambda photo, part: 1.0)
    deadline = run.Deadline(simulated, 10, lambda: simulated.now)
    assert deadline.cost(Plan(3, 1.0), {simulated.parts[0]: 2.0}) == 6.0

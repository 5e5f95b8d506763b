"""System D's table: rows as data, what a row costs, the whole road on a few drawn photos, resumed row by row."""

import argparse
import csv
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from place import draw_shop

from experiments.figures import records
from experiments.performance import cost
from experiments.studies import retinanets
from experiments.studies.retinanets import ROWS, Cost, Row, Scored
from runs.command import run
from stage1_detector.config import TorchvisionConfig
from stage1_detector.nets import torchvision_net

PLAIN = Row("resnet50", "fpn", "plain", "1x")
ARGS = argparse.Namespace(size=1344, width=256, epochs=0, lr=0.0, weights=None)


def words_of(args: argparse.Namespace, **changed: object) -> argparse.Namespace:
    return argparse.Namespace(**{**vars(args), **changed})


def test_every_row_of_the_table_makes_settings() -> None:
    made = [retinanets.config_of(row, 3, ARGS) for row in ROWS]
    assert len(set(made)) == len(ROWS) == 10 and all(config.seed == 3 for config in made)
    assert [config.epochs for config in made[:4]] == [12, 12, 50, 1] and made[3].min_steps == 90_000
    assert all(config.norm == "batch" and config.optimizer == "AdamW" for config in made)  # from random weights


def test_with_weights_a_row_is_as_its_recipe(tmp_path: Path) -> None:
    for name in ("resnet50.pth", "convnext_large.safetensors"):
        (tmp_path / name).write_bytes(b"")
    args = words_of(ARGS, weights=tmp_path)
    plain, large = (retinanets.config_of(ROWS[i], 0, args) for i in (4, 8))
    assert (plain.norm, plain.optimizer, plain.lr) == ("frozen", "SGD", 0.005)
    assert (large.layer_decay, large.drop_path, large.lr, large.clip) == (0.7, 0.5, 1e-4, 35.0)
    with pytest.raises(ValueError, match=r"has neither resnet101\.safetensors nor resnet101\.pth"):
        retinanets.config_of(ROWS[5], 0, args)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("resnet50", "need BACKBONE/NECK/HEAD/SCHEDULE", id="a backbone alone"),
        pytest.param("resnet50/bifpn/plain/1x", "got neck 'bifpn', allowed: fpn, resfpn, fpg", id="no such neck"),
        pytest.param("resnet50/fpn/v2/1x", "got head 'v2', allowed: plain, freeanchor, pisa", id="another family's head"),
        pytest.param("resnet50/fpn/plain/2x", "got schedule '2x'", id="no such schedule"),
    ],
)
def test_a_row_that_is_none_is_refused(text: str, message: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=message):
        retinanets.row_of(text)


@pytest.mark.parametrize(
    ("changed", "full"),
    [({}, True), ({"epochs": 11}, False), ({"epochs": 12}, True), ({"size": 128}, False)],
    ids=["as it is", "shortened", "told its own length", "small photos"],
)
def test_a_shortened_row_is_not_in_full(changed: dict[str, int], full: bool) -> None:
    assert retinanets.in_full(PLAIN, words_of(ARGS, **changed)) is full


def test_a_row_of_so_many_steps_is_told_in_steps() -> None:
    row = PLAIN._replace(schedule="90k")
    assert retinanets.length(row, ARGS) == "90000 steps" and retinanets.in_full(row, ARGS)
    assert retinanets.length(row, words_of(ARGS, epochs=2)) == "2 epochs" and not retinanets.in_full(
        row, words_of(ARGS, epochs=2)
    )


def test_a_head_is_compared_with_the_plain_one_of_its_kind() -> None:
    cost = Cost(1.0, 1.0, 1.0, 1.0, 1.0)
    plain, pisa = [Scored(0.2, 0.5), Scored(0.3, 0.5)], [Scored(0.3, 0.4), Scored(0.3, 0.6)]
    done = {PLAIN: (plain, cost), PLAIN._replace(head="pisa"): (pisa, cost)}
    assert retinanets.minus_plain(PLAIN, "map50", done) is None
    assert retinanets.minus_plain(PLAIN._replace(head="pisa"), "map50", done) == pytest.approx([0.1, 0.0])
    assert retinanets.minus_plain(PLAIN._replace(head="pisa"), "det_map50", done) == pytest.approx([-0.1, 0.1])
    lonely = PLAIN._replace(head="pisa", neck="fpg")
    assert retinanets.minus_plain(lonely, "map50", {**done, lonely: (plain, cost)}) is None


@pytest.mark.slow
def test_rows_are_trained_and_reused_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    draw_shop(tmp_path / "D")
    rows = ["test_resnet/fpg/plain/ms3x", "test_resnet/fpg/freeanchor/ms3x"]
    words = ["--data", str(tmp_path / "D"), "--out", str(tmp_path / "X"), "--rows", *rows, "--seeds", "0"]
    words += ["--size", "64", "--width", "16", "--epochs", "1", "--record"]
    assert run(retinanets.body, words) == 0
    known = records.load()
    for row in rows:
        key = f"trash.{row.replace('/', '.')}"
        assert known[f"{key}.map50"]["n"] == 1 and "schedule shortened" in known[f"{key}.map50"]["setting"]
        assert known[f"{key}.ms"]["low"] <= known[f"{key}.ms"]["value"] <= known[f"{key}.ms"]["high"]
        assert all(known[f"{key}.{kind}"]["value"] > 0 for kind in ("params_m", "gflops", "ms"))
    assert all(f"trash.test_resnet.fpg.freeanchor.ms3x.{kind}_minus_plain" in known for kind in ("map50", "det_map50"))
    with (tmp_path / "X" / "table.csv").open(newline="") as file:
        table = list(csv.reader(file))
    assert tuple(table[0]) == retinanets.HEADER and len(table) == 3
    assert (tmp_path / "X" / "table.md").read_text().count("\n") == 4
    before = {path: path.stat().st_mtime for path in (tmp_path / "X").rglob("run.json")}
    assert run(retinanets.body, words) == 0
    assert {path: path.stat().st_mtime for path in (tmp_path / "X").rglob("run.json")} == before


@pytest.mark.slow
def test_costs_are_counted(tmp_path: Path) -> None:
    """Operations of one convolution by hand: 2 x 3 x 3 x C x C' x H x W; a wider pyramid costs more of all three."""
    from torch.utils.flop_counter import FlopCounterMode

    conv = torch.nn.Conv2d(4, 8, 3, padding=1)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        conv(torch.zeros(1, 4, 10, 12))
    assert counter.get_total_flops() == 2 * 9 * 4 * 8 * 120
    config = TorchvisionConfig(family="retinanet", head="plain", backbone="test_resnet", width=16)
    nets = [torchvision_net.build(replace(config, width=width), (), ["a"]) for width in (16, 32)]
    assert cost.count_parameters(nets[0]) < cost.count_parameters(nets[1])
    assert cost.count_parameters(conv) == 9 * 4 * 8 + 8

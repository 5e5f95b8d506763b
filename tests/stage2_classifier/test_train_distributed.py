"""The classifier's command in two processes: one speaks and writes, one killed ends the other; one process goes on."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from place import Place, draw_shop
from processes import free_port, torchrun_environment

from fusion.models import Model
from photos import folds
from runs.distributed import Distributed
from stage2_classifier import train
from stage2_classifier.classifier_run import refuse_combination, refuse_unmeasured, train_classifier
from stage2_classifier.config import MOST_MARGIN, ClassifierConfig
from stage2_classifier.crops import ROOM
from stage2_classifier.training_request import ClassifierRun

ROOT = Path(__file__).resolve().parents[2]
EPOCHS = 60
SMALL = ["--model", "test_resnet", "--size", "32", "--batch", "5", "--min-steps", "0", "--epochs", str(EPOCHS)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Photos and folds of them."""
    made = Place(tmp_path_factory.mktemp("shop"))
    draw_shop(made.data)
    assert folds.main(made.words("folds")) == 0
    return made


def start(words: list[str]) -> list[subprocess.Popen]:
    """The command in two processes, as torchrun would start it."""
    port, command = free_port(), [sys.executable, "-m", "stage2_classifier.train", *words]
    return [
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | torchrun_environment(rank, 2, port), stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for rank in (0, 1)
    ]  # fmt: skip


def ended(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each."""
    told = [process.communicate(timeout=300) for process in processes]
    return [(process.returncode, *texts) for process, texts in zip(processes, told, strict=True)]


@pytest.mark.slow
def test_one_killed_ends_the_other_and_one_process_goes_on(shop: Place, capsys: pytest.CaptureFixture[str]) -> None:
    """To the end in two: `docs/guide/scale.md`, whose commands are run."""
    words = ["--data", str(shop.data), "--out", str(shop.runs), *SMALL]
    out, both, began = shop.runs / "classifier_shelf", start(words), time.monotonic()
    try:
        while not (out / "last.pt").is_file():
            assert time.monotonic() - began < 240 and all(one.poll() is None for one in both), ended(both)
            time.sleep(0.05)
        both[1].kill()
        (code, said, error), (_, other_said, _) = ended(both)
    finally:
        for one in both:
            one.kill()
    assert code == 2 and "Traceback" not in error, error
    assert error.splitlines()[-1].startswith("error: process 0 of 2: another process of this training is gone"), error
    assert "MB in each of 2 processes" in said and f"epoch {EPOCHS}/{EPOCHS}" not in said and not other_said
    assert not (out / "run.json").exists()
    assert train.main([*words, "--resume"]) == 0
    assert capsys.readouterr().out.count(f"epoch {EPOCHS}/{EPOCHS}") == 1
    metrics = json.loads((out / "run.json").read_text())["metrics"]
    assert metrics["epochs"] == EPOCHS and metrics["parity"]
    assert Model(out / "model.onnx").sidecar.size == 32


def test_detectors_of_folds_are_not_trained_by_several_processes(shop: Place) -> None:
    request = ClassifierRun(data=shop.data, runs=shop.runs, folds=2)
    with pytest.raises(ValueError, match="--folds: got 2 in 2 processes, must be 0: the folds' detectors are trained by one"):
        train_classifier(request, ClassifierConfig(), Distributed(0, 2))


def test_folds_of_detectors_without_the_share_that_r_one_keeps_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    request = ClassifierRun(data=tmp_path, runs=tmp_path, folds=2)
    for share in ("0.0", "0.3"):
        (tmp_path / "one" / "start_share.json").write_text(f'{{"share": {share}}}')
        if share == "0.0":
            refuse_combination(request, 1)
    with pytest.raises(ValueError, match=r"--folds: got 2, but R/one keeps a share of its start"):
        refuse_combination(request, 1)


@pytest.mark.parametrize(("crops", "asked"), [("shelf", ["train", "valid"]), ("studio", ["valid"])])
def test_boxes_to_learn_from_are_asked_for_before_anything_is_written(tmp_path: Path, crops: str, asked: list[str]) -> None:
    """`labelled` refuses a part without any."""
    parts: list[str] = []
    request = ClassifierRun(data=tmp_path, runs=tmp_path, crops=crops)
    refuse_unmeasured(request, ClassifierConfig(), SimpleNamespace(labelled=parts.append))  # type: ignore[arg-type]
    assert parts == asked


def test_a_margin_beyond_what_crops_keep_is_refused() -> None:
    """What lies further from a box than crops.ROOM is not there to be cut."""
    assert ClassifierConfig(margin=MOST_MARGIN).margin + 0.15 == pytest.approx(ROOM)
    with pytest.raises(ValueError, match=r"--margin: got 0.3, allowed 0.0 to 0.25"):
        ClassifierConfig(margin=0.3)

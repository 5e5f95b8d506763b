"""No message of a fit names a flag that `hylle fit` has not: its steps are those of commands with flags of their own."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from fitting.fit import Command, flags, in_own_words, main, read_arguments
from fitting.machine import refuse_unknown
from fitting.plan import candidates
from fitting.wishes import Wishes
from photos import folds
from photos.data import DataError, read
from runs import normalisation, record
from runs.pickled_file import refuse_untrusted
from runs.training_errors import refuse_non_finite
from tests.fitting.sets import FRIDGE
from tests.fitting.test_survey import write

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("fusion", "photos", "runs", "stage1_detector", "stage2_classifier", "submission", "fitting")
OF_EVERY_COMMAND = {"--help", "--help-all", "--quiet", "--json"}
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
OF_A_COMMAND = re.compile(r"hylle (?!fit\b)[a-z-]+ .*")  # a call of another verb has that verb's flags
TOLD_BY_CLASS = ("Refusal", "NonFiniteLoss")  # whose remedies `in_own_words` replaces
# Functions below what a fit imports that no fit calls, or never so that they refuse.
NOT_REACHED = {
    "photos.folds.train_photos": "of commands that need no folds",
    "photos.studio.studio_folder": "a fit asks for studio crops only where there are some",
    "runs.distributed.distributed_training": "of torchrun",
    "stage1_detector.detector_run.refuse_refit": "a refit of a fit chooses no epoch",
    "stage1_detector.detector_run.synthetic_photos": "a fit learns from no drawn photos",
    "stage1_detector.engine.refuse_device": "a fit takes the device that is there",
    "stage2_classifier.class_map.find_place": "of hylle enroll",
    "stage2_classifier.class_map.widened": "of hylle enroll",
    "stage2_classifier.enrolment.body": "of hylle enroll",
    "stage2_classifier.enrolment_journal._restore": "of hylle enroll",
    "stage2_classifier.prototypes.prototypes_of": "of hylle enroll",
    "stage2_classifier.gate.fit.wanted_ensemble": "of hylle gate; a fit has fitting.pooled.wanted_ensemble",
    "submission.build.body": "of hylle build",
    "submission.graphs.refuse_difference": "a fit packs float32",
    "submission.sandbox.body": "of hylle sandbox",
}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module below what a fit imports, by its name."""
    paths = (path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
    files = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in paths}
    found: dict[str, ast.Module] = {}
    waiting = ["fitting.fit"]
    while waiting:
        name = waiting.pop()
        if name in files and name not in found:
            found[name] = ast.parse(files[name].read_text())
            waiting += imports(found[name])
    return found


def imports(module: ast.Module) -> Iterator[str]:
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def refusals(module: ast.Module) -> Iterator[tuple[str, str]]:
    """The function and the text of every exception that is raised with a message of its own."""
    for function in ast.walk(module):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
                    continue
                if getattr(node.exc.func, "id", "") not in TOLD_BY_CLASS:
                    yield function.name, text(node.exc)


def text(call: ast.Call) -> str:
    """Its words in their order, `X` in place of values."""
    return " ".join(words(argument) for argument in call.args)


def words(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(words(part) for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "X"


def flags_that_are_not_of_a_fit(message: str) -> set[str]:
    return set(FLAG.findall(OF_A_COMMAND.sub("", message))) - flags() - OF_EVERY_COMMAND


def test_the_command_has_the_flags_of_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_arguments(["--help-all"], "hylle fit")
    assert set(FLAG.findall(capsys.readouterr().out.partition("Example:")[0])) - OF_EVERY_COMMAND == flags()


def test_what_a_fit_calls_names_no_flag_that_it_has_not() -> None:
    wrong = {
        f"{name}.{function}": message
        for name, module in modules().items()
        for function, message in refusals(module)
        if flags_that_are_not_of_a_fit(in_own_words(ValueError(message)))
    }
    assert len(modules()) > 100
    assert {name: message for name, message in wrong.items() if name not in NOT_REACHED} == {}
    assert set(NOT_REACHED) <= set(wrong)  # none that is mended stays listed


def finished_with_other_weights(out: Path) -> None:
    (out / "model.onnx").touch()
    record.write_json(out / "run.json", {"settings": {"pretrained": "3f"}})
    record.finished(out, {"pretrained": "a0"}, force=False)


def finished_without_a_model(out: Path) -> None:
    record.write_json(out / "run.json", {"settings": {}})
    record.finished(out, {}, force=False)


def begun_with_other_weights(out: Path) -> None:
    record.refuse_other_settings(out, {"pretrained": "3f"}, {"pretrained": "a0"})


def stopped(out: Path) -> None:
    (out / "last.pt").touch()
    record.refuse_unfinished(out, resume=False, force=False)


def pickled(out: Path) -> None:
    (out / "a.pt").write_bytes(b"no tensors")
    refuse_untrusted("--pretrained", out / "a.pt", None)


def loss_is_no_number(out: Path) -> None:
    refuse_non_finite(float("nan"), 0, 0.002)


def boxes_that_break_a_batch(out: Path) -> None:
    refuse_non_finite(float("nan"), 0, 0.002, ["a.jpg"])


def checkpoint_normalised_otherwise(out: Path) -> None:
    normalisation.refuse_other("--resume", out, {}, ((0.5,), (0.5,)))


def no_weights_for_both_stages(out: Path) -> None:
    refuse_unknown(next(candidates(FRIDGE, Wishes(pretrained="imagenet"))).procedure)


def an_unknown_backbone(out: Path) -> None:
    refuse_unknown(next(candidates(FRIDGE, Wishes(classifier="nothing"))).procedure)


@pytest.mark.parametrize(
    ("refused", "remedy"),
    [
        (finished_with_other_weights, "pretrained '3f', now 'a0'; fit into another folder, by --out"),
        (finished_without_a_model, "no model.onnx; remove "),
        (begun_with_other_weights, "was begun with pretrained '3f', now 'a0'; fit into another folder, by --out"),
        (stopped, "fit into another folder, by --out"),
        (pickled, "give its tensors alone, as a .safetensors file"),
        (loss_is_no_number, "must be finite; another --seed may help"),
        (boxes_that_break_a_batch, "must be finite; mend the boxes of this batch: a.jpg"),
        (checkpoint_normalised_otherwise, "to train it anew"),
        (no_weights_for_both_stages, "auto takes the best for each stage"),
        (an_unknown_backbone, "--classifier: got 'nothing'"),
    ],
)
def test_a_step_that_refuses_is_told_with_what_a_fit_can_do(
    refused: Callable[[Path], None], remedy: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as error:
        refused(tmp_path)
    message = in_own_words(error.value)
    assert remedy in message
    assert flags_that_are_not_of_a_fit(message) == set()


def test_the_command_tells_it_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fit(command: Command, wishes: Wishes) -> None:
        finished_with_other_weights(tmp_path)

    monkeypatch.setattr("fitting.fit.fit", fit)
    assert main(["D", "--minutes", "9"]) == 2
    assert capsys.readouterr().err.endswith("now 'a0'; fit into another folder, by --out\n")


def test_folds_of_a_fit_are_not_to_be_made_by_another_command(tmp_path: Path) -> None:
    write(tmp_path / "data", "annotations", [(64, 48, [(0, 20, 20)])] * 2)
    dataset = read(tmp_path / "data")
    path = tmp_path / "folds.json"
    for content, remedy in ({"pooled": True}, f"hylle fit {dataset.root}"), ({}, f"hylle folds --data {dataset.root}"):
        path.write_text(json.dumps(content))
        with pytest.raises(DataError, match=re.escape(remedy)):
            folds.load(path, dataset)

"""Commands that messages recommend can be pasted into a shell, also where a path has a space."""

import ast
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from place import Place

from photos import folds
from photos.data import read
from recognition import recogniser
from reviewing import review
from runs import first_command, pickled_file, status
from runs.record import ROOT
from runs.typed import typed
from stage2_classifier.gate.ensemble import load_ensemble
from stage2_classifier.label_review import folds_of_fit
from submission import build, log

COMMAND = re.compile(r"(hylle|python -m) [^;:]*(--(data|runs|out|apply|proposals|trust)|hylle (fit|report|data)) \{")
RUNS = Path("my run")


def message(of: Callable[..., object], *values: object) -> str:
    """What it raises."""
    with pytest.raises((ValueError, OSError)) as raised:
        of(*values)
    return str(raised.value)


def test_nothing_is_an_empty_command() -> None:
    assert typed() == ""


@pytest.mark.parametrize("name", ["run", "my run", "a'b", "$HOME", "øl & brus", "a;b"])
def test_a_shell_reads_the_path_out_of_a_command(name: str) -> None:
    assert shlex.split(typed("hylle report", Path(name), "--out x")) == ["hylle", "report", name, "--out", "x"]


@pytest.mark.parametrize(
    "told",
    [
        pytest.param(lambda: first_command.train(RUNS, "one"), id="a detector"),
        pytest.param(lambda: first_command.train(RUNS, "classifier_shelf"), id="a classifier"),
        pytest.param(lambda: first_command.train(RUNS, "other"), id="a classifier of another name"),
        pytest.param(lambda: status.first_command(RUNS), id="status"),
        pytest.param(lambda: folds_of_fit.command(RUNS, RUNS), id="labels of a fold"),
        pytest.param(lambda: review.how_to_look(RUNS, RUNS), id="the page of labels"),
        pytest.param(lambda: message(load_ensemble, RUNS), id="no ensemble"),
        pytest.param(lambda: message(recogniser.run_folder, RUNS, ""), id="no model"),
        pytest.param(lambda: message(log.local_score, RUNS), id="no ablation"),
    ],
)
def test_a_remedy_names_a_path_with_a_space_as_one_word(told: Callable[[], str]) -> None:
    assert "my run" in [word.rstrip(",") for word in shlex.split(told())]


def test_so_do_those_of_what_is_there(place: Place) -> None:
    data, runs = place.data.rename(place.root / "my shop"), place.root / "my run"
    dataset = read(data)
    for part in (str(data), str(runs)):
        assert part in shlex.split(message(folds.load, runs / folds.NAME, dataset))
    runs.mkdir()
    assert str(runs) in shlex.split(message(build.collect, runs))
    (runs / folds.NAME).write_text("{")
    assert str(data) in shlex.split(message(folds.load, runs / folds.NAME, dataset).split("); ")[1])
    (runs / "last.pt").write_bytes(b"pickled")
    refusal = message(pickled_file.refuse_untrusted, "--p", runs / "last.pt", None)
    assert str(runs / "last.pt") in shlex.split(refusal.split("pass")[1])


def unquoted(file: Path) -> list[str]:
    """The texts of a file that put a path into a command as it is."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            found += [f"{file.name}:{node.lineno}: {text}"] if COMMAND.search(text) else []
    return found


def test_no_message_puts_a_path_into_a_command_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "planted.py").write_text('f"hylle gate --data D --runs {runs} fits it"')
    assert len(unquoted(tmp_path / "planted.py")) == 1
    packages = ("photos", "runs", "stage1_detector", "stage2_classifier", "submission", "fitting", "recognition", "reporting",
                "reviewing", "scaling", "hylle")  # fmt: skip
    files = [file for package in packages for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 100 and [line for file in files for line in unquoted(file)] == []

"""The front door: its verbs, what each answers to a wrong call, and that it answers before anything heavy is loaded."""

import argparse
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from hylle import verbs

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "ultralytics", "timm", "sklearn", "scipy", "matplotlib", "faiss", "transformers")
# Verb -> a call with a path that is not there, or a file in place of a folder: {file} and {none} stand for such.
WRONG_PATHS = {
    "demo": "--out {file}",
    "fit": "{none} --minutes 9 --out {none}",
    "data": "{none}",
    "report": "{none}",
    "review": "{none}",
    "folds": "--data {none} --out {none}",
    "synth": "--out {file}",
    "train-detector": "--data {none} --out {none}",
    "distill": "--data {none} --out {none} --teacher none",
    "train-classifier": "--data {file} --out {none}",
    "gate": "--data {none} --runs {none}",
    "search": "--data {none} --runs {none}",
    "build": "--runs {none} --out {none}.zip",
    "check": "{none}.zip",
    "sandbox": "{none}.zip --images {none}",
    "judge": "{none}.zip --data {none} --runs {none}",
    "predict": "{none} --model {none} --out {none}",
    "scale": "--photos {none} --model {none} --out {none}",
    "enroll": "--data {none} --runs {none} --classifier eye --photos {none} --name tea",
    "labels": "--data {none} --runs {none}",
    "status": "{none}",
    "log": "add {none}.zip",
    "fetch": "{none}",
}
# Verb -> a call with a value that is not allowed, or not of its type.
WRONG_VALUES = {
    "fit": "D --minutes many",
    "data": "D --to xml OUT",
    "folds": "--data D --out R --folds many",
    "synth": "--out D --count many",
    "train-detector": "--data D --out R --epochs many",
    "distill": "--data D --out R --teacher none --student nobody",
    "train-classifier": "--data D --out R --crops both,shelf",
    "gate": "--data D --runs R --seed x",
    "search": "--data D --runs R --trials x",
    "sandbox": "a.zip --images D --seconds x",
    "predict": "D --model R --fps x",
    "scale": "--photos D --model R --out O --workers x",
    "enroll": "--data D --runs R --classifier eye --id x",
    "labels": "--data D --part some",
    "status": "R --watch x",
    "log": "judged abc x",
}
REQUIRED = set(verbs.VERBS) - {"demo", "log"}  # the verbs that are nothing without their flags
WATCHED = f"""
import sys
from hylle.verbs import main
call = sys.argv[1:]
try:
    code = main(call)
except SystemExit as ended:
    code = ended.code
print("heavy:", [name for name in {HEAVY!r} if name in sys.modules], code)
"""


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    assert verbs.main(words) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    return error


def test_the_overview_lists_every_verb_with_what_it_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main([]) == 0
    bare = capsys.readouterr().out
    assert verbs.main(["--help"]) == 0
    assert capsys.readouterr().out == bare
    for verb, module in verbs.VERBS.items():
        assert f"  {verb:<16}  {(module.__doc__ or '?').strip()}\n" in bare


def test_an_unknown_verb_is_one_line_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert "hylle trian-detector: no such verb; did you mean train-detector?" in refused(["trian-detector"], capsys)
    assert "did you mean" not in refused(["xyzzy"], capsys)


@pytest.mark.parametrize(
    "words",
    [["flods", "--json"], ["--json"], ["--json", "fit"], *([verb, "--nonsense", "1", "--json"] for verb in verbs.VERBS)],
    ids=" ".join,
)
def test_with_json_a_wrong_call_is_one_object(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert verbs.main(words) == 2
    out, error = capsys.readouterr()
    told = json.loads(out)
    assert told["exit_code"] == 2 and error == f"{told['error']}\n" and told["error"].startswith("error: ")


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_a_verb_calls_what_is_below_by_its_own_name(verb: str) -> None:
    source = inspect.getsource(verbs.VERBS[verb])
    assert f'"hylle {verb}"' in source and len(source.splitlines()) < 15


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_an_unknown_flag_is_one_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert f"(hylle {verb} --help)" in refused([verb, "--nonsense", "1"], capsys)


@pytest.mark.parametrize("verb", sorted(REQUIRED))
def test_missing_flags_are_one_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused([verb], capsys)


@pytest.mark.parametrize("verb", WRONG_VALUES)
def test_a_wrong_value_is_one_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused([verb, *WRONG_VALUES[verb].split()], capsys)


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_a_wrong_path_is_one_line_before_anything_heavy_is_loaded(verb: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    words = WRONG_PATHS[verb].format(file=tmp_path / "file", none=tmp_path / "none").split()
    done = watched([verb, *words])
    assert done.stdout.splitlines()[-1] == "heavy: [] 2", done.stdout + done.stderr
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_help_loads_nothing_heavy(verb: str) -> None:
    done = watched([verb, "--help"])
    assert done.stdout.splitlines()[-1] == "heavy: [] 0"
    assert f"hylle {verb}" in done.stdout


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_flag_says_what_it_is(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of runs.flags cannot be declared without."""
    caught: list[argparse.ArgumentParser] = []

    def catch(parser: argparse.ArgumentParser, argv: list[str] | None = None) -> NoReturn:
        caught.append(parser)
        raise SystemExit(0)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", catch)
    with pytest.raises(SystemExit):
        verbs.main([verb, "--help"])
    assert [action.dest for parser in caught for action in every_action(parser) if not action.help] == []


def every_action(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The flags of a command and of what may follow it, as `add` does `hylle log`."""
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    inner = [each for action in below for one in action.choices.values() for each in every_action(one)]
    return [action for action in parser._actions if action not in below] + inner


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_help_and_refusals_are_of_the_verb_itself(verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    error = refused([verb, *WRONG_PATHS[verb].format(file=tmp_path / "file", none=tmp_path / "none").split()], capsys)
    with pytest.raises(SystemExit):
        verbs.main([verb, "--help"])
    told = capsys.readouterr().out
    assert "python -m" not in told
    assert set(re.findall(r"^error: (--[a-z-]+)", error)) <= set(re.findall(r"--[a-z-]+", told)), error


def watched(words: list[str]) -> subprocess.CompletedProcess[str]:
    """The call in a process of its own, which says at the end what heavy modules it has loaded."""
    return subprocess.run([sys.executable, "-c", WATCHED, *words], capture_output=True, text=True, cwd=ROOT, check=False)

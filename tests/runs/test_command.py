"""How commands speak: lines in a file, bars on a terminal, no progress with --quiet, one object with --json."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from hylle.verbs import VERBS
from runs.bars import Step, step_of
from runs.command import INTERRUPTED, JSON, MISTAKE, QUIET, Parser, note_result, plain, run, say, say_progress, ticker

ROOT = Path(__file__).resolve().parents[2]


class Scored(NamedTuple):
    """A record as commands note them."""

    file: Path
    score: float


def work(words: list[str]) -> int:
    """A command that reports progress, a repair, and a result; `words` are what is left of the arguments."""
    for step in (1, 2):
        say_progress(f"photos {step}/2")
    say_progress("epoch 1/2  loss 0.5")
    say(f"clipped 3 boxes {words}")
    note_result(made=Scored(Path("R/model"), float("nan")), counts={7: np.arange(2)})
    return 1


def test_in_a_file_each_line_is_stamped(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(work, []) == 1
    lines = [line[9:] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["photos 1/2", "photos 2/2", "epoch 1/2  loss 0.5", "clipped 3 boxes []"]


@pytest.mark.parametrize("word", ["nan", "inf", "-inf", "1e999"])
def test_no_flag_takes_a_number_without_an_end(word: str) -> None:
    parser = Parser(prog="hylle x")
    parser.add_argument("--seconds", type=float, default=float("inf"))
    judged = parser.add_subparsers().add_parser("judged")
    judged.add_argument("score", type=float)
    assert parser.parse_args([]).seconds == float("inf"), "a default is the code's"
    assert parser.parse_args(["--seconds", "2.5"]).seconds == 2.5
    for words in ([f"--seconds={word}"], ["judged", f" {word}"]):
        with pytest.raises(ValueError, match=f"got .?{word}, need a finite number"):
            parser.parse_args(words)
    with pytest.raises(ValueError, match="invalid"):
        parser.parse_args(["--seconds", "two"])


def test_quiet_hides_progress_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(work, [QUIET, "--size", "3"]) == 1
    assert [line[9:] for line in capsys.readouterr().out.splitlines()] == ["clipped 3 boxes ['--size', '3']"]
    run(work, [])
    assert "photos 1/2" in capsys.readouterr().out  # the next command speaks again


def test_json_is_one_object_on_stdout_and_all_else_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(work, [JSON]) == 1
    out, err = capsys.readouterr()
    content = json.loads(out)
    assert content.pop("seconds_in_all") >= 0
    assert content == {"made": {"file": "R/model", "score": None}, "counts": {"7": [0, 1]}, "exit_code": 1, "error": None}
    assert "photos 1/2" in err and "clipped 3 boxes []" in err


@pytest.mark.parametrize(
    ("error", "code", "told"),
    [
        pytest.param(ValueError("--size: got 3, need 32"), MISTAKE, "error: --size: got 3, need 32", id="a mistake"),
        pytest.param(KeyboardInterrupt(), INTERRUPTED, "interrupted", id="Ctrl-C"),
    ],
)
def test_json_tells_how_a_command_failed(
    error: BaseException, code: int, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> None:
        note_result(before=1)
        raise error

    assert run(fail, [JSON]) == code
    out, err = capsys.readouterr()
    assert {"before": 1, "exit_code": code, "error": told}.items() <= json.loads(out).items() and err == f"{told}\n"


def test_a_defect_keeps_its_traceback_and_the_next_command_its_manner(capsys: pytest.CaptureFixture[str]) -> None:
    def fail(words: list[str]) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        run(fail, [QUIET, JSON])
    run(work, [])
    assert "photos 1/2" in capsys.readouterr().out


def test_a_command_within_another_is_as_quiet_and_leaves_its_result_alone(capsys: pytest.CaptureFixture[str]) -> None:
    def outer(words: list[str]) -> None:
        note_result(outer=1)
        run(work, [])

    assert run(outer, [QUIET, JSON]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["outer"] == 1 and "made" not in json.loads(out) and "photos" not in err


@pytest.mark.parametrize(("seconds", "lines"), [(0.0, ["photos 1/2", "photos 2/2"]), (60.0, [])])
def test_ticker(seconds: float, lines: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    tell = ticker("photos", seconds)
    tell(1, 2)
    tell(2, 2)
    assert [line[9:] for line in capsys.readouterr().out.splitlines()] == lines


@pytest.mark.parametrize(
    ("line", "step"),
    [
        pytest.param("", None, id="nothing"),
        pytest.param("one: yolov8n on 95 photos at 320 px", None, id="no count"),
        pytest.param("one: epoch 1/7  step 3/20", Step("one: epoch 1/7  step", 3, 20, False), id="steps of an epoch"),
        pytest.param("one: epoch 1/7  det_map50 0.9", Step("one: epoch", 1, 7, True), id="an epoch with its figures"),
        pytest.param("20 of 120 photos", Step("", 20, 120, False), id="in words"),
        pytest.param("predict: 37%, 4 photos", Step("predict:", 37, 100, True), id="per cent"),
    ],
)
def test_the_last_count_says_how_far(line: str, step: Step | None) -> None:
    assert step_of(line) == step


def test_plain_is_what_json_reads_back() -> None:
    values = {"a": (1, {2}), "b": np.float32(0.5), "c": Path("x"), "d": float("inf"), "e": None, "f": True}
    assert json.loads(json.dumps(plain(values), allow_nan=False)) == {
        "a": [1, [2]], "b": 0.5, "c": "x", "d": None, "e": None, "f": True
    }  # fmt: skip


def on_terminal(script: str) -> str:
    """What `script` writes to a terminal of 80 columns."""
    master, slave = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "80"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=slave, stderr=slave, env=environment, cwd=ROOT)
    os.close(slave)
    shown = b""
    while chunk := _read(master):
        shown += chunk
    assert process.wait(20) == 0
    return shown.decode()


def _read(master: int) -> bytes:
    """The next bytes; none at the end, which Linux tells by an error."""
    try:
        return os.read(master, 65536)
    except OSError:
        return b""


COUNTING = (
    "from runs.command import run, say, say_progress\n"
    "def body(words):\n"
    "    say_progress('photos 1/4'); say('clipped 3 boxes'); say_progress('epoch 1/2  loss 0.5'); say_progress('photos 4/4')\n"
    "run(body, {words})\n"
)


def test_on_a_terminal_steps_are_bars_and_lines_with_figures_stay() -> None:
    shown = on_terminal(COUNTING.format(words=[]))
    assert "━" in shown and "1/4" in shown and "photos 4/4" not in shown
    assert "clipped 3 boxes" in shown and "epoch 1/2  loss 0.5" in shown
    assert shown.rstrip().endswith("\x1b[?25h") or shown.count("\x1b[?25h") >= shown.count("\x1b[?25l")  # the cursor is back


def test_on_a_terminal_quiet_draws_no_bar() -> None:
    shown = on_terminal(COUNTING.format(words=[QUIET]))
    assert "━" not in shown and "epoch" not in shown and "clipped 3 boxes" in shown


@pytest.mark.parametrize("verb", [verb for verb in VERBS if verb != "demo"])
def test_every_verb_tells_of_both_flags(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    words: Callable[[list[str]], int] = VERBS[verb].main
    with pytest.raises(SystemExit):
        words(["--help"])
    out = capsys.readouterr().out
    assert QUIET in out and JSON in out


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        pytest.param(ValueError("seed: got -1"), 2, "error: seed: got -1\n", id="value"),
        pytest.param(NotADirectoryError(20, "Not a directory", "run/x"), 2, "error: run/x: Not a directory\n", id="system"),
        pytest.param(FileNotFoundError("folds: none"), 2, "error: folds: none\n", id="own words"),
        pytest.param(ValueError(), 2, "error: ValueError\n", id="no words"),
        pytest.param(KeyboardInterrupt(), INTERRUPTED, "interrupted\n", id="ctrl-c"),
    ],
)
def test_exit_codes(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def body(argv: list[str] | None) -> None:
        raise error

    assert run(body, None) == code
    assert capsys.readouterr().err == line


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(TypeError):
        run(lambda argv: len(3), None)  # type: ignore[arg-type]

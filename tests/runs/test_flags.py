"""Command lines made from dataclasses: what --help shows, what is given, and mistakes of one line."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated

import pytest

from runs.flags import Flag, Help, Settings, flag_of, parse
from stage1_detector import train as detector
from stage1_detector.config import DetectorConfig, TorchvisionConfig, TransformerConfig
from stage1_detector.distillation import teach
from stage1_detector.distillation.config import StudentConfig
from stage2_classifier import train as classifier
from stage2_classifier.config import ClassifierConfig

DETECTOR = (DetectorConfig, TorchvisionConfig, TransformerConfig)
COMMANDS = {
    "train-detector": (detector, DETECTOR),
    "distill": (teach, (StudentConfig,)),
    "train-classifier": (classifier, (ClassifierConfig,)),
}
TEXT = Help("walk", "Walk somewhere.", "--to here")


@dataclass(frozen=True, kw_only=True)
class Walk:
    """A small command."""

    goal: Annotated[Path, Flag("where to", name="to")]
    gait: Annotated[str, Flag("how", choices=("slow", "fast"))] = "slow"
    again: Annotated[bool, Flag("once more")] = False


@dataclass(frozen=True)
class Pace:
    """Its settings."""

    steps: Annotated[int, Flag("how many", 1, 100, common=True)] = 10
    long_step: Annotated[float, Flag("metres", 0.1, 2.0)] = 0.7


SETTINGS = Settings({Pace: "Settings of the pace"}, Pace(steps=20))


def shown(main: Callable[..., object], capsys: pytest.CaptureFixture[str], flag: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([flag])
    assert ended.value.code == 0
    return capsys.readouterr().out


def entries(text: str) -> dict[str, str]:
    """What the help says of each flag."""
    return dict(re.findall(r"^  --([a-z0-9-]+)(?: [A-Z_]+)? +(.*(?:\n {9,}.*)*)$", text, re.MULTILINE))


def test_only_what_is_given_comes_back() -> None:
    assert parse(Walk, ["--to", "x"], TEXT, SETTINGS) == (Walk(goal=Path("x")), {})
    words = ["--to", "x", "--to=y", "--again", "--long-step", "0.5"]  # the last one counts
    assert parse(Walk, words, TEXT, SETTINGS) == (Walk(goal=Path("y"), again=True), {"long_step": 0.5})


def test_help_shows_the_common_settings_and_the_rest_on_demand(capsys: pytest.CaptureFixture[str]) -> None:
    short = shown(lambda argv: parse(Walk, argv, TEXT, SETTINGS), capsys, "--help")
    assert set(entries(short)) == {"to", "gait", "again", "steps"}
    assert "how many [default 20; 1 to 100]" in short and "--help-all" in short and "walk --to here" in short
    whole = shown(lambda argv: parse(Walk, argv, TEXT, SETTINGS), capsys, "--help-all")
    assert "metres [default 0.7; 0.1 to 2.0]" in whole and "Settings of the pace:" in whole


@pytest.mark.parametrize(
    ("words", "message"),
    [
        pytest.param([], "--to is missing (walk --help)", id="missing"),
        pytest.param(["--to"], "--to requires an argument", id="without its value"),
        pytest.param(["--to", "x", "--stps", "3"], "unknown option: --stps. Did you mean --steps?", id="unknown"),
        pytest.param(["--to", "x", "--steps", "many"], 'value for --steps: unable to convert "many" into int', id="type"),
        pytest.param(["--to", "x", "--gait", "odd"], "--gait: got 'odd', allowed: slow, fast", id="choice"),
        pytest.param(["--to", "x", "more"], "unused Tokens: ['more']", id="one word too many"),
    ],
)
def test_mistakes_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as raised:
        parse(Walk, words, TEXT, SETTINGS)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_newcomer_sees_few_settings_and_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, _ = COMMANDS[name]
    text = shown(command.main, capsys, "--help")
    own = {(flag_of(field).name or field.name).replace("_", "-") for field in fields(command.Command)}
    assert own <= set(entries(text))
    assert 6 <= len(set(entries(text)) - own) <= 14
    assert f"Example:\n  {inspect.signature(command.main).parameters['prog'].default} --data " in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_setting_is_a_flag_with_its_help_and_range(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command, kinds = COMMANDS[name]
    whole = entries(shown(command.main, capsys, "--help-all"))
    for kind in kinds:
        for field in fields(kind):
            flag = flag_of(field)
            if flag is None:
                assert (kind, field.name) in {(StudentConfig, "family"), (StudentConfig, "model")}  # the student says
                continue
            text = " ".join(whole[field.name.replace("_", "-")].split())
            assert len(text.split(" [")[0]) > 2
            assert not isinstance(field.default, int | float) or re.search(r"\[default \S+; \S+ to \S+\]$", text)

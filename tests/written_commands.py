"""The commands that a page of the documentation shows, and the quick form in which a test runs each."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What makes a command quick: its verb or module, and the flags that it is given besides, or instead of the written ones.
QUICK: dict[str, dict[str, str | None]] = {
    "fit": {"--size": "160", "--crop-size": "32", "--epochs": "1", "--crop-epochs": "1", "--folds": "2"},
    "train-detector": {"--quick": None, "--device": "cpu"},
    "train-classifier": {"--quick": None},
    "synth": {"--count": "12"},
    "search": {"--trials": "2", "--folds": "2"},
    "distill": {"--epochs": "1", "--min-steps": "0", "--size": "64", "--device": "cpu"},
    "stage1_detector.train": {"--quick": None, "--device": "cpu"},
    "stage2_classifier.train": {"--quick": None},
    "stage1_detector.distillation": {"--epochs": "1", "--min-steps": "0", "--size": "64", "--device": "cpu"},
    "experiments.gpu": {"--only": "provider"},
    "review": {"--port": "0"},
    "experiments.studies.number_strips": {"--count": "12"},
    "experiments.studies.digits": {"--models": "v1", "--seeds": "0", "--size": "64", "--epochs": "1"},
}


class Command(NamedTuple):
    """One command of a page, as written."""

    page: str
    words: list[str]

    @property
    def called(self) -> str:
        """The verb of hylle, or the module, or the program."""
        if self.words[0] == "hylle":
            return self.words[1]
        return self.words[self.words.index("-m") + 1] if "-m" in self.words else self.words[0]

    @property
    def arguments(self) -> list[str]:
        """What follows the verb or module."""
        return self.words[self.words.index(self.called) + 1 :]

    @property
    def flags(self) -> list[str]:
        """The flags among the arguments."""
        return [word for word in self.arguments if word.startswith("--")]


def commands(page: Path) -> list[Command]:
    """The commands in a page's `sh` blocks, in order."""
    lines = "".join(BLOCK.findall(page.read_text(encoding="utf-8"))).replace("\\\n", " ").splitlines()
    parts = [part for line in lines for part in shlex.join(shlex.split(line, comments=True)).split(shlex.quote("&&"))]
    return [Command(page.name, shlex.split(part)) for part in parts if part.strip()]


def quick(command: Command) -> list[str]:
    """The arguments of a command in its quick form."""
    words = list(command.arguments)
    for flag, value in QUICK.get(command.called, {}).items():
        if flag in words:
            start = words.index(flag)
            end = next((i for i in range(start + 1, len(words)) if words[i].startswith("--")), len(words))
            del words[start:end]
        words += [flag] if value is None else [flag, value]
    return words

"""What to call first where a step needs what an earlier one makes: the commands that messages name."""

from pathlib import Path

from runs.record import is_stopped
from runs.typed import typed

DETECTORS = ("one", "all")
CROPS = ("shelf", "studio", "both")  # what a classifier learns from: without a name its folder is classifier_CROPS


def train(runs: Path, name: str, kind: str = "classifier") -> str:
    """The command that trains the model in RUNS/NAME; D stands for the data set.

    `kind` is what the model is where its name does not tell: a detector is always in a folder called one or all.

    >>> train(Path("R"), "one")
    'hylle train-detector --data D --out R --classes one'
    >>> train(Path("R"), "classifier_both"), train(Path("R"), "second")[-13:]
    ('hylle train-classifier --data D --out R --crops both', '--name second')
    >>> train(Path("R"), "classifier_2")
    'hylle train-classifier --data D --out R --crops shelf --name classifier_2'
    >>> train(Path("R"), "second", "detector")
    'hylle train-detector --data D --out R/second --classes one, and name R/second/one'
    """
    if name in DETECTORS:
        command = typed("hylle train-detector --data D --out", runs, f"--classes {name}")
    elif kind == "detector":
        return typed(f"{train(runs / name, DETECTORS[0])}, and name", runs / name / DETECTORS[0])
    elif (crops := name.removeprefix("classifier_")) != name and crops in CROPS:
        command = typed("hylle train-classifier --data D --out", runs, f"--crops {crops}")
    else:
        command = typed("hylle train-classifier --data D --out", runs, "--crops shelf --name", Path(name))
    return f"{command} --resume" if is_stopped(runs / name) else command


def refuse_untrained(runs: Path, name: str, flags: str = "", kind: str = "classifier") -> None:
    """Raises ValueError, with the command that comes first and `flags` that it needs, where RUNS/NAME has no model.

    `kind` as in `train`.
    """
    model = runs / name / "model.onnx"
    if not model.is_file():
        raise ValueError(f"{model} not found: train it first, {train(runs, name, kind)}{flags}")

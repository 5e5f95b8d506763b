"""R/plan.json: what a fit was asked, what it decided, and what each part took, so that a stopped one goes on with the same.

Loads nothing heavy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fitting.wishes import Wishes
from fusion.models import read_object
from photos.groups import file_setting, groups_setting
from runs import record
from runs.pretrained import word_of
from stage1_detector import model_yaml

if TYPE_CHECKING:
    from fitting.plan import Plan

NAME = "plan.json"
GAP = 600.0  # chosen: seconds without a file written after which a stopped fit counts as dead, not as at work


@dataclass
class Part:
    """One part of a fit: the epochs it has (0: no training), the seconds foreseen for them, and the seconds it took so far.

    `decided` says that its epochs stay as they are: it was begun.
    """

    epochs: int
    foreseen: float
    decided: bool = False
    seconds: float = 0.0
    done: bool = False


@dataclass
class Ledger:
    """The whole record. `spent` seconds count against `minutes`, over all starts; `running` is the part at work since `since`
    (seconds since 1970), empty between parts; `changes` say what was decided otherwise than planned, and why.
    """

    made_from: dict[str, Any]
    wishes: dict[str, Any]
    minutes: float
    procedure: dict[str, Any] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    spent: float = 0.0
    running: str = ""
    since: float = 0.0
    changes: list[str] = field(default_factory=list)

    @property
    def is_begun(self) -> bool:
        """Whether a training was begun."""
        return any(part.decided for part in self.parts.values())

    def is_finished(self, runs: Path) -> bool:
        """Whether each part is done, and the models that were trained are still in RUNS: nothing is left but to look at it."""
        models = [runs / name / "model.onnx" for name, part in self.parts.items() if part.epochs]
        return bool(self.parts) and all(part.done for part in self.parts.values()) and all(map(Path.is_file, models))

    def take(self, plan: "Plan") -> None:
        """Note a plan before anything of it is begun."""
        self.procedure, self.why = plan.procedure.settings(), plan.why
        self.parts = {name: Part(plan.epochs.get(name, 0), seconds) for name, seconds in plan.seconds.items()}

    def write(self, runs: Path) -> None:
        """Write RUNS/plan.json."""
        runs.mkdir(parents=True, exist_ok=True)
        record.write_json(runs / NAME, asdict(self))


def load(runs: Path) -> Ledger | None:
    """The record in RUNS/plan.json, the work of a stopped start counted; None where there is none.

    Raises ValueError for a file that is damaged.
    """
    path = runs / NAME
    if not path.is_file():
        return None
    try:
        values = read_object(path)
        ledger = Ledger(**values | {"parts": {name: Part(**part) for name, part in values["parts"].items()}})
    except (json.JSONDecodeError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error}); take another --out, or delete it with its folder") from None
    if ledger.running:
        worked = last_sign(runs, ledger.since) - ledger.since
        ledger.spent += worked
        if ledger.running in ledger.parts:
            ledger.parts[ledger.running].seconds += worked
    ledger.running = ""
    return ledger


def last_sign(runs: Path, since: float) -> float:
    """When files below RUNS were last written by the work that began at `since`: no pause in between is longer than GAP."""
    written = sorted(stamp for path in runs.rglob("*") if (stamp := path.lstat().st_mtime) > since)
    alive = since
    for stamp in written:
        if stamp - alive > GAP:
            break
        alive = stamp
    return alive


def refuse_other(runs: Path, ledger: Ledger, made_from: Mapping[str, Any], wishes: Wishes) -> None:
    """Raises ValueError where RUNS was begun with other photos, labels or wishes, naming the first that differs."""
    if ledger.made_from != dict(made_from):
        raise ValueError(
            f"--out: {runs} holds a fit of another data set, or of other labels or studio photos; take another --out"
        )
    begun = asdict(Wishes()) | ledger.wishes  # older files have fewer wishes
    difference = record.first_difference(comparable(begun), comparable(asdict(wishes)))
    if difference:
        raise ValueError(f"--out: {runs} holds a fit begun with {difference}; give the same, or take another --out")


def comparable(wishes: Mapping[str, Any]) -> dict[str, Any]:
    """The wishes with each file by its name and content, not by where it lies."""
    groups, pretrained = wishes["groups"], wishes["pretrained"]
    is_file = not word_of(Path(pretrained)) and Path(pretrained).is_file()
    return dict(wishes) | {
        "trust": "",  # of what starts a fit, not of what it is
        "groups": groups_setting(groups) if Path(groups).is_file() else groups,
        "pretrained": file_setting(Path(pretrained)) if is_file else pretrained,
        "model": model_yaml.setting(wishes["model"]),
    }

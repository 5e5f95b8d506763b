"""The gate's choice of an earlier call, kept with what it was made from: fitting it takes minutes."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fitting.cross_fit import FOLDER
from fusion.ensemble import parse_record
from fusion.gate import Gate
from fusion.models import read_object
from photos.intervals import Interval
from runs import record
from stage2_classifier.gate.choose import Choice, Turn

NAME = f"{FOLDER}/gate.json"


def write(runs: Path, choice: Choice, made_from: str) -> None:
    """Write RUNS/cross_fit/gate.json."""
    record.write_json(runs / NAME, {"made_from": made_from, "choice": asdict(choice)})


def read(runs: Path, made_from: str) -> Choice | None:
    """The choice kept in RUNS, if it was made from the same."""
    path = runs / NAME
    kept = read_object(path) if path.is_file() else {}
    return parsed(kept["choice"], path) if kept.get("made_from") == made_from else None


def parsed(values: Mapping[str, Any], path: Path) -> Choice:
    """A choice from JSON values. Raises ValueError where they are malformed."""
    gates = {name: parse_record(Gate, values[name], f"{path}: {name}") for name in ("gate", "offered")}
    gain = None if values["gain"] is None else Interval(**values["gain"])
    turns = [Turn(turn["photos"], parse_record(Gate, turn["gate"], f"{path}: turns")) for turn in values["turns"]]
    return Choice(gates["gate"], gain, gates["offered"], dict(values["scores"]), turns)

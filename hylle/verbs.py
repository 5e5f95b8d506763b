"""The verbs of the front door, in the order of use, and what calls them."""

import difflib
import sys
from types import ModuleType
from typing import NoReturn

from hylle import (
    build,
    check,
    data,
    demo,
    distill,
    enroll,
    fetch,
    fit,
    folds,
    gate,
    judge,
    labels,
    log,
    predict,
    report,
    review,
    sandbox,
    scale,
    search,
    status,
    synth,
    train_classifier,
    train_detector,
)
from runs.command import SHARED_FLAGS, run

VERBS: dict[str, ModuleType] = {
    "demo": demo,
    "fit": fit,
    "data": data,
    "folds": folds,
    "synth": synth,
    "fetch": fetch,
    "train-detector": train_detector,
    "distill": distill,
    "train-classifier": train_classifier,
    "gate": gate,
    "search": search,
    "build": build,
    "check": check,
    "sandbox": sandbox,
    "judge": judge,
    "report": report,
    "predict": predict,
    "scale": scale,
    "enroll": enroll,
    "labels": labels,
    "review": review,
    "status": status,
    "log": log,
}


def main(argv: list[str] | None = None) -> int:
    """`hylle VERB ...`; returns the exit code: the verb's, or 2 for an unknown one."""
    verb, *words = (sys.argv[1:] if argv is None else argv) or ["--help"]
    if verb in ("--help", "-h", "help"):
        sys.stdout.write(overview())
        return 0
    if verb not in VERBS:
        return run(lambda words: refuse(verb), [verb, *words])  # which tells it as --json asks, too
    return int(VERBS[verb].main(words))


def refuse(verb: str) -> NoReturn:
    """Raises ValueError for a word that is no verb, with the one that is nearest."""
    if verb.startswith("-"):
        raise ValueError(f"hylle {verb}: need a verb first, flags come after it (hylle --help)")
    near = difflib.get_close_matches(verb, VERBS, 1)
    raise ValueError(f"hylle {verb}: no such verb{f'; did you mean {near[0]}?' if near else ''} (hylle --help)")


def overview() -> str:
    """What `hylle --help` shows: each verb and what it does."""
    lines = [f"  {verb:<16}  {(module.__doc__ or '').strip()}" for verb, module in VERBS.items()]
    example = f"Example:\n  hylle folds --data photos --out run\n\nhylle VERB --help shows the flags of a verb.\n{SHARED_FLAGS}"
    return "\n".join(["Usage: hylle VERB FLAGS", "", *lines, "", example, ""])

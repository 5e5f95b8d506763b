"""Fit when the classifier may change a name, and write ensemble.json."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage2_classifier.gate.fit import main as command

    return command(argv, "hylle gate")

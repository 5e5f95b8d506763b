"""Search for weights of views and a way of merging for the ensemble, judged on photos that it did not see."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage2_classifier.gate.search import main as command

    return command(argv, "hylle search")

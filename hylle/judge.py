"""Run a zip on the test photos and score what it writes."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from submission.judge import main as command

    return command(argv, "hylle judge")

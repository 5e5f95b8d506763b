"""Check a zip against the limits of the judge."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from submission.check import main as command

    return command(argv, "hylle check")

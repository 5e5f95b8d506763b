"""Keep the log of submissions: local score and the score of the judge."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from submission.log import main as command

    return command(argv, "hylle log")

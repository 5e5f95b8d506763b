"""Pack the models and the code into the zip that the judge runs."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from submission.build import main as command

    return command(argv, "hylle build")

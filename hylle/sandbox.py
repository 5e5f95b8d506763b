"""Run a zip as the judge does, on a folder of photos."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from submission.sandbox import main as command

    return command(argv, "hylle sandbox")

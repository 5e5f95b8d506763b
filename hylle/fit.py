"""From labelled photos to the best zip that the minutes allow, in one command."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from fitting.fit import main as command
    from reporting.report import after_fit

    return command(argv, "hylle fit", after_fit)

"""Try photos and review labels on a page in the browser."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from reviewing.review import main as command

    return command(argv, "hylle review")

"""Show what is being trained, how far it is and what is finished."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from runs.status import main as command

    return command(argv, "hylle status")

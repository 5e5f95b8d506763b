"""Show what a run can and cannot do, on one page that works offline."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from reporting.report import main as command

    return command(argv, "hylle report")

"""Tell what a labelled data set holds, or write it in another layout."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from photos.overview.command import main as command

    return command(argv, "hylle data")

"""Deal the photos into train, valid and test, by scenes."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from photos.folds import main as command

    return command(argv, "hylle folds")

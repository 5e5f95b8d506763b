"""Walk the whole path on drawn shelves: train, compare, pack, run as the judge does, score."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from experiments.demo import main as command

    return command(argv, "hylle demo")

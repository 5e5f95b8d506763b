"""Train a detector, which finds products."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage1_detector.train import main as command

    return command(argv, "hylle train-detector")

"""Train the classifier, which names crops of products."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage2_classifier.train import main as command

    return command(argv, "hylle train-classifier")

"""List labels of the photos that look wrong, and apply corrections to a copy."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage2_classifier.label_review.review import main as command

    return command(argv, "hylle labels")

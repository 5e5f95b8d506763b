"""Teach a trained classifier one more product from photos of it."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage2_classifier.enrolment import main as command

    return command(argv, "hylle enroll")

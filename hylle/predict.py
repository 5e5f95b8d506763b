"""Find and name the products on photos and videos of your own."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from recognition.predict import main as command

    return command(argv, "hylle predict")

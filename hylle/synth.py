"""Make shelf photos with boxes and names, to train on besides the real ones."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage1_detector.synthesis.make_photos import main as command

    return command(argv, "hylle synth")

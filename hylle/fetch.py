"""Download pretrained weights by name; the only verb that opens the network."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from runs.fetch import main as command

    return command(argv, "hylle fetch")

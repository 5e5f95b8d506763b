"""Name the products on millions of photos, on one machine or a Ray cluster."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from scaling.scale import main as command

    return command(argv, "hylle scale")

"""Train a detector with the help of a trained one."""


def main(argv: list[str]) -> int:
    """The verb; returns the exit code."""
    from stage1_detector.distillation.teach import main as command

    return command(argv, "hylle distill")

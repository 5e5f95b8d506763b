"""A refusal whose remedy is a flag: the commands that have the flag tell it, another one tells what its own user can do."""


class Refusal(ValueError):
    """What is wrong, and the remedy by flags of the training commands.

    `otherwise` is the remedy for whoever has no such flags; empty where the command that calls them knows one.

    >>> str(Refusal("R/one holds a stopped run", "pass --resume to go on with it"))
    'R/one holds a stopped run; pass --resume to go on with it'
    >>> Refusal("got a.pt, must be tensors alone", "pass --trust a.pt", "save its tensors").told_by("take another --out")
    'got a.pt, must be tensors alone; save its tensors'
    """

    def __init__(self, what: str, remedy: str, otherwise: str = "") -> None:
        super().__init__(f"{what}; {remedy}")
        self.what, self.otherwise = what, otherwise

    def told_by(self, remedy: str) -> str:
        """The message of a command that lacks the flags: what the refusal knows `otherwise`, or else its own `remedy`."""
        return f"{self.what}; {self.otherwise or remedy}"


class NonFiniteLoss(Refusal, FloatingPointError):
    """A loss that is infinite or not a number."""

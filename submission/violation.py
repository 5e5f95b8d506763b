"""What the checker says of a zip, one line each."""

from dataclasses import dataclass

SHOWN_CHARACTERS = 500  # chosen: of one line; names and messages of a foreign zip may be of any length


@dataclass(frozen=True)
class Violation:
    """One reason for which the judge would refuse the zip, or fail when it runs it; line 0 stands for the whole file.

    A `warning` is something that the judge may refuse or not: the contest's page does not say.
    """

    where: str
    line: int
    what: str
    remedy: str
    warning: bool = False

    def __str__(self) -> str:
        """
        >>> print(Violation("run.py", 3, "imports os", "use pathlib"))
        run.py:3: imports os (use pathlib)
        """
        place = f"{self.where}{f':{self.line}' if self.line else ''}"
        text = f"{'warning: ' if self.warning else ''}{place}: {self.what} ({self.remedy})"
        return "".join(c if c.isprintable() else "?" for c in text[:SHOWN_CHARACTERS])

"""`hylle review` as a process of its own, for what is measured on its page in a browser."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

LISTENS = re.compile(r"open (http://\S+?)/ ")


@contextmanager
def review_server(words: Sequence[str]) -> Iterator[str]:
    """`hylle review` with these arguments on a free port; its address. Ended afterwards.

    Raises ValueError where it ends before it listens.
    """
    command = [sys.executable, "-m", "hylle", "review", *words, "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = next((found[1] for line in process.stdout if (found := LISTENS.search(line))), "")
            if not address:
                raise ValueError(f"hylle review ended before it listened; try: {' '.join(command[1:])}")
            yield address
        finally:
            process.terminate()

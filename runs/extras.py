"""The extras of the package: the command that installs one beside what is pinned."""


def install(extra: str) -> str:
    """How to install an extra, in words. uv reads pyproject.toml, which keeps out the OpenCV that ultralytics asks for.

    >>> install("scale")
    "in the checkout: .venv/bin/uv pip install -e '.[scale]'"
    """
    return f"in the checkout: .venv/bin/uv pip install -e '.[{extra}]'"

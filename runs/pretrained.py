"""The weights that a training starts from: what --pretrained says, a word or a file."""

from pathlib import Path
from typing import NamedTuple

from runs.extras import install
from runs.refusal import Refusal

WORDS = ("auto", "imagenet", "coco", "starter", "none")


class Start(NamedTuple):
    """The weights file that a training starts from, None for random weights, and why where that was not said."""

    path: Path | None
    why: str = ""


def help_of(words: tuple[str, ...]) -> str:
    """What --help says of --pretrained in a command that takes these words.

    >>> help_of(("auto", "none"))
    'start from: auto, none, or a local weights file; nothing is ever downloaded'
    """
    return f"start from: {', '.join(words)}, or a local weights file; nothing is ever downloaded"


HELP = help_of(WORDS)


def word_of(given: Path | None) -> str:
    """The one of WORDS that is given; empty where a file is, or nothing.

    >>> word_of(Path("starter")), word_of(Path("starter.pt")), word_of(None)
    ('starter', '', '')
    """
    return str(given) if given is not None and str(given) in WORDS else ""


def refuse_missing(given: Path | None, words: tuple[str, ...] = WORDS) -> None:
    """Raises ValueError for what is neither one of WORDS nor a file; it tells those `words` that the command takes."""
    if given is not None and not word_of(given) and not given.is_file():
        raise ValueError(f"--pretrained: got {given}, must be a local weights file, or one of {', '.join(words)}")


def refuse_own(flag: str, given: Path | None, out: Path) -> None:
    """Raises ValueError, naming `flag`, where weights lie in OUT, whose training would replace them by its own.

    >>> refuse_own("--pretrained", Path("R/one/weights/last.pt"), Path("R/all"))
    >>> refuse_own("--pretrained", Path("R/one/weights/last.pt"), Path("R/one"))
    Traceback (most recent call last):
    ValueError: --pretrained: got R/one/weights/last.pt, which R/one would replace by what is trained; pass another --out
    """
    if given is not None and given.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{flag}: got {given}, which {out} would replace by what is trained; pass another --out")


def pretrained_file(given: Path | None, starter: Path) -> Path | None:
    """The file that `given` means, `starter` for that word and None for none. Raises ValueError for one that is missing.

    >>> pretrained_file(None, Path("starter.safetensors")) is None
    True
    """
    path = starter if word_of(given) == "starter" else None if word_of(given) == "none" else given
    if path is not None and not path.is_file():
        raise ValueError(f"--pretrained: got {path}, must be a local weights file, or starter")
    return path


def imagenet_or_refuse(model: str) -> Path:
    """The ImageNet weights of timm's `model` on this machine. Raises ValueError, naming where to get them, for none."""
    from runs import local_weights

    path = local_weights.imagenet(model)
    if path is not None:
        return path
    package = local_weights.PACKAGES.get(model)
    carried = ", ".join(local_weights.PACKAGES)
    extra = install("pretrained") + ("" if package else f" (has {carried})")
    raise ValueError(f"--pretrained: got imagenet, no weights of {model} on this machine; {extra}, or hylle fetch {model}")


def refuse_word(word: str, network: str, allowed: tuple[str, ...], hint: str = "") -> None:
    """Raises ValueError for a word that `network` has no weights of; `hint` is how another network has some."""
    if word and word not in allowed:
        what = f"--pretrained: got {word}, allowed for {network}: {', '.join(allowed)}, or a file"
        raise Refusal(what, hint, "auto takes the best for each stage") if hint else ValueError(what)

"""Download pretrained weights by name into the caches that `--pretrained` looks in.

    hylle fetch NAME [--sha256 HEX]

NAME is a network of timm's (ImageNet), a detector of torchvision's, or a model of ultralytics (COCO). Their own loaders
download, into their own caches; the file's sha256 is told and kept. No other command opens the network.
"""

import difflib
import re
import socket
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import getproxies

from runs import fetched, local_weights
from runs.command import Parser, note_result, run, say
from runs.typed import typed

IMAGENET, COCO = "--pretrained imagenet", "--pretrained coco"
ULTRALYTICS_DETECTOR = re.compile(
    r"yolov?\d+[nslmxbtce]|rtdetr-[lx]"
)  # taken: ultralytics' names, without those of other tasks
SHA256 = re.compile(r"[0-9a-f]{64}")
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.")  # taken: how torch.hub writes the first digits of the sha256 of its files


def main(argv: list[str] | None = None, prog: str = "hylle fetch") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and fetch. Raises ValueError for a name or sha256 that is none, without a network, or for another
    sha256.
    """
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("name", help="such as tf_efficientnet_lite0 (timm), retinanet_resnet50_fpn (torchvision), yolov8n")
    p.add_argument("--sha256", metavar="HEX", help="what the file must have; another is refused")
    args = p.parse_args(argv)
    if Path(args.name).name != args.name:
        raise ValueError(f"hylle fetch: got {args.name}, must be the name of a network, such as resnet18 ({prog} --help)")
    wanted = None if args.sha256 is None else args.sha256.lower()
    if wanted is not None and not SHA256.fullmatch(wanted):
        raise ValueError(f"--sha256: got {args.sha256!r}, must be the 64 hexadecimal digits alone")
    fetched.forget_removed()
    path, flag = source_of(args.name)(args.name)
    digest = vouched(args.name, path, wanted)
    say(f"{args.name}: {path}, {path.stat().st_size / 1e6:.1f} MB, sha256 {digest}; taken by {flag}")
    note_result(name=args.name, file=path, sha256=digest)


def vouched(name: str, path: Path, wanted: str | None) -> str:
    """The sha256 of PATH, noted. Raises ValueError for another than is `wanted`, or else than was noted of it before.

    What is wanted is noted in any case, so that no training starts from a file that is refused here.
    """
    digest = fetched.sha256(path)
    if not wanted:
        fetched.refuse_changed(path, "hylle fetch")
    fetched.note(name, path, wanted or digest)
    if wanted and digest != wanted:
        raise ValueError(f"--sha256: got {path} with {digest}, must be {wanted}; remove the file, or ask who made it")
    return digest


def source_of(name: str) -> Callable[[str], tuple[Path, str]]:
    """What fetches the weights called `name`.

    Raises ValueError for a name that none of the three libraries has, or whose weights no training here starts from.
    """
    import timm
    from torchvision.models import detection as detectors
    from torchvision.models import list_models
    from ultralytics.utils.downloads import GITHUB_ASSETS_STEMS

    models, stem = filter(ULTRALYTICS_DETECTOR.fullmatch, GITHUB_ASSETS_STEMS), name.removesuffix(".pt")
    if stem in (ultralytics := sorted(models)):
        return from_ultralytics
    if name in local_weights.COCO_DETECTORS:
        return from_torchvision
    if stem in GITHUB_ASSETS_STEMS or name in list_models(detectors):
        taken = f"{', '.join(local_weights.COCO_DETECTORS)}, and ultralytics' detectors, such as yolov8n"
        raise ValueError(f"hylle fetch: got {name!r}, which no training here starts from; {COCO} takes {taken}")
    if "." not in name and timm.is_model(name):
        return from_timm
    near = difflib.get_close_matches(name, [*local_weights.COCO_DETECTORS, *ultralytics, *timm.list_models()], 3)
    raise ValueError(f"hylle fetch: got {name!r}, must be a network of timm, torchvision or ultralytics{like(near)}")


def like(names: list[str]) -> str:
    """Names that are near one that is unknown, in words.

    >>> like([]), like(["resnet50"])
    ('', ', such as resnet50')
    """
    return f", such as {', '.join(names)}" if names else ""


def from_timm(name: str) -> tuple[Path, str]:
    """timm's own ImageNet weights, as `timm.create_model` caches them; those of a package need no download."""
    import timm

    packaged = local_weights.in_package(name)
    if packaged is not None:
        return packaged, IMAGENET
    where = local_weights.checkpoints() / local_weights.file_by_hand(name)
    downloaded(name, lambda: timm.create_model(name, pretrained=True), where, IMAGENET)
    path = local_weights.imagenet(name)
    if path is None:
        raise ValueError(f"hylle fetch: timm has no ImageNet file of {name} that is kept on its own")
    return path, IMAGENET


def from_torchvision(name: str) -> tuple[Path, str]:
    """torchvision's COCO weights, as its own loader caches them, their hash checked, of a file that is there already too."""
    from torchvision.models import get_model_weights

    weights = get_model_weights(name).DEFAULT
    path = local_weights.checkpoints() / local_weights.file_of(weights.url)
    if path.is_file():  # whose hash the loader does not check
        refuse_damaged(path)
    downloaded(name, lambda: weights.get_state_dict(progress=False, check_hash=True), path, COCO)
    return path, COCO


def from_ultralytics(name: str) -> tuple[Path, str]:
    """ultralytics' weights in its own folder."""
    from ultralytics.utils.downloads import attempt_download_asset

    path = local_weights.ultralytics_file(f"{name.removesuffix('.pt')}.pt")
    flag = typed(f"{COCO} --trust", path)
    downloaded(name, lambda: attempt_download_asset(path), path, flag)
    return path, flag


def refuse_damaged(path: Path) -> None:
    """Raises ValueError where a file has another sha256 than that of which its name has the first digits."""
    digits = HASH_IN_NAME.search(path.name)
    if digits and not fetched.sha256(path).startswith(digits[1]):
        raise ValueError(f"hylle fetch: {path} is damaged or not torchvision's: remove it and fetch again")


def downloaded(name: str, load: Callable[[], Any], path: Path, flag: str) -> None:
    """Call `load`; ValueError, saying where a file from elsewhere is to be laid, where it does not reach its source."""
    reason = "nothing came"
    try:
        if flag == IMAGENET:
            refuse_without_network()
        load()
    except Exception as error:  # each of three libraries raises what its own client does
        reason = textwrap.shorten(str(error), 100, placeholder=" ...")
    else:
        if flag == IMAGENET or path.is_file():
            return
    raise ValueError(
        f"hylle fetch: {name} could not be downloaded ({reason}); on a machine with a network the same command does, and the "
        f"file laid at {path} is taken by {flag}"
    )


def refuse_without_network() -> None:
    """Raises OSError where the hub's name is not known, and no proxy is set: its client would try for a minute."""
    from huggingface_hub.constants import ENDPOINT

    if not getproxies():
        socket.getaddrinfo(urlparse(ENDPOINT).hostname, 443)

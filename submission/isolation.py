"""A command that runs another one in a file system of its own: no network, and nothing to write to but one folder.

What can be seen there: the system's programs and libraries, the Python that runs the zip, the code, the photos, and the output.
The user's home, the repository and /tmp are not among them. `submission.enter` builds it.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/nix", "/sys")
SETTINGS = ("ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "nsswitch.conf", "passwd", "fonts")
TEMPORARY_MB = 256  # chosen: of /tmp and /dev/shm each; they end with the run
PROBE_SECONDS = 60.0  # chosen: for trying whether namespaces are permitted


@dataclass(frozen=True)
class Place:
    """The folders of one run, below `root`: `code` and `images` are read, `output` is written, `elsewhere` is empty."""

    root: Path

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def images(self) -> Path:
        return self.root / "images"

    @property
    def output(self) -> Path:
        return self.root / "output"

    @property
    def elsewhere(self) -> Path:
        return self.root / "elsewhere"


def isolated(place: Place, python: Path, gpus: bool) -> list[str]:
    """The beginning of a command line that isolates the command after it. Raises ValueError where that is not permitted."""
    prefix = [*UNSHARE, sys.executable, "-I", str(HERE / "enter.py"), _plan(place, python, gpus)]
    if not shutil.which("unshare"):
        raise ValueError("there is no unshare (util-linux) here")
    if os.uname().machine not in ("x86_64", "aarch64"):
        raise ValueError(f"not known how on {os.uname().machine}")
    command = [*prefix, str(python), "-I", "-S", "-c", ""]
    try:
        probe = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        raise ValueError(
            f"trying whether they are took more than {PROBE_SECONDS:.0f} s, try again when less runs here"
        ) from None
    if probe.returncode:
        raise ValueError("".join(probe.stderr.strip().splitlines()[-1:]) or f"exit code {probe.returncode}")
    return prefix


def _plan(place: Place, python: Path, gpus: bool) -> str:
    """What `submission.enter` is told, as JSON."""
    root = place.root / "root"
    root.mkdir(exist_ok=True)
    place.output.mkdir(exist_ok=True)
    settings = [f"/etc/{name}" for name in SETTINGS]
    libraries = [path for path in os.environ.get("LD_LIBRARY_PATH", "").split(":") if path]
    devices = [str(path) for path in Path("/dev").glob("nvidia*")] if gpus else []
    read = [str(folder) for folder in (place.code, place.images, place.elsewhere)]
    candidates = [*SYSTEM, *settings, *libraries, *devices, *_python_paths(python), *read]
    values = {
        "root": str(root),
        "readable": _outermost([path for path in candidates if os.path.lexists(path)]),
        "writable": [str(place.output)],
        "folder": str(place.elsewhere),
        "temporary_mb": TEMPORARY_MB,
    }
    return json.dumps(values)


def _python_paths(python: Path) -> list[str]:
    """What PYTHON consists of: its environment, the installation below it, and the links on the way from one to the other."""
    ask = "import sys; print(sys.prefix, sys.base_prefix, sep='\\n')"
    answer = subprocess.run([str(python), "-I", "-c", ask], capture_output=True, text=True, check=False).stdout
    hops: list[str] = []
    path = python
    while path.is_symlink() and len(hops) < 40:
        path = path.parent / path.readlink()
        hops.append(os.path.normpath(path))
    return [*(os.path.realpath(prefix) for prefix in answer.splitlines()), *hops]


def _outermost(paths: Sequence[str]) -> list[str]:
    """The paths that lie below no other one, each once, in their order.

    >>> _outermost(["/usr", "/usr/bin/python3", "/opt/a", "/usr"])
    ['/usr', '/opt/a']
    """
    distinct = list(dict.fromkeys(paths))
    return [path for path in distinct if not any(str(parent) in distinct for parent in Path(path).parents)]

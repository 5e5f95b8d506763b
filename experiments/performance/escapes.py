"""Ways in which a zip's run.py could leave the sandbox, tried one by one: each must leave everything outside as it was."""

import socket
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from experiments.performance.bad_photos import jpeg
from runs.record import ROOT
from submission.judge_machine import Limits, Machine
from submission.sandbox import execute

SECRET = "the content of a private key"
MARK = "escaped.txt"  # the name of files that an escape writes
SECONDS = 5.0  # chosen: the time limit of a run

HEAD = """
import ctypes, os, pathlib, shutil, signal, socket, subprocess, sys, time
output = pathlib.Path(sys.argv[4])
output.write_text("[]")
target = pathlib.Path({target!r})
def tell(text):
    print("error:", text)
def attempt(action, *arguments):
    try:
        return action(*arguments)
    except Exception as error:
        print(repr(error))
"""

# what each does; `target` is a folder of the user's, with kept.txt and .ssh/id_rsa in it
ESCAPES = {
    "overwrites a file": "attempt((target / 'kept.txt').write_text, 'gone')",
    "deletes a folder": "shutil.rmtree(target, ignore_errors=True)",
    "writes into the home": "attempt(pathlib.Path({home!r}, {mark!r}).write_text, 'x')",
    "writes into the repository": "attempt(pathlib.Path({repository!r}, {mark!r}).write_text, 'x')",
    "writes into /tmp": "attempt(pathlib.Path({outside!r}).write_text, 'x')",
    "changes its own code": "attempt(pathlib.Path(sys.argv[0]).write_text, 'x')\n"
    "if os.path.getsize(sys.argv[0]) == 1: tell({secret!r})",
    "reads a private key": "tell(attempt((target / '.ssh' / 'id_rsa').read_text))",
    "lists the home": "if '.ssh' in (attempt(os.listdir, str(target)) or []): tell({secret!r})",
    "through a link": "attempt(os.symlink, target, output.parent / 'link')\n"
    "attempt((output.parent / 'link' / 'kept.txt').write_text, 'x')",
    "predictions that are a link to a private key": "output.unlink(); output.symlink_to(target / '.ssh' / 'id_rsa')",
    "output folder replaced by a link": "attempt(shutil.rmtree, output.parent); attempt(os.symlink, target, output.parent)",
    "through /proc/self/root": "attempt(pathlib.Path('/proc/self/root' + str(target), 'kept.txt').write_text, 'x')",
    "through the root of another process": "for pid in range(1, 400): "
    "attempt(pathlib.Path(f'/proc/{{pid}}/root' + str(target), 'kept.txt').write_text, 'x')",
    "through the folder of its parent process": "attempt("
    "pathlib.Path(f'/proc/{{os.getppid()}}/cwd/../kept.txt').write_text, 'x')",
    "remounts with write permission": "libc = ctypes.CDLL(None)\nfor path in (b'/', b'/usr', os.fsencode(target)): "
    "libc.mount(None, path, None, 32 | 4096, None)\nattempt(pathlib.Path('/usr', {mark!r}).write_text, 'x')",
    "a namespace within": "subprocess.run(['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', "
    "'mount -o remount,rw,bind /usr; touch /usr/{mark}; umount -l /usr; echo x > {target}/kept.txt'])",
    "joins the namespace of another process": "for pid in range(1, 50):\n"
    "    subprocess.run(['nsenter', '-t', str(pid), '-m', 'touch', {outside!r}], capture_output=True)",
    "opens the disk": "attempt(os.mknod, '/tmp/disk', 0o60600, os.makedev(254, 0)); "
    "attempt(lambda: tell({secret!r}) if open('/tmp/disk', 'rb').read(1) else 0)",
    "a connection to this machine": "attempt(socket.create_connection, ('127.0.0.1', {port}), 2)",
    "a connection by another program": "attempt(subprocess.run, ['bash', '-c', 'echo x > /dev/tcp/127.0.0.1/{port}'])",
    "ends another process": "attempt(os.kill, {pid}, 9); attempt(os.kill, -1, 9)",
    "changes the kernel's settings": "attempt(pathlib.Path('/proc/sys/kernel/core_pattern').write_text, 'x')\n"
    "if attempt(open, '/proc/sys/kernel/core_pattern', 'r+'): tell({secret!r})",
    "more and more processes": "while True: attempt(os.fork)",
    "a process that stays": "if not os.fork():\n    os.setsid()\n    if not os.fork():\n"
    "        while True:\n            (output.parent / 'still here').write_text('x'); time.sleep(0.05)",
    "fills the disk": "file = open(output.parent / 'large', 'wb')\nwhile True: file.write(bytes(10**7)); file.flush()",
    "many files": "for i in range(10**6): (output.parent / str(i)).touch()",
    "an endless log": "while True: print('x' * 10**6)",
}


@dataclass(frozen=True)
class Surroundings:
    """What an escape could reach: a folder of the user's, a file in /tmp, a port of this machine, another process."""

    target: Path
    outside: Path
    port: int
    pid: int


def escapes(name: str, folder: Path, python: Path = Path(sys.executable)) -> str:
    """Try the escape NAME in an empty FOLDER; in what it succeeded, or "".

    Raises ValueError where this system does not permit the sandbox to protect anything.
    """
    target, outside = folder / "home", Path(tempfile.gettempdir(), f"{folder.name}-{MARK}")
    (target / ".ssh").mkdir(parents=True)
    (target / ".ssh" / "id_rsa").write_text(SECRET)
    (target / "kept.txt").write_text("kept")
    with closing(socket.create_server(("127.0.0.1", 0))) as server, subprocess.Popen(["sleep", "60"]) as other:
        server.settimeout(0.01)
        try:
            _run(ESCAPES[name], folder, Surroundings(target, outside, server.getsockname()[1], other.pid), python)
            return _seen(folder, target, outside) or _still_running(other) or _connected(server)
        finally:
            other.kill()
            for path in _marks(outside):
                path.unlink(missing_ok=True)


def _run(body: str, folder: Path, around: Surroundings, python: Path) -> None:
    """Run a zip whose run.py does BODY."""
    values = {
        "target": str(around.target), "home": str(Path.home()), "repository": str(ROOT), "outside": str(around.outside),
        "mark": MARK, "port": around.port, "pid": around.pid, "secret": SECRET,
    }  # fmt: skip
    (folder / "photos").mkdir()
    jpeg(folder / "photos" / "img_00001.jpg")
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("run.py", (HEAD + body).format(**values))
    outcome = execute(folder / "a.zip", folder / "photos", folder / "out.json", Machine(python, Limits(SECONDS)))
    (folder / "told.txt").write_text("\n".join([*outcome.problems, *outcome.notes, outcome.log]))


def _marks(outside: Path) -> list[Path]:
    return [outside, *(folder / MARK for folder in (Path.home(), ROOT, Path("/usr")))]


def _seen(folder: Path, target: Path, outside: Path) -> str:
    """What was changed outside of the sandbox, or read there."""
    written = [str(path) for path in _marks(outside) if path.exists()]
    if written:
        return f"wrote {written[0]}"
    kept = target / "kept.txt"
    if not kept.is_file() or kept.read_text() != "kept" or not (target / ".ssh" / "id_rsa").is_file():
        return "changed the user's folder"
    output = folder / "out.json"
    answer = (output.read_text(errors="replace") if output.is_file() else "") + (folder / "told.txt").read_text()
    errors = [line for line in answer.splitlines() if SECRET in line and "error" in line.split(":")[0]]
    return "read what is private" if errors or SECRET in (output.read_text() if output.is_file() else "") else ""


def _still_running(other: "subprocess.Popen[bytes]") -> str:
    return "" if other.poll() is None else "ended another process"


def _connected(server: socket.socket) -> str:
    """Whether a connection has arrived."""
    try:
        server.accept()
    except TimeoutError:
        return ""
    return "reached a port of this machine"

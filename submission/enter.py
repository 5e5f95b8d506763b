"""`python -I enter.py PLAN COMMAND...`: run COMMAND in a file system that holds only what PLAN lists, without privileges.

Started by `submission.isolation` inside new user, mount, process and network namespaces; the standard library only. PLAN is a
JSON object: `root` (an empty folder to build the file system in), `readable` and `writable` (paths that are seen there, at the
same place), `folder` (where COMMAND starts) and `temporary_mb` (the size of /tmp and of /dev/shm, which end with the run).
Whatever can be seen is read-only but `writable`, /tmp and /dev/shm.

Source of the system calls: mount(2), mount_setattr(2), pivot_root(2), capabilities(7).
"""

import ctypes
import json
import os
import sys
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC = 2, 4, 8, 4096, 16384
MNT_DETACH = 2
SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
SYS_CAPSET = {"x86_64": 126, "aarch64": 91}
SYS_MOUNT_SETATTR = 442  # Linux 5.12
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID = 1, 2
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 24, 38
CAPABILITIES = 64  # at most, in any version of Linux so far
DEVICES = ("null", "zero", "full", "random", "urandom")


def checked(result: int, what: str) -> None:
    """Raises OSError where a system call failed."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: Path, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2)."""
    words = [None if word is None else word.encode() for word in (source, str(target), kind, options)]
    checked(LIBC.mount(words[0], words[1], words[2], ctypes.c_ulong(flags), words[3]), f"mount {target}")


def make_read_only(target: Path, recursive: bool = True) -> None:
    """Make the mount at TARGET read-only and, with `recursive`, all mounts below it."""
    attributes = (ctypes.c_uint64 * 4)(MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID, 0, 0, 0)
    flags = AT_RECURSIVE if recursive else 0
    path = str(target).encode()
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    result = LIBC.syscall(SYS_MOUNT_SETATTR, AT_FDCWD, path, flags, ctypes.byref(attributes), size)
    checked(result, f"read-only {target}")


def show(root: Path, path: str) -> Path:
    """Let PATH of the old file system be seen at the same place below ROOT; where it is there now."""
    target = root / path.lstrip("/")
    target.parent.mkdir(parents=True, exist_ok=True)
    if Path(path).is_dir():
        target.mkdir(exist_ok=True)
    else:
        target.touch()
    mount(path, target, None, MS_BIND | MS_REC)
    return target


def build(plan: dict[str, Any]) -> None:
    """Build the file system of PLAN and make it the root."""
    root, space = Path(plan["root"]), f"size={plan['temporary_mb']}m"
    mount("tmpfs", root, "tmpfs", MS_NOSUID | MS_NODEV, "size=4m,mode=755")
    for name in ("tmp", "proc", "dev"):
        (root / name).mkdir()
    mount("tmpfs", root / "tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"{space},mode=1777")
    for name in DEVICES:
        show(root, f"/dev/{name}")
    (root / "dev" / "shm").mkdir()
    mount("tmpfs", root / "dev" / "shm", "tmpfs", MS_NOSUID | MS_NODEV, f"{space},mode=1777")
    for path in plan["readable"]:
        if Path(path).is_symlink():
            link = root / path.lstrip("/")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(Path(path).readlink())
        else:
            make_read_only(show(root, path))
    for path in plan["writable"]:
        show(root, path)
    try:
        mount("proc", root / "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    except OSError:  # inside a container: the kernel then lets no process of another user namespace be looked into
        show(root, "/proc")
    make_read_only(root / "proc")
    os.chdir(root)
    checked(LIBC.syscall(SYS_PIVOT_ROOT[os.uname().machine], b".", b"."), "pivot_root")
    checked(LIBC.umount2(b".", MNT_DETACH), "umount of the old root")
    make_read_only(Path("/"), recursive=False)
    os.chdir(plan["folder"])


def drop_privileges() -> None:
    """Give up every capability, for this process and whatever it starts: no mount can be changed from here on."""
    for capability in range(CAPABILITIES):
        if LIBC.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0) < 0:
            break
    checked(LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    header, nothing = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
    checked(LIBC.syscall(SYS_CAPSET[os.uname().machine], ctypes.byref(header), ctypes.byref(nothing)), "capset")


def run(command: list[str]) -> int:
    """Run COMMAND as a child and wait; its exit code, as a shell tells it. All it has started ends with this process.

    A child, since the first process of a namespace ignores signals that would end any other.
    """
    child = os.fork()
    if not child:
        try:
            os.execv(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error}\n".encode())
        finally:
            os._exit(127)
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


if __name__ == "__main__":
    try:
        build(json.loads(sys.argv[1]))
        drop_privileges()
    except OSError as refused:
        sys.exit(f"not permitted here: {refused}")
    os._exit(run(sys.argv[2:]))

"""The rules of the judge: each limit a constant, each rule a function from a zip's entries to violations. Reads no files.

**Why was a zip refused?** Each line that `submission.check` prints comes from one function. For the contest's own rules it is
one of `RULES` and `ENTRY_RULES` at the end of this file; its docstring states the limit and where it is taken from. What
would make the zip fail only when it runs is checked in `submission.check`.

Source of the limits: the contest's official submission page ("the page" below). Where it is vague the stricter reading is
taken, and a comment says so.
"""

import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import PurePosixPath

from submission.entries import MAX_ALL_TEXT, MAX_BYTES, MAX_NAME, MAX_PART, MAX_RATIO, MAX_TEXT, MB, Entry
from submission.source import roundabout_source, safe_source
from submission.violation import Violation

MAX_WEIGHT_BYTES = 420 * MB  # of the files with a suffix in WEIGHTS
MAX_FILES = 1000  # of any kind
MAX_PYTHON = 10  # .py files
MAX_WEIGHTS = 3  # files with a suffix in WEIGHTS
WEIGHTS = frozenset({".pt", ".pth", ".onnx", ".safetensors", ".npy"})
SUFFIXES = WEIGHTS | {".py", ".json", ".yaml", ".yml", ".cfg"}
ENTRY_POINT = "run.py"
PIPELINE = "fusion/pipeline.py"  # a zip that holds it is built on `fusion/`

BINARIES = {
    b"\x7fELF": "ELF",
    b"MZ": "PE",
    b"\xfe\xed\xfa\xce": "Mach-O",
    b"\xfe\xed\xfa\xcf": "Mach-O",
    b"\xce\xfa\xed\xfe": "Mach-O",
    b"\xcf\xfa\xed\xfe": "Mach-O",
    b"\xca\xfe\xba\xbe": "Mach-O",
    b"\xbe\xba\xfe\xca": "Mach-O",
}


Rule = Callable[[list[Entry]], Iterator[Violation]]


def violations(entries: list[Entry]) -> list[Violation]:
    """Every violation of the judge's rules, rule by rule; an empty list for a zip that it accepts."""
    files = [entry for entry in entries if not entry.is_folder]
    found = [violation for rule in RULES for violation in rule(files)]
    return found + [violation for rule in ENTRY_RULES for violation in rule(entries)]


def entry_point(entries: list[Entry]) -> Iterator[Violation]:
    """`run.py` (ENTRY_POINT) is at the root of the zip, not in a folder that was zipped as a whole. Source: the page."""
    names = [entry.name for entry in entries]
    nested = [name for name in names if name.endswith("/" + ENTRY_POINT)]
    if ENTRY_POINT not in names and nested:
        yield Violation(nested[0], 0, f"{ENTRY_POINT} is not at the root", "zip the content of the folder, not the folder")
    elif ENTRY_POINT not in names:
        yield Violation(ENTRY_POINT, 0, "is missing", "put it at the root of the zip")


def allowed_suffixes(entries: list[Entry]) -> Iterator[Violation]:
    """Only files with a suffix in SUFFIXES. Source: the page's list of file types."""
    for entry in entries:
        if entry.suffix not in SUFFIXES:
            yield Violation(entry.name, 0, f"suffix {entry.suffix!r}", f"leave it out; allowed: {' '.join(sorted(SUFFIXES))}")


def file_counts(entries: list[Entry]) -> Iterator[Violation]:
    """At most MAX_FILES files, of them MAX_PYTHON Python files and MAX_WEIGHTS weight files. Source: the page."""
    kinds = {
        "files": (len(entries), MAX_FILES),
        "Python files": (sum(entry.suffix == ".py" for entry in entries), MAX_PYTHON),
        "weight files": (sum(entry.suffix in WEIGHTS for entry in entries), MAX_WEIGHTS),
    }
    for kind, (got, allowed) in kinds.items():
        if got > allowed:
            yield Violation("the zip", 0, f"{got} {kind}", f"at most {allowed}; merge or drop some")


def total_sizes(entries: list[Entry]) -> Iterator[Violation]:
    """At most MAX_BYTES of files and MAX_WEIGHT_BYTES of weight files, uncompressed. Source: the page, 420 MB for both."""
    kinds = {
        "of files, uncompressed": (sum(entry.size for entry in entries), MAX_BYTES),
        "of weight files": (sum(entry.size for entry in entries if entry.suffix in WEIGHTS), MAX_WEIGHT_BYTES),
    }
    for kind, (got, allowed) in kinds.items():
        if got > allowed:
            remedy = f"at most {allowed // MB} MB; smaller models, or FP16 weights"
            yield Violation("the zip", 0, f"{got / MB:.1f} MB {kind}", remedy)


def readable(entries: list[Entry]) -> Iterator[Violation]:
    """Every file can be unpacked and looked into: none is damaged, or so large, or so empty, that it was made to harm."""
    for entry in entries:
        if entry.damage:
            yield Violation(entry.name, 0, f"cannot be unpacked: {entry.damage}", "build the zip again")
        elif entry.is_bomb:
            what = f"{entry.size / MB:.0f} MB packed in {entry.packed / MB:.2f} MB: holds next to nothing"
            yield Violation(entry.name, 0, what, f"leave it out; weights do not shrink to 1 / {MAX_RATIO}")
        elif entry.is_text and entry.text is None:
            limit = f"{MAX_TEXT[entry.suffix] // 1000} kB are looked into, {MAX_ALL_TEXT // MB} MB of all {entry.suffix}"
            what, is_data = f"{_kilobytes(entry.size)} of text", entry.suffix == ".json" and not built_on_fusion(entries)
            if is_data:  # of another method: data that only its own run.py reads
                yield Violation(entry.name, 0, f"{what}: not looked into", f"at most {limit}", warning=True)
            else:
                yield Violation(entry.name, 0, what, f"make it smaller; at most {limit}")


def _kilobytes(size: int) -> str:
    """Rounded up, so that what is above a limit is told as above it.

    >>> _kilobytes(200_001)
    '201 kB'
    """
    return f"{-(-size // 1000)} kB"


def built_on_fusion(entries: list[Entry]) -> bool:
    """Whether the zip holds this project's pipeline: another method's files are read by its own code, which is not known."""
    return any(entry.name == PIPELINE for entry in entries)


def short_names(entries: list[Entry]) -> Iterator[Violation]:
    """No path longer than MAX_NAME characters, no part of it above MAX_PART bytes. Derived: file systems take no more."""
    for entry in entries:
        longest = max(len(part.encode(errors="replace")) for part in entry.name.split("/"))
        if len(entry.name) > MAX_NAME:
            yield Violation(entry.name[:40] + "...", 0, f"a path of {len(entry.name)} characters", f"at most {MAX_NAME}")
        elif longest > MAX_PART:
            yield Violation(entry.name[:40] + "...", 0, f"a name of {longest} bytes", f"at most {MAX_PART} in UTF-8")


def no_file_is_a_folder(entries: list[Entry]) -> Iterator[Violation]:
    """No file is also the folder of another entry, and no folder holds bytes. Derived: such a zip cannot be unpacked."""
    paths = [PurePosixPath(entry.name) for entry in entries if len(entry.name) <= MAX_NAME]
    folders = {parent for path in paths for parent in path.parents}
    folders |= {PurePosixPath(entry.name) for entry in entries if entry.is_folder}
    for entry in entries:
        if entry.is_folder and (entry.size or entry.head):
            yield Violation(entry.name, 0, f"a folder that holds {entry.size} bytes", "store it as a file, or leave it out")
        elif not entry.is_folder and PurePosixPath(entry.name) in folders:
            yield Violation(entry.name, 0, "a file, and a folder of that name too", "rename one")


def entry_counts(entries: list[Entry]) -> Iterator[Violation]:
    """Folders are counted too: a warning above MAX_FILES, as the page says files; twice that is not unpacked."""
    folders = sum(entry.is_folder for entry in entries)
    if folders and len(entries) > MAX_FILES:
        what = f"{len(entries)} entries, {folders} of them folders"
        is_few = len(entries) <= 2 * MAX_FILES
        yield Violation("the zip", 0, what, f"at most {MAX_FILES}; zip it without entries for folders", warning=is_few)


def safe_paths(entries: list[Entry]) -> Iterator[Violation]:
    """Paths stay inside the folder that the zip is unpacked into. Source: the page's ban on path traversal."""
    for entry in entries:
        parts = entry.name.replace("\\", "/").split("/")
        if parts[0] == "" or ":" in parts[0] or ".." in parts:
            yield Violation(entry.name, 0, "a path that leaves the folder of the zip", "use a relative path without ..")
        elif "\\" in entry.name:
            yield Violation(entry.name, 0, "a backslash in the path", "separate folders by /")


def no_links(entries: list[Entry]) -> Iterator[Violation]:
    """No symbolic links. Source: the page."""
    for entry in entries:
        if stat.S_ISLNK(entry.mode):
            yield Violation(entry.name, 0, "a symbolic link", "store the file that it points at")


def unique_names(entries: list[Entry]) -> Iterator[Violation]:
    """No name twice, and no two names (of files or folders) that differ in case only.

    Stricter than the page: on a file system that ignores case one of the two would overwrite the other.
    """
    names = [PurePosixPath(entry.name) for entry in entries if not entry.is_folder]  # so that ./a and a are one
    for name, times in Counter(map(str, names)).items():
        if times > 1:
            yield Violation(name, 0, f"stored {times} times", "store it once")
    entries = [entry for entry in entries if len(entry.name) <= MAX_NAME]
    spellings: dict[str, set[str]] = {}
    for path in {path for entry in entries for path in [PurePosixPath(entry.name), *PurePosixPath(entry.name).parents]}:
        spellings.setdefault(str(path).casefold(), set()).add(str(path))
    for clash in sorted(sorted(spelled) for spelled in spellings.values() if len(spelled) > 1):
        yield Violation(clash[0], 0, f"differs from {clash[1]} in case only", "rename one")


def no_executables(entries: list[Entry]) -> Iterator[Violation]:
    """No file that begins with a magic number of BINARIES, whatever its suffix; in an .npy also after the header.

    Source: the page's ban on ELF, Mach-O and PE files.
    """
    for entry in entries:
        starts = (entry.head, entry.head[_npy_header(entry.head) :])
        kinds = {kind for magic, kind in BINARIES.items() for start in starts if start.startswith(magic)}
        for kind in sorted(kinds):
            yield Violation(entry.name, 0, f"{kind} binary by its first bytes", "leave it out; data and Python source only")


def _npy_header(head: bytes) -> int:
    """Bytes before the array's data when `head` begins an .npy file, else 0.

    >>> _npy_header(b"\\x93NUMPY\\x01\\x00\\x76\\x00{'descr'...")
    128
    """
    if not head.startswith(b"\x93NUMPY") or len(head) < 12:
        return 0
    length, start = (struct.unpack_from("<H", head, 8)[0], 10) if head[6] == 1 else (struct.unpack_from("<I", head, 8)[0], 12)
    return int(start + length)


RULES: tuple[Rule, ...] = (
    entry_point, allowed_suffixes, file_counts, total_sizes, readable, no_executables, safe_source, roundabout_source,
)  # fmt: skip
# of files and folders alike
ENTRY_RULES: tuple[Rule, ...] = (short_names, safe_paths, no_links, unique_names, no_file_is_a_folder, entry_counts)

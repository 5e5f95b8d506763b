"""What a data set holds, or the same set in another layout: `hylle data D [--to coco|yolo|voc|csv OUT]`.

It prints what reading repaired, photos, boxes, products and sizes, and what is odd: photos without boxes, files that nobody
lists, boxes and photos that are there twice, products of one name, photos that EXIF turns, and what the judge's rule, that a
photo's id is the last number in its name, would do to the set's ids.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from photos import scenes
from photos.data import Dataset, read
from photos.formats.writing import FORMATS, write
from photos.overview.summary import Step, Summary, across_parts, summarise
from photos.overview.tables import show
from runs.command import Parser, note_result, run, say, ticker

NEAR = 4000  # chosen: photos; near-duplicates among more take more than 2 GB of memory
SECONDS = 2.0  # chosen: between two lines of progress


def main(argv: list[str] | None = None, prog: str = "python -m photos.overview.command") -> int:
    """The command; returns the exit code."""
    return run(body, argv, prog)


def body(argv: list[str] | None, prog: str) -> None:
    """Read the arguments and the set, then write it anew or tell what is there."""
    p = Parser(prog=prog, description=(__doc__ or "").split("\n")[0])
    p.add_argument("data", type=Path, help="folder of a labelled data set, in any layout that can be read")
    p.add_argument("--strict", action="store_true", help="refuse what reading would otherwise repair")
    p.add_argument("--near-duplicates", action="store_true", help=f"compare how photos look too; at most {NEAR} photos")
    p.add_argument("--to", nargs=2, metavar=("FORMAT", "OUT"), help=f"write the set to OUT, as one of {', '.join(FORMATS)}")
    p.add_argument("--copy", action="store_true", help="with --to: copy the photos instead of linking to them")
    args = p.parse_args(argv)
    if args.to and args.to[0] not in FORMATS:
        raise ValueError(f"--to: got {args.to[0]!r}, need one of {', '.join(FORMATS)}")
    if args.copy and not args.to:
        raise ValueError("--copy: needs --to FORMAT OUT")
    if args.to and args.near_duplicates:
        raise ValueError("--near-duplicates: got --to too, which writes the set and looks at none of it; give one of them")
    step = progress()
    dataset = read(args.data, args.strict, lambda done, total: step("photos read", done, total))
    if args.to:
        for line in (*dataset.notes, *write(dataset, args.to[0], Path(args.to[1]), args.copy)):
            say(line)
        note_result(out=args.to[1], format=args.to[0], photos=len(dataset.photos))
        return
    summary = look(dataset, args.near_duplicates, step)
    note_result(**vars(summary))
    show(summary)


def look(dataset: Dataset, near_duplicates: bool, step: Step) -> Summary:
    """The summary. ValueError where near-duplicates are asked for among too many photos."""
    if near_duplicates and len(dataset.photos) > NEAR:
        raise ValueError(f"--near-duplicates: got {len(dataset.photos)} photos, need at most {NEAR}; look at a part of them")
    summary = summarise(dataset, step)
    if not near_duplicates:
        return summary
    scene = scenes.groups(dataset, progress=lambda done, total: step("photos compared by their looks", done, total))
    names = defaultdict(list)
    for photo, number in zip(dataset.photos, scene.tolist(), strict=True):
        names[number].append(photo.name)
    alike = tuple(tuple(group) for group in names.values() if len(group) > 1)
    return replace(summary, near_duplicates=alike, near_duplicates_across_parts=across_parts(alike, dataset.photos))


def progress() -> Step:
    """A callback that shows how far each step is."""
    ticking: dict[str, Callable[[int, int], None]] = {}

    def tell(what: str, done: int, total: int) -> None:
        ticking.setdefault(what, ticker(what, SECONDS))(done, total)

    return tell


if __name__ == "__main__":
    raise SystemExit(main())

"""Make the README's tables from experiments/results/*.json: `python -m experiments.report` rewrites README.md.

`<!-- figures:NAME -->` and `<!-- end -->` enclose a table; NAME is one of TABLES. `--check` only says whether they are current.
"""

import argparse
import re
from typing import Any

from experiments import figures
from stage1_detector.command import run, say
from stage1_detector.record import ROOT

Figures = dict[str, dict[str, Any]]
POLICIES = ("detector", "raw", "agree", "gate", "oracle")
BLOCK = re.compile(r"(<!-- figures:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Rewrite README.md, or with --check raise ValueError when it differs from the figures."""
    p = argparse.ArgumentParser(prog="python -m experiments.report", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--check", action="store_true", help="change nothing; exit code 2 when the README is out of date")
    args = p.parse_args(argv)
    path = ROOT / "README.md"
    old = path.read_text()
    new = render(old, figures.load())
    if args.check and new != old:
        raise ValueError("README.md: its tables differ from experiments/results; run python -m experiments.report")
    if not args.check:
        path.write_text(new)
        say(f"{path.name}: {'rewritten' if new != old else 'up to date'}")


def render(text: str, known: Figures) -> str:
    """`text` with every marked table made anew. Raises ValueError for a mark that is not one of TABLES."""

    def table(found: re.Match[str]) -> str:
        if found[2] not in TABLES:
            raise ValueError(f"README.md: figures:{found[2]}, allowed: {', '.join(TABLES)}")
        return found[1] + TABLES[found[2]](known) + found[3]

    return BLOCK.sub(table, text)


def naming(known: Figures) -> str:
    """Every set x policy: det, cls, score and the paired difference to `detector`."""
    rows = [
        "| photos | names from | det mAP50 | cls mAP50 | score | score minus detector |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for prefix in sorted({key.split(".score.")[0] for key in known if key.endswith(".score.detector")}):
        for policy in POLICIES:
            keys = (f"det_map50.{policy}", f"cls_map50.{policy}", f"score.{policy}", f"score.{policy}_minus_detector")
            cells = [span(known.get(f"{prefix}.{key}"), signed=key.endswith("_detector")) for key in keys]
            rows.append(f"| {prefix.removeprefix('real.')} | {policy} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def single(known: Figures) -> str:
    """The figures that stand alone: one line each."""
    rows = ["| figure | value | n | how |", "| --- | --- | --- | --- |"]
    for key, f in known.items():
        if not re.search(r"\.(det_map50|cls_map50|score)\b", key) or "studio_minus_shelf" in key:
            rows.append(f"| {key} | {span(f)} {f['unit']} | {f['n']} | {f['setting']}; `{f['command']}` |")
    return "\n".join(rows) + "\n"


def span(f: dict[str, Any] | None, signed: bool = False) -> str:
    """A figure with its interval in brackets, or a dash."""
    if f is None:
        return "-"
    kind = "+.3f" if signed else ".3f" if abs(f["value"]) >= 0.001 or f["value"] == 0 else ".1e"
    if f["low"] is None:
        return format(f["value"], kind)
    return f"{f['value']:{kind}} [{f['low']:{kind}}, {f['high']:{kind}}]"


TABLES = {"naming": naming, "single": single}


if __name__ == "__main__":
    raise SystemExit(main())

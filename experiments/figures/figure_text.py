"""Figures as text: one with its interval, and a table with a line for each."""

from typing import Any

Figures = dict[str, dict[str, Any]]  # by key


def lines(selected: Figures) -> str:
    """A line for each figure, with its setting and command."""
    rows = ["| figure | value | n | how |", "| --- | --- | --- | --- |"]
    rows += [f"| {key} | {span(f)} {f['unit']} | {f['n']} | {f['setting']}; `{f['command']}` |" for key, f in selected.items()]
    return "\n".join(rows) + "\n"


def span(f: dict[str, Any] | None, signed: bool = False) -> str:
    """A figure with its interval in brackets, or a dash."""
    if f is None:
        return "-"
    if f.get("unit") == "count":
        return f"{f['value']:.0f}"
    kind = "+.3f" if signed else ".3f" if abs(f["value"]) >= 0.001 or f["value"] == 0 else ".1e"
    if f["low"] is None:
        return format(f["value"], kind)
    return f"{f['value']:{kind}} [{f['low']:{kind}}, {f['high']:{kind}}]"

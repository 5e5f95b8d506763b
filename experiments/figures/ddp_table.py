"""The table of `docs/guide/scale.md` on how far the losses of several processes are from those of one."""

import re

from experiments.figures.figure_text import Figures, span


def ddp(figures: Figures) -> str:
    """A row for each family: the largest difference of a step's loss, also in 64 bits, and what was trained.

    >>> ddp({}).splitlines()
    ['| trained | largest difference | in 64 bits | of |', '| --- | --- | --- | --- |']
    """
    rows = ["| trained | largest difference | in 64 bits | of |", "| --- | --- | --- | --- |"]
    for key in sorted(key for key in figures if re.fullmatch(r"ddp\.\w+\.loss_difference", key)):
        how = figures[key]["setting"].split(";")[0]
        name = key.split(".")[1].replace("_", " ")
        rows.append(f"| {name} | {span(figures[key])} | {span(figures.get(f'{key}_float64'))} | {how} |")
    return "\n".join(rows) + "\n"

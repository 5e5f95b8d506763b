"""Make the tables of the documentation from experiments/results/*.json: `python -m experiments.figures.report`.

It rewrites the tables of each of PAGES. `<!-- figures:NAME -->` and `<!-- end -->` enclose a table; NAME is one of TABLES. All
other text of a page is written by hand. `--check` only says whether the tables are current.
"""

import re
from functools import partial
from pathlib import Path

from experiments.figures import records
from experiments.figures.ddp_table import ddp
from experiments.figures.figure_text import Figures, lines, span
from runs.command import Parser, run, say
from runs.record import ROOT

PAGES = (Path("README.md"), Path("docs/results.md"), Path("docs/guide/scale.md"), Path("docs/guide/gpu.md"))
POLICIES = ("detector", "raw", "agree", "gate", "further", "oracle")
ADDED = ("raw", "override", "agree", "product", "stacked", "gate")
STAGE2 = (
    r"(ece\.(before|after)|labels\.\w+\.(precision|recall)|knn\.\w+\.((studio|shelf)_to_\w+\.recall1|domain_auc)|"
    r"(grocery|enroll|starter_embedding)\..+|classifier\.\w+\.loader_share)$"
)
BENCHMARK = {
    "map": "mAP50-95", "map50": "mAP50", "map_small": "AP small", "map_medium": "AP medium", "map_large": "AP large",
    "recall": "recall", "params_m": "parameters M", "gflops": "GFLOPs", "ms_torch": "ms torch", "ms_onnx": "ms ONNX",
    "rss_mb": "peak MB",
}  # fmt: skip
BLOCK = re.compile(r"(<!-- figures:(\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def main(argv: list[str] | None = None) -> int:
    """The command; returns the exit code."""
    return run(body, argv)


def body(argv: list[str] | None) -> None:
    """Rewrite PAGES, or with --check raise ValueError where one of them differs from the figures."""
    p = Parser(prog="python -m experiments.figures.report", description=(__doc__ or "").split("\n")[0])
    p.add_argument("--check", action="store_true", help="change nothing; exit code 2 when a page is out of date")
    args = p.parse_args(argv)
    figures = records.load()
    for page in PAGES:
        update(ROOT / page, figures, args.check)


def update(page: Path, figures: Figures, check: bool) -> None:
    """Rewrite one page if its tables are out of date; ValueError instead where `check` is set."""
    old = page.read_text(encoding="utf-8")
    new = render(old, figures, page.name)
    if check and new != old:
        raise ValueError(f"{page.name}: its tables differ from experiments/results; run python -m experiments.figures.report")
    if not check:
        page.write_text(new, encoding="utf-8")
        say(f"{page.name}: {'rewritten' if new != old else 'up to date'}")


def render(text: str, figures: Figures, name: str = "the page") -> str:
    """`text` with every marked table made anew. Raises ValueError for a mark that is not one of TABLES, naming the page."""

    def table(mark: re.Match[str]) -> str:
        if mark[2] not in TABLES:
            raise ValueError(f"{name}: figures:{mark[2]}, allowed: {', '.join(TABLES)}")
        return mark[1] + TABLES[mark[2]](figures) + mark[3]

    return BLOCK.sub(table, text)


def gate_summary(figures: Figures) -> str:
    """The table of README.md: each set's score with the detector's names, and what the classifier's and the gate's add."""
    rows = ["| photos | detector's names | classifier's names | gate | on |", "| --- | --- | --- | --- | --- |"]
    for key in sorted(key for key in figures if re.fullmatch(r"gate\.\w+\.detector\.score", key)):
        name = key.split(".")[1]
        added = [span(figures.get(f"gate.{name}.{policy}_minus_detector"), signed=True) for policy in ("raw", "gate")]
        where = re.split("[,;]", figures[key]["setting"])[0]
        rows.append(f"| {name} | {span(figures[key])} | {' | '.join(added)} | {where} |")
    return "\n".join(rows) + "\n"


def naming(figures: Figures) -> str:
    """The demo's policies: det, cls, score and the difference to `detector`; `further` is the gate with further names."""
    rows = ["| names from | det mAP50 | cls mAP50 | score | score minus detector |", "| --- | --- | --- | --- | --- |"]
    for policy in POLICIES:
        keys = (f"det_map50.{policy}", f"cls_map50.{policy}", f"score.{policy}", f"score.{policy}_minus_detector")
        cells = [span(figures.get(f"demo.{key}"), signed=key.endswith("_detector")) for key in keys]
        title = "gate + further names" if policy == "further" else policy
        rows.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def gates(figures: Figures) -> str:
    """Every set: the detector's score, what each policy adds to it, and what further names add."""
    titles = ["photos", "detector", *(f"{arm} minus it" for arm in ADDED), "further names", "name oracle minus it", "on"]
    rows = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for key in sorted(key for key in figures if re.fullmatch(r"gate\.\w+\.detector\.score", key)):
        name = key.split(".")[1]
        keys = [f"gate.{name}.{arm}_minus_detector" for arm in ADDED]
        keys += [f"second_names.{name}.gain", f"gate.{name}.name_oracle_minus_detector"]
        cells = [span(figures[key]), *(span(figures.get(key), signed=True) for key in keys)]
        rows.append(f"| {name} | {' | '.join(cells)} | {figures[key]['setting'].split(';')[0]} |")
    return "\n".join(rows) + "\n"


def arms(figures: Figures) -> str:
    """Every arm of the ablation as what it adds to `detector`, a column for each set that an ablation measured."""
    matches = [re.fullmatch(r"gate\.(\w+)\.(\w+)_minus_detector", key) for key in figures]
    pairs = [(match[1], match[2]) for match in matches if match]
    sets = sorted({name for name, arm in pairs if arm == "name_oracle"})
    rows = [f"| names from | {' | '.join(sets)} |", "|" + " --- |" * (len(sets) + 1)]
    for arm in sorted({arm for name, arm in pairs if name in sets} - {"detector"}, key=_arm_order):
        cells = [span(figures.get(f"gate.{name}.{arm}_minus_detector"), signed=True) for name in sets]
        rows.append(f"| {arm.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _arm_order(arm: str) -> tuple[bool, bool, str]:
    return "oracle" in arm, arm not in (*ADDED, "further"), arm


def sabotage(figures: Figures) -> str:
    """What the gate chose with each classifier of the drawn shelves, and what it cost."""
    rows = ["| shelves, classifier | raw minus detector | gate minus detector | chosen |", "| --- | --- | --- | --- |"]
    for key in sorted(key for key in figures if key.endswith(".chosen")):
        prefix, chosen = key.removesuffix(".chosen"), figures[key]["setting"].split("; ")
        raw, gate = (span(figures[f"{prefix}.{arm}_minus_detector"], signed=True) for arm in ("raw", "gate"))
        names = prefix.removeprefix("gate.").split(".")
        rows.append(f"| {', '.join([names[0], *(names[1:] or ['shelf'])])} | {raw} | {gate} | {'; '.join(chosen[2:])} |")
    return "\n".join(rows) + "\n"


def validation(figures: Figures) -> str:
    """Each set scored by a random split, by scene, and by scene with nested tuning."""
    ways = ("random", "grouped", "nested")
    rows = [f"| photos | {' | '.join(ways)} | on |", "|" + " --- |" * (len(ways) + 2)]
    for key in sorted(key for key in figures if re.fullmatch(r"validation\.\w+\.nested", key)):
        cells = [span(figures.get(key.replace("nested", way))) for way in ways]
        rows.append(f"| {key.split('.')[1]} | {' | '.join(cells)} | {figures[key]['setting'].split(';')[0]} |")
    return "\n".join(rows) + "\n"


def stage2(figures: Figures) -> str:
    """The other figures of stage 2, a line each."""
    return lines({key: f for key, f in figures.items() if re.match(STAGE2, key)})


def runtime(figures: Figures) -> str:
    """What run.py costs and survives: a line for each figure."""
    return lines(
        {
            key: f
            for key, f in figures.items()
            if re.match(r"(runtime|wbf|badphotos|kills|int8|naming(_shift)?|openvino)\.", key)
        }
    )


def robustness(figures: Figures) -> str:
    """Faults, bad zips, escapes, photos that EXIF turns and copies of photos, counted: a line for each figure."""
    return lines({key: f for key, f in figures.items() if re.match(r"(faults|checker|sandbox|exif|scenes)\.", key)})


def scale(figures: Figures) -> str:
    """What `hylle scale` costs, loses and holds: a line for each figure."""
    return lines({key: f for key, f in figures.items() if re.match(r"(scale|cost)\.", key)})


def detectors(figures: Figures) -> str:
    """det mAP50 of every way of training a detector, a row for each set."""
    matches = [match for key in figures if (match := re.fullmatch(r"det\.(\w+)\.([\w-]+)\.map50", key))]
    arms, sets = sorted({match[2] for match in matches}), sorted({match[1] for match in matches})
    rows = [f"| photos | {' | '.join(arms)} | on |", "|" + " --- |" * (len(arms) + 2)]
    for name in sets:
        row = [figures.get(f"det.{name}.{arm}.map50") for arm in arms]
        setting = next(figure["setting"] for figure in row if figure is not None)
        rows.append(f"| {name} | {' | '.join(span(figure) for figure in row)} | {setting} |")
    return "\n".join(rows) + "\n"


def starter(figures: Figures) -> str:
    """What the starter detector finds untrained, and what it adds to training, by budget."""
    keys = ("zero_shot.map50", "zero_shot.map50.640", "minus_random.75_steps", "minus_random")
    titles = ("photos", "untrained, 320 px", "untrained, 640 px", "minus random after 75 steps", "minus random after 300 steps")
    rows = [f"| {' | '.join(titles)} |", "|" + " --- |" * len(titles)]
    for name in sorted({key.split(".")[1] for key in figures if key.startswith("starter.")}):
        cells = [span(figures.get(f"starter.{name}.{key}"), signed="minus" in key) for key in keys]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def ensembles(figures: Figures) -> str:
    """det mAP50 of every variant and, paired by seed, what it adds to the single detector; two columns for each set."""
    matches = [match for key in figures if (match := re.fullmatch(r"ensemble\.(\w+)\.(\w+)\.map50", key))]
    sets = sorted({match[1] for match in matches})
    titles = [title for name in sets for title in (name, f"{name}: minus single")]
    rows = [f"| variant | {' | '.join(titles)} |", "|" + " --- |" * (len(titles) + 1)]
    for variant in dict.fromkeys(match[2] for match in matches):
        cells = []
        for name in sets:
            keys = (f"ensemble.{name}.{variant}.map50", f"ensemble.{name}.{variant}.minus_single")
            cells += [span(figures.get(keys[0])), span(figures.get(keys[1]), signed=True)]
        rows.append(f"| {variant.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def digits(figures: Figures) -> str:
    """What each Faster R-CNN reads: a row for each, with its differences to the first."""
    kinds = ("map", "map50", "sequence_accuracy", "threshold", "test_map", "test_sequence_accuracy")
    models = list(dict.fromkeys(key[len("digits.") :].rpartition(".")[0] for key in figures if key.startswith("digits.")))
    rows = [f"| model | {' | '.join(kind.replace('_', ' ') for kind in kinds)} | n | how |", "|" + " --- |" * (len(kinds) + 3)]
    for model in models:
        cells = [span(figures.get(f"digits.{model}.{kind}")) for kind in kinds]
        first = figures[f"digits.{model}.map"]
        rows.append(f"| {model} | {' | '.join(cells)} | {first['n']} | {first['setting']}; `{first['command']}` |")
        for other in models:
            less = [span(figures.get(f"digits.{model}.{kind}_minus_{other}"), signed=True) for kind in kinds]
            if less != ["-"] * len(kinds):
                rows.append(f"| ... minus {other} | {' | '.join(less)} | {first['n']} | paired by seed |")
    return "\n".join(rows) + "\n"


def trash(figures: Figures) -> str:
    """The RetinaNets on photos of waste: a row for each backbone, neck, head and schedule."""
    names = list(dict.fromkeys(key.rpartition(".")[0] for key in figures if key.startswith("trash.")))
    kinds = ("map50", "map50_minus_plain", "det_map50", "det_map50_minus_plain", "params_m", "gflops", "ms")
    titles = "backbone | neck | head | schedule | mAP50 | minus plain | det mAP50 | minus plain"
    rows = [f"| {titles} | parameters M | GFLOPs | ms | n | how |", "|" + " --- |" * 13]
    for name in names:
        cells = [span(figures.get(f"{name}.{kind}"), signed="minus" in kind) for kind in kinds]
        figure = figures[f"{name}.map50"]
        how = f"{figure['n']} | {figure['setting']}"
        rows.append(f"| {' | '.join([*name.removeprefix('trash.').rsplit('.', 3), *cells])} | {how} |")
    return "\n".join(rows) + "\n"


def benchmark(figures: Figures) -> str:
    """Detectors side by side: a row for each."""
    rows = [f"| model | {' | '.join(BENCHMARK.values())} | n | how |", "|" + " --- |" * (len(BENCHMARK) + 3)]
    for name in dict.fromkeys(key.rpartition(".")[0] for key in figures if key.startswith("benchmark.")):
        cells, figure = [span(figures.get(f"{name}.{kind}")) for kind in BENCHMARK], figures[f"{name}.map"]
        how = "; ".join([figure["setting"], *([f"`{figure['command']}`"] if "command" in figure else [])])
        rows.append(f"| {name.removeprefix('benchmark.')} | {' | '.join(cells)} | {figure['n']} | {how} |")
    return "\n".join(rows) + "\n"


def distill(figures: Figures) -> str:
    """What a teacher adds: a row for each set and arm."""
    matches = [match for key in figures if (match := re.fullmatch(r"distill\.([^.]+)\.([\w-]+)\.map50", key))]
    kinds = ("map", "map50", "map50_minus_baseline", "map50_minus_longer")
    rows = ["| set | arm | mAP | mAP50 | minus baseline | minus longer | n | how |", "|" + " --- |" * 8]
    for match in matches:
        cells = [span(figures.get(f"distill.{match[1]}.{match[2]}.{kind}"), signed="minus" in kind) for kind in kinds]
        first = figures[match[0]]
        rows.append(f"| {match[1]} | {match[2]} | {' | '.join(cells)} | {first['n']} | {first['setting']} |")
    for key in (key for key in figures if key.startswith("distill.") and key.endswith(".distilled_minus_baseline")):
        last = f"{figures[key]['n']} | {figures[key]['setting']}"
        rows.append(
            f"| {key.split('.')[1]} | both minus the longer baseline | - | - | - | {span(figures[key], signed=True)} | {last} |"
        )
    return "\n".join(rows) + "\n"


def merging(figures: Figures) -> str:
    """What each way of merging finds more than the default, WBF of a view and its flip; a column for each set."""
    matches = [match for key in figures if (match := re.fullmatch(r"merging\.(\w+)\.(.+)\.minus_wbf_flip", key))]
    sets, rows = sorted({match[1] for match in matches}), dict.fromkeys(match[2] for match in matches)
    lines_of_table = [f"| views, way | {' | '.join(sets)} |", "|" + " --- |" * (len(sets) + 1)]
    for row in rows:
        cells = [span(figures.get(f"merging.{name}.{row}.minus_wbf_flip"), signed=True) for name in sets]
        lines_of_table.append(f"| {row.replace('.', ': ', 1).replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines_of_table) + "\n"


def listed(kinds: str, figures: Figures) -> str:
    """A line for each figure whose key begins with the regular expression `kinds`."""
    return lines({key: figure for key, figure in figures.items() if re.match(kinds, key)})


LISTED = {
    "own_data": r"(formats|data|predict|floor)\.",  # people's own photos: reading, writing, predicting, the scores to cut at
    "fitting": r"(fit|namer|refit|crossfit|start_share|unseen|backbone|adoption|coverage|optimism|shrinking|train)\."
    r"|gate\.seconds",
    "stage1": r"(synth|search|resume)\.",  # the other figures of stage 1
    "single": r"(demo\.(minutes|score\.studio_minus_shelf)|parity|tests|house|review|report)\b",
    "gpu": r"gpu\.",
}
_TABLES = (
    gate_summary, naming, gates, arms, sabotage, validation, detectors, starter, ensembles, digits, trash, distill, benchmark,
    merging, stage2, runtime, robustness, scale, ddp,
)  # fmt: skip
TABLES = {table.__name__: table for table in _TABLES} | {name: partial(listed, kinds) for name, kinds in LISTED.items()}


if __name__ == "__main__":
    raise SystemExit(main())

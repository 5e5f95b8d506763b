"""The documentation is true: every command in it runs, every link leads somewhere, and the README is short."""

import contextlib
import importlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from written_commands import QUICK, Command, commands, quick

from fusion.ensemble import parse
from hylle.__main__ import main as hylle
from photos.studio import STUDIO

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "docs" / "guide").glob("*.md"))
PAGES = [README, *sorted((ROOT / "docs").glob("*.md")), *GUIDES, ROOT / "CONTRIBUTING.md"]
MOST_LINES, MOST_WORDS = 180, 1600  # of the README
LINK = re.compile(r"\]\(([^)\s]+)\)")
# The drawn shop of D: photos a quarter as large as those that `hylle demo` draws, of a third as many products.
SHOP = {"count": 12, "categories": 20, "families": 5, "sizes": ((320, 240), (240, 320)), "rows": (3, 4), "side": 0.14}

# What docs/design.md answers to "where do I look": a file, and what is found there.
POINTERS = [
    ("stage2_classifier/gate/choose.py", "TRIED"),
    ("stage1_detector/nets/freeanchor.py", "losses"),
    ("stage1_detector/nets/retinanet.py", "LOSS_FUNCTIONS"),
    ("stage2_classifier/fit.py", "train_epoch"),
    ("stage2_classifier/config.py", "ClassifierConfig"),
]
LOOKING = {"check", "data", "judge", "sandbox", "status"}  # they leave what other commands read as it is
SERVERS = {"review"}  # run until they are stopped: here as soon as they listen
# Run by other tests, or running until it is stopped.
NOT_RUN = {"make", "tensorboard"}


EVERY = [command for page in (README, *GUIDES) for command in commands(page)]
OURS = [c for c in EVERY if c.words[0] in ("hylle", "torchrun") or (c.words[:2] == ["python", "-m"] and c.called != "zipfile")]


def call(command: Command, arguments: list[str]) -> int:
    """Run one of our commands in this process; its exit code."""
    if command.words[0] == "hylle":
        return int(hylle([command.called, *arguments]) or 0)
    return int(entry(command.called)(arguments) or 0)


def entry(module: str) -> Callable[[list[str]], int]:
    """The `main` of `python -m MODULE`."""
    found = importlib.import_module(module)
    return found.main if hasattr(found, "main") else importlib.import_module(f"{module}.__main__").main


# -- fast ----------------------------------------------------------------------------------------------------------------


def test_a_page_without_a_block_has_no_commands(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("```\nhylle folds\n```\n")
    assert commands(tmp_path / "page.md") == []


def test_a_block_is_read_command_by_command(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text('```sh\nhylle gate --data D && hylle log --notes "a & b"  # then\npython -m a.b \\\n  --x 1\n```\n')
    assert [command.words for command in commands(page)] == [
        ["hylle", "gate", "--data", "D"], ["hylle", "log", "--notes", "a & b"], ["python", "-m", "a.b", "--x", "1"],
    ]  # fmt: skip
    assert [command.called for command in commands(page)] == ["gate", "log", "a.b"]


def test_the_quick_form_replaces_what_is_written() -> None:
    written = "hylle synth --studio D --count 3220 --out S"
    assert quick(Command("", written.split())) == ["--studio", "D", "--out", "S", "--count", "12"]
    assert quick(Command("", ["hylle", "check", "a.zip"])) == ["a.zip"]


def test_what_is_done_is_run_again_only_after_a_change() -> None:
    done = [Command("", words.split()) for words in ("hylle gate --runs R", "hylle judge a.zip")]
    texts = ["hylle gate --runs R", "hylle sandbox a.zip", "hylle judge a.zip", "hylle judge b.zip", "hylle fit D --plan"]
    page = [Command("", words.split()) for words in [*texts, *texts[:1], "cp a b", *texts]]
    assert [" ".join(command.words) for command in to_be_run(page, done)] == [texts[1], *texts[3:], "cp a b", *texts]


def test_the_readme_is_read_in_five_minutes() -> None:
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert len(text.split()) <= MOST_WORDS


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_link_and_picture_exists(page: Path) -> None:
    links = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not link.startswith("http")]
    missing = []
    for link in links:
        name, _, heading = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (heading and heading not in headings(target)):
            missing.append(link)
    assert missing == []


def headings(page: Path) -> set[str]:
    """The anchors that GitHub makes of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = re.findall(r"`((?:[a-z0-9_]+/)+[a-z_0-9]+\.py)`", page.read_text(encoding="utf-8"))
    assert [name for name in named if not (ROOT / name).is_file()] == []


@pytest.mark.parametrize(("file", "name"), POINTERS)
def test_what_the_design_points_at_is_there(file: str, name: str) -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    assert file in design and f"`{name}`" in design
    assert re.search(rf"\b{name}\b", (ROOT / file).read_text(encoding="utf-8"))


def test_every_guide_begins_with_a_command() -> None:
    assert GUIDES
    assert [page.name for page in GUIDES if not commands(page)] == []


def test_every_quick_form_is_of_a_command_that_is_written() -> None:
    assert set(QUICK) <= {command.called for command in OURS}


def test_every_target_of_make_exists() -> None:
    targets = [command.words[1] for command in EVERY if command.words[0] == "make"]
    assert targets
    assert [target for target in targets if f"\n{target}:" not in (ROOT / "Makefile").read_text()] == []


@pytest.mark.parametrize("called", sorted({command.called for command in OURS}))
def test_every_command_exists_and_takes_its_flags(called: str, capsys: pytest.CaptureFixture[str]) -> None:
    uses = [command for command in OURS if command.called == called]
    known = help_of(uses[0], capsys)
    flags = {flag for command in uses for flag in [*command.flags, *QUICK.get(called, {})]}
    assert unknown(flags, known) == []


def unknown(flags: set[str], told: str) -> list[str]:
    """Those of `flags` that a command's help does not tell of."""
    return [flag for flag in sorted(flags) if not re.search(rf"(?<![\w-]){flag}(?![\w-])", told)]


def test_a_flag_that_is_not_there_is_noticed() -> None:
    assert unknown({"--data", "--dat", "--quick"}, "--data PATH  the photos\n--quick-ish") == ["--dat", "--quick"]


def help_of(command: Command, capsys: pytest.CaptureFixture[str]) -> str:
    """What a command says of its flags: all of them where it hides some."""
    subcommands = [word for word in command.arguments[:1] if command.called == "log" and not word.startswith("-")]
    for flags in (["--help-all"], ["--help"], [*subcommands, "--help"]):
        with contextlib.suppress(SystemExit):
            call(command, flags)
    return capsys.readouterr().out


def test_an_ensembles_entry_in_a_guide_is_one() -> None:
    text = (ROOT / "docs" / "guide" / "ensembles.md").read_text(encoding="utf-8")
    json_blocks = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    inline = re.findall(r"`(\{\"file\".*?\})`", text)
    assert json_blocks and inline
    for block in [*json_blocks, *inline]:
        assert parse({"categories": [0], "detectors": [json.loads(block)]}).detectors[0].views


# -- slow: all of them, in their order, in one folder for each page -----------------------------------------------------------


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with D, drawn, and R, for which every command of the README has been run."""
    from stage1_detector.synthesis import make_photos

    folder = tmp_path_factory.mktemp("prepared")
    make_photos.draw(replace(make_photos.RECIPES["demo"], **SHOP), folder / "D", workers=1)
    shutil.copytree(folder / "D" / "images", folder / "PHOTOS")
    shutil.copytree(next((folder / "D" / STUDIO).iterdir()), folder / "NEW")
    run_all(commands(README), folder)
    return folder


def run_all(page: list[Command], folder: Path) -> None:
    """Run the commands of a page in FOLDER, each in its quick form."""
    with contextlib.chdir(folder):
        for command in page:
            if command.words[0] not in NOT_RUN:
                assert run(command) == 0, f"{command.page}: {shlex.join(command.words)}"


def to_be_run(guide: list[Command], done: list[Command]) -> list[Command]:
    """The commands of a guide but those that are `done`, in the same words, before the first that changes what they read."""
    known, as_it_was, left = [command.words for command in done], True, []
    for command in guide:
        if not (as_it_was and command.words in known):
            left.append(command)
            as_it_was &= command.called in LOOKING or "--plan" in command.words
    return left


def run(command: Command) -> int:
    """Run one command in its quick form; its exit code."""
    starting = {"torchrun", "scale", "--openvino", *SERVERS}  # these start processes, or load what no training goes with
    if command in OURS and not {command.words[0], command.called, *command.flags} & starting:
        return call(command, quick(command))
    before = command.words[: len(command.words) - len(command.arguments)]
    words = [*before, *quick(command)]
    programs = {
        "python": [sys.executable],
        "hylle": [sys.executable, "-m", "hylle"],
        "torchrun": [sys.executable, "-m", "torch.distributed.run"],
    }
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1"}
    called = [*programs.get(words[0], [words[0]]), *words[1:]]
    if command.called in SERVERS:
        return served(called, environment)
    return subprocess.run(called, env=environment, check=False).returncode


def served(words: list[str], environment: dict[str, str]) -> int:
    """Start a server, ask it for its page, and stop it as Ctrl-C does; its exit code."""
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
        if address := next((found[1] for line in process.stdout if (found := re.search(r"open (http://\S+) ", line))), ""):
            try:
                assert opener.open(address, timeout=60).status == 200
            finally:
                process.send_signal(signal.SIGINT)
                process.stdout.read()
        return process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in GUIDES if page.name != "digits.md"], ids=lambda page: page.name)
def test_every_command_of_a_guide_runs(page: Path, prepared: Path, tmp_path: Path) -> None:
    if page.name == "scale.md":
        pytest.importorskip("ray", reason="the extra [scale] is not installed")
    shutil.copytree(prepared, tmp_path / "place")
    run_all(to_be_run(commands(page), commands(README)), tmp_path / "place")


@pytest.mark.slow
def test_every_command_of_the_guide_to_digits_runs(tmp_path: Path) -> None:
    from experiments.studies import number_strips

    assert number_strips.main(["--out", str(tmp_path / "D"), "--count", "12", "--seed", "1"]) == 0
    run_all(commands(ROOT / "docs" / "guide" / "digits.md"), tmp_path)

"""Command lines made from dataclasses: beside each field stands what its flag does and what it may be.

    size: Annotated[int, Flag("long side of a photo, in pixels", 32, 8192, common=True)] = 640

`parse` makes a command line of such fields, by cyclopts; `check` refuses values outside their ranges and choices.
"""

import inspect
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar

from runs.command import SHARED_FLAGS

Command = TypeVar("Command")
HELP, HELP_ALL = {"--help", "-h"}, "--help-all"


@dataclass(frozen=True)
class Flag:
    """What the command line knows of a field: its help, the lowest and highest number allowed (both included), its choices.

    --help shows the `common` settings, --help-all every one. `name` stands in place of the field's own.
    """

    help: str
    lowest: float | None = None
    highest: float | None = None
    choices: tuple[str, ...] = ()
    common: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a range with one end: it would refuse nothing."""
        if (self.lowest is None) != (self.highest is None):
            raise ValueError(f"Flag: got the range {self.lowest} to {self.highest}, need both ends or none")

    @property
    def allowed(self) -> str:
        """The range or the choices in words; empty where anything goes.

        >>> Flag("", 0.0, 0.5).allowed, Flag("", choices=("batch", "group")).allowed
        ('0.0 to 0.5', 'batch, group')
        """
        return ", ".join(self.choices) if self.lowest is None else f"{self.lowest} to {self.highest}"

    def allows(self, value: Any) -> bool:
        """Whether `value` is in the range, or one of the choices; not-a-number is in no range."""
        if self.lowest is not None and self.highest is not None:
            return bool(self.lowest <= value <= self.highest)
        return not self.choices or value in self.choices


class Settings(NamedTuple):
    """The settings that a command takes besides its own flags.

    `groups` are the dataclasses that declare them, each with the title of its group in the help; where several declare a
    field, the first does. The help shows the values of `defaults`, and of the class where that has no such field.
    """

    groups: Mapping[type, str]
    defaults: Any


class Help(NamedTuple):
    """What --help says of a command besides its flags: how it is called here, what it does, an example's flags, notes."""

    prog: str
    summary: str
    example: str
    notes: str = ""


class Option(NamedTuple):
    """One flag: its field and what that is annotated with, its group, its default; `own`: the command itself declares it."""

    field: Field[Any]
    flag: Flag
    group: str
    default: Any
    own: bool

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.own and self.field.default is MISSING

    @property
    def kind(self) -> Any:
        """The type of its value."""
        return getattr(self.field.type, "__origin__", self.field.type)

    @property
    def usage(self) -> str:
        """The flag as --help shows it, with a word for its value."""
        placeholders = {bool: "", int: "N", float: "X", Path: "PATH", Path | None: "PATH"}
        name = name_of(self.field, self.flag)
        return f"{name} {placeholders.get(self.kind, name.strip('-').upper())}".rstrip()

    @property
    def help(self) -> str:
        """What it does, then its default and what is allowed."""
        if self.required:
            return f"{self.flag.help} [required]"
        hide_default = self.default is MISSING or self.default is None or isinstance(self.default, bool) or self.default == ""
        details = "; ".join(word for word in ("" if hide_default else f"default {self.default}", self.flag.allowed) if word)
        return f"{self.flag.help} [{details}]" if details else self.flag.help


def flag_of(field: Field[Any]) -> Flag | None:
    """The Flag in the annotation of a field, if there is one."""
    return next((item for item in getattr(field.type, "__metadata__", ()) if isinstance(item, Flag)), None)


def name_of(field: Field[Any], flag: Flag) -> str:
    """The flag as it is typed."""
    return f"--{flag.name or field.name.replace('_', '-')}"


def check(config: Any) -> None:
    """Raises ValueError for the first field of a dataclass outside its range or choices, naming the flag.

    >>> @dataclass(frozen=True)
    ... class Rate:
    ...     lr: Annotated[float, Flag("learning rate", 1e-9, 10.0)] = 20.0
    >>> check(Rate())
    Traceback (most recent call last):
    ValueError: --lr: got 20.0, allowed 1e-09 to 10.0
    """
    for field in fields(config):
        flag = flag_of(field)
        if flag is not None and not flag.allows(value := getattr(config, field.name)):
            refusal = f"got {value!r}, allowed: " if flag.choices else f"got {value}, allowed "
            raise ValueError(f"{name_of(field, flag)}: {refusal}{flag.allowed}")


def parse(
    command: type[Command], argv: Sequence[str] | None, text: Help, settings: Settings | None = None
) -> tuple[Command, dict[str, Any]]:
    """The `command` that ARGV asks for, and those of the settings that it gives, by the names of their fields.

    Prints the help and raises SystemExit where it is asked for. Raises ValueError, of one line, for arguments that are wrong.
    """
    import cyclopts

    words = list(sys.argv[1:] if argv is None else argv)
    options = [*own_options(command), *(setting_options(settings) if settings else ())]
    if HELP_ALL in words or HELP & set(words):
        sys.stdout.write(help_text(options, text, HELP_ALL in words))
        raise SystemExit(0)
    try:
        _, bound, _ = _app(options).parse_args(words, exit_on_error=False, print_error=False)
    except cyclopts.CycloptsError as error:
        raise ValueError(f"{_one_line(error, words)} ({text.prog} --help)") from None
    own = {field.name for field in fields(command)}
    request = command(**{name: value for name, value in bound.kwargs.items() if name in own})
    check(request)
    return request, {name: value for name, value in bound.kwargs.items() if name not in own}


def own_options(command: type) -> Iterator[Option]:
    """The flags of a command's own fields."""
    for field in fields(command):
        flag = flag_of(field)
        if flag is not None:
            yield Option(field, flag, "This command", field.default, True)


def setting_options(settings: Settings) -> Iterator[Option]:
    """The flags of the settings, by the classes that declare them."""
    seen: set[str] = set()
    for kind, group in settings.groups.items():
        for field in fields(kind):
            flag = flag_of(field)
            if flag is not None and field.name not in seen and field.name in kind.__annotations__:
                seen.add(field.name)
                yield Option(field, flag, group, getattr(settings.defaults, field.name, field.default), False)


def help_text(options: Sequence[Option], text: Help, everything: bool) -> str:
    """What --help shows: the command's own flags and the common settings; `everything` by the groups that declare it."""
    columns = min(max(shutil.get_terminal_size().columns, 60), 128)
    shown = [option for option in options if option.own or everything or option.flag.common]
    indent = 2 + max(len(option.usage) for option in shown) + 2
    lines = [f"Usage: {text.prog} FLAGS", "", *textwrap.wrap(text.summary, columns)]
    group = ""
    for option in shown:
        title = option.group if option.own or everything else "Settings"
        lines += [] if title == group else ["", f"{title}:"]
        group = title
        words = textwrap.wrap(option.help, columns - indent, break_on_hyphens=False)
        lines += [f"  {option.usage:{indent - 2}}{words[0]}", *(" " * indent + line for line in words[1:])]
    lines += ["", "Example:", f"  {text.prog} {text.example}", "", *textwrap.wrap(text.notes, columns)]
    lines += textwrap.wrap(SHARED_FLAGS, columns)
    lines += [] if len(shown) == len(options) else [f"{HELP_ALL} shows all {len(options)} flags."]
    return "\n".join(lines) + "\n"


def _app(options: Sequence[Option]) -> Any:
    """The command line of cyclopts: one function whose arguments are the flags, and which is never called."""
    import cyclopts

    arguments = []
    for option in options:
        parameter = cyclopts.Parameter(name=name_of(option.field, option.flag), negative="", allow_repeating=True)
        kind = option.kind if option.required else option.kind | None
        default = inspect.Parameter.empty if option.required else None
        annotation = Annotated[kind, parameter]
        keyword = inspect.Parameter.KEYWORD_ONLY
        arguments.append(inspect.Parameter(option.field.name, keyword, default=default, annotation=annotation))

    def flags(**_: Any) -> None:
        """What cyclopts reads the arguments of."""

    flags.__signature__ = inspect.Signature(arguments)
    flags.__annotations__ = {argument.name: argument.annotation for argument in arguments}
    app = cyclopts.App(help_flags=[], version_flags=[])
    app.default(flags)
    return app


def _one_line(error: Any, words: Sequence[str]) -> str:
    """What cyclopts refuses, in one line."""
    line, name = " ".join(str(error).split()), getattr(getattr(error, "argument", None), "name", "")
    missing = f"Parameter {name} requires an argument."
    if name and not any(word.split("=")[0] == name for word in words):
        line = line.replace(missing, f"{name} is missing.")
    return line[:1].lower() + line[1:].rstrip(".")

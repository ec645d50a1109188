"""The parser of the commands, the options that several commands share, and the types of their values."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from muspike.cli.output import note, say
from muspike.errors import BadInput
from muspike.ranges import SEED, Range

if TYPE_CHECKING:
    from muspike.hardware.chip import Chip


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` whose errors are a `BadInput`."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of printing it with the usage."""
        raise BadInput(f"{message} (see {self.prog} --help)")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Refuse what this parser does not know, so that the error names the command's own help."""
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown

    def _print_message(self, message: str, file: Any = None) -> None:
        # argparse would pass over an output that takes nothing.
        if message and file in (None, sys.stdout):
            say(message.removesuffix("\n"))
        else:
            super()._print_message(message, file)


class Commands:
    """The commands of a parser, to which `add` adds one."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        self, name: str, run: Callable[[argparse.Namespace], int], what: str, example: str
    ) -> argparse.ArgumentParser:
        """Add a command and return its parser.

        Args:
            name: the command's name.
            run: carries the command out and returns the exit status.
            what: what the command does, for its help.
            example: a call of the command, for its help.
        """
        sub = self._commands.add_parser(name, help=what, description=what, epilog=f"example: {example}")
        sub.set_defaults(run=run)
        return sub

    def group(self, name: str, what: str, example: str) -> Commands:
        """Add a command that has commands of its own, and return these.

        Args:
            name: the command's name.
            what: what its commands are for, for its help.
            example: a call of one of them, for its help.
        """
        return Commands(self._commands.add_parser(name, help=what, description=what, epilog=f"example: {example}"))


def refuse_unused(args: argparse.Namespace, when: str, *names: str) -> None:
    """Refuse options that a choice does not use.

    Args:
        when: the choice, as the sentence "--chip is not used ..." ends: "with --to nir".
        names: names in `args` of the options, which are None or False if they were not given. The name of a positional
            argument is in capital letters.

    Raises:
        BadInput: one of the options was given.
    """
    for name in names:
        given = getattr(args, name.lower())
        if given is not None and given is not False and given != []:  # 0 counts as given
            shown = name if name.isupper() else f"--{name.replace('_', '-')}"
            raise BadInput(f"{shown} is not used {when}; leave it out")


def chips() -> tuple[str, ...]:
    """The names of the chips that come with muspike."""
    from muspike.hardware.chip import known_chips

    return known_chips()


def find_chip(name: str, *others: str) -> Chip:
    """The chip of this name or file. What is doubtful about the file goes to stderr.

    Args:
        name: the name or the file.
        others: what else the option takes, for the error.

    Raises:
        BadInput: as for `load_chip`.
    """
    from muspike.hardware.chip import load_chip

    try:
        chip = load_chip(name)
    except BadInput as error:
        raise BadInput(f"{error}{''.join(f', or {other}' for other in others)}") from error
    for warning in chip.warnings:
        note(f"warning: {warning}")
    return chip


# --- options that several commands share -----------------------------------------------------------------------------


def add_json(sub: argparse.ArgumentParser, what: str) -> None:
    """Add `--json`, which prints `what`."""
    sub.add_argument("--json", action="store_true", help=f"print {what} as JSON")


def add_model(sub: argparse.ArgumentParser, files: str = "") -> None:
    """Add the argument MODEL; `files` are the files that the command also takes, for its help."""
    sub.add_argument(
        "model",
        metavar="MODEL",
        type=named,
        help=f"the folder of a model or of a training run, or a shipped model (see muspike models){files}",
    )


def add_chip(
    sub: argparse.ArgumentParser,
    default: str | None,
    what: str | None = None,
    flag: str = "--chip",
    several: bool = False,
) -> None:
    """Add `--chip`, or the option `flag`: a chip by name, or its file.

    Args:
        default: the name of the chip if none is given; None: the help of `what` says what happens then.
        what: what the chip does in this command, for the help.
        flag: the name of the option.
        several: whether the option may be given several times.
    """
    told = f"{what}: " if what else ""
    ending = f" (default: {default})" if default else ""
    sub.add_argument(
        flag,
        action="append" if several else "store",
        default=default,
        metavar="CHIP",
        help=f"{told}{', '.join(chips())}, or a chip's .toml file, see muspike chips{ending}",
    )


def add_data(sub: argparse.ArgumentParser) -> None:
    """Add `--data`."""
    sub.add_argument(
        "--data",
        default="jsb",
        help="the corpus: a name that `muspike data list` shows, or a folder of MIDI files (default: jsb)",
    )


def add_seed(sub: argparse.ArgumentParser, what: str | None = None) -> None:
    """Add `--seed`, 0 by default."""
    sub.add_argument("--seed", type=whole(SEED), default=0, help=what)


def add_device(sub: argparse.ArgumentParser) -> None:
    """Add `--device`, on which torch trains; None if it is not given."""
    sub.add_argument("--device", choices=("auto", "cpu", "cuda"), help="auto: CUDA if torch sees it (default: auto)")


def add_lava_python(sub: argparse.ArgumentParser) -> None:
    """Add `--python`, the interpreter in which Lava runs."""
    sub.add_argument("--python", type=named, help="an interpreter that has Lava (see muspike lava --help)")


def folder(sub: argparse.ArgumentParser, what: str) -> None:
    """Add `-o`, a folder that must be given."""
    sub.add_argument("-o", "--output", type=path, required=True, help=what)


# --- values ----------------------------------------------------------------------------------------------------------


def path(text: str) -> Path:
    """A path. The empty text is none; Path would take it for the folder in which we are."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no path; a name is wanted")
    return Path(text)


def named(text: str) -> str:
    """A name or a path, as text, which is not empty."""
    if not text:
        raise argparse.ArgumentTypeError("'' is no name; one is wanted")
    return text


def whole(values: Range) -> Callable[[str], int]:
    """A type of option values: the whole numbers in a range."""

    def parse(text: str) -> int:
        if not text.isdecimal() or not values.holds(int(text[:20])):
            raise argparse.ArgumentTypeError(f"{text!r} must be a whole number {values.words.removeprefix('be ')}")
        return int(text)

    return parse


def number(values: Range) -> Callable[[str], float]:
    """A type of option values: the numbers in a range."""

    def parse(text: str) -> float:
        if not values.holds(value := _number(text)):
            raise argparse.ArgumentTypeError(f"{text!r} must be a number {values.words.removeprefix('be ')}")
        return value

    return parse


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def finite_number(text: str) -> float:
    """A number that is neither infinite nor NaN."""
    if not math.isfinite(value := _number(text)):
        raise argparse.ArgumentTypeError(f"{text!r} must be a number")
    return value


def seconds(text: str) -> float:
    """A time in seconds."""
    if not 0 < (value := _number(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} must be a number of seconds above 0")
    return value

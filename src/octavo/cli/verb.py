"""What a verb of the command line is."""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from octavo.arguments import LONGEST_SECONDS, invalid, parse_size, shown
from octavo.fs.fat.names import CODE_PAGE
from octavo.machine.clock import LAST_WALL
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.transfer.choice import Choice


FOR_EVER = "ever"
_SECONDS = re.compile("[0-9]{1,10}(\\.[0-9]{1,9})?", re.ASCII)


class Verb(NamedTuple):
    """`summary` and `examples` are for help; `run` gets the parsed arguments and returns the exit
    code.
    """

    summary: str
    examples: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


class Option(NamedTuple):
    """An argument of a verb, as argparse's `add_argument` takes it."""

    names: tuple[str, ...]
    how: dict[str, Any]


def option(*names: str, **how: Any) -> Option:
    """An argument, for tables of them."""
    return Option(names, how)


def add_options(parser: ArgumentParser, options: Iterable[Option]) -> None:
    """Adds the arguments of a table."""
    for names, how in options:
        parser.add_argument(*names, **how)


def wrong(arguments: Namespace, text: str) -> NoReturn:
    """Ends the program: the call was wrong."""
    arguments.error(text)
    raise AssertionError("argparse's error returns never")


@contextmanager
def values(arguments: Namespace) -> Iterator[None]:
    """A `with` block that looks at values from the command line: what one cannot be is a wrong
    call.
    """
    try:
        yield
    except StatusError as error:
        if error.status not in (Status.INVALID_PARAMETER, Status.OBJECT_NAME_INVALID):
            raise
        wrong(arguments, error.text)


def size(arguments: Namespace, text: str) -> int:
    """A size from the command line; a wrong one is a wrong call."""
    with values(arguments):
        return parse_size(text)


def add_json(parser: ArgumentParser) -> None:
    """The --json option."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def add_recursive(parser: ArgumentParser) -> None:
    """The -r option."""
    parser.add_argument(
        "-r", "-R", "--recursive", action="store_true", help="with all that is below directories"
    )


def add_opening(parser: ArgumentParser, name: str) -> None:
    """The options of verbs that open images."""
    if name != "mkfs":
        explained = "code page of short names: 437 (the default), 850, 932 or the like"
        parser.add_argument("--codepage", metavar="PAGE", default=CODE_PAGE, help=explained)
    if name != "boot":
        parser.add_argument(
            "--wait",
            metavar="SECONDS",
            nargs="?",
            const=FOR_EVER,
            default="0",
            help="wait for an image that is in use, for ever or so long",
        )


def with_waiting(argv: list[str]) -> list[str]:
    """A command line in which --wait without a number does not take the word behind it."""
    words = list(argv)
    for i, word in enumerate(argv):
        if word == "--":
            break
        if word == "--wait" and not _SECONDS.fullmatch("".join(argv[i + 1 : i + 2])):
            words[i] = f"--wait={FOR_EVER}"
    return words


def waiting(arguments: Namespace) -> float:
    """The seconds that a command waits for an image that is in use."""
    text = arguments.wait
    if text == FOR_EVER:
        return LONGEST_SECONDS
    if not _SECONDS.fullmatch(text) or float(text) > LONGEST_SECONDS:
        wrong(arguments, f"--wait {shown(text)}: seconds are needed, such as 10 or 0.5")
    return float(text)


def number(arguments: Namespace, text: str, what: str) -> int:
    """A whole number from the command line, such as 12 or 0xF8; another is a wrong call."""
    if re.fullmatch("[0-9]{1,20}|0[xX][0-9a-fA-F]{1,16}", text, re.ASCII):
        return int(text, 16) if text[:2] in ("0x", "0X") else int(text)
    wrong(arguments, f"--{what.replace('_', '-')} {text}: a number is needed, such as 12 or 0xF8")


def serial(arguments: Namespace, text: str) -> int:
    """A volume's serial number, such as 1234-ABCD; another is a wrong call."""
    found = re.fullmatch("(?:0x)?([0-9a-f]{4})-?([0-9a-f]{4})", text, re.ASCII | re.IGNORECASE)
    if found is None:
        wrong(arguments, f"{text}: is no serial number, such as 1234-ABCD")
    return int(found[1] + found[2], 16)


def source_date() -> int | None:
    """The time of the environment's SOURCE_DATE_EPOCH, at which the wall clock stands for commands;
    None where it is not set. StatusError INVALID_PARAMETER for what is no time.
    """
    text = os.environ.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= LAST_WALL:
        return int(text)
    raise invalid(f"SOURCE_DATE_EPOCH cannot be {shown(text)}: seconds since 1970 are needed")


def add_stop(parser: ArgumentParser) -> None:
    """The -e option."""
    parser.add_argument("-e", "--stop", action="store_true", help="stop at the first error")


def add_exclude(parser: ArgumentParser) -> None:
    """The --exclude option."""
    parser.add_argument(
        "--exclude", metavar="PATTERN", action="append", default=[],
        help="leave out what has such a name (or, with / in the pattern, such a path), and all "
        "below it; may be given several times",
    )  # fmt: skip


def excluding(arguments: Namespace, keep: bool = False, newer: bool = False) -> Choice:
    """What of the sources is copied."""
    from octavo.transfer.choice import Choice  # only copies choose

    return Choice(tuple(arguments.exclude), keep, newer)

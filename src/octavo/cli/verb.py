"""What a verb of the command line is."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, NoReturn

from octavo.arguments import parse_size
from octavo.fs.fat.names import CODE_PAGE
from octavo.status import Status, StatusError


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


def add_codepage(parser: ArgumentParser) -> None:
    """The --codepage option of verbs that open images."""
    explained = "code page of short names: 437 (the default), 850, 932 or the like"
    parser.add_argument("--codepage", metavar="PAGE", default=CODE_PAGE, help=explained)

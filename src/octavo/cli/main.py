"""The `octavo` command. Exit codes: 0 done, 1 the work failed (one sentence says why), 2 the call
was wrong, 128 and the signal's number (130 for Ctrl-C) when a signal ended it.

Only the module of the verb that is called is imported: `octavo ls` must start at once.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from octavo.cli.output import complain, complain_at_end, tell, told
from octavo.cli.signals import SIGNALS, handle_signals
from octavo.cli.streams import give_up, prepare_streams
from octavo.cli.verb import Verb, add_opening, with_waiting
from octavo.status import Status, StatusError
from octavo.threads.interrupts import Terminated
from octavo.threads.scheduler import Scheduler
from octavo.version import VERSION

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

MODULES = {
    "boot": "boot",
    "ls": "files", "cat": "files", "cp": "copying", "mv": "files", "rm": "files", "mkdir": "files",
    "df": "files",
    "partitions": "partitions", "label": "volumes", "resize": "volumes", "tree": "volumes",
    "attrib": "attrib", "mkfs": "mkfs", "check": "images", "map": "map",
}  # fmt: skip
DESCRIPTION = """Octavo: an operating system's memory and storage executive.
Works on FAT and ext2 disk images with no root, and boots to a shell."""
EPILOG = """A path in an image is IMAGE:PATH, such as disk.img:/docs/a.txt. To begin:
  octavo mkfs --size 64M disk.img
  octavo cp -r tree disk.img:/
  octavo ls -l disk.img:/tree
  octavo boot disk.img
octavo VERB --help explains a verb."""


class Parser(argparse.ArgumentParser):
    """A parser whose help is output as any other: argparse's own says nothing where it cannot be
    written. What is wrong with a call is said in one line.
    """

    def error(self, message: str) -> NoReturn:
        """Ends the program: the call was wrong."""
        tell(f"{self.prog}: {message} ({self.prog} --help explains)")
        self.exit(2)

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Writes the help. OSError when that fails."""
        (file or sys.stdout).write(self.format_help())


class _Version(argparse.Action):
    """Writes the version, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *unused: object) -> None:
        print(f"octavo {VERSION}")
        parser.exit()


def make_parser(verbs: list[str]) -> Parser:
    """The parser for some of the verbs."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser("octavo", description=DESCRIPTION, epilog=EPILOG, formatter_class=raw)
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    below = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    for name in verbs:
        verb: Verb = importlib.import_module(f"octavo.cli.{MODULES[name]}").VERBS[name]
        sub = below.add_parser(
            name,
            help=verb.summary,
            description=verb.summary,
            epilog="examples:\n" + verb.examples,
            formatter_class=raw,
        )
        verb.add_arguments(sub)
        if name not in ("map", "partitions"):  # all others open images
            add_opening(sub, name)
        sub.set_defaults(run=verb.run, error=sub.error)
    return parser


def run(argv: list[str]) -> int:
    """Runs one command line and returns its exit code; SystemExit(2) for a wrong one."""
    told.clear()
    verbs = [argv[0]] if argv and argv[0] in MODULES else list(MODULES)
    arguments = make_parser(verbs).parse_args(with_waiting(argv))
    with _signals_in_order():
        code: int = arguments.run(arguments)
    return code


@contextmanager
def _signals_in_order() -> Iterator[None]:
    """A `with` block in which a signal that asks us to end raises, so that what was begun is
    cleaned up, and volumes are left clean.

    Before it and after it the process has nothing to lose, and its own handlers (`octavo.__main__`)
    end it.
    """
    before = [signal.getsignal(number) for number in SIGNALS]
    try:
        handle_signals(_end_by)
        yield
    finally:
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


def _end_by(number: int, frame: object) -> None:
    Scheduler.interrupt(KeyboardInterrupt() if number == signal.SIGINT else Terminated(number))


def main() -> None:
    """Runs the process's command line and exits."""
    prepare_streams()
    try:
        code = run_whole(sys.argv[1:])
    except KeyboardInterrupt as stop:
        code = 128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT)
    raise SystemExit(code)


def _exit_code(argv: list[str]) -> int:
    """As `run`, also where argparse ends the program: after --help, or a wrong call."""
    try:
        return run(argv)
    except SystemExit as stop:
        return int(stop.code or 0)


def run_whole(argv: list[str]) -> int:
    """Runs one command line, tells its error, and has all output written; returns the exit code."""
    try:
        code = _exit_code(argv)
        sys.stdout.flush()
        return code
    except StatusError as error:
        complain_at_end(error)
        _flush_rest()
        return 2 if error.status == Status.INVALID_PARAMETER else 1
    except BrokenPipeError:  # whoever read our output has gone, and wants no more of it
        give_up(sys.stdout)
        return 0
    except OSError as error:
        give_up(sys.stdout)
        complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
    return 1


def _flush_rest() -> None:
    """Writes what was printed before an error, where it can be written."""
    try:
        sys.stdout.flush()
    except OSError:
        give_up(sys.stdout)

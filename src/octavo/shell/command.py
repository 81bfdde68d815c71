"""What a command of the shell is, and what its arguments may be."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from octavo.shell.session import Session, UsageError

Function = Callable[[Session, list[str]], "int | None"]


class Place(enum.Enum):
    """Where the paths are that a word may be."""

    VOLUME = enum.auto()
    DIRECTORY = enum.auto()  # on a volume
    HOST = enum.auto()


Complete = Callable[
    [Session, list[str]], "Iterable[str] | Place"
]  # what may come after these arguments


@dataclass(frozen=True)
class Command:
    """A command: its function, how many arguments it takes, and what they may be."""

    function: Function
    least: int
    most: int
    complete: Complete

    @property
    def help(self) -> list[str]:
        """Usage and what it does."""
        return (inspect.getdoc(self.function) or "").splitlines()

    def run(self, shell: Session, arguments: list[str]) -> int | None:
        """Runs it; UsageError when the number of arguments is wrong."""
        if not self.least <= len(arguments) <= self.most:
            raise UsageError(f"usage: {self.help[0]}")
        return self.function(shell, arguments)


def command(
    table: dict[str, Command],
    name: str,
    least: int,
    most: int,
    complete: Complete = lambda shell, words: Place.VOLUME,
) -> Callable[[Function], Function]:
    """Makes a function a command of a table."""

    def register(function: Function) -> Function:
        table[name] = Command(function, least, most, complete)
        return function

    return register

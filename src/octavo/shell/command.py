"""What a command of the shell is, and what its arguments may be."""

from __future__ import annotations

import enum
import inspect
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from octavo.shell.line import UsageError
from octavo.shell.session import Session

MOST_WORDS = 16  # of a command that takes several paths, as in Neptune's shell


class Words(list[str]):
    """The words behind a command's name, and apart from them its switches, such as /s or /o:-d:
    what stands behind each letter.
    """

    def __init__(self, words: Iterable[str], switches: dict[str, str] | None = None) -> None:
        super().__init__(words)
        self.switches = switches or {}


Function = Callable[[Session, Words], "int | None"]


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
    """A command: its function, how many arguments it takes, and what they may be.

    `switches` are its letters, each with ":" behind it if something may stand behind it. With
    `text` its one argument is what stands behind its name, as it was written.
    """

    function: Function
    least: int
    most: int
    complete: Complete
    switches: str = ""
    text: bool = False

    @property
    def help(self) -> list[str]:
        """Usage, what it does, an example."""
        return (inspect.getdoc(self.function) or "").splitlines()

    @property
    def summary(self) -> str:
        """What it does, in short: up to the first stop, or semicolon."""
        lines = self.help[2:]
        text = " ".join(lines[: lines.index("")] if "" in lines else lines)
        return re.split(r"[.;:](?: |$)", text)[0]

    @property
    def usage(self) -> UsageError:
        """The error of a wrong call."""
        return UsageError(f"usage: {self.help[0]}")

    def run(self, shell: Session, arguments: list[str]) -> int | None:
        """Runs it; UsageError when the number of arguments is wrong, or a switch is unknown."""
        words = Words(arguments) if not self.switches or self.text else self._parted(arguments)
        if not self.least <= len(words) <= self.most:
            raise self.usage
        return self.function(shell, words)

    def _parted(self, arguments: list[str]) -> Words:
        """Switches apart from words; several may be in one, as /s/b."""
        words = Words([])
        for word in arguments:
            if not word.startswith("/"):
                words.append(word)
                continue
            for part in word[1:].split("/"):
                letter, value = part[:1].lower(), part[1:].removeprefix(":")
                known = letter.isalpha() and letter in self.switches
                if not known or (value and letter + ":" not in self.switches):
                    raise UsageError(self._unknown(word))
                words.switches[letter] = value.lower()
        return words

    def _unknown(self, word: str) -> str:
        letters = sorted(c for c in self.switches if c.isalpha())
        return (
            f"{word} is none of its switches, which are /{', /'.join(letters)}; a path from the "
            "root begins with \\"
        )


def command(
    table: dict[str, Command],
    name: str,
    least: int,
    most: int,
    complete: Complete = lambda shell, words: Place.VOLUME,
    switches: str = "",
    text: bool = False,
) -> Callable[[Function], Function]:
    """Makes a function a command of a table."""

    def register(function: Function) -> Function:
        table[name] = Command(function, least, most, complete, switches, text)
        return function

    return register

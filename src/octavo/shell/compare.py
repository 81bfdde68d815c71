"""What two files differ in, in bounded memory: fc.

Texts are compared line by line. Where they differ, the nearest place where two lines agree again is
looked for within MOST_APART lines of both; if there is none, that is said, and the rest is left.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from octavo.files import File
from octavo.printing import counted
from octavo.shell.command import Command, Words, command
from octavo.shell.session import Session
from octavo.shell.texts import CHUNK, chunks, lines, text

COMMANDS: dict[str, Command] = {}
MOST_APART = 100  # lines
_AGREE = 2  # lines, so that an empty one is no end of a difference


@command(COMMANDS, "fc", 2, 2, switches="b")
def fc(shell: Session, arguments: Words) -> int:
    """fc [/b] FILE FILE

    Compares two files, line by line, or with /b byte by byte, and prints what differs; status 1
    where something does.

    Example: fc readme.txt readme.txt
    """
    (drive, volume, path), (other_drive, other_volume, other) = map(shell.resolve, arguments)
    names = shell.shown(drive, path), shell.shown(other_drive, other)
    with volume.open(path) as a, other_volume.open(other) as b:
        apart = bytes_apart if "b" in arguments.switches else _lines_apart
        found, different = apart(a, b, names), False
        for line in found:
            different = True
            shell.out(line)
    if not different:
        shell.out(f"{names[0]} and {names[1]}: no differences")
    return int(different)


def bytes_apart(a: File, b: File, names: tuple[str, str]) -> Iterator[str]:
    """The places of bytes that differ, with both; and which file is longer."""
    least = min(a.size, b.size)
    for at in range(0, least, CHUNK):
        one, two = next(chunks(a, at, least)), next(chunks(b, at, least))
        if one != two:
            for i, (x, y) in enumerate(zip(one, two, strict=True), at):
                if x != y:
                    yield f"{i:08x}: {x:02x} {y:02x}"
    if a.size != b.size:
        longer, other = names if a.size > b.size else names[::-1]
        yield f"{longer} is longer than {other} by {counted(abs(a.size - b.size), 'byte')}"


class _Side:
    """One of two texts: the lines that are looked at, and those that follow."""

    def __init__(self, file: File) -> None:
        self._rest = map(text, lines(chunks(file)))
        self.lines: list[str] = []

    def fill(self) -> bool:
        """Looks at as many lines as may be; False when there is none."""
        self.lines += islice(self._rest, MOST_APART - len(self.lines))
        return bool(self.lines)

    @property
    def is_whole(self) -> bool:
        """Whether the text ends with the lines that are looked at."""
        return len(self.lines) < MOST_APART

    def take(self, count: int) -> list[str]:
        """Takes lines away."""
        taken = self.lines[:count]
        del self.lines[:count]
        return taken


class Difference(NamedTuple):
    """The lines that stand in one place of both texts; `last` when the rest was not compared."""

    one: list[str]
    two: list[str]
    last: bool = False


def differences(first: File, second: File) -> Iterator[Difference]:
    """What differs in two texts."""
    a, b = _Side(first), _Side(second)
    while a.fill() | b.fill():
        same = next(
            (i for i, (x, y) in enumerate(zip(a.lines, b.lines, strict=False)) if x != y),
            min(len(a.lines), len(b.lines)),
        )
        a.take(same)
        b.take(same)
        if same:
            continue
        there = _agreement(a, b)
        if there is None:
            yield Difference(a.lines, b.lines, last=True)
            return
        yield Difference(a.take(there[0]), b.take(there[1]))


def _agreement(a: _Side, b: _Side) -> tuple[int, int] | None:
    """How many lines of each stand before the nearest place where they agree again."""
    for apart in range(1, len(a.lines) + len(b.lines) + 1):
        for i in range(max(0, apart - len(b.lines)), min(apart, len(a.lines)) + 1):
            one, two = a.lines[i : i + _AGREE], b.lines[apart - i : apart - i + _AGREE]
            if one == two and (len(one) == _AGREE or (a.is_whole and b.is_whole)):
                return i, apart - i
    return None


def _lines_apart(a: File, b: File, names: tuple[str, str]) -> Iterator[str]:
    """The lines that differ, under the names of the files."""
    for found in differences(a, b):
        yield f"***** {names[0]}"
        yield from found.one
        yield f"***** {names[1]}"
        yield from found.two
        yield "*****"
        if found.last:
            yield f"the files agree nowhere in the next {MOST_APART} lines: the rest is left"

r"""Commands that look at files and directories: dir and tree, and what is in files.

The first line of a docstring is the usage, the rest says what the command does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from octavo.files import Volume
from octavo.fs.wildcards import is_wild, matches
from octavo.printing import counted
from octavo.shell.branches import tree_lines
from octavo.shell.command import MOST_WORDS, Command, Place, Words, command
from octavo.shell.line import UsageError
from octavo.shell.session import Session
from octavo.shell.texts import chunks, lines, text
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo

COMMANDS: dict[str, Command] = {}
_ROW = 16  # bytes in a line of dump
Block = tuple[str, "list[FileInfo]"]  # a directory, and what is listed of it

# -- directories -----------------------------------------------------------------------------------

_KEYS: dict[str, Callable[[FileInfo], Any]] = {
    "n": lambda e: e.name.lower(),
    "e": lambda e: e.name.lower().rpartition(".")[2] if "." in e.name else "",
    "s": lambda e: e.size,
    "d": lambda e: e.modified,
    "g": lambda e: not e.is_directory,
}


def _order(word: str) -> list[tuple[Callable[[FileInfo], Any], bool]]:
    """The keys of an order such as gn or -d, the last one first, and whether each is turned round.
    UsageError.
    """
    keys, turned = [], False
    for letter in word:
        if letter == "-":
            turned = True
        elif letter not in _KEYS:
            raise UsageError(f"/o:{word}: an order has the letters {', '.join(_KEYS)} and -")
        else:
            keys.append((_KEYS[letter], turned))
            turned = False
    return keys[::-1]


@command(COMMANDS, "dir", 0, 1, switches="bso:")
def dir_(shell: Session, arguments: Words) -> int:
    r"""dir [/s] [/b] [/o[:ORDER]] [PATH]

    Lists a directory, a file, or what matches a name with * and ?.
      /s  in all directories below as well
      /b  names only; with /s, whole paths
      /o  by n (name), e (extension), s (size), d (date), g (directories first), and the other way
          round with - in front; without letters, and without /o, by gn

    Example: dir /s /o:-d docs\*.txt
    """
    listing = _Listing(shell, arguments)
    for here, entries in listing.blocks():
        listing.show(here, entries)
    listing.end()
    return int(listing.failed)


class _Listing:
    """One dir: what it lists, how, and what it has counted."""

    def __init__(self, shell: Session, arguments: Words) -> None:
        self._shell = shell
        self._drive, self._volume, self._path = shell.resolve("".join(arguments))
        self._bare, self._deep = ("b" in arguments.switches, "s" in arguments.switches)
        self._keys = _order(arguments.switches.get("o") or "gn")
        self._files = self._bytes = self._directories = 0
        self.failed = False

    def blocks(self) -> Iterator[Block]:
        """Each directory with what is listed of it; without /s there is one, and something in it if
        a name was given.
        """
        volume, path = self._volume, self._path
        wild = is_wild(path.rstrip("/").rpartition("/")[2])
        here = not wild and (not self._deep or volume.exists(path)) and volume.stat(path)
        if not self._deep:
            known = here and here.is_directory
            yield (path, volume.entries(path)) if known else self._shell.find(volume, path)
        elif here and here.is_directory:
            yield from self._below(path)
        else:
            yield from self._search(*path.rstrip("/").rpartition("/")[::2])

    def _below(self, directory: str) -> Iterator[Block]:
        """A directory and all below it, each in order, which is the order of the directories."""
        for here, entries in self._volume.walk(directory, self._tell):
            self._sort(entries)
            yield here, entries

    def _search(self, directory: str, name: str) -> Iterator[Block]:
        """What fits a name in a directory and below. StatusError where nothing does."""
        fits, found = matches(name), False
        if not self._volume.stat(directory).is_directory:
            raise StatusError(Status.NOT_A_DIRECTORY, f"{directory}: is not a directory")
        for here, entries in self._below(directory):
            if chosen := [entry for entry in entries if fits(entry)]:
                found = True
                yield here, chosen
        if not found:
            raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"{self._path}: nothing matches")

    def _sort(self, entries: list[FileInfo]) -> None:
        for key, turned in self._keys:
            entries.sort(key=key, reverse=turned)

    def _tell(self, error: StatusError) -> None:
        self._shell.err(f"dir: {error}")
        self.failed = True

    def show(self, here: str, entries: list[FileInfo]) -> None:
        """The lines of one directory."""
        out = self._shell.out
        self._sort(entries)
        files = [e for e in entries if not e.is_directory]
        self._files, self._bytes = (
            self._files + len(files),
            self._bytes + sum(e.size for e in files),
        )
        self._directories += len(entries) - len(files)
        place = self._shell.shown(self._drive, here).rstrip("\\")
        if self._bare:
            for e in entries:
                out(f"{place}\\{e.name}" if self._deep else e.name)
            return
        out(f" Directory of {self._shell.shown(self._drive, here)}")
        out("")
        for e in entries:
            size = "    <DIR>" if e.is_directory else f"{e.size:9d}"
            out(f"{e.modified:%d.%m.%Y %H:%M} {size:>12}  {e.name}")
        if self._deep:
            out("")

    def end(self) -> None:
        """The totals."""
        if self._bare:
            return
        out, free = self._shell.out, self._volume.space().free
        out(f"{counted(self._files, 'file', width=8)} {counted(self._bytes, 'byte', width=12)}")
        directories = counted(self._directories, "directory", "directories", 8)
        out(f"{directories} {counted(free, 'byte', width=12)} free")


@command(COMMANDS, "tree", 0, 1, lambda shell, words: Place.DIRECTORY, switches="fa")
def tree(shell: Session, arguments: Words) -> int:
    r"""tree [/f] [/a] [PATH]

    Draws the directories below one, with /f their files as well; with /a in plain ASCII.

    Example: tree /f docs
    """
    drive, volume, path = shell.resolve("".join(arguments))
    errors: list[StatusError] = []
    switches = arguments.switches
    shell.out(shell.shown(drive, path))
    for line in tree_lines(volume, path, "f" in switches, "a" in switches, errors.append):
        shell.out(line)
    for error in errors:
        shell.err(f"tree: {error}")
    return int(bool(errors))


# -- what is in files ------------------------------------------------------------------------------


@command(COMMANDS, "type", 0, MOST_WORDS)
def type_(shell: Session, arguments: Words) -> None:
    r"""type FILE ...

    Prints files as text. What is no UTF-8 is shown as a mark; names may have * and ?. Into a file
    their bytes go as they are, so that > joins files.

    Example: type part1.txt part2.txt > whole.txt
    """
    for volume, path, _ in _files(shell, arguments, "type FILE ..."):
        with volume.open(path) as file:
            if shell.output is None:
                for line in lines(chunks(file)):
                    shell.out(text(line))
            else:
                for data in chunks(file):
                    shell.output.write(data)
    if not arguments:
        while (line_ := shell.next_line("")) is not None:
            shell.out(line_)


def _files(shell: Session, words: list[str], usage: str) -> Iterator[tuple[Volume, str, str]]:
    """The files that words mean, with what they are called here. UsageError where there are none,
    nor input.
    """
    if not words and shell.input is None:
        raise UsageError(f"usage: {usage}")
    for word in words:
        drive, volume, path = shell.resolve(word)
        directory, entries = shell.find(volume, path)
        paths = [f"{directory}/{e.name}" for e in entries if not e.is_directory]
        for found in paths if is_wild(path.rpartition("/")[2]) else [path]:
            yield volume, found, shell.shown(drive, found)


@command(COMMANDS, "dump", 1, 3)
def dump(shell: Session, arguments: Words) -> None:
    """dump FILE [OFFSET [BYTES]]

    Prints the bytes of a file as hexadecimal and as text.

    Example: dump readme.txt 0 64
    """
    _, volume, path = shell.resolve(arguments[0])
    start, count = [_number(word) for word in arguments[1:]] + [0, 1 << 63][len(arguments) - 1 :]
    with volume.open(path) as file:
        at = start
        for data in chunks(file, start, start + count):
            for row in (data[i : i + _ROW] for i in range(0, len(data), _ROW)):
                shown = "".join(chr(b) if 32 <= b < 127 else "." for b in row)
                halves = f"{row[:8].hex(' '):<23}  {row[8:].hex(' '):<23}"
                shell.out(f"{at:08x}  {halves}  |{shown}|")
                at += len(row)


def _number(word: str) -> int:
    try:
        number = int(word, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << 63:
        raise UsageError(f"{word[:40]}: is no number of bytes, such as 512 or 0x200")
    return number


@command(COMMANDS, "find", 1, MOST_WORDS, switches="icnv")
def find(shell: Session, arguments: Words) -> int:
    """find [/i] [/v] [/n] [/c] TEXT FILE ...

    Prints the lines of files that have a text in them; status 1 where there are none.
      /i  in any case
      /v  the lines that do not have it
      /n  with their numbers
      /c  only how many there are

    Example: find /n "wor" readme.txt
    """
    switches, wanted = arguments.switches, arguments[0]
    search = _Search(shell, wanted.casefold() if "i" in switches else wanted, switches)
    usage = "find [/i] [/v] [/n] [/c] TEXT FILE ..."
    several = len(arguments) > 2 or any(is_wild(word) for word in arguments[1:])
    for volume, path, shown in _files(shell, arguments[1:], usage):
        with volume.open(path) as file:
            search.through(map(text, lines(chunks(file))), shown if several else "")
    if len(arguments) == 1:
        search.through(iter(partial(shell.next_line, ""), None), "")
    return int(not search.found)


class _Search:
    """A text that is looked for in the lines of several files."""

    def __init__(self, shell: Session, wanted: str, switches: dict[str, str]) -> None:
        self._shell, self._wanted, self._switches = shell, wanted, switches
        self.found = 0

    def through(self, found: Iterator[str], name: str) -> None:
        """Looks through lines; `name` stands before them, if there is one."""
        out, switches, before = self._shell.out, self._switches, self.found
        if name and "c" not in switches:
            out(f"---------- {name}")
        for number, line in enumerate(found, 1):
            there = self._wanted in (line.casefold() if "i" in switches else line)
            if there == ("v" in switches):
                continue
            self.found += 1
            if "c" not in switches:
                out(f"[{number}]{line}" if "n" in switches else line)
        if "c" in switches:
            out(f"{name}: {self.found - before}" if name else str(self.found - before))

r"""Names with `*` and `?`, as NT has them: for whoever looks for files, the shell and the verbs.

`*` is any characters, `?` is one; letters are the same in any case. As in programs for NT, and
not as in sh:

    *.*      is every name, also one without a dot          a*.*  also "abc"
    *.       is the names without a dot
    *.c      goes up to the last dot of a name              "a.b.c" fits
    a?.txt   also "a.txt": before a dot, and at the end, `?` is one character or none
    *1.htm   fits a name's short one as well: `matches` looks at both

A pattern and a name cost their lengths' product at most, whatever is in the pattern: the places
that the pattern can have come to are bits of a number, and each character moves them on.

Source: NT's names in expressions, with what its Win32 layer makes of `*.`, `.*` and `?` before
they get there; the rules by which its shell fills a mask for new names. No departures known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from octavo.fs.fat.names import fold
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.protocol import FileInfo, FileSystemVolume


def is_wild(name: str) -> bool:
    """Whether there is a `*` or a `?` in it."""
    return "*" in name or "?" in name


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test of names against a pattern."""
    if pattern in ("*", "*.*"):
        return lambda name: True
    return _Pattern(fold(pattern)).fits


def matches(pattern: str) -> Callable[[FileInfo], bool]:
    """A test of entries: the long or the short name fits."""
    fits = matcher(pattern)
    return lambda entry: fits(entry.name) or fits(entry.short_name)


class _Pattern:
    """Bit i is the place before the i-th character of the pattern; the bit behind them, its end."""

    def __init__(self, pattern: str) -> None:
        length = len(pattern.rstrip("."))  # no name ends in a dot
        self._end = 1 << length
        self._letters: dict[str, int] = {}  # where each character stands
        self._any = self._to_last_dot = self._one = self._dot_or_end = 0
        for i in range(length):
            c, follows, bit = pattern[i], pattern[i + 1 : i + 2], 1 << i
            if c == "*" and follows == ".":
                self._to_last_dot |= bit
            elif c == "*":
                self._any |= bit
            elif c == "?":
                self._one |= bit
            elif c == "." and follows in ("*", "?"):
                self._dot_or_end |= bit
            else:
                self._letters[c] = self._letters.get(c, 0) | bit

    def fits(self, name: str) -> bool:
        """Whether a name is one of those that are meant."""
        name = fold(name)
        last = name.rfind(".")
        stars = self._any | self._to_last_dot
        places = 1
        for i, c in enumerate(name):
            dot = c == "."
            places = _passed(places, stars | self._one if dot else stars)
            stay = self._any if i == last else stars
            on = self._letters.get(c, 0) | (self._dot_or_end if dot else self._one)
            places = places & stay | (places & on) << 1
            if not places:
                return False
        return bool(_passed(places, stars | self._one | self._dot_or_end) & self._end)


def _passed(places: int, empty: int) -> int:
    """The places, and those behind characters of the pattern that may be `empty`."""
    while (more := places | (places & empty) << 1) != places:
        places = more
    return places


async def find(volume: FileSystemVolume, path: str) -> tuple[str, list[FileInfo]]:
    """The directory of a path whose last name may have `*` and `?`, and the entries that it means,
    in the order of the disk: at least one. With a slash at its end only directories are meant.

    StatusError OBJECT_NAME_NOT_FOUND, OBJECT_PATH_NOT_FOUND; OBJECT_NAME_INVALID for wildcards in
    a directory's name.
    """
    directory, _, last = path.rstrip("/").rpartition("/")
    if not is_wild(last):
        return directory, [await volume.stat(path)]
    if is_wild(directory):
        raise StatusError(
            Status.OBJECT_NAME_INVALID, f"{path}: * and ? are for the last name of a path only"
        )
    fits = matches(last)
    found = [
        entry
        for entry in await volume.entries(directory)
        if fits(entry) and (entry.is_directory or not path.endswith("/"))
    ]
    if not found:
        raise StatusError(Status.OBJECT_NAME_NOT_FOUND, f"{path}: nothing matches")
    return directory, found


def renamed(name: str, mask: str) -> str:
    """The new name of a file that a mask such as *.bak makes of its name; a mask without `*` and
    `?` is the name.

    What `*` stands for ends where the character behind it is found for the last time; `?` is one
    character of the name, and others are put in the place of one; a dot goes on behind the next
    dot of the name.
    """
    if not is_wild(mask):
        return mask
    new, at = "", 0
    for i, c in enumerate(mask):
        if c == "*":
            after = mask[i + 1 : i + 2]
            end = name.rfind(after, at) if after not in ("", "?", "*") else len(name)
            end = len(name) if end < 0 else end
            new, at = new + name[at:end], end
        elif c == ".":
            dot = name.find(".", at)
            new, at = new + c, len(name) if dot < 0 else dot + 1
        else:
            here = name[at : at + 1]
            new += here.strip(".") if c == "?" else c
            at += here not in ("", ".")
    return new.rstrip(". ")

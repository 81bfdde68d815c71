"""Directories of FAT decoded many at once: names, sizes and types of all their entries as arrays.

    data      the slots of all directories, one behind the other, 32 bytes each
    bounds    the first byte of each directory, and the end
    slots     those in front of their directories' ends; begins: the first of each directory

This is for directories as they should be. Where anything in them is unusual (a long name without
its entry, a name that no path can have, two that fold alike), `decode` says so, and
`octavo.fs.fat.entry` parses them one by one: what both say is the same.

Source: Microsoft FAT specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, repeat
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from octavo.fs.fat.entry import (
    DIRECTORY,
    FREE_SLOT,
    LONG_NAME,
    SLOT,
    VOLUME_LABEL,
    Described,
)
from octavo.fs.fat.names import (
    LOWER_BASE,
    LOWER_EXTENSION,
    UNITS_IN_SLOT,
    fold,
    has_illegal,
    shown_short,
)

Bytes = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]
MOST_LONG = 20  # slots of a name
LAST = 0x40  # in the first byte of a long name's last slot
_BLANK, _SLASH = 0x20, ord("/")
_FULL = 0xFFF8  # units of a slot that are there, as bits
_COUNTS = np.zeros(1 << 16, np.int8)  # of units, by those bits: 0 where one is missing in between
_COUNTS[[_FULL & -1 << 16 - n for n in range(1, UNITS_IN_SLOT)]] = range(1, UNITS_IN_SLOT)
_FORBIDDEN = np.array([chr(i) != "/" and has_illegal(chr(i)) for i in range(128)])
_DOTS = np.frombuffer(b".".ljust(11) + b"..".ljust(11), np.uint8).reshape(2, 11)


class _Fields(NamedTuple):
    name: str
    size: int
    is_directory: bool
    number: int
    attributes: int
    at: int  # of its 32 bytes
    source: tuple[bytes, str]  # those of all entries, and the code page


class Listed(Described, _Fields):
    """An entry as its directory's bytes described it at that moment: nobody has opened it."""

    __slots__ = ()
    node = None

    @property
    def raw(self) -> bytes:
        """32, as on the disk."""
        return self.source[0][self.at : self.at + SLOT]

    @property
    def codepage(self) -> str:
        """Of the short name."""
        return self.source[1]


class Decoded:
    """The entries of several directories, in order; those of directory i are from `bounds[i]` to
    `bounds[i + 1]`.
    """

    def __init__(
        self, rows: Bytes, names: list[str], bounds: list[int], wide: bool, codepage: str
    ) -> None:
        attributes = rows[:, 11]
        self._columns: tuple[Sequence[object], ...] = (
            names,
            rows.view("<u4")[:, 7].tolist(),
            (attributes & DIRECTORY != 0).tolist(),
            _clusters(rows, wide),
            attributes.tolist(),
            range(0, len(rows) * SLOT, SLOT),
        )
        self._source = rows.tobytes(), codepage
        self.bounds = bounds

    def entries(self, directory: int) -> list[Listed]:
        """The entries of one directory."""
        here = slice(self.bounds[directory], self.bounds[directory + 1])
        fields = zip(*[column[here] for column in self._columns], repeat(self._source))
        return list(map(tuple.__new__, repeat(Listed), fields))


def used_slots(data: bytes, bounds: list[int]) -> tuple[Bytes, Numbers]:
    """The slots in front of their directories' ends, and the first of each directory among them,
    with the end.
    """
    slots = np.frombuffer(data, np.uint8).reshape(-1, SLOT)
    firsts = np.array(bounds) // SLOT
    used = np.flatnonzero(slots[:, 0])
    begins = np.searchsorted(used, firsts)
    shift = np.repeat(firsts[:-1] - begins[:-1], np.diff(begins))
    straight = used - np.arange(len(used)) == shift  # no end lies in front of it
    if not straight.all():
        used = used[straight]
        begins = np.searchsorted(used, firsts)
    return slots.take(used, axis=0), begins


def joined(parts: list[tuple[Bytes, Numbers]]) -> tuple[Bytes, Numbers]:
    """Used slots of several stretches of directories, as those of one."""
    begins, at = [np.zeros(1, np.int64)], 0
    for slots, firsts in parts:
        begins.append(firsts[1:] + at)
        at += len(slots)
    return np.concatenate([slots for slots, _ in parts]), np.concatenate(begins)


def subdirectories(slots: Bytes, wide: bool) -> list[int]:
    """The numbers of the directories in directories, in order, without "." and ".."."""
    first, kinds = slots[:, 0], slots[:, 11] & (VOLUME_LABEL | DIRECTORY)
    found = (kinds == DIRECTORY) & (first != ord(".")) & (first != FREE_SLOT)
    return _clusters(slots[found], wide)


def _clusters(rows: Bytes, wide: bool) -> list[int]:
    halves = rows.view("<u2")
    low = halves[:, 13].astype(np.uint32)
    numbers: list[int] = (halves[:, 10].astype(np.uint32) << 16 | low if wide else low).tolist()
    return numbers


def decode(slots: Bytes, begins: Numbers, wide: bool, codepage: str) -> Decoded | None:
    """The entries of directories of which none is the root; None where something is unusual.
    `wide`: entries have 32-bit cluster numbers (FAT32).
    """
    attributes = slots[:, 11]
    long = attributes & 0x3F == LONG_NAME
    short = ~long & (attributes & (VOLUME_LABEL | DIRECTORY) != VOLUME_LABEL)
    free = slots[:, 0] == FREE_SLOT
    if free.any():
        long &= ~free
        short &= ~free
    for i in (0, 1):
        at = begins[:-1] + i
        at = at[at < begins[1:]]
        short[at[(slots[at, :11] == _DOTS[i]).all(axis=1)]] = False
    places, longs = np.flatnonzero(short), np.flatnonzero(long)
    rows = slots.take(places, axis=0)
    names = _names(rows, slots.take(longs, axis=0), places, longs, codepage) if len(places) else []
    if names is None or (len(longs) and not len(places)):
        return None
    parts = np.searchsorted(places, begins).tolist()
    if not _distinct(names, parts):
        return None
    return Decoded(rows, names, parts, wide, codepage)


def _names(
    rows: Bytes, parts: Bytes, places: Numbers, longs: Numbers, codepage: str
) -> list[str] | None:
    """The names of entries `rows`, which are at `places`, with the slots of long names `parts`,
    which are at `longs`; None where not every part is in its place.
    """
    owners = np.searchsorted(places, longs)
    if len(longs) and owners[-1] == len(places):
        return None
    distance = places[owners] - longs
    if not _in_order(parts, rows, owners, distance):
        return None
    lengths = np.bincount(owners, minlength=len(places))
    own = np.flatnonzero(lengths == 0)  # entries without a long name
    lines = np.maximum(lengths, 1)
    begins = np.cumsum(lines) - lines
    text = np.zeros((int(lines.sum()), UNITS_IN_SLOT + 1), np.uint16)
    units = np.concatenate((parts[:, 1:11], parts[:, 14:26], parts[:, 28:]), axis=1).view("<u2")
    there = (units != 0) & (units != 0xFFFF)
    if not _filled(units, there, distance == lengths[owners]):
        return None
    text[begins[owners] + distance - 1, :-1] = units * there
    bare, odd = _bare(rows.take(own, axis=0))
    text[begins[own], :-1] = bare
    text[begins + lines - 1, -1] = _SLASH
    names = _split(text[text != 0], len(places))
    if names is not None:
        for i in own[odd].tolist():
            raw = rows[i].tobytes()
            names[i] = shown_short(raw[:11], raw[12], codepage)
            if not _possible([names[i]]):
                return None
    return names


def _split(text: npt.NDArray[np.uint16], count: int) -> list[str] | None:
    """The names in a text, each of which ends with a slash; None where there are not `count`, or a
    path cannot have one of them.
    """
    ends = np.flatnonzero(text == _SLASH)
    try:
        names: list[str] = text.tobytes().decode("utf-16-le").split("/")
    except UnicodeDecodeError:
        return None
    names.pop()
    if len(ends) != count:
        return None
    sizes = np.diff(ends, prepend=-1) - 1
    doubtful = [names[i] for i in np.flatnonzero(sizes < 3).tolist()]  # nothing, "." and ".."
    if int(text.max()) >= 128:
        doubtful = names
    elif _FORBIDDEN.take(text).any():
        return None
    return names if _possible(doubtful) else None


def _possible(names: list[str]) -> bool:
    """Whether a path can have each of the names."""
    possible = all(names) and "." not in names and ".." not in names
    return possible and not has_illegal("".join(names))


def _in_order(parts: Bytes, rows: Bytes, owners: Numbers, distance: Numbers) -> bool:
    """Whether all long names are whole: their slots count down to their entries, with the right
    checksums.
    """
    if not len(parts):
        return True
    heads = np.ones(len(parts), bool)
    heads[1:] = owners[1:] != owners[:-1]
    tails = np.append(heads[1:], True)
    steps = distance[:-1] - distance[1:]
    return bool(
        (parts[:, 0] == (distance | heads * LAST)).all()
        and (distance <= MOST_LONG).all()
        and (distance[tails] == 1).all()
        and (steps[~heads[1:]] == 1).all()
        and (parts[:, 13] == _sums(rows)[owners]).all()
    )


def _sums(rows: Bytes) -> Bytes:
    """The checksums of short names."""
    sums: Bytes = rows[:, 0].copy()
    for i in range(1, 11):
        sums = np.add(sums >> 1 | sums << 7, rows[:, i], dtype=np.uint8)
    return sums


def _filled(
    units: npt.NDArray[np.uint16], there: npt.NDArray[np.bool_], last: npt.NDArray[np.bool_]
) -> bool:
    """Whether the slots of long names are full, but for the last ones, which may end with a 0."""
    bits = np.packbits(there, axis=1).view(">u2")[:, 0]
    part = np.flatnonzero(bits != _FULL)
    counts = _COUNTS.take(bits.take(part))
    return bool((counts > 0).all() and last.take(part).all() and not units[part, counts].any())


def _bare(rows: Bytes) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """The units of short names, 0 where there is none; and which of them are to be decoded one by
    one, which have a "?".
    """
    short, case = rows[:, :11], rows[:, 12]
    blank = short == _BLANK
    strange = (short < _BLANK) | (short > 0x7E)
    strange[:, 1:8] |= blank[:, :7] & ~blank[:, 1:8]
    strange[:, 9:] |= blank[:, 8:10] & ~blank[:, 9:]
    odd = np.logical_or.reduce(strange, axis=1)
    lower = np.empty(short.shape, bool)
    lower[:, :8] = (case & LOWER_BASE != 0)[:, None]
    lower[:, 8:] = (case & LOWER_EXTENSION != 0)[:, None]
    capital = (short >= ord("A")) & (short <= ord("Z"))
    letters = np.where(blank, 0, short | (lower & capital) * np.uint8(0x20))
    units = np.zeros((len(rows), UNITS_IN_SLOT), np.uint16)
    units[:, :8] = letters[:, :8]
    units[:, 8] = np.where(blank[:, 8], 0, ord("."))
    units[:, 9:12] = letters[:, 8:]
    units[odd] = 0
    units[odd, 0] = ord("?")
    return units, odd


def _distinct(names: list[str], bounds: list[int]) -> bool:
    """Whether no directory has two names that fold alike."""
    text = "/".join(names)
    keys = text.upper().split("/") if text.isascii() else [fold(name) for name in names]
    return sum(map(len, [{*keys[a:b]} for a, b in pairwise(bounds)])) == len(names)

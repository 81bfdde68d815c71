"""Directory entries: 32 bytes on the disk, one object in memory, and the parser that goes from one
to the other.

     0  name (11)             11  attributes       12  case bits        13  created, 10 ms
    14  created: time, date   18  accessed: date   20  cluster (high)   22  written: time, date
    26  cluster (low)         28  size

    time  hhhhh mmmmmm sssss (seconds / 2)      date  yyyyyyy (from 1980) mmmm ddddd

A first byte of 0 ends the directory, 0xE5 is a free slot. Long names that are incomplete or whose
checksum is wrong are passed over: the entry has its short name then, and their slots are free for
other names (`check` reports them).
"""

from __future__ import annotations

import re
import struct
from codecs import utf_16_le_decode
from datetime import datetime
from functools import lru_cache
from time import struct_time
from typing import TYPE_CHECKING

from octavo.arguments import named, shown
from octavo.fs.fat.names import CODE_PAGE, ILLEGAL, checksum, has_illegal, shown_short
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.fs.vfs.node import Node

READ_ONLY, HIDDEN, SYSTEM, VOLUME_LABEL, DIRECTORY, ARCHIVE = 1, 2, 4, 8, 16, 32
LETTERS = {"r": READ_ONLY, "h": HIDDEN, "s": SYSTEM, "d": DIRECTORY, "a": ARCHIVE}
LONG_NAME = 15
SLOT = 32
FREE_SLOT = 0xE5
LAST = datetime(2107, 12, 31, 23, 59, 58)  # moment of a last writing
BEYOND = 4_400_000_000  # seconds since 1970, in 2109: FAT ends with 2107

_written = struct.Struct("<22xHH6x").unpack  # time, date
_numbers = struct.Struct("<11xB8xH4xHI").unpack  # attributes, cluster (high, low), size


class Described:
    """What the 32 bytes of an entry say beside its name, size and place."""

    __slots__ = ()

    if TYPE_CHECKING:

        @property
        def raw(self) -> bytes: ...
        @property
        def attributes(self) -> int: ...
        @property
        def codepage(self) -> str: ...

    @property
    def short_name(self) -> str:
        """The 8.3 name."""
        return shown_short(self.raw[:11], 0, self.codepage)

    @property
    def modified(self) -> datetime:
        """When it was last written, local time; resolution 2 s."""
        time, date = _written(self.raw)
        return from_dos(date, time, 0)

    @property
    def created(self) -> datetime:
        """When it was created, local time; resolution 10 ms."""
        return from_dos(_word(self.raw, 16), _word(self.raw, 14), self.raw[13])

    @property
    def flags(self) -> str:
        """Attributes as letters: read-only, hidden, system, directory, archive."""
        return _letters(self.attributes)


class Entry(Described):
    """A file or directory as its directory describes it. `raw` holds the short name, its case bits
    and the times.
    """

    __slots__ = (
        "attributes",
        "cluster",
        "codepage",
        "is_directory",
        "name",
        "node",
        "raw",
        "size",
        "slot",
        "slots",
    )

    name: str
    # 32, as on the disk when it was read; attributes, cluster and size are kept beside it
    raw: bytes
    attributes: int
    is_directory: bool
    cluster: int
    size: int
    slot: int  # index of its first slot in the directory, long name included
    slots: int
    codepage: str  # of its short name
    node: Node[Entry] | None  # the volume's, while it has one

    @property
    def number(self) -> int:
        """Its first cluster, which no two sound directories share."""
        return self.cluster

    @property
    def shown(self) -> str:
        """The name of an entry without a long one: the 8.3 name, in lower case where its case bits
        say so.
        """
        return shown_short(self.raw[:11], self.raw[12], self.codepage)

    def change_attributes(self, on: int, off: int) -> None:
        """Sets some attributes and clears others."""
        self.attributes = (self.attributes | on) & ~off

    def set_short(self, short: bytes, case: int) -> None:
        """Gives it another short name (11 bytes) and case bits."""
        self.raw = short + self.raw[11:12] + bytes((case,)) + self.raw[13:]

    def set_written(self, date: int, time: int) -> None:
        """Sets when it was last written, and the date of the last access with it."""
        day = date.to_bytes(2, "little")
        self.raw = (
            self.raw[:18] + day + self.raw[20:22] + time.to_bytes(2, "little") + day + self.raw[26:]
        )

    def pack(self) -> bytes:
        """The 32 bytes of the short entry."""
        size = 0 if self.attributes & DIRECTORY else self.size
        cluster = self.cluster.to_bytes(4, "little")
        raw = self.raw
        return b"".join(
            (
                raw[:11],
                bytes((self.attributes,)),
                raw[12:20],
                cluster[2:],
                raw[22:26],
                cluster[:2],
                size.to_bytes(4, "little"),
            )
        )

    def renamed(self, name: str) -> Entry:
        """A copy with another name, that has no slots and no node yet."""
        entry = Entry()
        entry.name, entry.raw = name, self.raw
        entry.attributes, entry.is_directory = self.attributes, self.is_directory
        entry.cluster, entry.size = self.cluster, self.size
        entry.slot = entry.slots = 0
        entry.codepage, entry.node = self.codepage, None
        return entry


@lru_cache(256)
def _letters(attributes: int) -> str:
    return "".join(letter if attributes & bit else "-" for letter, bit in LETTERS.items())


def _word(raw: bytes, at: int) -> int:
    return raw[at] | raw[at + 1] << 8


def attribute_bits(letters: str) -> int:
    """The attributes that letters of `Entry.flags` stand for; StatusError INVALID_PARAMETER for
    others than r, h, s and a.
    """
    bits = 0
    for letter in named(letters, "the attributes").lower():
        if letter not in LETTERS or letter == "d":
            why = f"{letter!r} is no attribute that can be changed: it takes r, h, s and a"
            raise StatusError(Status.INVALID_PARAMETER, why)
        bits |= LETTERS[letter]
    return bits


_pack = struct.Struct("<11sBBBHHHHHHHI").pack


def plain_entry(
    name: str,
    attributes: int,
    stamp: tuple[int, int, int],
    short: bytes,
    case: int,
    cluster: int = 0,
) -> Entry:
    """An entry of size 0 with a short name (11 bytes) and its case bits, whose three times are
    `stamp` (date, time, tenths).
    """
    date, time, tenths = stamp
    entry = Entry()
    entry.name, entry.attributes, entry.cluster = name, attributes, cluster
    entry.raw = _pack(short, attributes, case, tenths, time, date, date, 0, time, date, 0, 0)
    entry.is_directory = attributes & DIRECTORY != 0
    entry.size = entry.slot = entry.slots = 0
    entry.codepage, entry.node = CODE_PAGE, None
    return entry


def new_entry(
    name: str,
    attributes: int,
    stamp: tuple[int, int, int],
    short: bytes = b" " * 11,
    cluster: int = 0,
) -> Entry:
    """As `plain_entry`, whose short name may come later."""
    return plain_entry(name, attributes, stamp, short, 0, cluster)


def to_dos(fields: struct_time, fraction: float = 0.0) -> tuple[int, int, int]:
    """(date, time, tenths) of a local time; the first or last moment of FAT's years 1980 to 2107
    when it lies outside.
    """
    if fields.tm_year < 1980:
        return 1 << 5 | 1, 0, 0
    if fields.tm_year > 2107:
        return 127 << 9 | 12 << 5 | 31, 23 << 11 | 59 << 5 | 29, 199
    date = fields.tm_year - 1980 << 9 | fields.tm_mon << 5 | fields.tm_mday
    second = min(fields.tm_sec, 59)
    return (
        date,
        fields.tm_hour << 11 | fields.tm_min << 5 | second >> 1,
        (second & 1) * 100 + int(fraction * 100),
    )


def clean_wall(wall: float) -> float:
    """A wall time (seconds since 1970) that has calendar fields: what lies far outside FAT's years
    is brought near them.

    StatusError INVALID_PARAMETER when it is no number.
    """
    if not isinstance(wall, int | float) or wall != wall:
        raise StatusError(
            Status.INVALID_PARAMETER, f"{shown(wall)} is no time: it takes the seconds since 1970"
        )
    return min(max(wall, 0), BEYOND)


def from_dos(date: int, time: int, tenths: int) -> datetime:
    """A local time; fields that make no sense are brought to the nearest that do."""
    month, day = min(max(date >> 5 & 15, 1), 12), max(date & 31, 1)
    hour, minute, second = (
        min(time >> 11, 23),
        min(time >> 5 & 63, 59),
        min((time & 31) * 2 + tenths // 100, 59),
    )
    while True:
        try:
            return datetime(
                1980 + (date >> 9), month, day, hour, minute, second, tenths % 100 * 10000
            )
        except ValueError:
            day -= 1


def find_label(data: bytes) -> tuple[bytes, bool]:
    """The 11 bytes of the first label in a part of a directory (b"": none), and whether the
    directory ends in it.
    """
    for slot, (first, attributes) in enumerate(zip(data[::SLOT], data[11::SLOT], strict=True)):
        if not first:
            return b"", True
        label = (
            attributes & (VOLUME_LABEL | DIRECTORY) == VOLUME_LABEL
            and attributes & 0x3F != LONG_NAME
        )
        if label and first != FREE_SLOT:
            return data[slot * SLOT : slot * SLOT + 11], False
    return b"", False


class Parsed:
    """What a directory's bytes say: entries in their order, its labels, free slots as (first,
    count), and the first slot never used.

    `strays` are slots of long names that belong to no entry; they are among the free ones.
    """

    __slots__ = ("broken", "end", "entries", "free", "labels", "strays")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.labels: list[Entry] = []
        self.free: list[tuple[int, int]] = []
        self.end = 0
        self.broken: list[
            Entry
        ] = []  # whose own names were passed over: shown by the short one, or with "_"
        self.strays: list[tuple[int, int]] = []


# Long slots (attributes 15, whatever the two top bits) and the entry that they belong to; or free
# slots.
_GROUP = re.compile(
    rb"((?:[^\x00\xe5].{10}[\x0f\x4f\x8f\xcf].{20})*)([^\x00\xe5].{31})|((?:\xe5.{31})+)", re.DOTALL
)
_ORDER = [
    bytes([n | 0x40, *range(n - 1, 0, -1)]) for n in range(1, 21)
]  # first bytes of n + 1 long slots


_DOTS = [".", ".."]


def parse_directory(data: bytes, wide: bool, codepage: str = CODE_PAGE) -> Parsed:
    """Parses a whole directory; `wide`: entries have 32-bit cluster numbers (FAT32); `codepage` is
    that of short names.
    """
    parsed = Parsed()
    make, entries = Entry.__new__, parsed.entries
    parsed.end = data[::SLOT].find(0)
    if parsed.end < 0:
        parsed.end = len(data) // SLOT
    at = 0
    for long, raw, free in _GROUP.findall(data, 0, parsed.end * SLOT):  # every slot is in one group
        start = at
        if free:
            at += len(free)
            parsed.free.append((start // SLOT, len(free) // SLOT))
            continue
        at += len(long) + SLOT
        attributes, high, low, size = _numbers(raw)
        if attributes & 0x3F == LONG_NAME:  # the last of long slots without an entry
            parsed.strays.append((start // SLOT, (at - start) // SLOT))
            continue
        entry = make(Entry)
        entry.raw, entry.attributes, entry.size, entry.node, entry.codepage = (
            raw,
            attributes,
            size,
            None,
            codepage,
        )
        entry.cluster = high << 16 | low if wide else low
        entry.is_directory = attributes & DIRECTORY != 0
        name, entry.slots = _long_name(long, raw) if long else ("", 1)
        if not name:
            name = shown_short(raw[:11], raw[12], codepage)
        if entry.slots * SLOT < at - start:
            parsed.strays.append((start // SLOT, (at - start) // SLOT - entry.slots))
            if entry.slots == 1:
                parsed.broken.append(entry)
        entry.name = name
        entry.slot = at // SLOT - entry.slots
        if attributes & (VOLUME_LABEL | DIRECTORY) == VOLUME_LABEL:
            parsed.labels.append(entry)
        else:
            entries.append(entry)
    if _has_illegal(entries):
        _clean(parsed)
    parsed.free += parsed.strays
    return parsed


def _has_illegal(entries: list[Entry]) -> bool:
    """Whether one of the names cannot be."""
    names = [entry.name for entry in entries]
    if names[:2] == _DOTS and entries[1].slot == 1:
        del names[:2]  # as every subdirectory has them
    return has_illegal("".join(names)) or not all(names) or "." in names or ".." in names


def _clean(parsed: Parsed) -> None:
    """Takes away names that no path can have, which only damage or malice makes: a "/" would lead
    out of a directory.
    """
    for entry in parsed.entries:
        if entry.name in (".", "..") and entry.slot == len(entry.name) - 1:
            continue
        if entry.name.strip(".") and not ILLEGAL.search(entry.name):
            continue
        if entry.slots > 1:
            parsed.strays.append((entry.slot, entry.slots - 1))
            entry.slot += entry.slots - 1
            entry.slots = 1
            entry.name = entry.shown
        entry.name = ILLEGAL.sub("_", entry.name)
        if not entry.name.strip("."):
            entry.name = "_" * max(1, len(entry.name))
        parsed.broken.append(entry)


_one_slot = struct.Struct(
    "<B10s2xB12s2x4s"
).unpack  # order, five characters, checksum, six characters, two characters
_two_slots = struct.Struct("<" + "B10s2xB12s2x4s" * 2).unpack


def _long_name(slots: bytes, raw: bytes) -> tuple[str, int]:
    """The name in the long slots of a short entry, and the number of slots that it takes with its
    entry; ("", 1) when it makes no sense.
    """
    total = checksum(raw[:11])
    count = len(slots) // SLOT
    if count == 1:
        order, a, sum1, b, c = _one_slot(slots)
        if order == 0x41 and sum1 == total:
            return _name_of(b"".join((a, b, c)), 2)
    elif count == 2:
        order, d, sum2, e, f, lower, a, sum1, b, c = _two_slots(slots)
        if order == 0x42 and lower == 1 and sum2 == total and sum1 == total:
            return _name_of(b"".join((a, b, c, d, e, f)), 3)
    orders = slots[::SLOT]
    count = next(
        (n for n in range(1, 21) if orders.endswith(_ORDER[n - 1])), 0
    )  # slots of a name that is gone may lie in front
    slots = slots[len(slots) - count * SLOT :]
    if not count or slots[13::SLOT].count(total) != count:
        return "", 1
    parts = [
        slots[i + 1 : i + 11] + slots[i + 14 : i + 26] + slots[i + 28 : i + 32]
        for i in range(len(slots) - SLOT, -1, -SLOT)
    ]
    return _name_of(b"".join(parts), count + 1)


def _name_of(units: bytes, slots: int) -> tuple[str, int]:
    """The name in UTF-16 units up to the first 0, with its number of slots; ("", 1) when it is
    none.
    """
    try:
        text = utf_16_le_decode(units, "strict", True)[0].partition("\0")[
            0
        ]  # four times as fast as bytes.decode
    except UnicodeDecodeError:
        return "", 1
    return ("", 1) if text in ("", ".", "..") else (text, slots)

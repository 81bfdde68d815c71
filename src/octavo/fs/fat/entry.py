"""Directory entries: 32 bytes on the disk, one object in memory, and the parser that goes from one to the other.

     0  name (11)   11  attributes   12  case bits   13  created, 10 ms   14  created: time, date   18  accessed: date
    20  cluster (high)   22  written: time, date   26  cluster (low)   28  size

    time  hhhhh mmmmmm sssss (seconds / 2)      date  yyyyyyy (from 1980) mmmm ddddd

A first byte of 0 ends the directory, 0xE5 is a free slot. Long names that are incomplete or whose checksum is wrong are
passed over: the entry has its short name then (`check` reports them).
"""

from __future__ import annotations

import struct
from datetime import datetime
from time import struct_time

from octavo.fs.fat.names import ILLEGAL, checksum, shown_short

READ_ONLY, HIDDEN, SYSTEM, VOLUME_LABEL, DIRECTORY, ARCHIVE = 1, 2, 4, 8, 16, 32
LONG_NAME = 15
SLOT = 32
FREE_SLOT = 0xE5

_ENTRY = struct.Struct("<11sBBBHHHHHHHI")
_unpack = _ENTRY.unpack_from


class Entry:
    """A file or directory as its directory describes it."""

    __slots__ = (
        "name", "short", "attributes", "case", "tenths", "created_time", "created_date", "accessed_date",
        "written_time", "written_date", "cluster", "size", "slot", "slots", "node",
    )  # fmt: skip

    name: str
    short: bytes
    attributes: int
    case: int
    tenths: int
    created_time: int
    created_date: int
    accessed_date: int
    written_time: int
    written_date: int
    cluster: int
    size: int
    slot: int  # index of its first slot in the directory, long name included
    slots: int
    node: object  # the volume's Node while it has one

    @property
    def is_directory(self) -> bool:
        """True for a directory."""
        return bool(self.attributes & DIRECTORY)

    @property
    def short_name(self) -> str:
        """The 8.3 name."""
        return shown_short(self.short, 0)

    @property
    def modified(self) -> datetime:
        """When it was last written, local time; resolution 2 s."""
        return from_dos(self.written_date, self.written_time, 0)

    @property
    def created(self) -> datetime:
        """When it was created, local time; resolution 10 ms."""
        return from_dos(self.created_date, self.created_time, self.tenths)

    @property
    def flags(self) -> str:
        """Attributes as letters: read-only, hidden, system, directory, archive."""
        pairs = ((READ_ONLY, "r"), (HIDDEN, "h"), (SYSTEM, "s"), (DIRECTORY, "d"), (ARCHIVE, "a"))
        return "".join(letter if self.attributes & bit else "-" for bit, letter in pairs)

    def pack(self) -> bytes:
        """The 32 bytes of the short entry."""
        return _ENTRY.pack(
            self.short, self.attributes, self.case, self.tenths, self.created_time, self.created_date, self.accessed_date,
            self.cluster >> 16, self.written_time, self.written_date, self.cluster & 0xFFFF,
            0 if self.attributes & DIRECTORY else self.size,
        )  # fmt: skip


def new_entry(name: str, short: bytes, case: int, attributes: int, stamp: tuple[int, int, int]) -> Entry:
    """An entry of size 0 whose three times are `stamp` (date, time, tenths)."""
    entry = Entry()
    entry.name, entry.short, entry.case, entry.attributes = name, short, case, attributes
    entry.created_date, entry.created_time, entry.tenths = stamp
    entry.written_date, entry.written_time = stamp[:2]
    entry.accessed_date = stamp[0]
    entry.cluster = entry.size = entry.slot = entry.slots = 0
    entry.node = None
    return entry


def to_dos(fields: struct_time, fraction: float = 0.0) -> tuple[int, int, int]:
    """(date, time, tenths) of a local time, brought into FAT's years 1980 to 2107."""
    year = min(max(fields.tm_year, 1980), 2107)
    date = year - 1980 << 9 | fields.tm_mon << 5 | fields.tm_mday
    second = min(fields.tm_sec, 59)
    return date, fields.tm_hour << 11 | fields.tm_min << 5 | second >> 1, (second & 1) * 100 + int(fraction * 100)


def from_dos(date: int, time: int, tenths: int) -> datetime:
    """A local time; fields that make no sense are brought to the nearest that do."""
    month, day = min(max(date >> 5 & 15, 1), 12), max(date & 31, 1)
    hour, minute, second = min(time >> 11, 23), min(time >> 5 & 63, 59), min((time & 31) * 2 + tenths // 100, 59)
    while True:
        try:
            return datetime(1980 + (date >> 9), month, day, hour, minute, second, tenths % 100 * 10000)
        except ValueError:
            day -= 1


class Parsed:
    """What a directory's bytes say: entries in their order, its label, free slots as (first, count), and the first slot never used."""

    __slots__ = ("entries", "label", "free", "end", "broken_names")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.label: Entry | None = None
        self.free: list[tuple[int, int]] = []
        self.end = 0
        self.broken_names: list[str] = []  # short names of entries whose long name was passed over


def parse_directory(data: bytes, wide: bool) -> Parsed:
    """Parses a whole directory; `wide` says that entries have 32-bit cluster numbers (FAT32)."""
    parsed = Parsed()
    entries = parsed.entries
    long_parts: list[bytes] = []
    expected = long_sum = 0
    broken = False
    free_start = -1
    make = Entry.__new__
    length = len(data)
    at = 0
    while at < length:
        first = data[at]
        if not first:
            break
        if first == FREE_SLOT:
            if free_start < 0:
                free_start = at // SLOT
            broken = bool(long_parts)
            long_parts = []
            expected = 0
            at += SLOT
            continue
        if free_start >= 0:
            parsed.free.append((free_start, at // SLOT - free_start))
            free_start = -1
        attributes = data[at + 11]
        if attributes & 0x3F == LONG_NAME:
            if first & 0x40:
                broken = bool(long_parts)
                long_parts = []
                expected = first & 0x3F
                long_sum = data[at + 13]
            if expected and first & 0x3F == expected and data[at + 13] == long_sum:
                long_parts.append(data[at + 1 : at + 11] + data[at + 14 : at + 26] + data[at + 28 : at + 32])
                expected -= 1
            else:
                broken, long_parts, expected = True, [], 0
            at += SLOT
            continue
        entry = make(Entry)
        (
            short, _, case, entry.tenths, entry.created_time, entry.created_date, entry.accessed_date, high,
            entry.written_time, entry.written_date, low, entry.size,
        ) = _unpack(data, at)  # fmt: skip
        entry.short, entry.case, entry.attributes = short, case, attributes
        entry.cluster = high << 16 | low if wide else low
        entry.node = None
        count = len(long_parts)
        name = ""
        if count:
            if not expected and checksum(short) == long_sum:
                name = _long_name(long_parts)
            else:
                broken = True
            long_parts = []
        if broken:
            broken = False
            parsed.broken_names.append(shown_short(short, case))
        if name:
            entry.slots = count + 1
        else:
            entry.slots = 1
            name = shown_short(short, case)
        expected = 0
        entry.name = name
        entry.slot = at // SLOT + 1 - entry.slots
        at += SLOT
        if attributes & VOLUME_LABEL:
            parsed.label = parsed.label or entry
        else:
            entries.append(entry)
    if free_start >= 0:
        parsed.free.append((free_start, at // SLOT - free_start))
    parsed.end = at // SLOT
    return parsed


def _long_name(parts: list[bytes]) -> str:
    """The name in slots that were read last part first; "" when it makes no sense."""
    parts.reverse()
    try:
        text = b"".join(parts).decode("utf-16-le").partition("\0")[0]
    except UnicodeDecodeError:
        return ""
    return "" if ILLEGAL.search(text) or text in (".", "..") else text

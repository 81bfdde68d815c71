"""Directory entries: 32 bytes on the disk, one object in memory, and the parser that goes from one to the other.

     0  name (11)   11  attributes   12  case bits   13  created, 10 ms   14  created: time, date   18  accessed: date
    20  cluster (high)   22  written: time, date   26  cluster (low)   28  size

    time  hhhhh mmmmmm sssss (seconds / 2)      date  yyyyyyy (from 1980) mmmm ddddd

A first byte of 0 ends the directory, 0xE5 is a free slot. Long names that are incomplete or whose checksum is wrong are
passed over: the entry has its short name then (`check` reports them).
"""

from __future__ import annotations

import re
import struct
from codecs import utf_16_le_decode
from datetime import datetime
from time import struct_time

from octavo.fs.fat.names import ILLEGAL, checksum, shown_short

READ_ONLY, HIDDEN, SYSTEM, VOLUME_LABEL, DIRECTORY, ARCHIVE = 1, 2, 4, 8, 16, 32
LONG_NAME = 15
SLOT = 32
FREE_SLOT = 0xE5

_ENTRY = struct.Struct("<11sBBBHHHHHHHI")
_unpack = _ENTRY.unpack


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

    __slots__ = ("broken_names", "end", "entries", "free", "label")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.label: Entry | None = None
        self.free: list[tuple[int, int]] = []
        self.end = 0
        self.broken_names: list[str] = []  # short names of entries whose long name was passed over


# Long slots (attributes 15, whatever the two top bits) and the entry that they belong to; or free slots.
_GROUP = re.compile(rb"((?:[^\x00\xe5].{10}[\x0f\x4f\x8f\xcf].{20})*)([^\x00\xe5].{31})|((?:\xe5.{31})+)", re.DOTALL)
_ORDER = [bytes([n | 0x40, *range(n - 1, 0, -1)]) for n in range(1, 21)]  # first bytes of n + 1 long slots


def parse_directory(data: bytes, wide: bool) -> Parsed:
    """Parses a whole directory; `wide` says that entries have 32-bit cluster numbers (FAT32)."""
    parsed = Parsed()
    match, make, entries = _GROUP.match, Entry.__new__, parsed.entries
    at = 0
    orphans = False  # long slots without an entry were just passed over
    while found := match(data, at):
        start, at = at, found.end()
        long, raw, free = found.groups()
        if free is not None:
            parsed.free.append((start // SLOT, (at - start) // SLOT))
            continue
        entry = make(Entry)
        (
            short, attributes, case, entry.tenths, entry.created_time, entry.created_date, entry.accessed_date, high,
            entry.written_time, entry.written_date, low, entry.size,
        ) = _unpack(raw)  # fmt: skip
        if attributes & 0x3F == LONG_NAME:
            orphans = True
            continue
        entry.short, entry.case, entry.attributes = short, case, attributes
        entry.cluster = high << 16 | low if wide else low
        entry.node = None
        name, entry.slots = _long_name(long, short) if long else ("", 1)
        if not name:
            name = shown_short(short, case)
        if orphans or entry.slots * SLOT < at - start:
            orphans = False
            parsed.broken_names.append(shown_short(short, case))
        entry.name = name
        entry.slot = at // SLOT - entry.slots
        if attributes & VOLUME_LABEL:
            parsed.label = parsed.label or entry
        else:
            entries.append(entry)
    parsed.end = at // SLOT
    return parsed


def _long_name(slots: bytes, short: bytes) -> tuple[str, int]:
    """The name in long slots and the number of slots that it takes with its entry; ("", 1) when it makes no sense."""
    orders = slots[::SLOT]
    count = orders[0] & 0x3F
    if count != len(orders):  # slots of a name that is gone may lie in front
        count = orders[-1:] == b"\x41" or next((n for n in range(2, 21) if orders.endswith(_ORDER[n - 1])), 0)
        slots = slots[len(slots) - count * SLOT :]
    if not 0 < count <= 20 or slots[::SLOT] != _ORDER[count - 1] or slots[13::SLOT] != bytes((checksum(short),)) * count:
        return "", 1
    units = slots[1:11] + slots[14:26] + slots[28:32]
    for i in range(SLOT, len(slots), SLOT):
        units = slots[i + 1 : i + 11] + slots[i + 14 : i + 26] + slots[i + 28 : i + 32] + units
    try:
        text = utf_16_le_decode(units, "strict", True)[0]  # four times as fast as bytes.decode
    except UnicodeDecodeError:
        return "", 1
    end = text.find("\0")
    if end >= 0:
        text = text[:end]
    if not text or ILLEGAL.search(text) or text in (".", ".."):
        return "", 1
    return text, count + 1

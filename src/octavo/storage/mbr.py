"""MBR: the partition table of the PC, and the chain of its logical partitions.

    446  4 entries of 16 bytes: 0 active  4 type  8 first sector  12 sectors      510  55 AA

    extended partition   [table|        logical 5        ] [table|      logical 6     ] ...
                            |                               ^ each table's first entry is a logical
                            '-------------------------------'   partition, counted from the table;
                                                                its extended entry leads to the next
                                                                table, counted from the first one

The sectors that a table counts are the disk's: 512 bytes, or 2048 or 4096 on some. Nothing in the
table says which: who lists says it.

Source: "Minimal Partition Table Specification" (A. Brouwer), and what sfdisk counts. Departures: of
two extended partitions the first one is read, as by sfdisk; a chain has at most 252 tables, and
ends where one of them, or its partition, lies in one before it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace

from octavo.storage.device import SECTOR, Device
from octavo.storage.partition import Entry, Read, misplaced, overlaps

EXTENDED_TYPES = frozenset((0x05, 0x0F, 0x15, 0x1F, 0x85))
GPT_TYPE = 0xEE
MOST_LINKS = 252
_AT = 446


def is_table(sector: bytes) -> bool:
    """Whether a sector has a table: its mark, and no entry that is neither active nor not."""
    return (
        len(sector) >= SECTOR
        and sector[510:512] == b"\x55\xaa"
        and not any(sector[_AT + 16 * i] & 0x7F for i in range(4))
    )


def used(sector: bytes) -> Iterator[tuple[int, int, int, int]]:
    """(number from 1, type, first sector, sectors) of a table's entries that have a type."""
    for i in range(4):
        kind, first, count = struct.unpack_from("<4xB3xII", sector, _AT + 16 * i)
        if kind:
            yield i + 1, kind, first, count


async def read_mbr(
    device: Device, read: Read, sector: bytes, unit: int
) -> tuple[list[Entry], list[str], list[int]]:
    """The partitions of the table in a device's first sector, which counts sectors of `unit` bytes;
    what is wrong with them; and where the tables of the logical ones begin, in bytes.
    """
    found: list[Entry] = []
    tables: list[int] = []
    faults: list[str] = []
    extended: Entry | None = None
    for number, kind, first, count in used(sector):
        entry = _entry(device, number, kind, first, count, unit, faults)
        if entry is None:
            continue
        if sector[_AT + 16 * (number - 1)]:
            entry = replace(entry, active=True)
        found.append(entry)
        if kind in EXTENDED_TYPES and extended is None:
            extended = entry
        elif kind in EXTENDED_TYPES:
            faults.append(f"partition {number} is a second extended one, which is not read")
    faults += overlaps(found)
    if extended is not None:
        found += await _logical(device, read, extended, faults, tables)
    return found, faults, tables


def _entry(
    device: Device, number: int, kind: int, first: int, count: int, unit: int, faults: list[str]
) -> Entry | None:
    """The entry of a partition that begins on the device. What is wrong is added to `faults`."""
    sectors = device.size // unit
    if why := misplaced(number, first, sectors):
        faults.append(why)
        return None
    if not count:
        faults.append(f"partition {number} has no sectors")
        return None
    if first + count > sectors:
        faults.append(
            f"partition {number} ends at sector {first + count - 1}, and the device has "
            f"{sectors} sectors"
        )
    return Entry(number, f"0x{kind:02X}", first * unit, count * unit, unit=unit)


async def _logical(
    device: Device, read: Read, extended: Entry, faults: list[str], tables: list[int]
) -> list[Entry]:
    """The logical partitions of an extended one, up to where their chain is wrong."""
    unit = extended.unit
    base = at = extended.start // unit
    room = range(base, min(extended.end, device.size) // unit)
    where = f"partition {extended.number} is an extended one, whose chain"
    taken: list[range] = []  # sectors of the tables and partitions before
    found: list[Entry] = []
    while True:
        if why := _astray(at, room, taken):
            return _end(found, faults, f"{where} leads to sector {at}, {why}")
        if not is_table(sector := await read(at * unit, SECTOR)):
            return _end(found, faults, f"{where} leads to sector {at}, where there is no table")
        taken.append(range(at, at + 1))
        tables.append(at * unit)
        own = list(used(sector))
        partition = next((e for e in own if e[1] not in EXTENDED_TYPES and e[3]), None)
        if partition is not None:
            _, kind, first, count = partition
            sectors = range(at + first, at + first + count)
            if any(sectors.start < t.stop and t.start < sectors.stop for t in taken):
                return _end(found, faults, f"partition {len(found) + 5} lies on one before it")
            entry = _entry(device, len(found) + 5, kind, at + first, count, unit, faults)
            if entry is None:
                return found
            if entry.end > extended.end:
                faults.append(f"partition {entry.number} ends behind the extended partition")
            taken.append(sectors)
            found.append(entry)
        link = next((first for _, kind, first, n in own if kind in EXTENDED_TYPES and n), None)
        if link is None:
            return found
        at = base + link


def _astray(at: int, room: range, taken: list[range]) -> str:
    """Why the next table of a chain cannot be in a sector; "" when it can."""
    if at not in room:
        return "which is outside of the partition"
    if any(at in sectors for sectors in taken):
        return "where it has been"
    if len(taken) >= 2 * MOST_LINKS:
        return f"and there are {MOST_LINKS} tables before"
    return ""


def _end(found: list[Entry], faults: list[str], why: str) -> list[Entry]:
    """What a chain has that ends because of a fault."""
    faults.append(f"{why}: what follows is not read")
    return found

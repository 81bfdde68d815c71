"""GPT: the partition table of UEFI.

    sector 0   an MBR with one partition of type 0xEE, so that older programs leave the disk alone
    sector 1   header          and the last sector of the disk: its backup
    sector 2   entries         and before the backup: their backup, for most disks 128 of 128 bytes

    header     0 "EFI PART"   8 revision   12 its bytes   16 its CRC   24 its sector   32 the other
               40 first sector for partitions   48 last   56 GUID of the disk
               72 sector of the entries   80 how many   84 bytes in one   88 their CRC
    entry      0 type   16 GUID   32 first sector   40 last   48 attributes   56 name, 36 of UTF-16

A header counts when its own CRC, its sector and the CRC of its entries are right; else its backup
does. Sectors have 512 bytes, or 2048 or 4096: where the header is found says which.

Source: UEFI Specification 2.10, 5.3. Departures: an array of entries has at most 1 MiB, which are
8,192 entries of 128 bytes; the sectors that the header keeps for partitions are not asked for.
"""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID
from zlib import crc32

from octavo.storage.device import Device
from octavo.storage.partition import UNITS, Entry, Read, misplaced, overlaps

MARK = b"EFI PART"
MOST_ARRAY = 1 << 20  # bytes of entries
MOST_ENTRY = 4096
_HEADER = struct.Struct("<8sIII4xQQQQ16sQIII")
_ENTRY = struct.Struct("<16s16sQQQ72s")


class _Header(NamedTuple):
    """A header whose CRC is right."""

    other: int  # sector of the other header
    first: int  # sector for partitions
    last: int
    guid: bytes  # of the disk
    entries: int  # sector of the entries
    number: int
    size: int  # bytes in an entry
    crc: int  # of the entries


class _HeaderError(Exception):
    """Why a header or its entries do not count."""


class Gpt(NamedTuple):
    """What a GPT says: its partitions, the bytes that are for partitions (first, end), the GUID of
    the disk, the bytes in a sector; and what is wrong with it. Without `whole` there is none that
    counts.
    """

    entries: list[Entry]
    faults: list[str]
    whole: bool = True
    room: tuple[int, int] = (0, 0)
    guid: str = ""
    unit: int = 512


async def read_gpt(device: Device, read: Read) -> Gpt:
    """The GPT of a device, by its header or by the backup."""
    why: list[str] = []
    for unit in UNITS:
        try:
            header, data = await _table(device, read, 1, unit)
        except _HeaderError as bad:
            why += [str(bad)] if str(bad) else []
            continue
        return _gpt(
            device, header, data, unit, await _judge_backup(device, read, header, data, unit)
        )
    why = why or ["there is no GPT header in sector 1"]
    for unit in UNITS:
        try:
            header, data = await _table(device, read, device.size // unit - 1, unit)
        except _HeaderError as bad:
            why += [f"the backup: {bad}"] if str(bad) else []
            continue
        return _gpt(device, header, data, unit, [f"{'; '.join(why)}: its backup is used"])
    return Gpt([], ["; ".join(why) + ", and no backup of it is whole"], False)


def _gpt(device: Device, header: _Header, data: bytes, unit: int, faults: list[str]) -> Gpt:
    """What a header that counts, and its entries, say."""
    entries, more = _entries(device, data, header.size, unit)
    room = header.first * unit, min((header.last + 1) * unit, device.size)
    return Gpt(entries, faults + more, True, room, _guid(header.guid), unit)


def _guid(data: bytes) -> str:
    return str(UUID(bytes_le=data)).upper()


async def _judge_backup(
    device: Device, read: Read, header: _Header, data: bytes, unit: int
) -> list[str]:
    """What is wrong with the backup of a header that counts."""
    try:
        backup, copy = await _table(device, read, header.other, unit)
    except _HeaderError as bad:
        return [f"the backup of the GPT header does not count: {bad or 'it is not there'}"]
    if backup[5:] != header[5:] or copy != data:
        return ["the backup of the GPT header has other partitions"]
    return []


async def _table(device: Device, read: Read, at: int, unit: int) -> tuple[_Header, bytes]:
    """The header in a sector, and its entries. _HeaderError, with no text where no header is."""
    sectors = device.size // unit
    if not 0 < at < sectors:
        raise _HeaderError(f"its place is sector {at}, and the device has {sectors} sectors")
    header = _parse(await read(at * unit, unit), at)
    length = header.number * header.size
    if not 1 < header.entries <= sectors - -(-length // unit):
        raise _HeaderError(
            f"the entries of the GPT header in sector {at} would begin at sector {header.entries}, "
            f"and the device has {sectors} sectors"
        )
    data = await read(header.entries * unit, length)
    if crc32(data) != header.crc:
        raise _HeaderError(f"the checksum of the entries of the GPT header in sector {at} is wrong")
    return header, data


def _parse(sector: bytes, at: int) -> _Header:
    fields = _HEADER.unpack_from(sector)
    (mark, _, length, crc, here, other, first, last, guid, entries, count, size, array) = fields
    if mark != MARK:
        raise _HeaderError
    what = f"the GPT header in sector {at}"
    if not _HEADER.size <= length <= len(sector):
        raise _HeaderError(f"{what} claims to have {length} bytes")
    if crc32(sector[:16] + bytes(4) + sector[20:length]) != crc:
        raise _HeaderError(f"the checksum of {what} is wrong")
    if here != at:
        raise _HeaderError(f"{what} says that it is in sector {here}")
    if not 128 <= size <= MOST_ENTRY or size & (size - 1):
        raise _HeaderError(f"{what} claims to have entries of {size} bytes")
    if count * size > MOST_ARRAY:
        raise _HeaderError(f"{what} claims to have {count} entries")
    return _Header(other, first, last, guid, entries, count, size, array)


def _entries(device: Device, data: bytes, size: int, unit: int) -> tuple[list[Entry], list[str]]:
    """The partitions in an array of entries, and what is wrong with them."""
    found: list[Entry] = []
    faults: list[str] = []
    sectors = device.size // unit
    for number, at in enumerate(range(0, len(data), size), 1):
        kind, own, first, last, _, name = _ENTRY.unpack_from(data, at)
        if not any(kind):
            continue
        if first > last:
            faults.append(
                f"partition {number} begins at sector {first} and ends before, at sector {last}"
            )
            continue
        if why := misplaced(number, first, sectors):
            faults.append(why)
            continue
        if last >= sectors:
            faults.append(
                f"partition {number} ends at sector {last}, and the device has {sectors} sectors"
            )
        text = name.decode("utf-16-le", "replace").partition("\0")[0]
        size = (last - first + 1) * unit
        found.append(Entry(number, _guid(kind), first * unit, size, text, unit, guid=_guid(own)))
    return found, faults + overlaps(found)

"""Which partitions a device has: a list, and what is wrong with it. Nobody is chosen here: mount
does that.

A device with an MBR that stands for a GPT has those of the GPT, if that or its backup is whole;
else those of the MBR. Without an MBR there may be a GPT whose first sector was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from octavo.storage.device import SECTOR, Device
from octavo.storage.gpt import MARK, read_gpt
from octavo.storage.mbr import GPT_TYPE, is_table, read_mbr, used
from octavo.storage.partition import UNITS, Entry, Read


@dataclass(slots=True)
class PartitionTable:
    """A device's partitions, in the order of their numbers; `scheme` is "MBR", "GPT", or "" for no
    table. `faults` are sentences, the partitions that do not begin on the device among them.
    """

    scheme: str = ""
    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


async def partitions(device: Device, read: Read, unit: int = SECTOR) -> PartitionTable:
    """The partitions of a device, whose bytes `read` gives: its StatusError is all that is raised.

    `unit` is the bytes in a sector as an MBR counts; a GPT says its own.
    """
    if device.size < 2 * SECTOR:
        return PartitionTable()
    sector = await read(0, SECTOR)
    kinds = [kind for _, kind, _, _ in used(sector)] if is_table(sector) else []
    faults: list[str] = []
    if GPT_TYPE in kinds or (not kinds and await _looks_like_gpt(device, read)):
        entries, faults, whole = await read_gpt(device, read)
        if whole:
            if not kinds:
                faults.append("there is no MBR in sector 0 that stands for the GPT")
            return PartitionTable("GPT", entries, faults)
        if not kinds:
            return PartitionTable("", [], faults)
        number = next(n for n, kind, _, _ in used(sector) if kind == GPT_TYPE)
        faults = [f"partition {number} stands for GPT partitions: {why}" for why in faults]
    if not kinds:
        return PartitionTable("MBR" if is_table(sector) else "")
    entries, more = await read_mbr(device, read, sector, unit)
    return PartitionTable("MBR", entries, faults + more)


async def _looks_like_gpt(device: Device, read: Read) -> bool:
    """Whether the mark of a GPT header is where one would be."""
    for unit in UNITS:
        if device.size > unit and await read(unit, len(MARK)) == MARK:
            return True
    return False

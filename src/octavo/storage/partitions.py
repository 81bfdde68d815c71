"""Which partitions a device has: a list, and what is wrong with it. Nobody is chosen here: mount
does that.

A device with an MBR that stands for a GPT has those of the GPT, if that or its backup is whole;
else those of the MBR. Without an MBR there may be a GPT whose first sector was lost.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from octavo.status import Status, StatusError
from octavo.storage.device import SECTOR, Device
from octavo.storage.gpt import MARK, read_gpt
from octavo.storage.mbr import GPT_TYPE, is_table, read_mbr, used
from octavo.storage.partition import UNITS, Entry, Read

_MOST_TOLD = 16  # partitions, and faults, in a sentence


class Gap(NamedTuple):
    """Bytes of a disk that are in no partition: the first, how many, and the number of the extended
    partition that they are in (0: none).
    """

    start: int
    size: int
    within: int = 0


@dataclass(slots=True)
class PartitionTable:
    """A device's partitions, in the order of their numbers; `scheme` is "MBR", "GPT", or "" for no
    table. `faults` are sentences, the partitions that do not begin on the device among them. `room`
    are the bytes that may be in partitions (first, end), `tables` where the tables of logical ones
    begin, `guid` is what the table calls the disk, `unit` the bytes in a sector as it counts.
    """

    scheme: str = ""
    entries: list[Entry] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    room: tuple[int, int] = (0, 0)
    tables: list[int] = field(default_factory=list)
    guid: str = ""
    unit: int = SECTOR

    def gaps(self) -> list[Gap]:
        """What is free between partitions, and within an extended one, in the order of the disk."""
        mbr = self.scheme == "MBR"
        logical = [e for e in self.entries if mbr and e.number > 4]
        main = [e for e in self.entries if e not in logical]
        found = [Gap(*g) for g in _between(*self.room, [(e.start, e.end) for e in main])]
        taken = [(e.start, e.end) for e in logical] + [(t, t + self.unit) for t in self.tables]
        for entry in main:
            if mbr and self.tables and entry.start == self.tables[0]:
                inner = _between(entry.start, min(entry.end, self.room[1]), taken)
                found += [Gap(*g, entry.number) for g in inner]
        return sorted(found)

    def entry(self, number: int, device: str) -> Entry:
        """The partition of a number. StatusError NO_SUCH_DEVICE, which says what there is."""
        found = next((e for e in self.entries if e.number == number), None)
        if found is not None:
            return found
        numbers = [str(e.number) for e in self.entries[:_MOST_TOLD]]
        more = len(self.entries) - len(numbers)
        has = "no partition table"
        if self.scheme:
            has = f"no partition {number}, but {', '.join(numbers)}" if numbers else "no partitions"
            has += f" and {more} more" if more else ""
        why = "".join(f"; {fault}" for fault in self.faults[:_MOST_TOLD])
        raise StatusError(Status.NO_SUCH_DEVICE, f"{device}: has {has}{why}")


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
        gpt = await read_gpt(device, read)
        faults = gpt.faults
        if gpt.whole:
            if not kinds:
                faults.append("there is no MBR in sector 0 that stands for the GPT")
            return PartitionTable(
                "GPT", gpt.entries, faults, gpt.room, guid=gpt.guid, unit=gpt.unit
            )
        if not kinds:
            return PartitionTable("", [], faults)
        number = next(n for n, kind, _, _ in used(sector) if kind == GPT_TYPE)
        faults = [f"partition {number} stands for GPT partitions: {why}" for why in faults]
    if not is_table(sector):
        return PartitionTable()
    entries, more, tables = await read_mbr(device, read, sector, unit)
    room = unit, device.size // unit * unit
    name = f"0x{int.from_bytes(sector[440:444], 'little'):08x}"
    return PartitionTable("MBR", entries, faults + more, room, tables, name, unit)


def _between(first: int, end: int, taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """(first, how many) of the bytes from `first` to `end` that are in none of `taken`."""
    found: list[tuple[int, int]] = []
    for start, stop in sorted(taken):
        if first < min(start, end):
            found.append((first, min(start, end) - first))
        first = max(first, stop)
    return [*found, (first, end - first)] if first < end else found


async def _looks_like_gpt(device: Device, read: Read) -> bool:
    """Whether the mark of a GPT header is where one would be."""
    for unit in UNITS:
        if device.size > unit and await read(unit, len(MARK)) == MARK:
            return True
    return False

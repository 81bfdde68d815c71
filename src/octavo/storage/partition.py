"""A partition: a part of a device as a device, and what a table says of it.

`octavo.storage.partitions` lists what tables say; a `Partition` is made of an entry to mount what
is in it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from octavo.memory.pagers.medium import Request
from octavo.storage.device import SECTOR, Device

Read = Callable[[int, int], Awaitable[bytes]]  # bytes of a device: (first, how many)
UNITS = (SECTOR, 2048, 4096)  # bytes in a disk's sector

CONTAINERS = frozenset(("0x05", "0x0F", "0x15", "0x1F", "0x85", "0xEE"))  # types: of others
KINDS = {
    "0x01": "FAT12",
    "0x04": "FAT16",
    "0x05": "extended",
    "0x06": "FAT16",
    "0x07": "NTFS or exFAT",
    "0x0B": "FAT32",
    "0x0C": "FAT32",
    "0x0E": "FAT16",
    "0x0F": "extended",
    "0x15": "hidden extended",
    "0x1F": "hidden extended",
    "0x82": "Linux swap",
    "0x83": "Linux",
    "0x85": "Linux extended",
    "0x8E": "Linux LVM",
    "0xA5": "FreeBSD",
    "0xEE": "GPT",
    "0xEF": "EFI system",
    "0xFD": "Linux RAID",
    "024DEE41-33E7-11D3-9D69-0008C781F39F": "MBR",
    "0FC63DAF-8483-4772-8E79-3D69D8477DE4": "Linux",
    "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F": "Linux swap",
    "21686148-6449-6E6F-744E-656564454649": "BIOS boot",
    "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709": "Linux root",
    "933AC7E1-2EB4-4F13-B844-0E14E2AEF915": "Linux home",
    "A19D880F-05FC-4D3B-A006-743F0F84911E": "Linux RAID",
    "C12A7328-F81F-11D2-BA4B-00A0C93EC93B": "EFI system",
    "DE94BBA4-06D1-4D40-A16A-BFD50179D6AC": "Windows recovery",
    "E3C9E316-0B5C-4DB8-817D-F92DF00215AE": "Microsoft reserved",
    "E6D6D379-F507-44C2-A23C-238F2A3DF928": "Linux LVM",
    "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7": "basic data",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """What a table says of one partition: its number as sfdisk counts (logical ones from 5), its
    type ("0x83" or a GUID), its first byte and its bytes, its name, and the bytes in the sectors
    that the table counts; whether an MBR has it active, and the GUID that a GPT gives it. It begins
    on the device, and may end beyond it.
    """

    number: int
    type: str
    start: int
    size: int
    name: str = ""
    unit: int = SECTOR
    active: bool = False
    guid: str = ""

    @property
    def kind(self) -> str:
        """A short name of the type; "" for one that is not known here."""
        return KINDS.get(self.type, "")

    @property
    def title(self) -> str:
        """What sentences call it."""
        kind = self.type if self.type.startswith("0x") else self.kind or self.type
        return f"partition {self.number} of type {kind}"

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.start + self.size


class Partition(Device):
    """The bytes of an entry on another device, as far as they are on it. Closing it closes that
    device.
    """

    def __init__(
        self, device: Device, entry: Entry, name: str = "", read_only: bool | None = None
    ) -> None:
        size = min(entry.size, device.size - entry.start) // SECTOR * SECTOR
        assert entry.start >= 0 and size >= 0, "a partition begins on its device"
        assert read_only is not False or not device.read_only, "what is read-only stays so"
        super().__init__(
            name or f"{device.name}, partition {entry.number}",
            size,
            device.read_only if read_only is None else read_only,
            device.removable,
        )
        self.device = device
        self.watchers = device.watchers
        self._only_read = read_only is True  # whatever the medium is
        self.entry = entry

    def _shift(self, requests: Sequence[Request]) -> list[Request]:
        start = self.entry.start
        return [Request(op, start + place, frames) for op, place, frames in requests]

    async def _read(self, requests: Sequence[Request]) -> None:
        await self.device.submit(self._shift(requests))

    async def _write(self, requests: Sequence[Request]) -> None:
        await self.device.submit(self._shift(requests))

    def refresh(self) -> None:
        """As the device behind."""
        self.device.refresh()
        self.read_only = self._only_read or self.device.read_only

    async def _flush(self) -> None:
        await self.device.flush()

    def close(self) -> None:
        """Closes the whole device, once: others may have a part of it open, too."""
        if not self.closed:
            super().close()
            self.device.close()


def place_of(device: Device) -> tuple[Device, int]:
    """The whole device that one is a part of, or is itself, and where on it the part begins."""
    first = 0
    while isinstance(device, Partition):
        first += device.entry.start
        device = device.device
    return device, first


def misplaced(number: int, first: int, sectors: int) -> str:
    """Why partition `number` cannot begin at a sector of a device; "" when it can."""
    where = f"partition {number} begins at sector {first}"
    if not first:
        return f"{where}, where the table is: a volume there is the whole device's"
    return "" if first < sectors else f"{where}, and the device has {sectors} sectors"


def overlaps(entries: Sequence[Entry]) -> list[str]:
    """A sentence for each entry that begins before one that begins before it ends."""
    out: list[str] = []
    last: Entry | None = None
    for entry in sorted(entries, key=lambda e: (e.start, e.number)):
        if last is not None and entry.start < last.end:
            out.append(f"partition {entry.number} begins in partition {last.number}")
        if last is None or entry.end > last.end:
            last = entry
    return out

"""Partitions: a part of a device as a device, and the MBR that says where the parts are.

    446  4 entries of 16 bytes: 0 active  4 type  8 first sector  12 sectors      510  55 AA

Types say little about what is in a partition: EFI system partitions (0xEF) have FAT volumes, boot
managers hide partitions under other types (0x11 for 0x01), and some cards have FAT volumes in
partitions of types that belong to others. So all but the extended ones are candidates, those of
FAT's types first.

The sectors that the table counts are the disk's: 512 bytes, or 2048 or 4096 on some. Nothing in the
table says which, and each is tried, 512 first; a volume that is found by larger ones must have
sectors of that size itself, or fill its partition.

Departures: primary partitions only; extended partitions and GPT are refused with a sentence.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from octavo.memory.pagers.medium import Request
from octavo.storage.device import SECTOR, Device

_PLAIN = (0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E)
FAT_TYPES = frozenset((*_PLAIN, *(0x10 | kind for kind in _PLAIN), 0xEF))
UNITS = (SECTOR, 2048, 4096)  # bytes in a disk's sector
EXTENDED_TYPES = frozenset((0x05, 0x0F, 0x15, 0x1F, 0x85))
GPT_TYPE = 0xEE


class Partition(Device):
    """Bytes [start, start + size) of another device, of a type that the MBR gives it in sectors of
    `unit` bytes. Closing it closes that device.
    """

    def __init__(
        self, device: Device, number: int, start: int, size: int, kind: int = 0, unit: int = SECTOR
    ) -> None:
        super().__init__(
            f"{device.name}, partition {number}", size, device.read_only, device.removable
        )
        self.device = device
        self.number = number
        self.start = start
        self.kind = kind
        self.unit = unit

    def _shift(self, requests: Sequence[Request]) -> list[Request]:
        return [Request(op, self.start + place, frames) for op, place, frames in requests]

    async def _read(self, requests: Sequence[Request]) -> None:
        await self.device.submit(self._shift(requests))

    async def _write(self, requests: Sequence[Request]) -> None:
        await self.device.submit(self._shift(requests))

    async def _flush(self) -> None:
        await self.device.flush()

    def close(self) -> None:
        """Closes the whole device."""
        super().close()
        self.device.close()


def partitions(device: Device, sector: bytes) -> tuple[list[Partition], list[str]]:
    """Where a device's MBR says that volumes may be, likeliest first, and why each other of its
    partitions is none.

    Both lists are empty when sector 0 is no MBR. A partition ends with the device at the latest.
    """
    if (
        len(sector) < SECTOR
        or sector[510:512] != b"\x55\xaa"
        or any(sector[446 + 16 * i] & 0x7F for i in range(4))
    ):
        return [], []
    found: list[Partition] = []
    others: list[str] = []
    for i in range(4):
        kind, first, count = struct.unpack_from("<4xB3xII", sector, 446 + 16 * i)
        if not kind:
            continue
        if kind == GPT_TYPE:
            others.append(
                f"partition {i + 1} stands for GPT partitions, which Octavo does not read yet"
            )
        elif kind in EXTENDED_TYPES:
            others.append(f"partition {i + 1} is an extended one, which Octavo does not read yet")
        elif not first or first * SECTOR >= device.size:
            sectors = device.size // SECTOR
            others.append(
                f"partition {i + 1} begins at sector {first}, and the device has {sectors} sectors"
            )
        else:
            fits = [unit for unit in UNITS if first * unit < device.size]
            found += [
                Partition(
                    device,
                    i + 1,
                    first * unit,
                    min(count * unit, device.size - first * unit),
                    kind,
                    unit,
                )
                for unit in fits
            ]
    return sorted(found, key=lambda p: (p.unit, p.kind not in FAT_TYPES)), others

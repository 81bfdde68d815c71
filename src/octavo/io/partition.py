"""Partitions: a part of a device as a device, and the MBR that says where the parts are.

    446  4 entries of 16 bytes: 0 active  4 type  8 first sector  12 sectors      510  55 AA

Departures: primary partitions only; extended partitions and GPT are refused with a sentence.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from octavo.io.device import SECTOR, Device, Extent
from octavo.status import Status, StatusError

FAT_TYPES = frozenset((0x01, 0x04, 0x06, 0x0B, 0x0C, 0x0E))
GPT_TYPE = 0xEE


class Partition(Device):
    """Bytes [start, start + size) of another device. Closing it closes that device."""

    def __init__(self, device: Device, number: int, start: int, size: int) -> None:
        super().__init__(f"{device.name}, partition {number}", size, device.read_only, device.removable)
        self.device = device
        self.start = start

    def _shift(self, extents: Sequence[Extent]) -> list[Extent]:
        return [(self.start + offset, buffers) for offset, buffers in extents]

    async def _read(self, extents: Sequence[Extent]) -> None:
        await self.device.read(self._shift(extents))

    async def _write(self, extents: Sequence[Extent]) -> None:
        await self.device.write(self._shift(extents))

    async def _flush(self) -> None:
        await self.device.flush()

    def close(self) -> None:
        """Closes the whole device."""
        self.device.close()


def fat_partition(device: Device, sector: bytes) -> Partition | None:
    """The first FAT partition that a device's MBR names; None when sector 0 is no MBR. StatusError for a damaged entry."""
    if len(sector) < SECTOR or sector[510:512] != b"\x55\xaa" or any(sector[446 + 16 * i] & 0x7F for i in range(4)):
        return None
    kinds = []
    for i in range(4):
        kind, first, count = struct.unpack_from("<4xB3xII", sector, 446 + 16 * i)[0:3]
        if not kind:
            continue
        kinds.append(kind)
        if kind not in FAT_TYPES:
            continue
        if not first or first * SECTOR >= device.size:
            raise StatusError(
                Status.UNRECOGNIZED_VOLUME,
                f"{device.name}: partition {i + 1} begins at sector {first}, outside the device of {device.size // SECTOR} sectors",
            )
        return Partition(device, i + 1, first * SECTOR, min(count * SECTOR, device.size - first * SECTOR))
    if kinds and all(k == GPT_TYPE for k in kinds):
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{device.name}: has GPT partitions, which Octavo does not read yet")
    if kinds:
        found = ", ".join(f"{k:#04x}" for k in kinds)
        raise StatusError(Status.UNRECOGNIZED_VOLUME, f"{device.name}: has no FAT partition among its primary ones (types {found})")
    return None

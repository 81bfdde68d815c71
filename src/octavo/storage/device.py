"""What a storage device is to the rest of the system.

A request is a list of extents: a byte offset on the device and the buffers that go there one after
the other. Buffers are frames of RAM: no device copies. Offsets and lengths are multiples of the
sector size, within the device.

A device fails a request whole, with one StatusError; the caller splits when it must know which part
was at fault.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.arguments import given, invalid, shown
from octavo.memory.pagers.medium import Extent
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.statistics import DeviceStatistics

SECTOR = 512
LARGEST_DEVICE = (1 << 64) - 1  # bytes


@dataclass
class DeviceCounts:
    """What a device has done: requests and bytes; `waits` counts the requests that had to wait for
    the host.
    """

    reads: int = 0
    read_bytes: int = 0
    writes: int = 0
    write_bytes: int = 0
    flushes: int = 0
    waits: int = 0
    errors: int = 0


class Device(ABC):
    """A block device of `size` bytes in sectors of SECTOR bytes."""

    name: str
    size: int
    read_only: bool
    removable: bool  # a floppy: gets A: or B:
    closed = False

    def __init__(self, name: str, size: int, read_only: bool, removable: bool) -> None:
        self.name = name
        self.size = size
        self.read_only = read_only
        self.removable = removable
        self.counts = DeviceCounts()

    async def read(self, extents: Sequence[Extent]) -> None:
        """Fills the buffers from the device."""
        length = self._admit(extents, "read")
        self.counts.reads += 1
        try:
            await self._read(extents)
        except StatusError:
            self.counts.errors += 1
            raise
        self.counts.read_bytes += length

    async def write(self, extents: Sequence[Extent]) -> None:
        """Writes the buffers to the device."""
        if self.read_only:
            raise StatusError(
                Status.MEDIA_WRITE_PROTECTED, f"{self.name}: is opened for reading only"
            )
        length = self._admit(extents, "write")
        self.counts.writes += 1
        try:
            await self._write(extents)
        except StatusError:
            self.counts.errors += 1
            raise
        self.counts.write_bytes += length

    async def flush(self) -> None:
        """Returns when all that was written is on stable storage."""
        self._check_open()
        self.counts.flushes += 1
        try:
            await self._flush()
        except StatusError:
            self.counts.errors += 1
            raise

    def _check_open(self) -> None:
        if self.closed:
            raise StatusError(
                Status.FILE_CLOSED,
                f"{self.name}: is closed: its volume was unmounted, or the system was ended",
            )

    def _admit(self, extents: Sequence[Extent], verb: str) -> int:
        if self.closed:
            self._check_open()
        try:
            return self._length(extents, verb)
        except (TypeError, ValueError):
            raise invalid(
                f"{self.name}: {shown(extents)} are no places on a device, each with its buffers"
            ) from None

    def _length(self, extents: Sequence[Extent], verb: str) -> int:
        total = 0
        for offset, buffers in extents:
            length = sum(map(len, buffers)) if len(buffers) > 1 else len(buffers[0])
            if offset < 0 or offset + length > self.size:
                raise StatusError(
                    Status.IO_DEVICE_ERROR,
                    f"{self.name}: cannot {verb} bytes {offset} to {offset + length}: the "
                    f"device ends at byte {self.size}",
                )
            total += length
        return total

    @abstractmethod
    async def _read(self, extents: Sequence[Extent]) -> None: ...

    @abstractmethod
    async def _write(self, extents: Sequence[Extent]) -> None: ...

    @abstractmethod
    async def _flush(self) -> None: ...

    def close(self) -> None:
        """Lets go of the host's resources: from now on every request ends in StatusError
        FILE_CLOSED.
        """
        self.closed = True

    def statistics(self) -> DeviceStatistics:
        """Requests and bytes since the device was opened."""
        from octavo.statistics import DeviceStatistics

        return DeviceStatistics(**vars(self.counts))


def given_device(value: object, what: str) -> Device:
    """`value`, a device. StatusError INVALID_PARAMETER when it is none."""
    return given(value, Device, what)  # type: ignore[type-abstract]  # it is looked at, not made

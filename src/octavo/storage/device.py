"""What a storage device is to the rest of the system.

    submit(requests) --> _read, _write or _flush        what a driver has: all that it is told

A driver gets requests: places on the device and frames of RAM, as numbers
(`octavo.memory.pagers.medium`). No device copies: it reads into the frames and writes from them,
wherever it runs. Places and lengths are multiples of the sector size, within the device.

A device fails what it was given at once as a whole, with one StatusError; the caller splits when it
must know which part was at fault.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from octavo.arguments import given, invalid, shown
from octavo.memory.pagers.medium import FLUSH, Op, Request
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
    absent = False  # there is no medium in the drive

    def __init__(self, name: str, size: int, read_only: bool, removable: bool) -> None:
        self.name = name
        self.size = size
        self.read_only = read_only
        self.removable = removable
        self.counts = DeviceCounts()
        self.watchers: list[Callable[[], None]] = []  # told when there is another medium, or none

    async def submit(self, requests: Sequence[Request]) -> None:
        """Serves requests of one operation, in any order; returns when all are done. They count as
        one in `statistics`.

        StatusError as a whole: FILE_CLOSED, NO_MEDIA_IN_DEVICE, MEDIA_WRITE_PROTECTED,
        IO_DEVICE_ERROR beyond the end, INVALID_PARAMETER for what are no requests, and what the
        driver raises.
        """
        op, length = self._admit(requests)
        counts = self.counts
        try:
            if op == Op.READ:
                counts.reads += 1
                await self._read(requests)
                counts.read_bytes += length
            elif op == Op.WRITE:
                counts.writes += 1
                await self._write(requests)
                counts.write_bytes += length
            else:
                counts.flushes += 1
                await self._flush()
        except StatusError:
            counts.errors += 1
            raise

    async def flush(self) -> None:
        """Returns when all that was written is on stable storage."""
        await self.submit((FLUSH,))

    def _admit(self, requests: Sequence[Request]) -> tuple[Op, int]:
        """The operation, and the bytes in all."""
        if self.closed or self.absent:
            raise self._unready()
        total = 0
        try:
            wanted = requests[0].op
            if self.read_only and wanted == Op.WRITE:
                text = f"{self.name}: is opened for reading only"
                raise StatusError(Status.MEDIA_WRITE_PROTECTED, text)
            for op, place, frames in requests:
                if place < 0 or place + frames.length > self.size or op != wanted:
                    raise self._refusal(wanted, op, place, frames.length)
                total += frames.length
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise invalid(
                f"{self.name}: {shown(requests)} are no requests: operations, places and frames"
            ) from None
        return wanted, total

    def _unready(self) -> StatusError:
        """Why nothing is served."""
        if self.closed:
            why = f"{self.name}: is closed: its volume was unmounted, or the system was ended"
            return StatusError(Status.FILE_CLOSED, why)
        return StatusError(Status.NO_MEDIA_IN_DEVICE, f"{self.name}: there is no medium in it")

    def _refusal(self, wanted: Op, op: Op, place: int, length: int) -> StatusError:
        """Why a request is not served."""
        if op != wanted:
            return invalid(
                f"{self.name}: cannot {wanted.name.lower()} and {op.name.lower()} at once"
            )
        return StatusError(
            Status.IO_DEVICE_ERROR,
            f"{self.name}: cannot {op.name.lower()} bytes {place} to {place + length}: the "
            f"device ends at byte {self.size}",
        )

    @abstractmethod
    async def _read(self, requests: Sequence[Request]) -> None: ...

    @abstractmethod
    async def _write(self, requests: Sequence[Request]) -> None: ...

    @abstractmethod
    async def _flush(self) -> None: ...

    def refresh(self) -> None:  # noqa: B027 -- most devices stand before no other one
        """Says of itself what the medium is that is in it now: a device that stands before another
        one learns whether that can be written.
        """

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

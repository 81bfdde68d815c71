"""A disk that takes its time: each request to the device behind it costs what a real one would, in
the scheduler's time.

    request    overhead + (seek, unless it begins where the last one ended) + bytes / rate

In virtual time nothing is slept through, so that an hour of disk time takes a moment; requests wait
for each other in a queue.

Source: the usual three-parameter model. Departures: one seek time for all distances, no cache in
the disk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from octavo.arguments import LONGEST_SECONDS, given, invalid
from octavo.memory.pagers.medium import Request
from octavo.storage.device import Device, given_device
from octavo.threads.scheduler import Scheduler
from octavo.threads.wait import Mutex


@dataclass(frozen=True)
class DiskModel:
    """Seconds for each request and for each seek, and bytes a second. StatusError INVALID_PARAMETER
    for what no disk has.
    """

    overhead: float
    seek: float
    rate: float

    def __post_init__(self) -> None:
        limits = (
            (self.overhead, LONGEST_SECONDS),
            (self.seek, LONGEST_SECONDS),
            (self.rate, math.inf),
        )
        if (
            any(
                isinstance(v, bool) or not isinstance(v, int | float) or not 0 <= v <= most
                for v, most in limits
            )
            or not self.rate
        ):
            raise invalid(
                "a disk is modelled by seconds a request, seconds a seek, and bytes a "
                "second: numbers from 0 on, the last above it"
            )


HARD_DISK = DiskModel(0.0001, 0.0125, 180e6)  # 8.3 ms to the track, half a turn at 7200 rpm
FLASH = DiskModel(0.00008, 0.0, 500e6)  # on SATA


class ModelledDisk(Device):
    """Passes requests on to `device`, and lets each take the time that `model` says; `busy` is the
    time taken so far.
    """

    def __init__(self, device: Device, scheduler: Scheduler, model: DiskModel) -> None:
        given_device(device, "a device to slow down")
        given(scheduler, Scheduler, "a scheduler")
        given(model, DiskModel, "the model of a disk")
        super().__init__(device.name, device.size, device.read_only, device.removable)
        self.device, self.scheduler, self.model = device, scheduler, model
        self.busy = 0.0
        self._head = 0
        self._queue = Mutex("queue of a disk")

    async def _take(self, requests: Sequence[Request]) -> None:
        seconds = 0.0
        for _, place, frames in requests:
            seconds += (
                self.model.overhead
                + (self.model.seek if place != self._head else 0)
                + frames.length / self.model.rate
            )
            self._head = place + frames.length
        self.busy += seconds
        await self.scheduler.sleep(seconds)

    async def _read(self, requests: Sequence[Request]) -> None:
        async with self._queue:
            await self._take(requests)
            await self.device.submit(requests)

    async def _write(self, requests: Sequence[Request]) -> None:
        async with self._queue:
            await self._take(requests)
            await self.device.submit(requests)

    async def _flush(self) -> None:
        await self.device.flush()

    def close(self) -> None:
        """Closes the device behind."""
        super().close()
        self.device.close()

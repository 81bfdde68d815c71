"""A page file that tests can look into and break, and machines that have one."""

from __future__ import annotations

from collections.abc import Sequence

from octavo.machine.ram import PAGE_SIZE
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler
from tests.machines import Machine


class Store:
    """A page file in the host's memory that takes its time, and fails when it is told to."""

    def __init__(self, scheduler: Scheduler, pages: int, name: str = "pagefile") -> None:
        self.scheduler, self.name, self.size = scheduler, name, pages * PAGE_SIZE
        self.data = bytearray(self.size)
        self.fail_reads = self.fail_writes = False
        self.requests: list[tuple[str, int, int]] = []

    async def read(self, extents: Sequence[tuple[int, list[memoryview]]]) -> None:
        """Waits, then fills the buffers."""
        await self.scheduler.sleep(0.001)
        if self.fail_reads:
            raise StatusError(Status.IO_DEVICE_ERROR, "the store cannot read")
        for offset, buffers in extents:
            self.requests.append(("read", offset // PAGE_SIZE, len(buffers)))
            for buffer in buffers:
                buffer[:] = self.data[offset : offset + len(buffer)]
                offset += len(buffer)

    async def write(self, extents: Sequence[tuple[int, list[memoryview]]]) -> None:
        """Waits, then keeps the buffers as they are then."""
        await self.scheduler.sleep(0.001)
        if self.fail_writes:
            raise StatusError(Status.IO_DEVICE_ERROR, "the store cannot write")
        for offset, buffers in extents:
            self.requests.append(("write", offset // PAGE_SIZE, len(buffers)))
            for buffer in buffers:
                self.data[offset : offset + len(buffer)] = buffer
                offset += len(buffer)


def make(frames: int = 100, slots: int = 1000, arch: str = "x86-64", cpus: int = 1) -> tuple[Machine, Store]:
    """A machine with a page file."""
    machine = Machine(arch, frames, cpus)
    store = Store(machine.scheduler, slots)
    machine.virtual.add_page_file(store)
    return machine, store

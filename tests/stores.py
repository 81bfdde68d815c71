"""A page file that tests can look into and break, and machines that have one."""

from __future__ import annotations

import math
from collections.abc import Sequence

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pagers.medium import Request
from octavo.testing.bufferdisk import BufferDisk
from octavo.testing.faulty import FaultyDevice
from octavo.testing.modelled import DiskModel, ModelledDisk
from octavo.threads.scheduler import Scheduler
from tests.machines import Machine

MODEL = DiskModel(0.001, 0, math.inf)  # a millisecond for each request, whatever its size


class Store(ModelledDisk):
    """A page file in the host's memory that takes its time, and then fails when it is told to."""

    def __init__(self, scheduler: Scheduler, pages: int, name: str = "pagefile") -> None:
        self.fail_reads = self.fail_writes = False
        disk = BufferDisk(name, bytearray(pages * PAGE_SIZE))
        super().__init__(FaultyDevice(disk, self._fails), scheduler, MODEL)
        self.data = disk.buffer
        self.requests: list[tuple[str, int, int]] = []  # verb, page, pages of those that went well

    def _fails(self, verb: str, number: int) -> bool:
        return self.fail_reads if verb == "read" else self.fail_writes

    def _note(self, verb: str, requests: Sequence[Request]) -> None:
        self.requests += [
            (verb, place // PAGE_SIZE, frames.length // PAGE_SIZE) for _, place, frames in requests
        ]

    async def _read(self, requests: Sequence[Request]) -> None:
        await super()._read(requests)
        self._note("read", requests)

    async def _write(self, requests: Sequence[Request]) -> None:
        await super()._write(requests)
        self._note("write", requests)


def make(
    frames: int = 100, slots: int = 1000, arch: str = "x86-64", cpus: int = 1
) -> tuple[Machine, Store]:
    """A machine with a page file."""
    machine = Machine(arch, frames, cpus)
    store = Store(machine.scheduler, slots)
    machine.virtual.add_page_file(store)
    return machine, store

"""A small machine with virtual memory, for the tests of address spaces."""

from __future__ import annotations

import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

from octavo.cache.manager import CacheManager
from octavo.machine.clock import VirtualClock
from octavo.machine.mmukernels import READ
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import Section
from octavo.memory.reclaim.profiles import Profile
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.virtual import VirtualMemory
from octavo.status import Status, StatusError
from octavo.testing.bytespager import BytesPager
from octavo.threads.scheduler import Scheduler

T = TypeVar("T")
KERNEL = {
    "i386": 0x80000000,
    "pae": 0x80000000,
    "x86-64": 0xFFFF800000000000,
    "la57": 0xFF00000000000000,
}  # where it begins


class Machine:
    """A machine of so many frames with virtual memory, and one space."""

    def __init__(
        self,
        arch: str = "x86-64",
        frames: int = 400,
        cpus: int = 1,
        seed: int = 1,
        profile: Profile | None = None,
    ) -> None:
        self.scheduler = Scheduler(VirtualClock(), seed)
        self.memory = MemoryManager(
            Ram(frames + 20), frames + 20, [(1, frames)], (frames + 1, 10), self.scheduler
        )
        self.cache = CacheManager(self.memory)
        self.virtual = VirtualMemory(self.memory, FORMATS[arch], cpus, profile)
        self.space = self.virtual.create("init")
        self.kernel = KERNEL[arch]

    def touch(self, address: int, kind: int = READ, space: AddressSpace | None = None) -> int:
        """One reference."""
        return self.scheduler.run((space or self.space).touch(address, kind))

    def read(self, address: int, size: int = 8, space: AddressSpace | None = None) -> bytes:
        """Bytes."""
        return self.scheduler.run((space or self.space).read(address, size))

    def write(self, address: int, data: bytes, space: AddressSpace | None = None) -> None:
        """Bytes."""
        self.scheduler.run((space or self.space).write(address, data))

    def check(self) -> None:
        """The whole ledger."""
        self.virtual.check()
        self.memory.check()
        self.cache.check()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Drives a coroutine to its end."""
        return self.scheduler.run(coroutine)


def emptied(made: Machine) -> Iterator[Machine]:
    """For a fixture: lends the machine; after the test its ledger balances, and everything can be
    given back.
    """
    free = made.memory.physical.available
    yield made
    made.check()
    for space in list(made.virtual.spaces):
        made.virtual.destroy(space)
    for section in list(made.virtual.sections.all):
        made.virtual.sections.close(section)
    made.run(made.scheduler.sleep(1))
    made.check()
    assert made.virtual.charged == 0 and not made.virtual.sections.ending
    if not made.cache.views:
        assert made.memory.physical.available == free + 1  # and the root table of the first space
    made.scheduler.close()


def fails(status: Status, call: object, *arguments: object) -> None:
    """The call fails with this status, and with a sentence."""
    with pytest.raises(StatusError) as error:
        call(*arguments)  # type: ignore[operator]  # it is a method
    assert error.value.status == status, error.value.text
    assert error.value.text


@contextmanager
def within_seconds(seconds: float) -> Iterator[None]:
    """What takes longer fails, instead of never ending."""

    def stop(number: int, frame: object) -> None:
        raise AssertionError(f"it has taken more than {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class MemoryFile:
    """A file that can be mapped, kept by a `BytesPager`; `opens` counts its users."""

    def __init__(
        self, machine: Machine, data: bytes, writable: bool = True, path: str = "file"
    ) -> None:
        self.pager = BytesPager(machine.scheduler, bytearray(data))
        self.section = Section(path, self.pager, None, len(data))
        self.writable, self.path, self.cache = writable, path, machine.cache
        self.opens, self.prepared = 1, False

    def duplicate(self) -> MemoryFile:
        """One more user."""
        self.opens += 1
        return self

    async def prepare_mapping(self) -> None:
        """It will be written."""
        self.prepared = True

    async def truncate(self, size: int) -> None:
        """Cuts, or adds zeros."""
        if size < self.section.size:
            await self.cache.purge(self.section, size)
            del self.pager.data[size:]
        else:
            await self.cache.copy_write(
                self.section, self.section.size, bytes(size - self.section.size)
            )

    async def grow(self, size: int) -> None:
        """Adds zeros, if it is shorter."""
        if size > self.section.size:
            await self.truncate(size)

    async def close(self) -> None:
        """One user less."""
        self.opens -= 1

"""A small machine with virtual memory, for the tests of address spaces."""

from __future__ import annotations

import pytest

from octavo.machine.clock import VirtualClock
from octavo.machine.mmukernels import READ
from octavo.machine.paging import FORMATS
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.virtual import VirtualMemory
from octavo.status import Status, StatusError
from octavo.threads.scheduler import Scheduler


class Machine:
    """A machine of so many frames with virtual memory, and one space."""

    def __init__(self, arch: str = "x86-64", frames: int = 400, cpus: int = 1, seed: int = 1) -> None:
        self.scheduler = Scheduler(VirtualClock(), seed)
        self.memory = MemoryManager(Ram(frames + 20), frames + 20, [(1, frames)], (frames + 1, 10), self.scheduler)
        self.virtual = VirtualMemory(self.memory, FORMATS[arch], cpus)
        self.space = self.virtual.create("init")

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


def fails(status: Status, call: object, *arguments: object) -> None:
    """The call fails with this status, and with a sentence."""
    with pytest.raises(StatusError) as error:
        call(*arguments)  # type: ignore[operator]  # it is a method
    assert error.value.status == status, error.value.text
    assert error.value.text

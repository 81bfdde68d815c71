"""Driver for a RAM disk: a disk whose sectors are frames that the memory manager lends it.

The frames count against the memory limit, as all memory does. Data is copied between them and the
cache's frames.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.arguments import given, label, whole
from octavo.machine.abi import PAGE_SIZE
from octavo.memory.manager import MemoryManager
from octavo.memory.pagers.medium import Request
from octavo.status import Status, StatusError
from octavo.storage.device import LARGEST_DEVICE, Device


class RamDisk(Device):
    """`size` bytes (rounded up to pages) of zeros.

    StatusError INSUFFICIENT_RESOURCES when memory has no such run of frames, INVALID_PARAMETER,
    OBJECT_NAME_INVALID.
    """

    def __init__(self, name: str, size: int, memory: MemoryManager) -> None:
        label(name, "the name of a RAM disk")
        self.memory = given(memory, MemoryManager, "the memory of a RAM disk")
        self.pages = -(-whole(size, "the size of a RAM disk", 1, LARGEST_DEVICE) // PAGE_SIZE)
        self.first = memory.allocate_contiguous(self.pages)
        if not self.first:
            raise StatusError(
                Status.INSUFFICIENT_RESOURCES,
                f"{name}: memory has no {self.pages} free frames in a row for the RAM "
                "disk; boot with more memory",
            )
        super().__init__(name, self.pages * PAGE_SIZE, False, False)
        self._bytes = memory.ram.frame(self.first, self.pages)

    async def _read(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            frames.fill(self._bytes[place : place + frames.length])

    async def _write(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            for buffer in frames.buffers():
                self._bytes[place : place + len(buffer)] = buffer
                place += len(buffer)

    async def _flush(self) -> None:
        pass

    def close(self) -> None:
        """Gives the frames back."""
        super().close()
        if self.first:
            self.memory.free_contiguous(self.first, self.pages)
            self.first = 0

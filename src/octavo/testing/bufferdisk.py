"""A disk whose sectors lie in a buffer of the host's: a bytearray, or a mapped file that another
program looks at meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.arguments import invalid, label, octets, room
from octavo.memory.pagers.medium import Request
from octavo.storage.device import SECTOR, Device


class BufferDisk(Device):
    """Keeps its sectors in `buffer`, which stays the caller's; StatusError INVALID_PARAMETER when
    that is not whole sectors.
    """

    def __init__(
        self,
        name: str,
        buffer: bytearray | memoryview,
        read_only: bool = False,
        removable: bool = False,
    ) -> None:
        what = f"{label(name, 'the name of a disk')}: the buffer"
        size = len(octets(buffer, what) if read_only else room(buffer, what))
        if size % SECTOR or size != len(buffer):
            raise invalid(
                f"{what} has {len(buffer)} items and {size} bytes: single bytes are "
                f"needed, in whole sectors of {SECTOR}"
            )
        super().__init__(name, len(buffer), read_only, removable)
        self.buffer = buffer

    async def _read(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            frames.fill(memoryview(self.buffer)[place : place + frames.length])

    async def _write(self, requests: Sequence[Request]) -> None:
        for _, place, frames in requests:
            for buffer in frames.buffers():
                self.buffer[place : place + len(buffer)] = buffer
                place += len(buffer)

    async def _flush(self) -> None:
        pass

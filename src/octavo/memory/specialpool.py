"""Special pool: allocations that each have a page of their own beside a guard page, so that the first byte too far faults.

    "over"   | pattern ... | the allocation ||  guard page, never mapped        (aligned to 8: up to 7 bytes of pattern behind)
    "under"  guard page || the allocation | pattern ... |

Each takes two system PTEs. Bytes of the page that are not the allocation's hold a pattern that is looked at on free, which
finds writes that stay within the page.

Source: NT's special pool.
"""

from __future__ import annotations

from octavo.machine.ram import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.kernelspace import KernelSpace
from octavo.memory.systemptes import SystemPtes
from octavo.status import StatusError

PATTERN = 0x5A


class SpecialPool:
    """Special allocations at system PTEs of the region that begins at `base`."""

    def __init__(self, space: KernelSpace, ptes: SystemPtes, base: int) -> None:
        self.space, self.ptes, self.base = space, ptes, base
        self.holder = space.physical.pfns.new_holder("special pool")

    def allocate(self, size: int, under: bool) -> int:
        """The address of `size` bytes, at most a page; 0 when PTEs or frames are short."""
        index = self.ptes.reserve(2)
        if not index:
            return 0
        page = self.base + (index + under << PAGE_SHIFT)
        frames: list[int] = []
        try:
            frames = self.space.take_frames(1, self.holder)
            self.space.map(page, frames)
        except StatusError:
            if frames:
                self.space.free_frames(frames)
            self.ptes.release(index)
            return 0
        self.space.write(page, bytes([PATTERN]) * PAGE_SIZE)
        return page if under else page + (PAGE_SIZE - size & ~7)

    def free(self, address: int, size: int) -> str:
        """Gives an allocation back; what was done wrong with it, "" for nothing. One that was overwritten is kept as evidence."""
        page = address // PAGE_SIZE * PAGE_SIZE
        data = self.space.read(page, PAGE_SIZE)
        at = address - page
        for place, part in (("before its beginning", data[:at]), ("past its end", data[at + size :])):
            if part.count(PATTERN) != len(part):
                return f"written {place}"
        self.space.free_frames(self.space.unmap(page, 1))
        index = (page - self.base) >> PAGE_SHIFT
        self.ptes.release(index if index in self.ptes.taken else index - 1)
        return ""

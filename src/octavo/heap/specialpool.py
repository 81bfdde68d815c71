"""Special pool: allocations on pages of their own between guard pages, so that the first byte too
far faults.

    "over"     guard page || pattern ... | the allocation | pattern || guard page
               it ends at the guard, to 8 bytes
    "under"    guard page || the allocation | pattern ...           || guard page
               it begins at the guard

Each takes system PTEs for its pages and for both guards, which are never mapped: whatever lies
beside it is not reached. Bytes of its pages that are not the allocation's hold a pattern that is
looked at on free and by `Pool.check`, which finds writes that stay within the pages. A freed one's
pages are unmapped, so that whoever uses it after that faults.

Source: NT's special pool. Departures: a guard on both sides, where NT has one; any size, where NT
has at most a page.
"""

from __future__ import annotations

from octavo.arguments import invalid, shown, whole
from octavo.heap.hostlock import locked
from octavo.heap.kernelspace import KernelSpace
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.status import StatusError
from octavo.threads.workers import HostLock

PATTERN = 0x5A
PLACES = ("over", "under")


class SpecialPool:
    """Special allocations at system PTEs of the region that begins at `base`. `Pool` keeps which
    there are.
    """

    def __init__(self, space: KernelSpace, ptes: SystemPtes, base: int) -> None:
        self.space, self.ptes, self.base = space, ptes, base
        self.lock: HostLock = space.lock
        self.holder = space.physical.pfns.new_holder("special pool")
        self.pages = 0  # that are allocated

    @locked
    def allocate(self, size: int, place: str) -> int:
        """The address of `size` bytes, placed "over" or "under"; 0 when PTEs or frames are short.

        StatusError INVALID_PARAMETER.
        """
        if place not in PLACES:
            text = (
                f"special pool: {shown(place)} is no place beside a guard page: one of "
                f"{', '.join(PLACES)} is needed"
            )
            raise invalid(text)
        pages = _pages(whole(size, "a size in bytes", 1))
        index = self.ptes.reserve(pages + 2) if pages < self.ptes.count else 0
        if not index:
            return 0
        start = self.base + (index + 1 << PAGE_SHIFT)
        try:
            self.space.back(start, pages, self.holder)
        except StatusError:
            self.ptes.release(index, pages + 2)
            return 0
        self.pages += pages
        self.space.write(start, bytes([PATTERN]) * (pages << PAGE_SHIFT))
        return start if place == "under" else start + ((pages << PAGE_SHIFT) - size & ~7)

    @locked
    def inspect(self, address: int, size: int) -> str:
        """What was done wrong with an allocation, "" for nothing."""
        start = address // PAGE_SIZE * PAGE_SIZE
        data = self.space.read(start, _pages(size) << PAGE_SHIFT)
        at = address - start
        for where, part in (
            ("before its beginning", data[:at]),
            ("past its end", data[at + size :]),
        ):
            if part.count(PATTERN) != len(part):
                return f"written {where}"
        return ""

    @locked
    def free(self, address: int, size: int) -> None:
        """Gives an allocation back."""
        pages, start = _pages(size), address // PAGE_SIZE * PAGE_SIZE
        self.space.release(start, pages, self.holder)
        self.ptes.release((start - self.base >> PAGE_SHIFT) - 1, pages + 2)
        self.pages -= pages

    @locked
    def check(self) -> None:
        """As many frames are held as pages are allocated."""
        held = self.space.held(self.holder)
        assert held == self.pages, f"special pool: {held} frames are held for {self.pages} pages"


def _pages(size: int) -> int:
    return -(-size // PAGE_SIZE)

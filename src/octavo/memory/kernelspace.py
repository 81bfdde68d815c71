"""The kernel's address space: page tables in RAM for what lies at virtual addresses, and what happens when one is touched.

    map / unmap    frames at an address in some region
    touch          physical address of a byte; a page that is not there goes to the handler of its range, else ACCESS_VIOLATION
    read / write   bytes through the page tables, page by page

A handler answers for a range of addresses (a stack, a special allocation): it makes the page be there, or raises what is wrong.

Page tables and what is mapped take frames like everybody else, and are held under names in the PFN database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

from octavo.machine.pagetables import GLOBAL, NO_EXECUTE, WRITE, PageTables
from octavo.machine.paging import PageTableFormat
from octavo.machine.ram import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.pfn import State, runs_of
from octavo.memory.physical import PhysicalMemory
from octavo.memory.tableframes import TableFrames
from octavo.status import Status, StatusError

Handler = Callable[[int], None]


class KernelSpace:
    """Page tables of format `layout`, in frames of `physical`."""

    def __init__(self, physical: PhysicalMemory, layout: PageTableFormat) -> None:
        self.physical = physical
        self._table_frames = TableFrames(physical, "the kernel")
        self.tables = PageTables(physical.ram, layout, self._table_frames.take, self._table_frames.free)
        self._starts: list[int] = []
        self._ranges: dict[int, tuple[int, Handler]] = {}  # start -> (end, handler)
        self.faults = 0

    # -- frames ---------------------------------------------------------------------------------------------------

    def take_frames(self, count: int, holder: int) -> list[int]:
        """`count` zeroed frames for `holder`, not necessarily in a row. StatusError NO_MEMORY, and nothing is taken."""
        runs = self.physical.try_take_zeroed(count, State.ACTIVE)
        if runs is None:
            raise StatusError(Status.NO_MEMORY, f"out of memory: {count} frames for {self.physical.pfns.holders[holder]}, {self.physical.available} available")
        for run in runs:
            self.physical.pfns.hold(*run, holder)
        return [pfn for first, size in runs for pfn in range(first, first + size)]

    def free_frames(self, frames: list[int]) -> None:
        """Gives frames from `take_frames` back."""
        for first, count in runs_of(sorted(frames)):
            self.physical.pfns.hold(first, count, 0)
        self.physical.free(sorted(frames), State.ACTIVE)

    # -- mappings -------------------------------------------------------------------------------------------------

    def map(self, address: int, frames: list[int]) -> None:
        """Puts frames at consecutive pages from `address` on, writable and not executable; all of them or, with a StatusError, none."""
        done = 0
        try:
            for first, count in runs_of(frames):
                self.tables.map_pages(address + (done << PAGE_SHIFT), first, count, WRITE | NO_EXECUTE | GLOBAL, large=False)
                done += count
        except StatusError:
            self.unmap(address, done)
            raise

    def unmap(self, address: int, count: int) -> list[int]:
        """Takes `count` pages away; returns their frames."""
        return self.tables.unmap_pages(address, count)

    def handle(self, start: int, end: int, handler: Handler) -> None:
        """From now on `handler(address)` is called for absent pages of [start, end)."""
        at = bisect_right(self._starts, start)
        assert not self._starts or ((at == 0 or self._ranges[self._starts[at - 1]][0] <= start) and (at == len(self._starts) or end <= self._starts[at]))
        self._starts.insert(at, start)
        self._ranges[start] = (end, handler)

    def forget(self, start: int) -> None:
        """Ends what `handle` began."""
        self._starts.remove(start)
        del self._ranges[start]

    # -- access ---------------------------------------------------------------------------------------------------

    def touch(self, address: int) -> int:
        """The physical address of a byte. StatusError of the range's handler, ACCESS_VIOLATION where nobody answers."""
        found = self.tables.translate(address)
        if found is None:
            self.faults += 1
            at = bisect_right(self._starts, address) - 1
            end, handler = self._ranges[self._starts[at]] if at >= 0 else (0, None)
            if handler is None or address >= end:
                raise StatusError(Status.ACCESS_VIOLATION, f"nothing is mapped at {address:#x}")
            handler(address)
            found = self.tables.translate(address)
            assert found is not None, "a handler returned without making the page present"
        return found.physical

    def pieces(self, address: int, size: int) -> Iterator[memoryview]:
        """The bytes [address, address + size), page by page."""
        while size:
            length = min(size, PAGE_SIZE - address % PAGE_SIZE)
            physical = self.touch(address)
            yield self.physical.ram.bytes[physical : physical + length]
            address += length
            size -= length

    def read(self, address: int, size: int) -> bytes:
        """Bytes at an address."""
        return b"".join(self.pieces(address, size))

    def write(self, address: int, data: bytes) -> None:
        """Bytes to an address; what lies before a page that cannot be touched has been written."""
        done = 0
        for piece in self.pieces(address, len(data)):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)

    def close(self) -> None:
        """Gives the page tables back."""
        for frame in self.tables.tables:
            self._table_frames.free(frame)
        self.tables.tables.clear()

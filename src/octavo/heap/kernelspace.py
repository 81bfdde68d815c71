"""The kernel's address space: page tables in RAM for what lies at virtual addresses, and what
happens when one is touched.

    back / release new frames at an address in some region, held under a name; `map` and `unmap` for
                   frames that are there
    touch          physical address of a byte; a page that is not there goes to the handler of its
                   range, else ACCESS_VIOLATION
    read / write   bytes through the page tables, page by page

A handler answers for a range of addresses (a stack, a special allocation): it makes the page be
there, or raises what is wrong.

Page tables and what is mapped take frames like everybody else, and are held under names in the PFN
database.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator

import numpy as np

from octavo.arguments import hexed, invalid, shown, whole
from octavo.heap.hostlock import locked, make_lock
from octavo.machine.abi import (
    FRAME_MASK,
    GLOBAL,
    HOLDER,
    NO_EXECUTE,
    PAGE_SHIFT,
    PAGE_SIZE,
    PRESENT,
    WORDS,
    WRITABLE,
    State,
)
from octavo.machine.pagetables import PageTables
from octavo.machine.paging import PageTableFormat
from octavo.memory.frames.pfn import runs_of
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.frames.tableframes import TableFrames
from octavo.status import Status, StatusError

LAST_ADDRESS = (1 << 64) - 1
Handler = Callable[[int], None]


class KernelSpace:
    """Page tables of format `layout`, in frames of `physical`."""

    def __init__(self, physical: PhysicalMemory, layout: PageTableFormat) -> None:
        self.physical = physical
        self.lock = make_lock()  # of all that has pages here, see `octavo.heap.hostlock`
        self._table_frames = TableFrames(physical, "the kernel")
        self.tables = PageTables(
            physical.ram, layout, self._table_frames.take, self._table_frames.free
        )
        self._starts: list[int] = []
        self._ranges: dict[int, tuple[int, Handler]] = {}  # start -> (end, handler)
        self.faults = 0

    # -- frames -----------------------------------------------------------------------------------

    @locked
    def back(self, address: int, count: int, holder: int) -> list[int]:
        """Puts `count` zeroed frames of `holder` at consecutive pages from `address` on; returns
        them.

        StatusError NO_MEMORY, INSUFFICIENT_RESOURCES, INVALID_PARAMETER, CONFLICTING_ADDRESSES:
        nothing is taken then.
        """
        whole(count, "the number of frames", 0)
        self._check_holder(holder)
        runs = (
            self.physical.try_take_zeroed(count, State.ACTIVE)
            if self.physical.promise(count)
            else None
        )
        if runs is None:
            name, available = self.physical.pfns.holders[holder], self.physical.available
            raise StatusError(
                Status.NO_MEMORY,
                f"out of memory: {shown(count)} frames for {name}, {available} available",
            )
        for run in runs:
            self.physical.pfns.hold(*run, holder)
        frames = [pfn for first, size in runs for pfn in range(first, first + size)]
        try:
            self.map(address, frames)
        except StatusError:
            self._free(frames)
            raise
        return frames

    @locked
    def release(self, address: int, count: int, holder: int) -> None:
        """Takes `count` pages from `address` on away, and gives back their frames, which are
        `holder`'s.

        StatusError NOT_MAPPED_VIEW, INVALID_PARAMETER for a frame that is another's: nothing is
        changed then.
        """
        self._check_holder(holder)
        frames = self.unmap(address, count)
        words, holders = self.physical.pfns.words, self.physical.pfns.holders
        other = next((f for f in frames if words[f * WORDS + HOLDER] != holder), 0)
        if other:
            self.map(address, frames)
            whose = holders[words[other * WORDS + HOLDER]] or "nobody"
            raise invalid(f"frame {other:#x} at {address:#x} is given back and is held by {whose}")
        self._free(frames)

    def _check_holder(self, holder: int) -> None:
        whole(holder, "a holder of frames", 1, len(self.physical.pfns.holders) - 1)

    def _free(self, frames: list[int]) -> None:
        ordered = sorted(frames)
        for first, count in runs_of(ordered):
            self.physical.pfns.hold(first, count, 0)
        self.physical.free(ordered, State.ACTIVE)

    def held(self, holder: int) -> int:
        """How many frames a holder has, by the PFN database."""
        return int(np.count_nonzero(self.physical.pfns.table[:, HOLDER] == holder))

    def holder_at(self, address: int) -> str:
        """The name of who holds the frame that an address leads to; "" where it leads nowhere or
        nobody does.
        """
        found = self.tables.translate(address)
        frame = found.physical >> PAGE_SHIFT if found is not None else 0
        pfns = self.physical.pfns
        return pfns.holders[pfns.words[frame * WORDS + HOLDER]] if 0 < frame < pfns.frames else ""

    # -- mappings ---------------------------------------------------------------------------------

    @locked
    def map(self, address: int, frames: list[int]) -> None:
        """Puts frames at consecutive pages from `address` on, writable and not executable; all of
        them or, with a StatusError, none.
        """
        whole(address, "an address", 0, LAST_ADDRESS)
        if not isinstance(frames, list):
            raise invalid(f"{shown(frames)} is no list of frames")
        for frame in frames:
            if type(frame) is not int or not 0 < frame < self.physical.pfns.frames:
                whole(frame, "a frame", 1, self.physical.pfns.frames - 1)
        done = 0
        try:
            for first, count in runs_of(frames):
                self.tables.map_pages(
                    address + (done << PAGE_SHIFT),
                    first,
                    count,
                    WRITABLE | NO_EXECUTE | GLOBAL,
                    large=False,
                )
                done += count
        except StatusError:
            self.unmap(address, done)
            raise

    @locked
    def unmap(self, address: int, count: int) -> list[int]:
        """Takes `count` pages away; returns their frames. StatusError NOT_MAPPED_VIEW, and nothing
        is taken away.
        """
        whole(address, "an address", 0, LAST_ADDRESS)
        whole(count, "the number of pages", 0)
        return self.tables.unmap_pages(address, count)

    @locked
    def handle(self, start: int, end: int, handler: Handler) -> None:
        """From now on `handler(address)` is called for absent pages of [start, end).

        StatusError INVALID_PARAMETER, CONFLICTING_ADDRESSES where another range is handled.
        """
        whole(
            end,
            "the end of a range of addresses",
            whole(start, "an address", 0, LAST_ADDRESS) + 1,
            LAST_ADDRESS + 1,
        )
        if not callable(handler):
            raise invalid(f"{shown(handler)} handles no addresses: a function is needed")
        at = bisect_right(self._starts, start)
        below = self._ranges[self._starts[at - 1]][0] if at else 0
        if below > start or (at < len(self._starts) and end > self._starts[at]):
            text = f"addresses {start:#x} to {end - 1:#x} are handled already, in part or all"
            raise StatusError(Status.CONFLICTING_ADDRESSES, text)
        self._starts.insert(at, start)
        self._ranges[start] = (end, handler)

    @locked
    def forget(self, start: int) -> None:
        """Ends what `handle` began. StatusError INVALID_PARAMETER where it did not."""
        if whole(start, "an address") not in self._ranges:
            raise invalid(f"no range of addresses that is handled begins at {shown(start)}")
        self._starts.remove(start)
        del self._ranges[start]

    # -- access -----------------------------------------------------------------------------------

    def touch(self, address: int) -> int:
        """The physical address of a byte.

        StatusError of the range's handler, ACCESS_VIOLATION where nobody answers, INVALID_PARAMETER
        for what is no number.
        """
        if type(address) is int and self.tables.canonical(address):
            entry = self.tables.get(address)  # all of the kernel's pages are of 4 KiB
            return (
                entry & FRAME_MASK | address & PAGE_SIZE - 1
                if entry & PRESENT
                else self._absent(address)
            )
        self.faults += 1
        raise StatusError(
            Status.ACCESS_VIOLATION, f"nothing is mapped at {hexed(whole(address, 'an address'))}"
        )

    @locked
    def _absent(self, address: int) -> int:
        """The physical address of a byte of a page that is not there yet."""
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
        """The bytes [address, address + size), page by page.

        StatusError of `touch`, INVALID_PARAMETER for a size below 0.
        """
        whole(address, "an address")
        whole(size, "a size in bytes", 0)
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
        if not isinstance(data, bytes | bytearray | memoryview):
            raise invalid(f"{shown(data)} cannot be written: bytes are needed")
        done = 0
        for piece in self.pieces(address, len(data)):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)

    @locked
    def close(self) -> None:
        """Gives the page tables back."""
        for frame in self.tables.tables:
            self._table_frames.free(frame)
        self.tables.tables.clear()

"""The memory manager: wires what keeps frames and pages, and has their ledger.

    physical      frames              memory/frames/
    residency     pages in them       memory/pages/: its bookkeeper
    faults        pages come          memory/pages/pagein.py
    writeback     pages are written   memory/pages/writeback.py; each a transfer of `transfers`
    pageout       pages make room     memory/reclaim/: who can let go of pages says so there

Cache, file systems and address spaces take these parts from here. It is built from a boot plan's
usable frame runs and never learns of more.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from octavo.arguments import invalid, whole
from octavo.machine.abi import HOLDER, PAGE_SHIFT, PAGE_SIZE, State
from octavo.machine.frames import Frames
from octavo.machine.ram import Ram
from octavo.memory.frames.freeframes import Bounds
from octavo.memory.frames.pfn import PfnDatabase
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.pages.pagein import Faults
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.transfers import Transfers
from octavo.memory.pages.writeback import WriteBack
from octavo.memory.reclaim.pageout import Pageout
from octavo.threads.scheduler import Scheduler

if TYPE_CHECKING:
    from octavo.statistics import MemoryStatistics

ZEROED_AT_BOOT = 64


class MemoryManager:
    """Manages the `usable` runs (first frame, count) of `ram`; the PFN database lies in `database`
    frames, which are not among them.
    """

    def __init__(
        self,
        ram: Ram,
        frames: int,
        usable: Sequence[tuple[int, int]],
        database: tuple[int, int],
        scheduler: Scheduler,
        pageout: bool = True,
        zones: Sequence[Bounds] = (),
    ) -> None:
        self.ram = ram
        self.scheduler = scheduler
        self.pfns = PfnDatabase(ram, frames, database[0])
        if not ram.paper:
            self.pfns.claim(*database, State.ACTIVE)
        self.physical = PhysicalMemory(ram, self.pfns, zones)
        self._contiguous = self.pfns.new_holder("devices and RAM disks")
        for run in usable:
            self.physical.buddy.add(*run)
        self.limit = sum(count for _, count in usable) + (0 if ram.paper else database[1])
        self.residency = Residency(self.physical)
        self.transfers = Transfers()
        self.writeback = WriteBack(self.residency, scheduler, self.transfers)
        self.pageout = Pageout(self.residency, self.writeback, self.transfers, scheduler, pageout)
        self.faults = Faults(self.residency, self.writeback, self.transfers, self.pageout)
        if not ram.paper:
            self.physical.zero_some(min(ZEROED_AT_BOOT, self.physical.available // 16))

    @property
    def frames_in_use(self) -> int:
        """Frames that are neither free nor zeroed: never more than the limit, which a test checks
        from outside.
        """
        counts = self.pfns.counts
        return (
            counts[State.ACTIVE]
            + counts[State.TRANSITION]
            + counts[State.STANDBY]
            + counts[State.MODIFIED]
        )

    def allocate_contiguous(self, count: int) -> int:
        """First frame of `count` consecutive zeroed frames, for a device or a RAM disk; 0 when
        there are none that were not promised.

        StatusError INVALID_PARAMETER for what is no number of frames.
        """
        whole(count, "the number of frames in a row", 1)
        first = (
            self.physical.buddy.take_constrained(count, State.ACTIVE)
            if self.physical.promise(count)
            else 0
        )
        if first:
            self.pfns.hold(first, count, self._contiguous)
            self.physical.clear(first, count)
        return first

    def free_contiguous(self, first: int, count: int) -> None:
        """Gives `allocate_contiguous` frames back. StatusError INVALID_PARAMETER for others."""
        whole(
            first,
            "the first of the frames",
            1,
            self.pfns.frames
            - whole(count, "the number of frames in a row", 1, self.pfns.frames - 1),
        )
        if (self.pfns.table[first : first + count, HOLDER] != self._contiguous).any():
            raise invalid(
                f"frames {first:#x} to {first + count - 1:#x} are not all of a device or RAM disk"
            )
        self.pfns.hold(first, count, 0)
        self.physical.buddy.free(first, count, State.ACTIVE)

    @asynccontextmanager
    async def zeros(self, length: int) -> AsyncIterator[Frames]:
        """`length` bytes of zeros that a driver can write from: one frame, lent for the
        `async with` block. StatusError NO_MEMORY when none comes free.
        """
        while (runs := self.physical.try_take_zeroed(1, State.ACTIVE)) is None:
            await self.pageout.relieve(1)
        frame = runs[0][0]
        self.pfns.hold(frame, 1, self._contiguous)
        try:
            address, whole_frames = frame << PAGE_SHIFT, length >> PAGE_SHIFT
            runs = [(address, PAGE_SIZE)] * whole_frames
            if length % PAGE_SIZE:
                runs.append((address, length % PAGE_SIZE))
            yield Frames(self.ram, runs, length)
        finally:
            self.pfns.hold(frame, 1, 0)
            self.physical.free([frame], State.ACTIVE)

    def explain(self, pfn: int) -> str:
        """Why a frame is here: its state and who owns it, in words.

        StatusError INVALID_PARAMETER for what can be no frame's number.
        """
        if whole(pfn, "a frame's number", 0, 1 << 52) >= self.pfns.frames:
            return f"frame {pfn:#x}: outside the PFN database"
        pte, holder = self.pfns.pte[pfn], self.pfns.holder[pfn]
        state = self.pfns.state_of(pfn).name.lower()
        if self.pfns.since is not None:
            state += f" since claim {self.pfns.since[pfn]} of {self.pfns.claims}"
        if holder:
            return f"frame {pfn:#x}: {state}, held by {self.pfns.holders[holder]}"
        if pte:
            section, page = self.residency.segments.page_of(pfn)
            return f"frame {pfn:#x}: {state}, page {page} of {section.name}"
        if self.pfns.first <= pfn < self.pfns.first + -(-self.pfns.frames * 32 // PAGE_SIZE):
            return f"frame {pfn:#x}: {state}, PFN database"
        return f"frame {pfn:#x}: {state}"

    def statistics(self) -> MemoryStatistics:
        """Frames by state, faults, page-ins, write-back and pageout."""
        from octavo.statistics import MemoryStatistics

        return MemoryStatistics(
            limit=self.limit,
            in_use=self.frames_in_use,
            physical_lowest=self.physical.lowest_available,
            states=self.pfns.pages_by_state(),
            buddy=self.physical.buddy.statistics(),
            faults=self.faults.statistics(),
            writeback=self.writeback.statistics(),
            pageout=self.pageout.statistics(),
        )

    def check(self) -> None:
        """The ledger balances."""
        self.physical.check()
        self.residency.check()
        self.writeback.check()
        assert self.frames_in_use <= self.limit

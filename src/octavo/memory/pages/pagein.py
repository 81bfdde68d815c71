"""Faults: making pages of a section active.

    absent       hard fault: frames are taken, the pager fills them, a cluster at a time
    transition   soft fault: the frame is taken off its list, nothing is read
    being read   collided fault: waits for the read that is under way

Only the pages asked for are obligatory. The rest of a cluster is left out when memory is short, and
asked for no more when the device cannot read it; a pager may leave it out as well.

`new_pages` makes pages that are about to be overwritten: frames without a read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Generator

import numpy as np

from octavo.machine.abi import (
    FLAGS,
    PAGE_SHIFT,
    PAGE_SIZE,
    PTE,
    READING,
    SEGMENT_PAGES,
    SEGMENT_SHIFT,
    State,
)
from octavo.memory.frames.buddy import Run
from octavo.memory.frames.pfn import SHORT_RUN
from octavo.memory.frames.physical import RESERVE, PhysicalMemory
from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE, Read, Segment
from octavo.memory.reclaim.pageout import Pageout
from octavo.status import Status, StatusError
from octavo.threads.wait import Event, Waiters


class Resumed:
    """Goes on with a coroutine that was driven to its first wait: awaits it to its end, and returns
    what it returns.
    """

    __slots__ = ("coroutine", "waiters")

    def __init__(self, coroutine: Coroutine[Waiters, None, int | None], waiters: Waiters) -> None:
        self.coroutine = coroutine
        self.waiters = waiters

    def __await__(self) -> Generator[Waiters, None, int | None]:
        waiters = self.waiters
        while True:
            yield waiters
            try:
                waiters = self.coroutine.send(None)
            except StopIteration as stop:
                supplied: int | None = stop.value
                return supplied


class Faults:
    """Resolves faults on the pages of mapped segments."""

    def __init__(self, physical: PhysicalMemory, pageout: Pageout) -> None:
        self.physical = physical
        self.pageout = pageout
        self.hard = 0
        self.soft = 0
        self.collided = 0
        self.new = 0
        self.page_ins: Counter[int] = Counter()  # cluster size in pages -> requests

    async def make_resident(
        self, segment: Segment, first: int, end: int, limit: int, low: int = SEGMENT_PAGES
    ) -> None:
        """Makes pages [first, end) of a segment that is pinned or held active; a read may reach
        from `low` to `limit`. Raises what the pager raises.
        """
        assert segment.pins or segment.holds
        link, base = self.physical.ram.link, segment.base
        i = first
        while i < end:
            entry = link[base + i]
            if entry > 0:
                i += 1
            elif entry == 0:
                stop = limit if not segment.used else i + 1
                while stop < limit and not link[base + stop]:
                    stop += 1
                start = i
                while start > low and not link[base + start - 1]:
                    start -= 1
                i = await self._page_in(segment, start, stop, i, min(stop, end))
            elif self.physical.pfns.flags[-entry] & READING:
                await self._collide(segment, i)
            else:
                self._activate(segment, i, -entry)
                i += 1

    async def new_pages(self, segment: Segment, first: int, end: int, zero: bool) -> bool:
        """Makes active pages where [first, end) is absent, of zeros or of any bytes; the caller
        overwrites them at once.

        False, and nothing made, when another thread was faster: the caller looks again.
        """
        runs = await self._frames(end - first, end - first, zero)
        if self.physical.ram.link[segment.base + first : segment.base + end].tolist() != [0] * (
            end - first
        ):
            self._give_back(runs)
            return False
        self.new += end - first
        self._adopt(segment, first, runs)
        return True

    # -- hard faults ------------------------------------------------------------------------------

    async def _page_in(self, segment: Segment, start: int, end: int, first: int, need: int) -> int:
        """Reads pages [start, end); [first, need) are obligatory. Returns the page up to which
        those are active now.

        That can be `first`, when another thread was at work: the caller looks again.
        """
        runs = await self._frames(end - start, need - first, False)
        count = sum(size for _, size in runs)
        end = min(end, first + count)
        start = end - count
        if segment.used and any(self.physical.ram.link[segment.base + start : segment.base + end]):
            self._give_back(runs)
            return first
        self.hard += 1
        self.page_ins[count] += 1
        buffers = [self.physical.ram.frame(*run) for run in runs]
        section = segment.section
        request = section.pager.data_request(
            section,
            (segment.index << SEGMENT_SHIFT) + start,
            buffers,
            range(first - start, need - start),
        )
        try:
            waiters = request.send(None)
        except StopIteration as stop:  # it did not wait: nobody has seen anything of it
            self._adopt(segment, start, runs)
            if stop.value is not None:
                self._leave_out(segment, start, runs, stop.value, range(first, need))
            if section.precious:
                self._mark_precious(segment, start, end)
            return need
        except StatusError:
            self._give_back(runs)
            if need - first == end - start:
                raise
        else:
            if await self._page_in_slowly(
                segment, Read(start, end), range(first, need), runs, Resumed(request, waiters)
            ):
                return need
        return await self._page_in(segment, first, need, first, need)  # without the neighbours

    async def _page_in_slowly(
        self, segment: Segment, read: Read, need: range, runs: list[Run], request: Resumed
    ) -> bool:
        """Waits for a read, its pages in transition meanwhile. False when it failed and can be
        tried with fewer pages.
        """
        self._adopt(segment, read.first, runs, -1)
        self._mark(runs, State.TRANSITION, READING)
        segment.reads.append(read)
        try:
            supplied = await request
        except StatusError:
            self._unread(segment, read.first, runs)
            if len(need) == read.end - read.first:
                raise
            return False
        else:
            self._mark(runs, State.ACTIVE, 0)
            self._set_entries(segment, read.first, runs, 1)
            if supplied is not None:
                self._leave_out(segment, read.first, runs, supplied, need)
            if segment.section.precious:
                self._mark_precious(segment, read.first, read.end)
            return True
        finally:
            segment.reads.remove(read)
            if read.event is not None:
                read.event.signal()
            self.pageout.progress.signal()

    def _mark_precious(self, segment: Segment, first: int, end: int) -> None:
        """Pages that their pager wants back are modified from the beginning."""
        base, link = segment.index << SEGMENT_SHIFT, self.physical.ram.link
        mask = sum(
            1 << i
            for i in range(first, end)
            if base + i in segment.section.precious and link[segment.base + i]
        )
        self.pageout.writeback.mark(segment, mask, written=False)

    def clear_behind_end(self, segment: Segment) -> None:
        """What the last page has behind the section's end is zeros for those who map it, whatever
        the pager keeps there.

        Called when it is entered into page tables, and when a section is cut.
        """
        size = segment.section.size - (segment.index << VIEW_SHIFT)
        if (
            size & PAGE_SIZE - 1
            and 0 < size < VIEW_SIZE
            and (entry := self.physical.ram.link[segment.base + (size >> PAGE_SHIFT)])
        ):
            self.physical.clear_tail(abs(entry), size & PAGE_SIZE - 1)

    def _leave_out(
        self, segment: Segment, start: int, runs: list[Run], supplied: int, need: range
    ) -> None:
        """Frees the frames of pages that the pager left out. StatusError IN_PAGE_ERROR when an
        obligatory one is among them.
        """
        frames = [pfn for first, count in runs for pfn in range(first, first + count)]
        left = [i for i in range(len(frames)) if not supplied >> i & 1]
        for i in left:
            self.physical.ram.link[segment.base + start + i] = 0
        segment.used -= len(left)
        self.physical.free([frames[i] for i in left], State.ACTIVE)
        for i in left:
            if start + i in need:
                page = (segment.index << SEGMENT_SHIFT) + start + i
                raise StatusError(
                    Status.IN_PAGE_ERROR,
                    f"{segment.section.name}: its pager has not supplied page {page}",
                )

    async def _frames(self, wanted: int, needed: int, zero: bool) -> list[Run]:
        """Frames for `wanted` pages, or for as many as are available now; at least for the `needed`
        ones, waiting for pageout.
        """
        physical = self.physical
        take = physical.try_take_zeroed if zero else physical.try_take
        state = State.ACTIVE
        while True:
            runs = take(wanted, state)
            part = min(wanted - 1, physical.available - RESERVE)
            if runs is None and part >= needed:
                runs = take(part, state)
            if runs is not None:
                return runs
            await self.pageout.relieve(needed)

    def _adopt(self, segment: Segment, first: int, runs: list[Run], sign: int = 1) -> None:
        """Makes frames the pages from `first` on, which were absent."""
        pfns = self.physical.pfns
        pte = segment.base + first
        for start, count in runs:
            segment.used += count
            if count < SHORT_RUN:
                for i in range(count):
                    pfns.pte[start + i] = pte + i
            else:
                pfns.table[start : start + count, PTE] = np.arange(pte, pte + count, dtype=np.int32)
            pte += count
        self._set_entries(segment, first, runs, sign)

    def _mark(self, runs: list[Run], state: State, flags: int) -> None:
        pfns = self.physical.pfns
        for start, count in runs:
            pfns.claim(start, count, state, State(pfns.state[start]))
            pfns.fill(start, count, FLAGS, flags)

    def _set_entries(self, segment: Segment, first: int, runs: list[Run], sign: int) -> None:
        link = self.physical.ram.link
        at = segment.base + first
        for start, count in runs:
            if count < SHORT_RUN:
                for pfn in range(start, start + count):
                    link[at] = pfn * sign
                    at += 1
            else:
                self.physical.links[at : at + count] = (
                    np.arange(start, start + count, dtype=np.int32) * sign
                )
                at += count

    def _give_back(self, runs: list[Run]) -> None:
        self.physical.free(
            [pfn for start, count in runs for pfn in range(start, start + count)], State.ACTIVE
        )

    def _unread(self, segment: Segment, first: int, runs: list[Run]) -> None:
        """Undoes a page-in that failed."""
        frames = [pfn for start, count in runs for pfn in range(start, start + count)]
        link = self.physical.ram.link
        for i in range(len(frames)):
            link[segment.base + first + i] = 0
        segment.used -= len(frames)
        self.physical.free(frames, State.TRANSITION)

    # -- soft and collided faults -----------------------------------------------------------------

    async def _collide(self, segment: Segment, page: int) -> None:
        self.collided += 1
        read = next(r for r in segment.reads if r.first <= page < r.end)
        if read.event is None:
            read.event = Event()
        await read.event.wait()

    def _activate(self, segment: Segment, i: int, pfn: int) -> None:
        self.soft += 1
        physical = self.physical
        pfns = physical.pfns
        state = pfns.state[pfn]
        if state == State.STANDBY:
            physical.standby.remove(pfn, State.ACTIVE)
        elif state == State.MODIFIED:
            physical.modified.remove(pfn, State.ACTIVE)
        else:  # in transition: it is being written
            physical.pfns.claim(pfn, 1, State.ACTIVE, State.TRANSITION)
        physical.ram.link[segment.base + i] = pfn

    def statistics(self) -> dict[str, object]:
        """Faults by kind, and page-ins by cluster size in pages."""
        return {
            "hard": self.hard,
            "soft": self.soft,
            "collided": self.collided,
            "new": self.new,
            "page_ins": dict(sorted(self.page_ins.items())),
            "pages_in": sum(size * n for size, n in self.page_ins.items()),
        }

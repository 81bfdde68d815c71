"""Faults: making pages of a section active.

    absent       hard fault: frames are taken, the pager fills them, a cluster at a time
    transition   soft fault: the frame is taken off its list, nothing is read
    being read   collided fault: waits for the read that is under way

Only the pages asked for are obligatory. The rest of a cluster is left out when memory is short, and
asked for no more when the device cannot read it; a pager may leave it out as well.

What lies beyond the valid bytes of a section, or beyond its end, is zeros, and nobody is asked.

`new_pages` makes pages that are about to be overwritten: frames without a read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Coroutine, Generator, Sequence
from typing import TYPE_CHECKING, Protocol

from octavo.machine.abi import (
    PAGE_SHIFT,
    PAGE_SIZE,
    READING,
    SEGMENT_PAGES,
    SEGMENT_SHIFT,
    State,
)
from octavo.machine.frames import whole
from octavo.memory.frames.buddy import Run
from octavo.memory.frames.physical import RESERVE
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE, Read, Segment
from octavo.memory.pages.transfers import Transfers
from octavo.memory.pages.writeback import WriteBack
from octavo.status import Status, StatusError
from octavo.threads.wait import Event, Waiters, marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import FaultStatistics


class Room(Protocol):
    """Who makes room where frames are wanted and none can be had: pageout."""

    async def relieve(self, needed: int) -> None:
        """Returns when `needed` frames are available. StatusError NO_MEMORY when they cannot be
        had.
        """


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
    """Resolves faults on the pages of segments that are pinned or held."""

    def __init__(
        self, residency: Residency, writeback: WriteBack, transfers: Transfers, room: Room
    ) -> None:
        self.residency, self.physical = residency, residency.physical
        self.writeback, self.transfers, self.room = writeback, transfers, room
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
            if marks.on:
                await preemption_point()
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
                self.soft_fault(segment, i)
                i += 1

    def soft_fault(self, segment: Segment, i: int) -> None:
        """Makes a page active that is in transition and not being read."""
        self.soft += 1
        self.residency.activate(segment, i)

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
        self.residency.insert(segment, first, runs)
        return True

    def new_page(self, segment: Segment, i: int) -> None:
        """Makes an absent page active, of zeros; an ordinary frame is available, as the caller
        knows.
        """
        runs = self.physical.try_take_zeroed(1, State.ACTIVE)
        assert runs is not None, "there is no frame for a new page"
        self.new += 1
        self.residency.insert(segment, i, runs)

    async def new_segments(self, segments: Sequence[Segment], pages: int) -> None:
        """As `new_pages`, from the first page on of segments that are empty, and that nobody else
        knows; in frames in a row, as far as there are some.
        """
        frames = sorted(await self._frames(pages, pages, False), reverse=True)
        for segment in segments:
            done, end = 0, min(pages, SEGMENT_PAGES)
            while done < end:
                first, count = frames.pop()
                size = min(count, end - done)
                self.residency.insert(segment, done, [(first, size)])
                if size < count:
                    frames.append((first + size, count - size))
                done += size
            pages -= done
        assert not frames and not pages, "segments are too few for their pages"

    # -- hard faults ------------------------------------------------------------------------------

    async def _page_in(self, segment: Segment, start: int, end: int, first: int, need: int) -> int:
        """Reads pages [start, end); [first, need) are obligatory. Returns the page up to which
        those are active now.

        That can be `first`, when another thread was at work: the caller looks again.
        """
        section = segment.section
        known = section.valid if section.valid < section.size else section.size
        known = (known + PAGE_SIZE - 1 >> PAGE_SHIFT) - (segment.index << SEGMENT_SHIFT)
        if end > known:
            if first >= known:
                await self.new_pages(segment, first, need, True)
                return first
            end, need = known, min(need, known)
        runs = await self._frames(end - start, need - first, False)
        count = sum(size for _, size in runs)
        end = min(end, first + count)
        start = end - count
        if segment.used and any(self.physical.ram.link[segment.base + start : segment.base + end]):
            self._give_back(runs)
            return first
        self.hard += 1
        self.page_ins[count] += 1
        frames = whole(self.physical.ram, runs, count)
        request = section.pager.data_request(
            section,
            (segment.index << SEGMENT_SHIFT) + start,
            frames,
            range(first - start, need - start),
        )
        try:
            waiters = request.send(None)
        except StopIteration as stop:  # it did not wait: nobody has seen anything of it
            self.residency.insert(segment, start, runs)
            if section.valid < section.size:
                self.clear_behind_end(segment)
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
        self.residency.begin_read(segment, read.first, runs)
        segment.reads.append(read)
        try:
            with self.transfers.under_way():
                supplied = await request
        except StatusError:
            self.residency.fail_read(segment, read.first, runs)
            if len(need) == read.end - read.first:
                raise
            return False
        else:
            self.residency.end_read(segment, read.first, runs)
            if segment.section.valid < segment.section.size:
                self.clear_behind_end(segment)
            if supplied is not None:
                self._leave_out(segment, read.first, runs, supplied, need)
            if segment.section.precious:
                self._mark_precious(segment, read.first, read.end)
            return True
        finally:
            segment.reads.remove(read)
            if read.event is not None:
                read.event.signal()

    def _mark_precious(self, segment: Segment, first: int, end: int) -> None:
        """Pages that their pager wants back are modified from the beginning."""
        base, link = segment.index << SEGMENT_SHIFT, self.physical.ram.link
        mask = sum(
            1 << i
            for i in range(first, end)
            if base + i in segment.section.precious and link[segment.base + i]
        )
        self.writeback.mark(segment, mask, written=False)

    def clear_behind_end(self, segment: Segment) -> None:
        """What the last page has behind the section's end, or its valid bytes, is zeros for those
        who map it, whatever the pager keeps there.

        Called when it is entered into page tables, when a section is cut, and when a page comes
        that is valid in part.
        """
        section = segment.section
        size = min(section.size, section.valid) - (segment.index << VIEW_SHIFT)
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
        count = sum(size for _, size in runs)
        left = [start + i for i in range(count) if not supplied >> i & 1]
        self.residency.leave_out(segment, left)
        for i in left:
            if i in need:
                page = (segment.index << SEGMENT_SHIFT) + i
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
            if marks.on:
                await preemption_point()
            runs = take(wanted, state)
            part = min(wanted - 1, physical.available - RESERVE)
            if runs is None and part >= needed:
                runs = take(part, state)
            if runs is not None:
                return runs
            await self.room.relieve(needed)

    def _give_back(self, runs: list[Run]) -> None:
        self.physical.free(
            [pfn for start, count in runs for pfn in range(start, start + count)], State.ACTIVE
        )

    # -- soft and collided faults -----------------------------------------------------------------

    async def _collide(self, segment: Segment, page: int) -> None:
        self.collided += 1
        read = next(r for r in segment.reads if r.first <= page < r.end)
        if read.event is None:
            read.event = Event()
        await read.event.wait()

    def statistics(self) -> FaultStatistics:
        """Faults by kind, and page-ins by cluster size in pages."""
        from octavo.statistics import FaultStatistics

        return FaultStatistics(
            hard=self.hard,
            soft=self.soft,
            collided=self.collided,
            new=self.new,
            page_ins=dict(sorted(self.page_ins.items())),
            pages_in=sum(size * n for size, n in self.page_ins.items()),
        )

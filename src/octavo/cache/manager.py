"""The cache manager: reads and writes files by copying to and from views of their sections.

A view is 512 KiB of a section, mapped: its resident pages are active. The cache keeps as many views
mapped as memory allows (`Views`); pageout has it let go of the least used ones, whose pages then
stand by for whoever needs frames. The cache has no memory and no I/O of its own: a miss is a page
fault on the section (rule 2).

    copy_read    bytes out of the views     (a resident page: no wait)
    copy_write   bytes into the views       pages wholly overwritten, and pages past the end, are
                                            not read first
    put          bytes at places whose pages are active: all of them at once, or none
    address      where a byte of metadata is in RAM, to be looked at before the next `await`
    flush        all dirty pages of a section to its pager
    purge        pages dropped, dirty or not

Dirty pages wait for the writers (`octavo.cache.writers`).

Source: NT's cache manager (views of sections, lazy writer, write throttling). Departures: dirty by
page, not by view; views of 512 KiB, not 256 (docs/decisions/0006); sections larger than what is
mapped cost nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from octavo.cache.readahead import ReadAhead
from octavo.cache.views import Views
from octavo.cache.writers import Writers
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES
from octavo.memory.frames.physical import ZERO_PAGE
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE, Pins, Section, Segment
from octavo.status import StatusError
from octavo.threads.wait import marks, preemption_point

if TYPE_CHECKING:
    from octavo.statistics import CacheStatistics

MOST_GATHERED = 4  # views
PAGE_MASK = PAGE_SIZE - 1
VIEW_MASK = VIEW_SIZE - 1


class CacheManager:
    """The one client of `memory` that maps sections."""

    def __init__(self, memory: MemoryManager) -> None:
        self.memory = memory
        self.ram = memory.ram
        self.views = Views(memory)
        self.writers = Writers(memory)
        total = memory.physical.available
        self.most_gathered = VIEW_SIZE * min(
            max(total // 1000, 1), MOST_GATHERED
        )  # bytes that one copy may pin
        self.hits = 0
        self.misses = 0
        self.ahead_pages = 0
        self.ahead_hits = 0

    async def _resident(self, segment: Segment, first: int, end: int, limit: int) -> None:
        """Makes pages [first, end) of a view active, reading up to `limit` at most."""
        with segment.pinned():
            await self.memory.faults.make_resident(segment, first, end, limit)

    # -- reading -----------------------------------------------------------------------------------

    async def copy_read(
        self, section: Section, offset: int, length: int, history: ReadAhead | None = None
    ) -> bytes:
        """Up to `length` bytes from `offset` on; fewer only at the section's end."""
        end = min(offset + length, section.size)
        if history is not None:
            history.note(offset, max(offset, end))
        sequential = history is not None and history.sequential
        if (
            history is None
            and 0 <= offset < end <= offset + PAGE_SIZE
            and offset >> PAGE_SHIFT == end - 1 >> PAGE_SHIFT
        ):
            address = await self.address(section, offset, 1)  # a page of metadata
            return bytes(self.ram.bytes[address : address + end - offset])
        parts = []
        while offset < end:
            stop = min(end, (offset & ~VIEW_MASK) + self.most_gathered)
            parts.append(await self._gather(section, offset, stop, sequential))
            offset = stop
        if sequential and history is not None and parts and section.size > VIEW_SIZE:
            self._prefetch(section, history)
            self._leave_behind(section, history)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _gather(self, section: Section, offset: int, stop: int, sequential: bool) -> bytes:
        """The bytes [offset, stop), which lie in few views, copied once."""
        if stop - 1 >> VIEW_SHIFT == offset >> VIEW_SHIFT:
            segment = await self._fault(section, offset, stop, sequential)
            pieces = self._pieces(segment, offset, stop)
            return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        pieces = []
        with Pins() as pins:  # pages must stay until all of them are copied
            while offset < stop:
                end = min(stop, (offset | VIEW_MASK) + 1)
                segment = await self._fault(section, offset, end, sequential)
                pieces += self._pieces(segment, offset, end)
                if end < stop:
                    pins.pin(segment)
                offset = end
            return b"".join(pieces)

    async def copy_read_into(
        self, section: Section, offset: int, buffer: memoryview, history: ReadAhead | None = None
    ) -> int:
        """As `copy_read`, into a buffer of bytes; returns the number read."""
        end = min(offset + len(buffer), section.size)
        if history is not None:
            history.note(offset, max(offset, end))
        sequential = history is not None and history.sequential
        done = 0
        while offset < end:
            stop = min(end, (offset | VIEW_MASK) + 1)
            segment = await self._fault(section, offset, stop, sequential)
            for piece in self._pieces(segment, offset, stop):
                buffer[done : done + len(piece)] = piece
                done += len(piece)
            offset = stop
            if sequential and history is not None and section.size > VIEW_SIZE:
                history.next = offset
                self._prefetch(section, history)
                self._leave_behind(section, history)
        return done

    async def _fault(self, section: Section, offset: int, stop: int, sequential: bool) -> Segment:
        """The view of bytes [offset, stop), with their pages active."""
        if marks.on:
            await preemption_point()
        segment = section.segments.get(offset >> VIEW_SHIFT)
        if segment is None or not segment.mapped:
            segment = await self.views.get(section, offset >> VIEW_SHIFT)
        segment.referenced = True
        first = (offset & VIEW_MASK) >> PAGE_SHIFT
        end = ((stop - 1 & VIEW_MASK) >> PAGE_SHIFT) + 1
        if segment.prefetched:
            hit = segment.prefetched & (1 << end) - (1 << first)
            segment.prefetched ^= hit
            self.ahead_hits += hit.bit_count()
        entries = self.ram.link[segment.base + first : segment.base + end]
        if (min(entries) if end - first > 1 else entries[0]) > 0:
            self.hits += 1
            return segment
        self.misses += 1
        limit = self._limit(section, segment) if sequential else end
        await self._resident(segment, first, end, max(limit, end))
        return segment

    def _limit(self, section: Section, segment: Segment) -> int:
        """The index after the last page of a view that the section has."""
        return min(
            SEGMENT_PAGES, (section.size + PAGE_MASK >> PAGE_SHIFT) - segment.index * SEGMENT_PAGES
        )

    def _pieces(self, segment: Segment, offset: int, stop: int) -> list[memoryview]:
        """The bytes [offset, stop) of a view with active pages, as stretches of consecutive
        frames.
        """
        ram = self.ram
        first = (offset & VIEW_MASK) >> PAGE_SHIFT
        last = (stop - 1 & VIEW_MASK) >> PAGE_SHIFT
        head = offset & PAGE_MASK
        length = stop - offset
        if first == last:
            start = (ram.link[segment.base + first] << PAGE_SHIFT) + head
            return [ram.bytes[start : start + length]]
        frames = ram.link[segment.base + first : segment.base + last + 1].tolist()
        if frames == list(
            range(frames[0], frames[0] + len(frames))
        ):  # the usual case, and quickly seen
            start = (frames[0] << PAGE_SHIFT) + head
            return [ram.bytes[start : start + length]]
        out = []
        begin = expected = -1
        for pfn in frames:
            if pfn != expected:
                if begin >= 0:
                    out.append(ram.bytes[(begin << PAGE_SHIFT) + head : expected << PAGE_SHIFT])
                    length -= (expected - begin << PAGE_SHIFT) - head
                    head = 0
                begin = pfn
            expected = pfn + 1
        start = (begin << PAGE_SHIFT) + head
        out.append(ram.bytes[start : start + length])
        return out

    def _prefetch(self, section: Section, history: ReadAhead) -> None:
        views = history.wanted(section.size)
        if not views or self.memory.physical.available < 2 * SEGMENT_PAGES * len(views):
            return
        for index in views:
            segment = section.segments.get(index)
            if segment is None or segment.used < SEGMENT_PAGES:
                self.memory.scheduler.start(self._read_ahead(section, index), "read-ahead")

    def _leave_behind(self, section: Section, history: ReadAhead) -> None:
        """What a reader of more than memory holds has read would be gone before it came back: its
        frames serve at once again.
        """
        if section.size > self.memory.limit << PAGE_SHIFT and self.memory.pageout.enabled:
            for index in history.left():
                self.views.leave_behind(section, index)

    async def _read_ahead(self, section: Section, index: int) -> None:
        """Fetches one view; what cannot be read is left to the reader, who will get the error."""
        if index << VIEW_SHIFT >= section.size:
            return  # it was cut, or nobody uses it any more
        try:
            segment = await self.views.get(section, index)
            limit = self._limit(section, segment)
            link = self.ram.link[segment.base : segment.base + SEGMENT_PAGES]
            absent = (
                sum(1 << i for i in range(limit) if not link[i])
                if segment.used
                else (1 << limit) - 1
            )
            if limit <= 0 or not absent:
                return
            await self._resident(segment, 0, limit, limit)
            segment.prefetched |= absent
            self.ahead_pages += absent.bit_count()
        except StatusError:
            pass

    # -- writing -----------------------------------------------------------------------------------

    async def copy_write(self, section: Section, offset: int, data: memoryview | bytes) -> None:
        """Puts data at `offset` and makes the section reach its end; pages from the old end on are
        not read, and begin as zeros.

        The pager must already know where the pages go. An error leaves what was copied before it
        copied and dirty.
        """
        if self.memory.writeback.dirty > self.writers.most_dirty >> 1:
            await self.writers.admit()
        view = memoryview(data)
        done, length = 0, len(view)
        while done < length:
            if marks.on:
                await preemption_point()
            at = offset + done
            segment = await self.views.get(section, at >> VIEW_SHIFT)
            stop = min(offset + length, (at | VIEW_MASK) + 1)
            if self.ram.link[segment.base + ((at & VIEW_MASK) >> PAGE_SHIFT)] <= 0:
                await self._make_active(section, segment, at, stop)
            stop = self._active_until(segment, at, stop)
            for piece in self._pieces(segment, at, stop):
                piece[:] = view[done : done + len(piece)]
                done += len(piece)
            first = (at & VIEW_MASK) >> PAGE_SHIFT
            end = ((stop - 1 & VIEW_MASK) >> PAGE_SHIFT) + 1
            self.memory.writeback.mark(segment, (1 << end) - (1 << first))
            if stop > section.size:
                section.size = stop

    async def _make_active(self, section: Section, segment: Segment, at: int, stop: int) -> None:
        """Makes the page of byte `at` active, and those behind it up to byte `stop` if they need
        not be read.

        New pages hold old bytes of other files until the caller has overwritten them, so nothing
        may wait in between.
        """
        i = (at & VIEW_MASK) >> PAGE_SHIFT
        with segment.pinned():
            while self.ram.link[segment.base + i] <= 0:
                await self._make_writable(section, segment, i, at, stop)

    def _active_until(self, segment: Segment, at: int, stop: int) -> int:
        """The end of the bytes from `at` on and before `stop` whose pages are active, as the first
        one's is.
        """
        link, base = self.ram.link, segment.base
        start = segment.index << VIEW_SHIFT
        i = ((at - start) >> PAGE_SHIFT) + 1
        end = (stop - start - 1 >> PAGE_SHIFT) + 1
        while i < end and link[base + i] > 0:
            i += 1
        return min(stop, start + (i << PAGE_SHIFT))

    async def _make_writable(
        self, section: Section, segment: Segment, i: int, at: int, stop: int
    ) -> None:
        """One step towards an active page `i`, and those behind it up to byte `stop` if they need
        not be read: those that are wholly overwritten from `at` on, and those behind the section's
        end.
        """
        link, base, start = self.ram.link, segment.base, segment.index << VIEW_SHIFT
        page = start + (i << PAGE_SHIFT)
        end = (stop - start - 1 >> PAGE_SHIFT) + 1
        behind = start + (end - 1 << PAGE_SHIFT) >= section.size
        last = end if behind else (stop - start) >> PAGE_SHIFT
        j = i
        while j < last and not link[base + j] and page >= at:
            j += 1
        if j > i:
            made = await self.memory.faults.new_pages(segment, i, j, False)
            if made and j == end and (tail := -stop & PAGE_MASK):
                address = (link[base + j - 1] << PAGE_SHIFT) + PAGE_SIZE
                self.ram.bytes[address - tail : address] = ZERO_PAGE[:tail]
        elif page >= section.size and not link[base + i]:
            await self.memory.faults.new_pages(segment, i, i + 1, True)
        else:
            await self.memory.faults.make_resident(segment, i, i + 1, i + 1)

    def put(self, edits: Sequence[tuple[Section, int, bytes]]) -> bool:
        """Writes a few bytes at each of several places, none of which goes beyond its page or its
        section; False, and nothing done, when one of the pages is not active, or is being written
        after what leads it: what were put there now might point to what is not on the medium.
        """
        link, ram = self.ram.link, self.ram.bytes
        places = []
        for section, offset, data in edits:
            segment = section.segments.get(offset >> VIEW_SHIFT)
            if segment is None:
                return False
            page = (offset & VIEW_MASK) >> PAGE_SHIFT
            pfn = link[segment.base + page]
            if pfn <= 0 or (section.leads is not None and segment.writing >> page & 1):
                return False
            at, size = offset & PAGE_MASK, len(data)
            assert at + size <= PAGE_SIZE and offset + size <= section.size, section.name
            at |= pfn << PAGE_SHIFT
            places.append((segment, 1 << page, at, at + size, data))
        for segment, bit, at, end, data in places:
            ram[at:end] = data
            segment.referenced = True
            if not segment.dirty & bit:
                self.memory.writeback.mark(segment, bit)
        return True

    # -- metadata ----------------------------------------------------------------------------------

    def try_address(self, section: Section, offset: int) -> int:
        """The RAM address of a byte whose page is active, else -1; good until the next `await`."""
        segment = section.segments.get(offset >> VIEW_SHIFT)
        if segment is None:
            return -1
        pfn = self.ram.link[segment.base + ((offset & VIEW_MASK) >> PAGE_SHIFT)]
        if pfn <= 0:
            return -1
        segment.referenced = True
        return pfn << PAGE_SHIFT | offset & PAGE_MASK

    async def address(self, section: Section, offset: int, cluster: int = 4) -> int:
        """The RAM address of a byte, after a fault if need be (which reads up to `cluster` pages);
        good until the next `await`.
        """
        if marks.on:
            await preemption_point()
        address = self.try_address(section, offset)
        while address < 0:
            segment = await self.views.get(section, offset >> VIEW_SHIFT)
            page = (offset & VIEW_MASK) >> PAGE_SHIFT
            await self._resident(
                segment,
                page,
                page + 1,
                max(page + 1, min(page + cluster, self._limit(section, segment))),
            )
            address = self.try_address(section, offset)
        return address

    @asynccontextmanager
    async def hold(self, section: Section, offset: int, length: int) -> AsyncIterator[None]:
        """Keeps the pages of a few bytes active, so that `put` cannot fail on them, wherever the
        block waits.
        """
        with Pins() as pins:
            for at in range(offset & ~PAGE_MASK, offset + length, PAGE_SIZE):
                pins.pin(await self.views.get(section, at >> VIEW_SHIFT))
                await self.address(section, at, 1)
            yield

    def mark(self, section: Section, offset: int) -> None:
        """Says that the byte at `offset`, whose page is active, was changed in RAM."""
        segment = section.segments[offset >> VIEW_SHIFT]
        bit = 1 << ((offset & VIEW_MASK) >> PAGE_SHIFT)
        if not segment.dirty & bit:
            self.memory.writeback.mark(segment, bit)

    # -- flushing ----------------------------------------------------------------------------------

    async def flush(self, section: Section) -> None:
        """Writes what is dirty; raises the error of a write that failed now, or of one that nobody
        waited for.
        """
        await self.memory.writeback.flush(section)

    async def drop(self, section: Section) -> None:
        """Lets go of a section that nobody will use again: its pages, dirty or not, and its
        views.
        """
        await self.views.drop(section)

    async def purge(self, section: Section, size: int) -> None:
        """Drops the pages that begin at or after byte `size`, and shortens the section to it; the
        rest of its last page is zeros.
        """
        section.size = min(section.size, size)
        await self.memory.writeback.purge(section, (size + PAGE_MASK) >> PAGE_SHIFT)
        segment = section.segments.get(size >> VIEW_SHIFT)
        if segment is not None and size & PAGE_MASK and size == section.size:
            self.memory.faults.clear_behind_end(segment)

    def statistics(self) -> CacheStatistics:
        """Views mapped, hits and misses by view, read-ahead pages and those of them that were used,
        throttled writes.
        """
        from octavo.statistics import CacheStatistics

        return CacheStatistics(
            views=len(self.views),
            hits=self.hits,
            misses=self.misses,
            read_ahead_pages=self.ahead_pages,
            read_ahead_hits=self.ahead_hits,
            throttled=self.writers.throttled,
        )

    def check(self) -> None:
        """Views and segments agree."""
        self.views.check()

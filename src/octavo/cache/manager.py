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
    zero         zeros into a range, past the views where it is long
    flush        dirty pages of a range to its pager
    purge        pages dropped, dirty or not; a section is cut
    at_once      reads and writes that do not wait      octavo.cache.atonce
    blocks       maps and pins                          octavo.cache.pins
    lists        frames for devices                     octavo.cache.mdl
    unbuffered   reads and writes without a copy        octavo.cache.unbuffered
    sizes        allocation, size, and valid length     octavo.cache.sizes

Dirty pages wait for the writers (`octavo.cache.writers`). The last five are made when they are
first used.

Source: NT's cache manager (views of sections, lazy writer, write throttling). Departures: dirty by
page, not by view; views of 512 KiB, not 256 (docs/decisions/0006); sections larger than what is
mapped cost nothing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import cached_property
from typing import TYPE_CHECKING

from octavo.cache.ahead import Ahead
from octavo.cache.readahead import ReadAhead
from octavo.cache.valid import begin, behind, finish
from octavo.cache.views import Views, no_buffer
from octavo.cache.writers import Writers
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import UNBOUNDED, VIEW_SHIFT, VIEW_SIZE, Pins, Section, Segment
from octavo.status import Status, StatusError
from octavo.threads.wait import marks, preemption_point

if TYPE_CHECKING:
    from octavo.cache.atonce import AtOnce
    from octavo.cache.locked import LockedPages
    from octavo.cache.mdl import FrameLists
    from octavo.cache.pins import ControlBlocks
    from octavo.cache.sizes import SectionSizes
    from octavo.cache.unbuffered import Unbuffered
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
        # bytes that one copy may pin
        self.most_gathered = VIEW_SIZE * min(max(total // 1000, 1), MOST_GATHERED)
        self.ahead = Ahead(memory, self.views)
        self.hits = 0
        self.misses = 0

    @cached_property
    def locked(self) -> LockedPages:
        """The pages that control blocks and lists of frames keep."""
        from octavo.cache.locked import LockedPages

        return LockedPages(self.memory)

    @cached_property
    def unbuffered(self) -> Unbuffered:
        """Reads and writes past the views."""
        from octavo.cache.unbuffered import Unbuffered

        return Unbuffered(self.memory, self.locked)

    @cached_property
    def sizes(self) -> SectionSizes:
        """The sizes of sections."""
        from octavo.cache.sizes import SectionSizes

        return SectionSizes(self.memory, self.unbuffered, self._cut)

    @cached_property
    def at_once(self) -> AtOnce:
        """Reads and writes that do not wait."""
        from octavo.cache.atonce import AtOnce

        return AtOnce(self.memory, self.views, self.ahead, self.writers)

    @cached_property
    def blocks(self) -> ControlBlocks:
        """Maps and pins."""
        from octavo.cache.pins import ControlBlocks

        return ControlBlocks(self.memory, self.locked, self.ahead, self.unbuffered)

    @cached_property
    def lists(self) -> FrameLists:
        """Lists of frames for devices."""
        from octavo.cache.mdl import FrameLists

        return FrameLists(self.memory, self.locked, self.unbuffered)

    async def _resident(
        self, segment: Segment, first: int, end: int, limit: int, low: int = SEGMENT_PAGES
    ) -> None:
        """Makes pages [first, end) of a view active, reading from `low` up to `limit` at most."""
        with segment.pinned():
            await self.memory.faults.make_resident(segment, first, end, limit, low)

    # -- reading -----------------------------------------------------------------------------------

    async def copy_read(
        self, section: Section, offset: int, length: int, history: ReadAhead | None = None
    ) -> bytes:
        """Up to `length` bytes from `offset` on; fewer only at the section's end."""
        end = min(offset + length, section.size)
        if history is not None:
            history.note(offset, max(offset, end))
        reach = history.reach if history is not None else 0
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
            parts.append(await self._gather(section, offset, stop, reach))
            offset = stop
        if history is not None and history.way and parts and section.size > VIEW_SIZE:
            self.ahead.follow(section, history)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _gather(self, section: Section, offset: int, stop: int, reach: int) -> bytes:
        """The bytes [offset, stop), which lie in few views, copied once."""
        if stop - 1 >> VIEW_SHIFT == offset >> VIEW_SHIFT:
            segment = await self._fault(section, offset, stop, reach)
            pieces = self.views.pieces(segment, offset, stop)
            return bytes(pieces[0]) if len(pieces) == 1 else b"".join(pieces)
        pieces = []
        with Pins() as pins:  # pages must stay until all of them are copied
            while offset < stop:
                end = min(stop, (offset | VIEW_MASK) + 1)
                segment = await self._fault(section, offset, end, reach)
                pieces += self.views.pieces(segment, offset, end)
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
        reach = history.reach if history is not None else 0
        done = 0
        while offset < end:
            stop = min(end, (offset | VIEW_MASK) + 1)
            segment = await self._fault(section, offset, stop, reach)
            for piece in self.views.pieces(segment, offset, stop):
                buffer[done : done + len(piece)] = piece
                done += len(piece)
            offset = stop
            if reach > 0 and history is not None and section.size > VIEW_SIZE:
                history.next = offset
                self.ahead.follow(section, history)
        if done and reach <= 0 and history is not None and history.way:
            self.ahead.follow(section, history)
        return done

    async def _fault(self, section: Section, offset: int, stop: int, reach: int) -> Segment:
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
            self.ahead.hits += hit.bit_count()
        entries = self.ram.link[segment.base + first : segment.base + end]
        if (min(entries) if end - first > 1 else entries[0]) > 0:
            self.hits += 1
            return segment
        self.misses += 1
        limit = max(segment.limit, end) if reach > 0 else end
        await self._resident(segment, first, end, limit, 0 if reach < 0 else SEGMENT_PAGES)
        return segment

    # -- writing -----------------------------------------------------------------------------------

    async def copy_write(
        self, section: Section, offset: int, data: memoryview | bytes, through: bool = False
    ) -> None:
        """Puts data at `offset` and makes the section reach its end; pages of it from the old end
        on are not read, and begin as zeros. `through`: returns when the pager has it.

        Bytes before `offset` that were not valid are zeros. A section that is valid as a whole has
        between its old end and `offset` what its pager has there: whoever lets it grow writes zeros
        there first (`zero`), as the file system's files do.
        The pager must already know where the pages go. An error leaves what was copied before it
        copied and dirty. StatusError INVALID_USER_BUFFER for what has no bytes.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise no_buffer(section, data) from None
        done, length = 0, len(view)
        raises = offset + length > section.valid and length > 0
        if raises:
            await begin(section)
        try:
            if raises:
                await self.unbuffered.fill(section, offset)
            while done < length:
                if (
                    self.memory.writeback.dirty > self.writers.calm
                    or section.dirty > section.most_dirty
                ):
                    await self.writers.admit(section)
                if marks.on:
                    await preemption_point()
                at = offset + done
                segment = await self.views.get(section, at >> VIEW_SHIFT)
                stop = min(offset + length, (at | VIEW_MASK) + 1)
                if self.ram.link[segment.base + ((at & VIEW_MASK) >> PAGE_SHIFT)] <= 0:
                    await self.views.make_active(section, segment, at, stop)
                if stop > (at | PAGE_MASK) + 1:
                    stop = self.views.active_until(segment, at, stop)
                self.views.copy_in(section, segment, at, stop, view[done : done + stop - at])
                done += stop - at
        finally:
            if raises:
                finish(section)
        if through:
            await self.flush(section, offset, length)

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
            limit = max(page + 1, min(page + cluster, segment.limit))
            await self._resident(segment, page, page + 1, limit)
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

    # -- ranges ------------------------------------------------------------------------------------

    async def zero(self, section: Section, offset: int, length: int) -> None:
        """Makes bytes [offset, offset + length) zeros, and the section reach their end. Long ranges
        go past the views: what is not in memory is written to the pager now.
        """
        if length > VIEW_SIZE:
            await self.unbuffered.zero(section, offset, length)
        else:
            await self.copy_write(section, offset, bytes(length))

    async def flush(self, section: Section, offset: int = 0, length: int | None = None) -> None:
        """Writes what is dirty in a range, which is all of the section unless it is said; raises
        the error of a write that failed now, or of one that nobody waited for.
        """
        if length is None:
            await self.memory.writeback.flush(section)
        elif length:
            end = offset + length - 1 >> PAGE_SHIFT
            await self.memory.writeback.flush(section, offset >> PAGE_SHIFT, end + 1)

    async def drop(self, section: Section) -> None:
        """Lets go of a section that nobody will use again: its pages, dirty or not, and its views.
        Raises as `purge`.
        """
        self._refuse(section, 0)
        self.ahead.forget(section)
        await self.views.drop(section)

    async def purge(self, section: Section, size: int) -> None:
        """Drops the pages that begin at or after byte `size`, and shortens the section to it; the
        rest of its last page is zeros. StatusError USER_MAPPED_FILE while one of them is pinned.
        """
        if section.valid == UNBOUNDED:
            await self._cut(section, size)
            return
        async with behind(section, UNBOUNDED):  # zeros that are written would reach behind the cut
            await self._cut(section, size)

    async def _cut(self, section: Section, size: int) -> None:
        self._refuse(section, size)
        section.size = min(section.size, size)
        if section.valid > size and section.valid != UNBOUNDED:
            section.valid = size
        await self.memory.writeback.purge(section, (size + PAGE_MASK) >> PAGE_SHIFT)
        segment = section.segments.get(size >> VIEW_SHIFT)
        if segment is not None and size & PAGE_MASK and size == section.size:
            self.memory.faults.clear_behind_end(segment)

    async def purge_range(
        self, section: Section, offset: int, length: int, dirty: bool = True
    ) -> bool:
        """Drops the pages that lie in bytes [offset, offset + length) as a whole, `dirty` or not:
        who asks for them gets what the pager has. False when some of them stay, which are pinned.
        """
        first, end = offset + PAGE_MASK >> PAGE_SHIFT, offset + length >> PAGE_SHIFT
        if first < end:
            await self.memory.writeback.purge(section, first, end, dirty)
        return not section.is_locked(first, end)

    def _refuse(self, section: Section, size: int) -> None:
        if section.is_locked(size + PAGE_MASK >> PAGE_SHIFT):
            raise StatusError(
                Status.USER_MAPPED_FILE,
                f"{section.name}: cannot be cut to {size} bytes while pages behind them are "
                "pinned, or on their way to a device",
            )

    def statistics(self) -> CacheStatistics:
        """Views, hits and misses, read-ahead, what is kept, throttled writes."""
        from octavo.statistics import CacheStatistics

        made = self.__dict__
        return CacheStatistics(
            views=len(self.views),
            address_space=len(self.views) * VIEW_SIZE,
            most_address_space=self.views.most * VIEW_SIZE,
            locked_pages=self.locked.count if "locked" in made else 0,
            blocks=self.blocks.count if "blocks" in made else 0,
            lists=self.lists.count if "lists" in made else 0,
            hits=self.hits,
            misses=self.misses,
            read_ahead_pages=self.ahead.pages,
            read_ahead_hits=self.ahead.hits,
            throttled=self.writers.throttled,
        )

    def check(self) -> None:
        """Views and segments agree, and who keeps pages has them."""
        self.views.check()
        for part in ("locked", "blocks"):
            if part in self.__dict__:
                self.__dict__[part].check()

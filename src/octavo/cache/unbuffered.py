"""Bytes that go between a section's pager and somebody's frames without a copy in the cache, and
still agree with it: unbuffered reads and writes, and zeros for long ranges.

    page              read                        write
    in memory         copied from its frame       copied into its frame, which is dirty
    absent, whole     pager -> the frames         the frames -> pager, then whoever has brought
                                                  the old page in meanwhile gets the new bytes
    absent, in part   brought in, then as above   brought in, then as above

A page is in one frame, so cached reads and mapped views see what an unbuffered write has brought as
soon as it is done. `write` returns when all of it is with the pager; `zero` leaves what is in
memory dirty. An error leaves what was written before it written.

Whole frames go without a copy; a part of one is copied. Source: NT's files without intermediate
buffering, CcZeroData. Departures: any place and length will do; NT flushes and purges the range
instead, and fails where it is mapped.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from octavo.arguments import invalid
from octavo.cache.locked import LockedPages
from octavo.cache.valid import behind
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.frames import Frames
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import DirtyRun, Read, Section, Segment
from octavo.threads.wait import Event, marks, preemption_point

MOST_ZEROS = 1 << 20  # bytes of one request
PAGE_MASK = PAGE_SIZE - 1


class Unbuffered:
    """Reads and writes past the cache of one machine."""

    def __init__(self, memory: MemoryManager, locked: LockedPages) -> None:
        self.memory, self.locked = memory, locked
        self.link, self.ram = memory.ram.link, memory.ram

    async def read(self, section: Section, offset: int, frames: Frames) -> int:
        """Fills frames with the bytes from `offset` on; returns how many there are. StatusError of
        the pager.
        """
        end = min(offset + _length(section, offset, frames), section.size)
        at = offset
        while at < end:
            if marks.on:
                await preemption_point()
            stop = self._absent(section, at, end)
            part = frames.part(at - offset, max(stop, at) - at)
            if part.length and _whole(part):
                await self._read_past(section, at, part)
            else:
                stop = min(end, (at | PAGE_MASK) + 1)
                await self._copy(section, at, frames.part(at - offset, stop - at), _fill)
            at = stop
        return max(0, end - offset)

    async def write(self, section: Section, offset: int, frames: Frames) -> None:
        """Writes frames at `offset`, and makes the section reach their end; returns when all of it
        is with the pager, who must know where it goes. Bytes before `offset` that were not
        valid are zeros; what an ordinary section gets so between its old end and `offset` is the
        caller's (`CacheManager.copy_write`). StatusError of the pager.
        """
        end = offset + _length(section, offset, frames)
        if end == offset:
            return
        async with behind(section, end):
            await self.fill(section, offset)
            cached = await self._put(section, offset, frames)
        if cached:
            first, last = offset >> PAGE_SHIFT, end - 1 >> PAGE_SHIFT
            await self.memory.writeback.flush(section, first, last + 1)

    async def zero(self, section: Section, offset: int, length: int) -> None:
        """Makes bytes [offset, offset + length) zeros, and the section reach their end; those
        before them are as with `write`.
        """
        if length:
            async with behind(section, offset + length):
                await self.fill(section, offset)
                await self._zeros(section, offset, offset + length, True)

    async def fill(self, section: Section, to: int) -> None:
        """Makes the first `to` bytes valid, as zeros where they were not. Only inside of
        `octavo.cache.valid.behind`. StatusError of the pager: some of them are valid then.
        """
        if section.valid < to:
            await self._zeros(section, section.valid, to, False)

    async def _zeros(self, section: Section, at: int, end: int, over: bool) -> None:
        """Writes zeros; see `_put`."""
        async with self.memory.zeros(min(end - at, MOST_ZEROS)) as zeros:
            while at < end:
                # whole pages first: what is in a part of one is copied
                stop = (at | PAGE_MASK) + 1 if at & PAGE_MASK else at + MOST_ZEROS
                stop = min(stop, end)
                await self._put(section, at, zeros.part(0, stop - at), over)
                at = stop

    # -- one stretch at a time ---------------------------------------------------------------------

    async def _put(self, section: Section, offset: int, frames: Frames, over: bool = True) -> bool:
        """Writes frames; returns whether pages in memory are dirty by it. Unless it is to go over
        them, bytes that have become valid meanwhile stay: somebody has changed pinned ones.
        """
        at, end, cached = offset, offset + frames.length, False
        while at < end:
            if marks.on:
                await preemption_point()
            stop = self._absent(section, at, end)
            part = frames.part(at - offset, max(stop, at) - at)
            if part.length and _whole(part):
                cached |= await self._write_past(section, at, part)
            else:
                stop, cached = min(end, (at | PAGE_MASK) + 1), True
                copy = _take if over else partial(_take_behind, section, at)
                await self._copy(section, at, frames.part(at - offset, stop - at), copy)
            section.size = max(section.size, stop)
            section.valid = max(section.valid, stop)
            at = stop
        return cached

    def _absent(self, section: Section, at: int, end: int) -> int:
        """The end of the whole pages from byte `at` on that are absent; 0 when the first is not."""
        page, stop = at >> PAGE_SHIFT, end >> PAGE_SHIFT
        if at & PAGE_MASK:
            return 0
        while page < stop:
            segment = section.segments.get(page >> SEGMENT_SHIFT)
            if segment is None:
                page = min(stop, (page | SEGMENT_PAGES - 1) + 1)
            elif self.link[segment.base + page % SEGMENT_PAGES]:
                break
            else:
                page += 1
        return page << PAGE_SHIFT if page << PAGE_SHIFT > at else 0

    async def _read_past(self, section: Section, at: int, part: Frames) -> None:
        """Reads pages that are absent from the pager."""
        known = min(max(0, min(section.valid, section.size) - at), part.length)
        asked = part.part(0, known + PAGE_MASK & ~PAGE_MASK)
        if asked.length:
            need = range(asked.length >> PAGE_SHIFT)
            with self.memory.transfers.under_way():
                supplied = await section.pager.data_request(section, at >> PAGE_SHIFT, asked, need)
            if supplied is not None and supplied != (1 << len(need)) - 1:
                await self._copy(section, at, asked, _fill)
        part.part(known, part.length - known).clear()

    async def _write_past(self, section: Section, at: int, part: Frames) -> bool:
        """Gives pages that are absent to the pager; then those that have come meanwhile get the
        same bytes. Returns whether there were such.
        """
        cached, page = False, at >> PAGE_SHIFT
        with self.memory.transfers.under_way():
            error = (await section.pager.data_return([DirtyRun(section, page, part)]))[0]
        if error is not None:
            raise error
        end = page + (part.length >> PAGE_SHIFT)
        while (read := self._read_of(section, page, end)) is not None:
            read.event = read.event or Event()
            await read.event.wait()
        for number in range(page, end):
            segment = section.segments.get(number >> SEGMENT_SHIFT)
            if segment is not None and (entry := self.link[segment.base + number % SEGMENT_PAGES]):
                place = abs(entry) << PAGE_SHIFT
                own = part.part(number - page << PAGE_SHIFT, PAGE_SIZE)
                self.ram.bytes[place : place + PAGE_SIZE] = own.read()
                self.memory.writeback.mark(segment, 1 << number % SEGMENT_PAGES)
                cached = True
        return cached

    @staticmethod
    def _read_of(section: Section, page: int, end: int) -> Read | None:
        """A page-in under way of one of these pages."""
        for index in range(page >> SEGMENT_SHIFT, (end - 1 >> SEGMENT_SHIFT) + 1):
            segment = section.segments.get(index)
            for read in segment.reads if segment is not None else ():
                base = index << SEGMENT_SHIFT
                if base + read.first < end and page < base + read.end:
                    return read
        return None

    async def _copy(
        self,
        section: Section,
        at: int,
        part: Frames,
        copy: Callable[[Frames, Frames], bool],
    ) -> None:
        """Copies between frames and the cached pages that have the bytes from `at` on."""
        first, end = at >> PAGE_SHIFT, at + part.length - 1 >> PAGE_SHIFT
        pages = await self.locked.lock(section, first, end + 1)
        try:
            if copy(part, self.locked.part(first, pages, at, part.length)):
                for number in range(first, end + 1):
                    segment: Segment = section.segments[number >> SEGMENT_SHIFT]
                    self.memory.writeback.mark(segment, 1 << number % SEGMENT_PAGES)
        finally:
            self.locked.unlock(section, first, len(pages))


def _fill(part: Frames, cached: Frames) -> bool:
    """Somebody's frames get what the cache has."""
    part.fill(cached.read())
    return False


def _take(part: Frames, cached: Frames) -> bool:
    """The cache gets what is in somebody's frames, and is dirty."""
    cached.fill(part.read())
    return True


def _take_behind(section: Section, at: int, part: Frames, cached: Frames) -> bool:
    """As `_take`, of what is not valid now: nothing waits between the look and the copy."""
    skip = min(max(section.valid - at, 0), part.length)
    return _take(part.part(skip, part.length - skip), cached.part(skip, part.length - skip))


def _whole(part: Frames) -> bool:
    """Whether frames are whole ones, as pagers want them."""
    return all(not (address | length) & PAGE_MASK for address, length in part.runs)


def _length(section: Section, offset: int, frames: Frames) -> int:
    if type(offset) is not int or offset < 0:
        raise invalid(f"{section.name}: there are no bytes at {offset}")
    return frames.length

"""Copies that do not wait: what is in memory is read and written at once; for what is not, the
answer is that it would have to be waited for, and the read that it waits for is begun.

    read      the bytes, or None
    write     True, or False, and nothing was written: pages that are written in part must be read
              first, there are no frames, or writers are held up

Whoever asks again gets it, unless memory is so short that what was read has gone again. What a read
that was begun here has failed with is told to who asks next.

For servers and loops of events. Source: NT's CcCopyRead and CcCopyWrite with Wait FALSE, and
CcCanIWrite. Departures: a failed read is told; NT leaves it to the next call that waits.
"""

from __future__ import annotations

from collections.abc import Sequence

from octavo.cache.ahead import Ahead
from octavo.cache.readahead import ReadAhead
from octavo.cache.views import Views, no_buffer
from octavo.cache.writers import Writers
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, READING
from octavo.memory.frames.physical import RESERVE
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE, Pins, Section, Segment

PAGE_MASK = PAGE_SIZE - 1
VIEW_MASK = VIEW_SIZE - 1


class AtOnce:
    """The copies of one cache that do not wait."""

    def __init__(self, memory: MemoryManager, views: Views, ahead: Ahead, writers: Writers) -> None:
        self.memory, self.views, self.ahead, self.writers = memory, views, ahead, writers
        self.link = memory.ram.link

    def read(
        self, section: Section, offset: int, length: int, history: ReadAhead | None = None
    ) -> bytes | None:
        """As `CacheManager.copy_read`; None when a page is not in memory, and is read now.
        StatusError when that has failed since this was last asked.
        """
        end = min(offset + length, section.size)
        pieces, at = list[memoryview](), offset
        while at < end:
            stop = min(end, (at | VIEW_MASK) + 1)
            segment = self._active(section, at, stop)
            if segment is None:
                self.ahead.start(section, offset >> PAGE_SHIFT, (end - 1 >> PAGE_SHIFT) + 1)
                return None
            pieces += self.views.pieces(segment, at, stop)
            at = stop
        if history is not None:
            history.note(offset, max(offset, end))
            if history.way and section.size > VIEW_SIZE:
                self.ahead.follow(section, history)
        return b"".join(pieces)

    def _active(self, section: Section, at: int, stop: int) -> Segment | None:
        """The view of bytes [at, stop), with their pages active, if all of them are in memory."""
        segment = section.segments.get(at >> VIEW_SHIFT)
        if segment is None:
            return None
        first, end = (at & VIEW_MASK) >> PAGE_SHIFT, ((stop - 1 & VIEW_MASK) >> PAGE_SHIFT) + 1
        entries = self.link[segment.base + first : segment.base + end].tolist()
        flags = self.memory.pfns.flags
        if any(not entry or (entry < 0 and flags[-entry] & READING) for entry in entries):
            return None
        if not segment.mapped:
            self.views.try_get(section, segment.index)
        segment.referenced = True
        for i, entry in enumerate(entries, first):
            if entry < 0:
                self.memory.faults.soft_fault(segment, i)
        return segment

    def write(self, section: Section, offset: int, data: memoryview | bytes) -> bool:
        """As `CacheManager.copy_write`, all or nothing: False when pages must be read first, which
        are read now, when there are no frames, or when writers are held up. Raises as `read`.
        """
        try:
            view = memoryview(data)
        except TypeError:
            raise no_buffer(section, data) from None
        end = offset + len(view)
        if not view:
            return True
        alone = section.raising is None or end <= section.valid
        if offset > section.valid or not alone or self.writers.holds_up(section, len(view)):
            return False
        with Pins() as pins:
            for index in range(offset >> VIEW_SHIFT, (end - 1 >> VIEW_SHIFT) + 1):
                segment = self.views.try_get(section, index)
                if segment is None:
                    return False
                pins.pin(segment)
            parted = _parted(offset, end, section.size)
            missing = [p for p in parted if self._active(section, p, p + 1) is None]
            for page in missing:
                self.ahead.start(section, page >> PAGE_SHIFT, (page >> PAGE_SHIFT) + 1)
            if missing or not self._fill(pins, offset, end):
                return False
            for segment in pins:
                at = max(offset, segment.index << VIEW_SHIFT)
                stop = min(end, segment.index + 1 << VIEW_SHIFT)
                self.views.copy_in(section, segment, at, stop, view[at - offset : stop - offset])
        return True

    def _fill(self, segments: Sequence[Segment], offset: int, end: int) -> bool:
        """Makes all pages of bytes [offset, end) active, absent ones as zeros; False, and nothing
        done, when it has to wait for a frame or for a read.
        """
        link, flags, faults = self.link, self.memory.pfns.flags, self.memory.faults
        places = [
            (segment, i, link[segment.base + i])
            for segment in segments
            for i in _indexes(segment, offset, end)
        ]
        if any(entry < 0 and flags[-entry] & READING for _, _, entry in places):
            return False
        for segment, i, entry in places:
            if entry < 0:
                faults.soft_fault(segment, i)
        absent = sum(not entry for _, _, entry in places)
        if self.memory.physical.available - RESERVE < absent:
            return False
        for segment, i, entry in places:
            if not entry:
                faults.new_page(segment, i)
        return True


def _parted(offset: int, end: int, size: int) -> set[int]:
    """Where the pages begin that a write of [offset, end) changes in part, and that have bytes
    before `size`.
    """
    head, tail = offset & ~PAGE_MASK, end & ~PAGE_MASK
    parted = {head} if offset > head else set[int]()
    if tail < end < size:
        parted.add(tail)
    return {page for page in parted if page < size and offset < end}


def _indexes(segment: Segment, offset: int, end: int) -> range:
    """The pages of a segment in which bytes [offset, end) of its section are."""
    start = segment.index << VIEW_SHIFT
    first = max(offset - start, 0) >> PAGE_SHIFT
    return range(first, (min(end - start, VIEW_SIZE) - 1 >> PAGE_SHIFT) + 1)

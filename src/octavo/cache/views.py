"""The views that the cache has mapped, and which of them it lets go of.

A view is a mapped segment: 512 KiB of a section whose resident pages are active. Views are kept in
a ring; the hand takes from its front, and gives a view that was used since it last passed another
round (CLOCK). A view that a thread works on is pinned and stays.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from types import AsyncGeneratorType, CoroutineType

from octavo.arguments import shown
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.memory.frames.physical import ZERO_PAGE
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE, Section, Segment
from octavo.memory.reclaim.donors import Turn
from octavo.status import Status, StatusError

PAGE_MASK = PAGE_SIZE - 1
VIEW_MASK = VIEW_SIZE - 1


class Views:
    """At most `most` mapped segments, so much of the section's address space; pageout calls
    `trim`.
    """

    def __init__(self, memory: MemoryManager) -> None:
        self.memory = memory
        self.residency = memory.residency
        self.most = max(8, memory.physical.available // 4)
        self._mapped: OrderedDict[Segment, None] = OrderedDict()  # the front is next under the hand
        memory.pageout.add(Turn.VIEWS, self.trim)

    async def get(self, section: Section, index: int) -> Segment:
        """The view of a section, mapped."""
        segment = section.segments.get(index)
        if segment is None or not segment.mapped:
            segment = self.try_get(section, index)
            while segment is None:
                await self.memory.pageout.relieve(1)
                segment = self.try_get(section, index)
        segment.referenced = True
        return segment

    def try_get(self, section: Section, index: int) -> Segment | None:
        """As `get`; None when there is no frame for the view's prototype PTEs."""
        segment = self.residency.try_map(section, index)
        if segment is not None and segment not in self._mapped:
            self._mapped[segment] = None
            with segment.pinned():  # it is not to make room for itself
                if len(self._mapped) > self.most:
                    self._unmap_oldest()
                self.memory.pageout.poke()
        return segment

    def pieces(self, segment: Segment, offset: int, stop: int) -> list[memoryview]:
        """The bytes [offset, stop) of a view with active pages, as stretches of consecutive
        frames.
        """
        ram = self.memory.ram
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

    def copy_in(
        self, section: Section, segment: Segment, at: int, stop: int, data: memoryview
    ) -> None:
        """Puts data where bytes [at, stop) of a view are, whose pages are active."""
        done = 0
        for piece in self.pieces(segment, at, stop):
            piece[:] = data[done : done + len(piece)]
            done += len(piece)
        first = (at & VIEW_MASK) >> PAGE_SHIFT
        end = ((stop - 1 & VIEW_MASK) >> PAGE_SHIFT) + 1
        self.memory.writeback.mark(segment, (1 << end) - (1 << first))
        if stop > section.size:
            section.size = stop
        if stop > section.valid:
            section.valid = stop

    async def make_active(self, section: Section, segment: Segment, at: int, stop: int) -> None:
        """Makes the page of byte `at` active, and those behind it up to byte `stop` if they need
        not be read.

        New pages hold old bytes of other files until the caller has overwritten them, so nothing
        may wait in between.
        """
        i = (at & VIEW_MASK) >> PAGE_SHIFT
        with segment.pinned():
            while self.memory.ram.link[segment.base + i] <= 0:
                await self._make_writable(section, segment, i, at, stop)

    def active_until(self, segment: Segment, at: int, stop: int) -> int:
        """The end of the bytes from `at` on and before `stop` whose pages are active, as the first
        one's is.
        """
        link, base = self.memory.ram.link, segment.base
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
        link, base, start = self.memory.ram.link, segment.base, segment.index << VIEW_SHIFT
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
                self.memory.ram.bytes[address - tail : address] = ZERO_PAGE[:tail]
        elif page >= section.size and not link[base + i]:
            await self.memory.faults.new_pages(segment, i, i + 1, True)
        else:
            await self.memory.faults.make_resident(segment, i, i + 1, i + 1)

    def _unmap_oldest(self) -> int:
        """Unmaps the first view that was not used since the hand last passed; returns the pages
        that it let go of, -1 for no view.
        """
        for _ in range(2 * len(self._mapped)):
            segment, _ = self._mapped.popitem(last=False)
            if segment.pins or segment.referenced:
                segment.referenced = False
                self._mapped[segment] = None
                continue
            return self.residency.unmap(segment)
        return -1

    def trim(self, pages: int) -> int:
        """Lets go of about `pages` active pages; returns how many."""
        moved = 0
        while moved < pages and self._mapped:
            count = self._unmap_oldest()
            if count < 0:
                break
            moved += count
        return moved

    def leave_behind(self, section: Section, index: int) -> None:
        """Frees the frames of a clean view that nobody works on, if they are one run: its reader
        goes on and will not come back.
        """
        segment = section.segments.get(index)
        if segment is not None and self.residency.abandon(segment):
            del self._mapped[segment]

    async def drop(self, section: Section) -> None:
        """Lets go of a section that nobody will use again: its pages, dirty or not, and its
        views.
        """
        section.size = 0
        await self.memory.writeback.purge(section, 0)
        for segment in list(section.segments.values()):
            if self._mapped.pop(segment, True) is None:
                self.residency.unmap(segment)
        self.memory.writeback.errors.forget(section)

    def __len__(self) -> int:
        return len(self._mapped)

    def check(self) -> None:
        """Exactly the mapped segments are views, and a pinned one is in the hands of a thread that
        is under way: read-ahead, say.
        """
        assert set(self._mapped) == {s for s in self.residency.segments.all() if s.mapped}
        assert all(_is_worked_on(s) for s in self._mapped if s.pins), "a view stayed pinned"


def no_buffer(section: Section, data: object) -> StatusError:
    """The error of a write of what has no bytes."""
    text = f"{section.name}: {shown(data)} cannot be written: it has no bytes"
    return StatusError(Status.INVALID_USER_BUFFER, text)


def _is_worked_on(segment: Segment) -> bool:
    """True when a coroutine that waits has the view among its variables, by itself or in a list.

    Found by the garbage collector's books, so that pinning has none to keep; a coroutine that has
    ended has no variables.
    """
    holders = gc.get_referrers(segment)
    lists = [holder for holder in holders if isinstance(holder, list)]
    return any(
        isinstance(h, CoroutineType | AsyncGeneratorType)
        for h in [*holders, *gc.get_referrers(*lists)]
    )

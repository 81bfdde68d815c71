"""Pages that stay active for somebody: those of pins, and of lists of frames for a device.

    lock      pages are brought in and stay where they are, whatever is trimmed, until `unlock`
    try_lock  as `lock`, when nothing has to be waited for

Only the page is kept, not its view. So memory bounds what is locked: the last frame can be had, and
one beyond is StatusError NO_MEMORY, with nothing locked. What is locked can be written to its
pager, but neither dropped nor cut.

Used by `octavo.cache.pins`, `octavo.cache.mdl` and the cache manager.
"""

from __future__ import annotations

from collections import Counter

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, READING, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.frames import Frames, joined
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import Section, Segment
from octavo.threads.wait import marks, preemption_point


class LockedPages:
    """All pages of a machine that are locked: `count` of them, a page as often as it is locked."""

    def __init__(self, memory: MemoryManager) -> None:
        self.memory = memory
        self.residency = memory.residency
        self.link = memory.ram.link
        self.count = 0
        self._of: dict[Section, Counter[int]] = {}

    async def lock(
        self, section: Section, first: int, end: int, read: bool = True
    ) -> tuple[int, ...]:
        """The frames of pages [first, end) of a section, locked; those that are absent are zeros
        unless they are to be `read`.

        StatusError of the pager, or NO_MEMORY: none is locked then.
        """
        frames: list[int] = []
        try:
            while first + len(frames) < end:
                if marks.on:
                    await preemption_point()
                page = first + len(frames)
                segment = self.residency.segments.try_get(section, page >> SEGMENT_SHIFT)
                if segment is None:
                    await self.memory.pageout.relieve(1)
                else:
                    await self._lock_in(segment, page, end, read, frames)
        except BaseException:
            self.unlock(section, first, len(frames))
            raise
        return tuple(frames)

    async def _lock_in(
        self, segment: Segment, page: int, end: int, read: bool, frames: list[int]
    ) -> None:
        """Locks pages [page, end) as far as they are of one segment."""
        i = page % SEGMENT_PAGES
        stop = min(SEGMENT_PAGES, i + end - page)
        with self.residency.held(segment, i, stop):
            while i < stop:
                # one by one: what is active may be trimmed again while the next one is waited for
                while self.link[segment.base + i] <= 0:
                    await self._bring(segment, i, stop, read)
                self.memory.faults.clear_behind_end(segment)
                frames.append(self._lock_one(segment, i))
                i += 1

    async def _bring(self, segment: Segment, i: int, stop: int, read: bool) -> None:
        if read or self.link[segment.base + i]:
            await self.memory.faults.make_resident(segment, i, i + 1, stop)
        else:
            await self.memory.faults.new_pages(segment, i, i + 1, True)

    def try_lock(self, section: Section, first: int, end: int) -> tuple[int, ...] | None:
        """As `lock`, of pages that are all in memory; None, and none locked, when one is not."""
        places = []
        for page in range(first, end):
            segment = section.segments.get(page >> SEGMENT_SHIFT)
            entry = self.link[segment.base + page % SEGMENT_PAGES] if segment is not None else 0
            if not entry or (entry < 0 and self.memory.pfns.flags[-entry] & READING):
                return None
            assert segment is not None
            places.append((segment, page % SEGMENT_PAGES))
        for segment, i in places:
            if self.link[segment.base + i] < 0:
                self.memory.faults.soft_fault(segment, i)
        return tuple(self._lock_one(segment, i) for segment, i in places)

    def _lock_one(self, segment: Segment, i: int) -> int:
        pages = self._of.setdefault(segment.section, Counter())
        pages[(segment.index << SEGMENT_SHIFT) + i] += 1
        self.count += 1
        return self.residency.lock(segment, i)

    def unlock(self, section: Section, first: int, count: int) -> None:
        """Ends one lock of each of `count` pages; what nobody uses goes to its list."""
        for page in range(first, first + count):
            pages = self._of[section]
            assert pages[page] > 0, "a page is unlocked that was not locked"
            pages[page] -= 1
            self.count -= 1
            if not pages[page]:
                del pages[page]
                segment = section.segments[page >> SEGMENT_SHIFT]
                self.residency.unlock(segment, page % SEGMENT_PAGES)
            if not pages:
                del self._of[section]

    def are(self, section: Section, first: int, frames: tuple[int, ...]) -> bool:
        """Whether the pages from `first` on are locked in these frames."""
        pages = self._of.get(section, Counter[int]())
        return all(
            pages[page] and self._frame(section, page) == frame
            for page, frame in enumerate(frames, first)
        )

    def _frame(self, section: Section, page: int) -> int:
        segment = section.segments[page >> SEGMENT_SHIFT]
        return self.link[segment.base + page % SEGMENT_PAGES]

    def part(self, first: int, frames: tuple[int, ...], offset: int, length: int) -> Frames:
        """Bytes [offset, offset + length) of a section, in the frames of its pages from `first`
        on.
        """
        start = offset - (first << PAGE_SHIFT)
        ram = self.memory.ram
        runs = joined((frame << PAGE_SHIFT, PAGE_SIZE) for frame in frames)
        return Frames(ram, runs, len(frames) << PAGE_SHIFT).part(start, length)

    def check(self) -> None:
        """What is locked is known to the bookkeeper of pages, who keeps it active, and the other
        way round.
        """
        masks: Counter[tuple[Section, int]] = Counter()
        for section, pages in self._of.items():
            assert pages and min(pages.values()) > 0, "a page is counted that is not locked"
            for page in pages:
                masks[section, page >> SEGMENT_SHIFT] |= 1 << page % SEGMENT_PAGES
        segments = self.residency.segments.all()
        assert masks == {(s.section, s.index): s.locked for s in segments if s.locked}
        assert self.count == sum(sum(pages.values()) for pages in self._of.values())

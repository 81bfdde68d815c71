"""What of a memory object is in memory: which pages, what is said of them when they go back, taking
in what nobody asked for, giving back and dropping.

One for all memory objects of a system. All is done through residency, page-in and write-back, as
for any other section.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.memory.pagers.external.messages import Alike, Return
from octavo.memory.pages.pagein import Faults
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import Section
from octavo.memory.pages.writeback import WriteBack
from octavo.status import StatusError

LEAST_QUOTA = 16  # pages
QUOTA_PART = 8  # of what is available


class ResidentPages:
    """Frames below `low` free ones are not given to pages that nobody asked for."""

    def __init__(
        self, residency: Residency, writeback: WriteBack, faults: Faults, low: int
    ) -> None:
        self._residency, self._writeback, self._faults = residency, writeback, faults
        self._physical, self._low = residency.physical, low

    def quota(self) -> int:
        """Pages that one object may have modified at a time."""
        return max(LEAST_QUOTA, self._physical.available // QUOTA_PART)

    def parts(self, section: Section, page: int, count: int) -> tuple[Alike, ...]:
        """What is said of `count` pages of a segment from `page` on: a part for each row of
        pages that are alike.
        """
        link, segment = self._physical.ram.link, section.segments[page >> SEGMENT_SHIFT]
        rows: list[tuple[int, bool, bool]] = []
        for number in range(page, page + count):
            kind = (
                number not in section.precious,
                link[segment.base + number % SEGMENT_PAGES] > 0,
            )
            if rows and rows[-1][1:] == kind:
                rows[-1] = (rows[-1][0] + 1, *kind)
            else:
                rows.append((1, *kind))
        return tuple(Alike(pages << PAGE_SHIFT, dirty, kept) for pages, dirty, kept in rows)

    def pages(self, section: Section, first: int, end: int) -> list[int]:
        """The pages among [first, end) that are in memory now, ascending."""
        link = self._physical.ram.link
        out: list[int] = []
        for index in sorted(section.segments):
            base, start = section.segments[index].base, index << SEGMENT_SHIFT
            low, high = max(first - start, 0), min(end - start, SEGMENT_PAGES)
            out += [start + i for i in range(low, high) if link[base + i]]
        return out

    def take_in(self, section: Section, page: int, data: memoryview, precious: bool) -> bool:
        """Takes a page that nobody asked for to its list; False when it is there already, or frames
        are wanted elsewhere.
        """
        physical = self._physical
        if physical.buddy.free_frames < self._low:
            return False
        adopted = self._residency.adopt(section, page)
        if adopted is None:
            return False
        segment, frame = adopted
        physical.ram.frame(frame)[:] = data
        if precious:
            self._writeback.mark(segment, 1 << page % SEGMENT_PAGES, written=False)
        self._residency.deactivate(segment, frame)
        return True

    async def give_back(
        self, section: Section, first: int, end: int, give: Return, drop: bool
    ) -> None:
        """Returns pages among [first, end) to their pager, then drops them with `drop`.

        What is modified while others are returned stays. StatusError of a return that failed; then
        nothing is dropped.
        """
        if give == Return.ALL:
            for page in self.pages(section, first, end):
                await self._want_back(section, page)
        if give != Return.NONE:
            await self._writeback.flush(section, first, end)
        if drop:
            await self._writeback.purge(section, first, end, dirty=give == Return.NONE)

    async def _want_back(self, section: Section, page: int) -> None:
        """The pager wants a page back if it is resident, clean or not, on whatever list it is: it
        is precious from now on.
        """
        segment, i = section.segments.get(page >> SEGMENT_SHIFT), page % SEGMENT_PAGES
        link = self._physical.ram.link
        if segment is None or not link[segment.base + i] or segment.dirty >> i & 1:
            return
        with self._residency.held(segment, i, i + 1):
            await self._faults.make_resident(segment, i, i + 1, i + 1)
            section.precious.add(page)
            self._writeback.mark(segment, 1 << i, written=False)

    async def put_away(self, section: Section) -> None:
        """Modified pages are returned and all are dropped, unless returning fails; the error is
        kept for the next flush. What is modified meanwhile, through another view, stays.
        """
        try:
            await self._writeback.flush(section)
        except StatusError as error:
            self._writeback.errors.note(section, error)
        else:
            await self._writeback.purge(section, 0, dirty=False)

    async def drop_all(self, section: Section) -> None:
        """The section ends: nothing of it stays, and no error is kept."""
        section.size = 0
        await self._writeback.purge(section, 0)
        self._writeback.errors.forget(section)

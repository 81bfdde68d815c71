"""Pages that are fetched before somebody waits for them: ahead of a reader whose way is known, and
for who would not wait.

    follow      after a read: starts to fetch what its reader will ask for next
    start       somebody wanted pages without waiting: they are fetched
    told        what such a fetch has failed with, once

At most MOST_FETCHES are under way; what is more is left to who needs the pages. Nothing is fetched
ahead of a reader while memory is short, and little where fetching did not wait: he would not have,
either. An error ahead of a reader is left to him, too.

Used by the cache manager and `octavo.cache.pins`. Source: NT's CcScheduleReadAhead, and the express
queue of its workers. Departures: what a fetch without a waiter has failed with is told to the next
call that would not wait; a reader of more than memory holds leaves free frames behind
(docs/decisions/0010).
"""

from __future__ import annotations

from octavo.cache.readahead import ReadAhead
from octavo.cache.views import Views
from octavo.machine.abi import PAGE_SHIFT, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import VIEW_SHIFT, Section
from octavo.status import StatusError

MOST_FETCHES = 32
MOST_ERRORS = 64


class Ahead:
    """The fetches of one cache. `pages` have been fetched ahead, and `hits` of them were asked for
    later.
    """

    def __init__(self, memory: MemoryManager, views: Views) -> None:
        self.memory, self.views = memory, views
        self.pages = 0
        self.hits = 0
        self._under_way: set[tuple[Section, int, int]] = set()
        self._errors: dict[tuple[Section, int], StatusError] = {}

    def follow(self, section: Section, history: ReadAhead) -> None:
        """Starts what a reader will ask for after his last read, and frees what he left behind."""
        wanted = history.wanted(section.size)
        if wanted and self.memory.physical.available >= 2 * sum(b - a for a, b in wanted):
            waits = False
            for first, end in wanted:
                segment = section.segments.get(first >> SEGMENT_SHIFT)
                if segment is None or segment.used < SEGMENT_PAGES:
                    self._start(section, first, end, told=False)
                    waits |= (section, first, end) in self._under_way
            if not waits:
                history.rest()
        if section.size > self.memory.limit << PAGE_SHIFT and self.memory.pageout.enabled:
            # it would be gone before he came back: its frames serve at once again
            for index in history.left():
                self.views.leave_behind(section, index)

    def start(self, section: Section, first: int, end: int) -> None:
        """Fetches pages [first, end) of a section for somebody who does not wait; raises what such
        a fetch of its first page has failed with since.
        """
        error = self._errors.pop((section, first), None)
        if error is not None:
            raise error
        while first < end:
            stop = min(end, (first | SEGMENT_PAGES - 1) + 1)
            self._start(section, first, stop, told=True)
            first = stop

    def _start(self, section: Section, first: int, end: int, told: bool) -> None:
        """Begins a fetch of pages of one view, unless one of the same begin is under way."""
        key = (section, first, end)
        if key not in self._under_way and len(self._under_way) < MOST_FETCHES:
            self._under_way.add(key)
            self.memory.scheduler.start(self._run(section, first, end, told), "read-ahead")

    async def _run(self, section: Section, first: int, end: int, told: bool) -> None:
        try:
            await self._fetch(section, first, end)
        except StatusError as error:
            if told:
                self._errors[section, first] = error
                while len(self._errors) > MOST_ERRORS:
                    del self._errors[next(iter(self._errors))]
        finally:
            self._under_way.discard((section, first, end))

    async def _fetch(self, section: Section, first: int, end: int) -> None:
        """Brings pages of one view in, those of them that are absent in as few requests as can
        be.
        """
        index = first >> SEGMENT_SHIFT
        if index << VIEW_SHIFT >= section.size:
            return  # it was cut, or nobody uses it any more
        segment = await self.views.get(section, index)
        low = first - (index << SEGMENT_SHIFT)
        high = min(end, section.pages) - (index << SEGMENT_SHIFT)
        if low >= high:
            return
        absent = self.memory.residency.absent(segment, low, high)
        if absent:
            with segment.pinned():
                await self.memory.faults.make_resident(segment, low, high, high)
            segment.prefetched |= absent
            self.pages += absent.bit_count()

    def forget(self, section: Section) -> None:
        """A section has ended, and nobody will ask."""
        for key in [key for key in self._errors if key[0] is section]:
            del self._errors[key]

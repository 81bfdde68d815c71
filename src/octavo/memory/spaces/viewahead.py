"""Pages of views that come to the standby list before they are touched: those that advice asks for,
and those that a steady reader will touch next.

    fetch     brings pages of a section in, as many as half of what is available
    follow    a page was touched: has a thread fetch what its view's pattern says

A fetch is not waited for, by nobody: what cannot be had is left to who touches the page. At most
MOST_FETCHES are under way. Page files are asked for nothing ahead, since what they are promised has
no frames for that; nor are pagers outside of the executive.

Used by `octavo.memory.spaces.viewfaults` and `octavo.memory.spaces.adviser`.
"""

from __future__ import annotations

from octavo.machine.abi import SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.memory.pages.pagein import Faults
from octavo.memory.pages.residency import Residency
from octavo.memory.spaces.advice import STEADY, Advice
from octavo.memory.spaces.view import View
from octavo.status import StatusError
from octavo.threads.scheduler import Scheduler

MOST_FETCHES = 8


class ViewAhead:
    """Fetches for the views of a machine, whose faults bring in `cluster` pages at once at most.
    `pages` have been fetched ahead of readers.
    """

    def __init__(
        self, residency: Residency, page_ins: Faults, scheduler: Scheduler, cluster: int
    ) -> None:
        self.residency, self.physical = residency, residency.physical
        self.page_ins, self.scheduler, self.cluster = page_ins, scheduler, cluster
        self.pages = 0
        self._under_way = 0

    def follow(self, view: View, number: int) -> None:
        """Page `number` of a view's section was touched, and was absent or fetched ahead."""
        pattern = view.pattern
        if not pattern.steps and -STEADY < pattern.streak < STEADY:
            return  # the usual case of a fault that is one of few
        lazy = view.object.section.pager.traits.lazy
        if self.cluster == 1 or not lazy or view.advice == Advice.RANDOM:
            return
        most = self.physical.available // 4
        for first, end in pattern.ahead(number, self.cluster, most):
            first, end = max(first, view.first), min(end, view.first + view.end - view.start)
            if first < end and self._under_way < MOST_FETCHES:
                self._under_way += 1
                # after the page that is waited for: its own request goes first
                self.scheduler.spawn(self._run(view, first, end), "read-ahead of a view")

    async def _run(self, view: View, first: int, end: int) -> None:
        try:
            self.pages += await self.fetch(view, first, end, ahead=True)
        finally:
            self._under_way -= 1

    async def fetch(self, view: View, first: int, end: int, ahead: bool = False) -> int:
        """Brings pages [first, end) of a view's section to the standby list, while the view is
        there; `ahead`: whoever touches one is known to go on. Returns how many were absent.
        """
        residency, section, count = self.residency, view.object.section, 0
        most = first + self.physical.available // 2
        while first < (end := min(end, most, section.pages)) and view in section.views:
            segment = residency.segments.try_get(section, first >> SEGMENT_SHIFT)
            if segment is None:
                break
            i = first % SEGMENT_PAGES
            stop = min(SEGMENT_PAGES, i + end - first)
            try:
                with residency.held(segment, i, stop):
                    absent = residency.absent(segment, i, stop)
                    await self.page_ins.make_resident(segment, i, stop, stop)
                    segment.prefetched |= absent if ahead else 0
            except StatusError:
                break  # whoever needs the page will hear of it
            count += absent.bit_count()
            first += stop - i
        return count

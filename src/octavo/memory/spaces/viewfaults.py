"""Faults on pages of views: from the section, through its pager if need be, into the page tables.

    the section's page is absent        hard fault: a cluster by advice or learnt pattern, clipped
                                        to view, section and segment
    standby, modified, in transition    soft fault
    being read for somebody             collided fault: one request serves all
    written for the first time          marked as modified, then writable
    written, copy-on-write              a private copy in the fault's spare frame

Pages that come along with a cluster and that nobody uses yet go to the standby list. Only the page
that was touched is obligatory.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT, PRESENT, READING, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.mmukernels import WRITE
from octavo.memory.pages.pagein import Faults
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import Section, Segment
from octavo.memory.reclaim.pageout import Pageout
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.spaces.advice import Advice, window
from octavo.memory.spaces.fault import STALE, Fault
from octavo.memory.spaces.protect import Protect, is_copy, may_write
from octavo.memory.spaces.view import View
from octavo.memory.spaces.viewahead import ViewAhead
from octavo.printing import counted
from octavo.status import Status, StatusError

PASS_ON = (Status.NO_MEMORY, Status.IN_PAGE_ERROR)


def makes_copy(view: View, protect: Protect, kind: int) -> bool:
    """True when a reference of `kind` makes a private copy of a section's page."""
    return is_copy(protect) and (kind == WRITE or view.object.section.pager.traits.eager)


class ViewFaults:
    """Brings pages in by `faults`, as many at once as `ahead` has in a cluster, while `residency`
    holds their segments; `replacement` hears of those that come, `ahead` of who goes on. Who waits
    for frames does at `pageout`.
    """

    def __init__(
        self,
        residency: Residency,
        faults: Faults,
        pageout: Pageout,
        replacement: Replacement,
        ahead: ViewAhead,
    ) -> None:
        self.residency, self.physical = residency, residency.physical
        self.faults, self.pageout, self.replacement = faults, pageout, replacement
        self.ahead, self.cluster = ahead, ahead.cluster
        self.writeback = pageout.writeback

    async def resolve(self, fault: Fault, view: View) -> None:
        """Brings a page of a view into the page tables, as a copy in the spare frame if there must
        be one; `fault.entry` says what is there now.

        It may find that things have changed while it waited, and do nothing: the entry is STALE
        then. StatusError IN_PAGE_ERROR when the page cannot be had, INSUFFICIENT_RESOURCES without
        a frame for a table.
        """
        space, section, number = fault.space, view.object.section, view.page_at(fault.page)
        traits, writes = section.pager.traits, fault.kind == WRITE
        space.faults += 1
        if view.object.frame:
            frame = view.object.frame + number
            fault.entry = space.pages.map_device(fault.start, frame, fault.protect)
            return
        if number << PAGE_SHIFT >= section.size:
            raise _behind_end(fault, view)
        if traits.gate is not None and traits.gate.prohibits(number, writes):
            fault.entry = STALE
            await traits.gate.admit(number, writes)
            return
        if writes and traits.quota and section.dirty >= traits.quota:
            fault.entry = STALE
            await self._go_below_quota(fault, section)
            return
        index = number >> SEGMENT_SHIFT
        segment = self.residency.segments.try_get(section, index)
        if segment is None:
            fault.entry = STALE
            await self.pageout.relieve(1)
            return
        await self._bring(fault, view, segment, number)

    async def _bring(self, fault: Fault, view: View, segment: Segment, number: int) -> None:
        """Makes the section's page active, if it is not, and enters it. The segment is held only
        where something may wait.
        """
        i, section = number % SEGMENT_PAGES, segment.section
        low, high, key = i, i + 1, 0
        found = self.physical.ram.link[segment.base + i]
        if found <= 0:
            if not found:
                low, high = self._clip(view, segment, number)
                self.ahead.follow(view, number)
            elif segment.prefetched >> i & 1:
                segment.prefetched ^= 1 << i
                self.ahead.follow(view, number)
            key = self.replacement.key(section, number)
            self.replacement.miss(key)
            if view.advice:
                self._leave_behind(view, number)
        if not found or (found < 0 and self.physical.pfns.flags[-found] & READING):
            with self.residency.held(segment, low, high):
                await self._wait_for(fault, segment, number, range(low, high))
                if fault.entry != STALE:
                    self._enter(fault, segment, number, key)
            return
        try:
            if found < 0:
                self.faults.soft_fault(segment, i)
            self._enter(fault, segment, number, key)
        finally:
            if not self.physical.pfns.use[abs(found)]:  # it was not entered
                self.residency.settle(segment, i, i + 1)

    async def _wait_for(self, fault: Fault, segment: Segment, number: int, window: range) -> None:
        """Reads a page, with what of `window` is absent, or waits for who reads it; then the
        reference is looked at again.
        """
        i = number % SEGMENT_PAGES
        try:
            await self.faults.make_resident(segment, i, i + 1, window.stop, window.start)
        except StatusError as error:
            raise _named(fault, segment.section, error) from None
        still = self._holds_still(fault, segment.section, number)
        fault.entry = fault.space.tables.get(fault.start) if still else STALE

    @staticmethod
    def _holds_still(fault: Fault, section: Section, number: int) -> bool:
        """True when the reference is still one to this page, and allowed."""
        if not fault.is_current():
            now = fault.space.vads.find(fault.page)
            if now is not fault.vad or now.span_at(fault.page)[2] != fault.protect:
                return False
            fault.version = now.version
        gate = section.pager.traits.gate
        return number << PAGE_SHIFT < section.size and not (
            gate is not None and gate.prohibits(number, fault.kind == WRITE)
        )

    def _enter(self, fault: Fault, segment: Segment, number: int, key: int) -> None:
        """Enters an active page into the tables, unless somebody has made a copy meanwhile; nothing
        waits in here.
        """
        pages, entry, i = fault.space.pages, fault.entry, number % SEGMENT_PAGES
        if entry and not pages.is_of_section(entry):
            return
        frame = self.physical.ram.link[segment.base + i]
        if not entry:
            self.faults.clear_behind_end(segment)
            writable = may_write(fault.protect) and self._is_noticed(segment, number)
            key = key or self.replacement.key(segment.section, number)
            entry = pages.map_page(fault.start, segment, frame, fault.protect, writable, key)
        assert entry & PRESENT and pages.frame_of(entry) == frame, "an entry leads elsewhere"
        if fault.copies:
            entry = pages.copy(fault.start, entry, fault.take_spare(), fault.protect)
        elif fault.kind == WRITE:
            self.writeback.mark(segment, 1 << i)
            entry = pages.make_writable(fault.start, entry)
        fault.entry = entry

    @staticmethod
    def _is_noticed(segment: Segment, number: int) -> bool:
        """True when another write to a page would change nothing for who keeps it."""
        section, gate = segment.section, segment.section.pager.traits.gate
        return (
            segment.dirty >> number % SEGMENT_PAGES & 1 != 0
            and number not in section.precious
            and not (gate is not None and gate.prohibits(number, True))
        )

    async def _go_below_quota(self, fault: Fault, section: Section) -> None:
        """Before more pages of a section are modified than its pager is trusted with: it takes some
        back, or the reference fails.
        """
        _, error = await self.writeback.write(self.writeback.picks(section), asked=False)
        if error is not None and section.dirty >= section.pager.traits.quota:
            raise StatusError(
                Status.IN_PAGE_ERROR,
                f"{fault.space.name}: {fault.start:#x} cannot be written: {section.name} has "
                f"{section.dirty} modified pages already, and {error.text}",
            )

    def _leave_behind(self, view: View, number: int) -> None:
        """What a reader in one direction has left two clusters behind leaves the page tables, once
        for each cluster.
        """
        cluster = number // self.cluster
        if view.reading == cluster or view.advice not in (Advice.SEQUENTIAL, Advice.REVERSE):
            return
        view.reading = cluster
        behind = 2 * self.cluster
        if view.advice == Advice.SEQUENTIAL:
            view.let_go(number - 2 * behind, number - behind)
        else:
            view.let_go(number + behind, number + 2 * behind)

    def _clip(self, view: View, segment: Segment, number: int) -> tuple[int, int]:
        """The indexes in the segment that a hard fault on page `number` may bring in."""
        section = segment.section
        base = segment.index << SEGMENT_SHIFT
        most = min(self.cluster, section.pager.traits.cluster)
        first, end = window(view.advice, view.pattern, number, most)
        last = view.first + view.end - view.start
        low = max(first, view.first, base)
        high = min(end, last, section.pages, base + SEGMENT_PAGES)
        low, high = min(low, number), max(high, number + 1)
        # as it came to be: the next fault in a row is at an edge of it
        view.pattern.low, view.pattern.high = low, high
        return low - base, high - base


def _named(fault: Fault, section: Section, error: StatusError) -> StatusError:
    """What bringing a page in has failed with, with the address and the section."""
    if error.status in PASS_ON:
        return error
    return StatusError(
        Status.IN_PAGE_ERROR,
        f"{fault.space.name}: {fault.start:#x} cannot be had from {section.name}: {error.text}",
    )


def _behind_end(fault: Fault, view: View) -> StatusError:
    size = view.object.section.size
    return StatusError(
        Status.IN_PAGE_ERROR,
        f"{fault.space.name}: {fault.start:#x} lies behind the end of "
        f"{view.object.name}, which has {counted(size, 'byte')} now",
    )

"""Faults on pages of views: from the section, through its pager if need be, into the page tables.

    the section's page is absent        hard fault: a cluster by advice or learnt pattern, clipped
                                        to view, section and segment
    standby, modified, in transition    soft fault
    being read for somebody             collided fault: one request serves all
    written for the first time          marked as modified, then writable
    written, copy-on-write              a private copy in a frame that the caller has

Pages that come along with a cluster and that nobody uses yet go to the standby list. Only the page
that was touched is obligatory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from octavo.machine.abi import PAGE_SHIFT, PRESENT, SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.mmukernels import WRITE
from octavo.memory.pages.section import Section, Segment
from octavo.memory.spaces.advice import Advice, window
from octavo.memory.spaces.protect import Protect, is_copy, may_write
from octavo.printing import counted
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.memory.spaces.spacefaults import SpaceFaults
    from octavo.memory.spaces.vad import Vad
    from octavo.memory.spaces.view import View

PASS_ON = (Status.NO_MEMORY, Status.IN_PAGE_ERROR)


def copies(view: View, protect: Protect, kind: int) -> bool:
    """True when a reference of `kind` makes a private copy of a section's page."""
    return is_copy(protect) and (kind == WRITE or view.object.section.pager.traits.eager)


async def view_fault(
    space: SpaceFaults, vad: Vad, page: int, kind: int, protect: Protect, spare: int
) -> bool:
    """Brings a page of a view into the page tables, as a copy in frame `spare` if there must be
    one; True when `spare` was used.

    It may find that things have changed while it waited, and do nothing: the caller looks again.
    StatusError IN_PAGE_ERROR when the page cannot be had, INSUFFICIENT_RESOURCES without a frame
    for a table.
    """
    view = vad.view
    assert view is not None
    section = view.object.section
    space.faults += 1
    if view.object.frame:
        space.pages.map_device(page << PAGE_SHIFT, view.object.frame + view.page_at(page), protect)
        return False
    number, traits = view.page_at(page), section.pager.traits
    gate = traits.gate
    _check_end(space, view, page)
    if gate is not None and gate.prohibits(number, kind == WRITE):
        await gate.admit(number, kind == WRITE)
        return False
    if kind == WRITE and traits.quota and section.dirty >= traits.quota:
        await _below_quota(space, section, page)
        return False
    physical = space.machine.physical
    segment = space.machine.residency.segments.try_get(section, number >> SEGMENT_SHIFT)
    if segment is None:
        await space.machine.pageout.relieve(1)
        return False
    i = number % SEGMENT_PAGES
    low, high = _clip(space, view, segment, number)
    if physical.ram.link[segment.base + i] <= 0:
        space.pages.replacement.miss_shared(section, number)
        _leave_behind(view, number, space.machine.cluster)
    with space.machine.residency.held(segment, low, high):
        await _resident(space, segment, page, i, low, high)
        now = space.vads.find(page)
        alike = now is vad and vad.run_at(page)[2] == protect and number < section.pages
        if alike and not (gate is not None and gate.prohibits(number, kind == WRITE)):
            return _enter(space, view, segment, page, i, kind, protect, spare)
        return False


async def _below_quota(space: SpaceFaults, section: Section, page: int) -> None:
    """Before more pages of a section are modified than its pager is trusted with: it takes some
    back, or the reference fails.
    """
    writeback = space.machine.pageout.writeback
    _, error = await writeback.write(writeback.picks(section), asked=False)
    if error is not None and section.dirty >= section.pager.traits.quota:
        text = (
            f"{space.name}: {page << PAGE_SHIFT:#x} cannot be written: {section.name} has "
            f"{section.dirty} modified pages already, and {error.text}"
        )
        raise StatusError(Status.IN_PAGE_ERROR, text)


async def _resident(
    space: SpaceFaults, segment: Segment, page: int, i: int, low: int, high: int
) -> None:
    try:
        await space.machine.faults.make_resident(segment, i, i + 1, high, low)
    except StatusError as error:
        if error.status in PASS_ON:
            raise
        raise StatusError(
            Status.IN_PAGE_ERROR,
            f"{space.name}: {page << PAGE_SHIFT:#x} cannot be had from "
            f"{segment.section.name}: {error.text}",
        ) from None


def _check_end(space: SpaceFaults, view: View, page: int) -> None:
    if view.page_at(page) >= view.object.section.pages:
        size = view.object.section.size
        raise StatusError(
            Status.IN_PAGE_ERROR,
            f"{space.name}: {page << PAGE_SHIFT:#x} lies behind the end of "
            f"{view.object.name}, which has {counted(size, 'byte')} now",
        )


def _leave_behind(view: View, number: int, cluster: int) -> None:
    """What a reader in one direction has left two clusters behind leaves the page tables, once for
    each cluster.
    """
    if view.reading == number // cluster or view.advice not in (Advice.SEQUENTIAL, Advice.REVERSE):
        return
    view.reading = number // cluster
    behind = 2 * cluster
    if view.advice == Advice.SEQUENTIAL:
        view.let_go(number - 2 * behind, number - behind)
    else:
        view.let_go(number + behind, number + 2 * behind)


def _clip(space: SpaceFaults, view: View, segment: Segment, number: int) -> tuple[int, int]:
    """The indexes in the segment that a fault on page `number` may bring in."""
    section = segment.section
    base = segment.index << SEGMENT_SHIFT
    i = number - base
    if space.machine.physical.ram.link[segment.base + i]:
        return i, i + 1
    first, end = window(
        view.advice, view.pattern, number, min(space.machine.cluster, section.pager.traits.cluster)
    )
    last = view.first + view.vad.end - view.vad.start
    low, high = max(first, view.first, base), min(end, last, section.pages, base + SEGMENT_PAGES)
    low, high = min(low, number), max(high, number + 1)
    view.pattern.low, view.pattern.high = (
        low,
        high,
    )  # as it came to be: the next fault in a row is at an edge of it
    return low - base, high - base


def _enter(
    space: SpaceFaults,
    view: View,
    segment: Segment,
    page: int,
    i: int,
    kind: int,
    protect: Protect,
    spare: int,
) -> bool:
    """Enters an active page into the tables; nothing waits in here."""
    pages, address = space.pages, page << PAGE_SHIFT
    frame = space.machine.physical.ram.link[segment.base + i]
    entry = pages.tables.get(address)
    if entry and not pages.is_shared(entry):
        return False  # somebody has made a copy meanwhile
    if not entry:
        space.machine.faults.clear_behind_end(segment)
        number, gate = view.page_at(page), segment.section.pager.traits.gate
        noticed = (
            segment.dirty >> i & 1
            and number not in segment.section.precious
            and not (gate is not None and gate.prohibits(number, True))
        )
        writable = may_write(protect) and bool(noticed)
        entry = pages.map_shared(address, segment, frame, protect, writable)
    assert entry & PRESENT and pages.frame_of(entry) == frame
    if copies(view, protect, kind):
        pages.copy(address, entry, spare, protect)
        return True
    if kind == WRITE:
        space.machine.pageout.writeback.mark(segment, 1 << i)
        pages.make_writable(address, entry)
    return False

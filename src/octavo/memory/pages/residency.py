"""What makes pages of sections active, and what sends them to the page lists.

    try_map, unmap    a segment, for the cache: while it is mapped all its resident pages are active
    share, unshare    a page, for one page-table entry of an address space (NT's share count)

A page with neither goes to the standby list, or to the modified list; one that is being written
goes there when that ends.
"""

from __future__ import annotations

import numpy as np

from octavo.machine.abi import MODIFIED, SEGMENT_PAGES, SEGMENT_SHIFT, WRITING, State
from octavo.memory.frames.pfn import SHORT_RUN
from octavo.memory.frames.physical import BASE_MASK, PhysicalMemory
from octavo.memory.pages.section import Section, Segment


def try_map(physical: PhysicalMemory, section: Section, index: int) -> Segment | None:
    """The mapped segment of a section; None when there is no frame for its PTEs."""
    segment = physical.try_segment(section, index)
    if segment is not None:
        segment.mapped = True
    return segment


def unmap(physical: PhysicalMemory, segment: Segment) -> int:
    """Ends the mapping of a segment that nobody has pinned; returns the number of pages that left
    the active state.
    """
    assert segment.mapped and not segment.pins
    segment.mapped = False
    whole = _unmap_whole(physical, segment)
    if whole:
        return whole
    return settle(physical, segment, 0, SEGMENT_PAGES)


def share(physical: PhysicalMemory, segment: Segment, frame: int) -> None:
    """One more page-table entry leads to an active page."""
    physical.pfns.use[frame] += 1
    segment.shares += 1


def unshare(physical: PhysicalMemory, frame: int) -> None:
    """One less page-table entry leads to a page; the last one lets go of it."""
    pfns = physical.pfns
    segment = physical.segments[pfns.pte[frame] & BASE_MASK]
    pfns.use[frame] -= 1
    segment.shares -= 1
    deactivate(physical, segment, frame)


def deactivate(physical: PhysicalMemory, segment: Segment, frame: int, count: int = 1) -> None:
    """Sends active pages in consecutive frames, alike and one after the other in their segment, to
    their list, unless they are in use.

    In use is what the cache shows or an address space maps.
    """
    pfns = physical.pfns
    if segment.mapped or pfns.use[frame]:
        return
    link, first = physical.ram.link, pfns.pte[frame]
    for i in range(count):
        link[first + i] = -frame - i
    if pfns.flags[frame] & WRITING:
        physical.pfns.claim(frame, count, State.TRANSITION, State.ACTIVE)
    elif pfns.flags[frame] & MODIFIED:
        physical.modified.append(frame, count, State.ACTIVE)
    else:
        physical.standby.append(frame, count, State.ACTIVE, segment.section.priority)


def adopt(physical: PhysicalMemory, section: Section, page: int) -> tuple[Segment, int] | None:
    """Its segment and an active frame for a page that is absent; None when the page is there, or no
    frame can be had.

    The caller fills the frame and deactivates it at once.
    """
    segment = physical.try_segment(section, page >> SEGMENT_SHIFT)
    if segment is None:
        return None
    at = segment.base + page % SEGMENT_PAGES
    segment.holds += 1  # taking a frame must not take the segment
    runs = physical.try_take(1, State.ACTIVE) if not physical.ram.link[at] else None
    segment.holds -= 1
    if not runs:
        physical.release_if_empty(segment)
        return None
    frame = runs[0][0]
    segment.used += 1
    physical.pfns.pte[frame] = at
    physical.ram.link[at] = frame
    return segment, frame


def settle(physical: PhysicalMemory, segment: Segment, first: int, end: int) -> int:
    """Sends the active pages among [first, end) that nobody uses to their lists, alike ones in one
    go; returns how many.
    """
    moved = 0
    if not segment.mapped:
        pfns = physical.pfns
        entries = physical.ram.link[segment.base + first : segment.base + end].tolist()
        i = 0
        while i < len(entries):
            frame, count = entries[i], 1
            if frame > 0 and not pfns.use[frame]:
                flags = pfns.flags[frame]
                while (
                    i + count < len(entries)
                    and entries[i + count] == frame + count
                    and not pfns.use[frame + count]
                ):
                    if pfns.flags[frame + count] != flags:
                        break
                    count += 1
                deactivate(physical, segment, frame, count)
                moved += count
            i += count
    physical.release_if_empty(segment)
    return moved


def _unmap_whole(physical: PhysicalMemory, segment: Segment) -> int:
    """The usual case of a file that was read: one run of clean frames. Returns their number, 0 for
    any other case.
    """
    link, base, count = physical.ram.link, segment.base, segment.used
    first = link[base]
    if (
        count < SHORT_RUN
        or segment.shares
        or segment.dirty
        or segment.writing
        or first <= 0
        or link[base + count - 1] != first + count - 1
    ):
        return 0
    part = physical.links[segment.base : segment.base + count]
    if not (part == np.arange(first, first + count, dtype=np.int32)).all():
        return 0
    np.negative(part, out=part)
    physical.standby.append(first, count, State.ACTIVE, segment.section.priority)
    return count

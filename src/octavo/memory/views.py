"""What makes pages of sections active, and what sends them to the page lists.

    try_map, unmap      a segment, for the cache: while it is mapped all its resident pages are active
    share, unshare      a page, for one page-table entry of an address space (NT's share count)

A page with neither goes to the standby list, or to the modified list; one that is being written goes there when that ends.
"""

from __future__ import annotations

import numpy as np

from octavo.memory.pfn import FLAGS, MODIFIED, PTE, SHORT_RUN, USE, WORDS, WRITING, State
from octavo.memory.physical import BASE_MASK, PhysicalMemory
from octavo.memory.section import SEGMENT_PAGES, SEGMENT_SHIFT, Section, Segment


def try_map(physical: PhysicalMemory, section: Section, index: int) -> Segment | None:
    """The mapped segment of a section; None when there is no frame for its PTEs."""
    segment = physical.try_segment(section, index)
    if segment is not None:
        segment.mapped = True
    return segment


def unmap(physical: PhysicalMemory, segment: Segment) -> int:
    """Ends the mapping of a segment that nobody has pinned; returns the number of pages that left the active state."""
    assert segment.mapped and not segment.pins
    segment.mapped = False
    link, words, base = physical.ram.link, physical.pfns.words, segment.base
    entries = link[base : base + SEGMENT_PAGES].tolist()
    whole = _unmap_whole(physical, segment, entries)
    if whole:
        return whole
    if segment.shares:
        return _unmap_unshared(physical, segment, entries)
    moved = 0
    i = 0
    while i < SEGMENT_PAGES:
        pfn = entries[i]
        if pfn <= 0:
            i += 1
            continue
        flags = words[pfn * WORDS + FLAGS] & (MODIFIED | WRITING)
        count = 0
        while i < SEGMENT_PAGES and entries[i] == pfn + count and words[(pfn + count) * WORDS + FLAGS] & (MODIFIED | WRITING) == flags:
            link[base + i] = -entries[i]
            count += 1
            i += 1
        if flags & WRITING:
            physical.pfns.claim(pfn, count, State.TRANSITION, State.ACTIVE)
        elif flags & MODIFIED:
            physical.modified.append(pfn, count, State.ACTIVE)
        else:
            physical.standby.append(pfn, count, State.ACTIVE, segment.section.priority)
        moved += count
    physical.release_if_empty(segment)
    return moved


def share(physical: PhysicalMemory, segment: Segment, frame: int) -> None:
    """One more page-table entry leads to an active page."""
    physical.pfns.words[frame * WORDS + USE] += 1
    segment.shares += 1


def unshare(physical: PhysicalMemory, frame: int) -> bool:
    """One less page-table entry leads to a page; True when it has left the active state by that."""
    words = physical.pfns.words
    segment = physical.segments[words[frame * WORDS + PTE] & BASE_MASK]
    words[frame * WORDS + USE] -= 1
    segment.shares -= 1
    return not words[frame * WORDS + USE] and deactivate(physical, segment, frame)


def deactivate(physical: PhysicalMemory, segment: Segment, frame: int, count: int = 1) -> bool:
    """Sends active pages in consecutive frames, alike and one after the other in their segment, to their list; False for one that is in use.

    In use is what the cache shows or an address space maps.
    """
    words = physical.pfns.words
    at = frame * WORDS
    if segment.mapped or words[at + USE]:
        return False
    link, first = physical.ram.link, words[at + PTE]
    for i in range(count):
        link[first + i] = -frame - i
    if words[at + FLAGS] & WRITING:
        physical.pfns.claim(frame, count, State.TRANSITION, State.ACTIVE)
    elif words[at + FLAGS] & MODIFIED:
        physical.modified.append(frame, count, State.ACTIVE)
    else:
        physical.standby.append(frame, count, State.ACTIVE, segment.section.priority)
    return True


def adopt_standby(physical: PhysicalMemory, section: Section, page: int) -> int:
    """A frame, on the standby list, for a page that is absent; 0 when the page is there, or no frame can be had. Its bytes are the caller's to fill at once."""
    segment = physical.try_segment(section, page >> SEGMENT_SHIFT)
    if segment is None:
        return 0
    at = segment.base + page % SEGMENT_PAGES
    segment.holds += 1  # taking a frame must not take the segment
    runs = physical.try_take(1, State.ACTIVE) if not physical.ram.link[at] else None
    segment.holds -= 1
    frame = runs[0][0] if runs else 0
    if frame:
        segment.used += 1
        physical.pfns.words[frame * WORDS + PTE] = at
        physical.ram.link[at] = frame
        deactivate(physical, segment, frame)
    physical.release_if_empty(segment)
    return frame


def settle(physical: PhysicalMemory, segment: Segment, first: int, end: int) -> None:
    """After a fault: sends the active pages among [first, end) that came along and that nobody uses to their lists."""
    if not segment.mapped:
        words = physical.pfns.words
        entries = physical.ram.link[segment.base + first : segment.base + end].tolist()
        i = 0
        while i < len(entries):
            frame, count = entries[i], 1
            if frame > 0 and not words[frame * WORDS + USE]:
                flags = words[frame * WORDS + FLAGS]
                while i + count < len(entries) and entries[i + count] == frame + count and not words[(frame + count) * WORDS + USE]:
                    if words[(frame + count) * WORDS + FLAGS] != flags:
                        break
                    count += 1
                deactivate(physical, segment, frame, count)
            i += count
    physical.release_if_empty(segment)


def _unmap_unshared(physical: PhysicalMemory, segment: Segment, entries: list[int]) -> int:
    """Address spaces map some of the pages: those stay active."""
    return sum(deactivate(physical, segment, pfn) for pfn in entries if pfn > 0)


def _unmap_whole(physical: PhysicalMemory, segment: Segment, entries: list[int]) -> int:
    """The usual case of a file that was read: one run of clean frames. Returns their number, 0 for any other case."""
    count = segment.used
    first = entries[0]
    if count < SHORT_RUN or segment.shares or segment.dirty or segment.writing or first <= 0 or entries[count - 1] != first + count - 1:
        return 0
    part = physical.links[segment.base : segment.base + count]
    if not (part == np.arange(first, first + count, dtype=np.int32)).all():
        return 0
    np.negative(part, out=part)
    physical.standby.append(first, count, State.ACTIVE, segment.section.priority)
    return count

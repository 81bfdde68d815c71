"""Mapping and unmapping segments: what makes pages active, and what sends them to the page lists.

While a segment is mapped its resident pages are active. When it is unmapped, clean pages go to the standby list and
modified ones to the modified list, in the order of the section; pages that are being written go there when that ends.
"""

from __future__ import annotations

import numpy as np

from octavo.memory.pfn import FLAGS, MODIFIED, SHORT_RUN, WORDS, WRITING, State
from octavo.memory.physical import PhysicalMemory
from octavo.memory.section import SEGMENT_PAGES, Section, Segment


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
            physical.standby.append(pfn, count, State.ACTIVE)
        moved += count
    physical.release_if_empty(segment)
    return moved


def _unmap_whole(physical: PhysicalMemory, segment: Segment, entries: list[int]) -> int:
    """The usual case of a file that was read: one run of clean frames. Returns their number, 0 for any other case."""
    count = segment.used
    first = entries[0]
    if count < SHORT_RUN or segment.dirty or segment.writing or first <= 0 or entries[count - 1] != first + count - 1:
        return 0
    part = physical.links[segment.base : segment.base + count]
    if not (part == np.arange(first, first + count, dtype=np.int32)).all():
        return 0
    np.negative(part, out=part)
    physical.standby.append(first, count, State.ACTIVE)
    return count

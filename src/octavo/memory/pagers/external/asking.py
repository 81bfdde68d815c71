"""What is asked of an external pager and not yet answered, and what is said of pages that it gets
back.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from octavo.machine.abi import SEGMENT_PAGES, SEGMENT_SHIFT
from octavo.machine.ram import Ram
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import Section
from octavo.status import StatusError
from octavo.threads.wait import Event


@dataclass(slots=True, eq=False)
class Request:
    """Pages [page, page + len(buffers)) that were asked for. Bit i of masks: page `page` + i."""

    page: int
    buffers: list[memoryview]  # one a page
    need: int
    answered: int = 0
    supplied: int = 0
    error: StatusError | None = None
    event: Event = field(default_factory=Event)

    def within(self, first: int, end: int) -> range:
        """Its pages among [first, end)."""
        return range(max(first, self.page), min(end, self.page + len(self.buffers)))

    def look(self) -> None:
        """Wakes who waits when all that is needed has been answered, or cannot be."""
        if self.error is not None or self.need & ~self.answered == 0:
            self.event.signal()


def alike(ram: Ram, section: Section, page: int, count: int) -> list[tuple[int, int, bool, bool]]:
    """(first page, pages, dirty, kept) of each stretch of `count` pages of a segment from `page` on
    that are alike.
    """
    link, segment = ram.link, section.segments[page >> SEGMENT_SHIFT]
    out: list[tuple[int, int, bool, bool]] = []
    for number in range(page, page + count):
        kind = number not in section.precious, link[segment.base + number % SEGMENT_PAGES] > 0
        if out and out[-1][2:] == kind:
            out[-1] = (out[-1][0], out[-1][1] + 1, *kind)
        else:
            out.append((number, 1, *kind))
    return out


def resident_pages(memory: MemoryManager, section: Section, first: int, end: int) -> list[int]:
    """The pages among [first, end) that are in memory now, ascending."""
    out: list[int] = []
    for index in sorted(section.segments):
        segment = section.segments[index]
        low, high = (
            max(first - (index << SEGMENT_SHIFT), 0),
            min(end - (index << SEGMENT_SHIFT), SEGMENT_PAGES),
        )
        out += [
            (index << SEGMENT_SHIFT) + i
            for i in range(low, high)
            if memory.ram.link[segment.base + i]
        ]
    return out


async def want_back(memory: MemoryManager, section: Section, page: int) -> None:
    """The pager wants a page back if it is resident, clean or not, on whatever list it is: it is
    precious from now on.
    """
    segment, i = section.segments.get(page >> SEGMENT_SHIFT), page % SEGMENT_PAGES
    if segment is None or not memory.ram.link[segment.base + i] or segment.dirty >> i & 1:
        return
    with memory.residency.held(segment, i, i + 1):
        await memory.faults.make_resident(segment, i, i + 1, i + 1)
        section.precious.add(page)
        memory.writeback.mark(segment, 1 << i, written=False)

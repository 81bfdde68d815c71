"""Where prototype PTEs lie: segments by their base, in frames of their own below 8 GiB.

    frame of prototype PTEs   | 128 PTEs | 128 PTEs | ...   eight segments in a frame
                              ^ base     ^ base + 128       indexes into `Ram.link`, of 31 bits

A segment comes with the first page or view of its 512 KiB and goes when it has no page, no view
and no thread at work on it; the frame goes with its last segment. Asked for one, the table may take
a frame that was standby: the caller looks again at what it knew of other segments. It may be
privileged, since who waits for a page must not wait for its PTE.

Used by `octavo.memory.pages.residency`; others look up here which page a frame has.
"""

from __future__ import annotations

from collections.abc import Collection

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_PAGES, SEGMENT_SHIFT, State
from octavo.memory.frames.physical import RESERVE, PhysicalMemory
from octavo.memory.pages.section import Section, Segment

BASE_MASK = ~(SEGMENT_PAGES - 1)
BASES_IN_FRAME = PAGE_SIZE // (SEGMENT_PAGES * 4)
BASES_BELOW = 1 << (33 - PAGE_SHIFT)  # 8 GiB, in frames


class SegmentTable:
    """All segments that there are, and the frames of their PTEs."""

    def __init__(self, physical: PhysicalMemory) -> None:
        self.physical = physical
        self.frames = 0  # for prototype PTEs
        self.by_base: dict[int, Segment] = {}  # changed here only
        self._free: dict[int, list[int]] = {}  # frame -> free bases in it
        self._holder = physical.pfns.new_holder("prototype PTEs")

    def all(self) -> Collection[Segment]:
        """Every segment."""
        return self.by_base.values()

    def of(self, frame: int) -> tuple[Segment, int]:
        """Which page of which segment is in a frame. KeyError for a frame of no section."""
        pte = self.physical.pfns.pte[frame]
        segment = self.by_base[pte & BASE_MASK]
        return segment, pte - segment.base

    def page_of(self, frame: int) -> tuple[Section, int]:
        """As `of`, with the section and the page's number in it."""
        pte = self.physical.pfns.pte[frame]
        segment = self.by_base[pte & BASE_MASK]
        return segment.section, (segment.index << SEGMENT_SHIFT) + pte - segment.base

    def try_get(self, section: Section, index: int) -> Segment | None:
        """The segment of a section, made if need be; None when there is no frame for its PTEs."""
        segment = section.segments.get(index)
        if segment is not None:
            return segment
        if not self._free and not self._add_frame():
            return None
        frame, bases = next(reversed(self._free.items()))
        base = bases.pop()
        if not bases:
            del self._free[frame]
        assert base not in self.by_base, "a segment's place is taken twice"
        segment = Segment(section, index, base)
        section.segments[index] = self.by_base[base] = segment
        return segment

    def release_if_empty(self, segment: Segment) -> None:
        """Takes a segment apart when it has no page, no view and no thread at work on it."""
        if segment.used or segment.mapped or segment.pins or segment.holds:
            return
        assert not (segment.shares or segment.dirty or segment.writing or segment.reads), (
            "an empty segment has pages at work"
        )
        base = segment.base
        del self.by_base[base]
        del segment.section.segments[segment.index]
        frame = base >> (PAGE_SHIFT - 2)
        bases = self._free.setdefault(frame, [])
        bases.append(base)
        if len(bases) == BASES_IN_FRAME:
            del self._free[frame]
            self.physical.pfns.hold(frame, 1, 0)
            self.frames -= 1
            self.physical.free([frame], State.ACTIVE)

    def _add_frame(self) -> bool:
        """One more frame of zeros; False when there is none."""
        frame = self._take_frame()
        if not frame:
            return False
        self.physical.pfns.hold(frame, 1, self._holder)
        self.frames += 1
        first = frame << (PAGE_SHIFT - 2)
        self._free[frame] = list(
            range(first, first + BASES_IN_FRAME * SEGMENT_PAGES, SEGMENT_PAGES)
        )
        return True

    def _take_frame(self) -> int:
        """A zeroed frame whose PTEs' indexes fit into 31 bits; 0 when there is none."""
        physical = self.physical
        if physical.pfns.frames <= BASES_BELOW:
            runs = physical.try_take_zeroed(1, State.ACTIVE, privileged=True)
            return runs[0][0] if runs else 0
        frame = physical.buddy.take_constrained(1, State.ACTIVE, BASES_BELOW, privileged=True)
        while not frame and physical.reclaim(RESERVE):
            frame = physical.buddy.take_constrained(1, State.ACTIVE, BASES_BELOW, privileged=True)
        if frame:
            physical.clear(frame, 1)
        return frame

    def check(self) -> None:
        """Each segment is where it is said to be, and has a reason to be there."""
        for base, segment in self.by_base.items():
            assert segment.base == base and segment.section.segments[segment.index] is segment
            assert segment.used or segment.mapped or segment.pins or segment.holds, (
                "an empty segment was left"
            )
        frames = {base >> (PAGE_SHIFT - 2) for base in self.by_base} | set(self._free)
        assert len(frames) == self.frames, "frames of prototype PTEs are miscounted"

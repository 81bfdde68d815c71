"""Physical memory: all frames of the machine, where they come from and where they go.

A frame that is wanted is taken from, in this order: the buddy allocator, the zeroed list, the
standby lists (lowest priority and oldest first; the page is dropped: it is clean and its pager has
it). All three together are *available*; when they do not suffice, `try_take` says None and pageout
has to act. The last `RESERVE` available frames are for privileged callers: those without whom
pageout could not finish (rule 7).

Prototype PTEs lie in frames, too, below 8 GiB: eight segments of 128 PTEs in a frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from octavo.machine.abi import (
    HOLDER,
    MODIFIED,
    PAGE_SHIFT,
    PAGE_SIZE,
    PTE,
    SEGMENT_PAGES,
    WRITING,
    State,
)
from octavo.machine.ram import Ram
from octavo.memory.frames.buddy import Run
from octavo.memory.frames.freeframes import Bounds, FreeFrames
from octavo.memory.frames.pagelists import PageList, StandbyLists
from octavo.memory.frames.pfn import SHORT_RUN, PfnDatabase, runs_of
from octavo.memory.pages.section import Section, Segment

RESERVE = 16
BASE_MASK = ~(SEGMENT_PAGES - 1)
BASES_IN_FRAME = PAGE_SIZE // (SEGMENT_PAGES * 4)
BASES_BELOW = 1 << (33 - PAGE_SHIFT)  # 8 GiB, in frames
ZERO_PAGE = bytes(PAGE_SIZE)


class PhysicalMemory:
    """The frames of `ram` as far as `pfns` describes them; `standby_usable` is False when pageout
    is turned off.
    """

    def __init__(self, ram: Ram, pfns: PfnDatabase, segments: Sequence[Bounds] = ()) -> None:
        self.ram = ram
        self.pfns = pfns
        self.buddy = FreeFrames(pfns, segments)
        self.zeroed = PageList(pfns, State.ZEROED)
        self.standby = StandbyLists(pfns)
        self.modified = PageList(pfns, State.MODIFIED)
        self.standby_usable = True
        self.segments: dict[int, Segment] = {}  # by base
        self.repurposed = 0
        self.lowest_available = 1 << 30
        self.promise: Callable[[int], bool] = lambda frames: (
            True
        )  # asked before somebody takes so many frames for good
        self.base_frames = 0  # for prototype PTEs
        self._bases: dict[int, list[int]] = {}  # frame -> free bases in it
        self._base_holder = pfns.new_holder("prototype PTEs")
        self.links = ram.array.view(np.int32) if not ram.paper else np.zeros(0, np.int32)

    @property
    def available(self) -> int:
        """Frames that can be had without any I/O."""
        return (
            self.buddy.free_frames
            + self.zeroed.count
            + (self.standby.count if self.standby_usable else 0)
        )

    def try_take(self, count: int, state: State, privileged: bool = False) -> list[Run] | None:
        """`count` frames in `state`, with any contents; None when they are not to be had."""
        left = self.available - count
        if left < (0 if privileged else RESERVE):
            return None
        if left < self.lowest_available:
            self.lowest_available = left
        free = self.buddy.free_frames
        if count <= free:
            return self.buddy.take(count, state)
        out = self.buddy.take(free, state) if free else []
        count -= free
        zeroed = min(count, self.zeroed.count)
        if zeroed:
            out += self.zeroed.pop(zeroed, state)
        if count > zeroed:
            runs = self.standby.pop(count - zeroed, state)
            for run in runs:
                self._forget(*run)
            out += runs
        return out

    def try_take_zeroed(
        self, count: int, state: State, privileged: bool = False
    ) -> list[Run] | None:
        """As `try_take`, with all bytes zero."""
        left = self.available - count
        if left < (0 if privileged else RESERVE):
            return None
        out = self.zeroed.pop(count, state)
        count -= sum(size for _, size in out)
        if count:
            rest = self.try_take(count, state, privileged)
            assert rest is not None
            for first, size in rest:
                self.clear(first, size)
            out += rest
        return out

    def clear(self, first: int, count: int) -> None:
        """Fills frames with zeros."""
        if count == 1:
            self.ram.bytes[first << PAGE_SHIFT : (first + 1) << PAGE_SHIFT] = ZERO_PAGE
        else:
            self.ram.array[first << PAGE_SHIFT : (first + count) << PAGE_SHIFT] = 0

    def drop_standby(self, pfn: int) -> None:
        """Frees one standby frame at once."""
        self.standby.remove(pfn, State.ACTIVE)
        self._forget(pfn, 1)
        self.buddy.free(pfn, 1, State.ACTIVE)

    def clear_tail(self, pfn: int, start: int) -> None:
        """Fills a frame with zeros from byte `start` on."""
        self.ram.bytes[(pfn << PAGE_SHIFT) + start : (pfn + 1) << PAGE_SHIFT] = ZERO_PAGE[start:]

    def free(self, frames: list[int], was: State) -> None:
        """Gives back frames, all in state `was`; their entries lose PTE and flags."""
        pfns = self.pfns
        for pfn in frames:
            pfns.pte[pfn] = pfns.flags[pfn] = 0
        for first, count in runs_of(frames):
            self.buddy.free(first, count, was)

    def reclaim(self, count: int) -> int:
        """Moves up to `count` zeroed and standby frames to the free lists, for those who need them
        in blocks; returns how many.
        """
        done = 0
        for first, size in self.zeroed.pop(count, State.ACTIVE):
            self.buddy.free(first, size, State.ACTIVE)
            done += size
        if self.standby_usable:
            for first, size in self.standby.pop(count - done, State.ACTIVE):
                self._forget(first, size)
                self.buddy.free(first, size, State.ACTIVE)
                done += size
        return done

    def zero_some(self, count: int) -> int:
        """Moves up to `count` free frames to the zeroed list; returns how many."""
        count = max(0, min(count, self.buddy.free_frames))
        if count:
            for first, size in self.buddy.take(count, State.TRANSITION):
                self.clear(first, size)
                self.zeroed.append(first, size, State.TRANSITION)
        return count

    def _forget(self, first: int, count: int) -> None:
        """Takes frames that were standby away from the sections that own them."""
        self.repurposed += count
        if count >= SHORT_RUN:
            ptes = self.pfns.table[first : first + count, PTE]
            while count >= SHORT_RUN:
                pte = int(ptes[0])
                base = pte & BASE_MASK
                size = min(count, base + SEGMENT_PAGES - pte)
                if not (ptes[:size] == np.arange(pte, pte + size, dtype=np.int32)).all():
                    break
                self.links[pte : pte + size] = (
                    0  # the usual case: part of one segment, in its order
                )
                ptes[:size] = 0
                self._drop_use(self.segments[base], size)
                ptes = ptes[size:]
                first += size
                count -= size
        pfns, link = self.pfns, self.ram.link
        for pfn in range(first, first + count):
            pte = pfns.pte[pfn]
            pfns.pte[pfn] = 0
            link[pte] = 0
            self._drop_use(self.segments[pte & BASE_MASK], 1)

    # -- segments ---------------------------------------------------------------------------------

    def try_segment(self, section: Section, index: int) -> Segment | None:
        """The segment of a section, made if need be; None when there is no frame for its PTEs."""
        segment = section.segments.get(index)
        if segment is not None:
            return segment
        if not self._bases:
            frame = self._base_frame()
            if not frame:
                return None
            self.pfns.hold(frame, 1, self._base_holder)
            self.base_frames += 1
            first = frame << (PAGE_SHIFT - 2)
            self._bases[frame] = list(
                range(first, first + BASES_IN_FRAME * SEGMENT_PAGES, SEGMENT_PAGES)
            )
        frame, bases = next(reversed(self._bases.items()))
        base = bases.pop()
        if not bases:
            del self._bases[frame]
        segment = Segment(section, index, base)
        section.segments[index] = self.segments[base] = segment
        return segment

    def _base_frame(self) -> int:
        """A zeroed frame for prototype PTEs, whose indexes must fit into 31 bits; 0 when there is
        none.
        """
        if self.pfns.frames <= BASES_BELOW:
            runs = self.try_take_zeroed(1, State.ACTIVE, privileged=True)
            return runs[0][0] if runs else 0
        frame = self.buddy.take_constrained(1, State.ACTIVE, BASES_BELOW, privileged=True)
        while not frame and self.reclaim(RESERVE):
            frame = self.buddy.take_constrained(1, State.ACTIVE, BASES_BELOW, privileged=True)
        if frame:
            self.clear(frame, 1)
        return frame

    def release_if_empty(self, segment: Segment) -> None:
        """Takes a segment apart when it has no page, no view and no thread at work on it."""
        if segment.used or segment.mapped or segment.pins or segment.holds:
            return
        base = segment.base
        del self.segments[base]
        del segment.section.segments[segment.index]
        frame = base >> (PAGE_SHIFT - 2)
        bases = self._bases.setdefault(frame, [])
        bases.append(base)
        if len(bases) == BASES_IN_FRAME:
            del self._bases[frame]
            self.pfns.hold(frame, 1, 0)
            self.base_frames -= 1
            self.free([frame], State.ACTIVE)

    def _drop_use(self, segment: Segment, count: int) -> None:
        segment.used -= count
        if not segment.used:
            segment.prefetched = 0
            self.release_if_empty(segment)

    def check(self) -> None:
        """Frames, lists, blocks and prototype PTEs agree with one another, to the frame."""
        self.pfns.check()
        self.buddy.check()
        for pages in (self.zeroed, self.standby, self.modified):
            pages.check()
        pfns, link = self.pfns, self.ram.link
        owned = 0
        for base, segment in self.segments.items():
            assert segment.base == base and segment.section.segments[segment.index] is segment
            entries = link[base : base + SEGMENT_PAGES].tolist()
            assert segment.used == sum(1 for e in entries if e), (
                f"use count of {segment.section.name}"
            )
            assert segment.used or segment.mapped or segment.pins or segment.holds, (
                "an empty segment was left"
            )
            owned += segment.used
            shares = 0
            for i, entry in enumerate(entries):
                bit = 1 << i
                if not entry:
                    assert not (segment.dirty | segment.writing) & bit, "an absent page is dirty"
                    continue
                pfn = abs(entry)
                assert pfns.pte[pfn] == base + i, f"frame {pfn} has two owners"
                state, flags = pfns.state[pfn], pfns.flags[pfn]
                assert (state == State.ACTIVE) == (entry > 0), (state, entry)
                assert entry < 0 or segment.mapped or pfns.use[pfn], (
                    "an active page that nobody uses"
                )
                assert entry > 0 or not pfns.use[pfn], "a page in use is not active"
                shares += pfns.use[pfn]
                assert bool(flags & MODIFIED) == bool(segment.dirty & bit), (
                    "PFN entry and segment disagree on dirty"
                )
                assert bool(flags & WRITING) == bool(segment.writing & bit), (
                    "PFN entry and segment disagree on writing"
                )
            assert shares == segment.shares, "the entries that lead to a segment are miscounted"
        table = self.pfns.table
        assert owned == np.count_nonzero(table[table[:, HOLDER] == 0, PTE]), (
            "frames owned by no segment"
        )

"""Faults: bringing pages of a section into a view.

    absent       hard fault: frames are taken, the pager fills them, a cluster at a time
    transition   soft fault: the frame is taken off its list, nothing is read
    being read   collided fault: waits for the read that is under way

Only the pages asked for are obligatory. The rest of a cluster is left out when memory is short, and asked for no more
when the device cannot read it.

`new_pages` makes pages that are about to be overwritten: frames without a read.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from octavo.memory.buddy import Run
from octavo.memory.pageout import Pageout
from octavo.memory.pfn import FLAGS, PTE, READING, SHORT_RUN, STATE, WORDS, State
from octavo.memory.physical import PhysicalMemory
from octavo.memory.section import SEGMENT_SHIFT, Read, Segment
from octavo.status import StatusError
from octavo.threads.wait import Event


class Faults:
    """Resolves faults on the pages of mapped segments."""

    def __init__(self, physical: PhysicalMemory, pageout: Pageout) -> None:
        self.physical = physical
        self.pageout = pageout
        self.hard = 0
        self.soft = 0
        self.collided = 0
        self.new = 0
        self.page_ins: Counter[int] = Counter()  # cluster size in pages -> requests

    async def make_resident(self, segment: Segment, first: int, end: int, limit: int) -> None:
        """Makes pages [first, end) of a pinned segment active; a read may extend to `limit`. Raises what the pager raises."""
        assert segment.mapped and segment.pins
        link, base = self.physical.ram.link, segment.base
        i = first
        while i < end:
            entry = link[base + i]
            if entry > 0:
                i += 1
            elif entry == 0:
                stop = i + 1
                while stop < limit and not link[base + stop]:
                    stop += 1
                await self._page_in(segment, i, min(stop, end), stop)
            elif self.physical.pfns.words[-entry * WORDS + FLAGS] & READING:
                await self._collide(segment, i)
            else:
                self._activate(segment, i, -entry)
                i += 1

    async def new_pages(self, segment: Segment, first: int, end: int, zero: bool) -> None:
        """Makes active pages where [first, end) is absent, of zeros or of any bytes; the caller overwrites them at once."""
        runs = await self._frames(end - first, end - first, zero)
        if self.physical.ram.link[segment.base + first : segment.base + end].tolist() != [0] * (end - first):
            self._give_back(runs)  # somebody else was faster; the caller looks again
            return
        self.new += end - first
        self._own(segment, first, runs, State.ACTIVE, 0)
        self._set_entries(segment, first, runs, 1)

    # -- hard faults ----------------------------------------------------------------------------------------------

    async def _page_in(self, segment: Segment, first: int, need: int, end: int) -> None:
        """Reads pages [first, end); [first, need) are obligatory. May do less when another thread was at work: the caller loops."""
        runs = await self._frames(end - first, need - first, False)
        end = first + sum(count for _, count in runs)
        link = self.physical.ram.link
        if any(link[segment.base + first : segment.base + end]):
            self._give_back(runs)
            return
        section = segment.section
        self._own(segment, first, runs, State.TRANSITION, READING)
        self._set_entries(segment, first, runs, -1)
        read = Read(first, end)
        segment.reads.append(read)
        buffers = [self.physical.ram.frame(*run) for run in runs]
        try:
            self.hard += 1
            self.page_ins[end - first] += 1
            await section.pager.data_request(section, (segment.index << SEGMENT_SHIFT) + first, buffers)
        except StatusError:
            self._unread(segment, first, runs)
            self._finish(segment, read)
            if need == end:
                raise
            await self._page_in(segment, first, need, need)  # without the neighbours
            return
        self._own(segment, first, runs, State.ACTIVE, 0)
        self._set_entries(segment, first, runs, 1)
        self._finish(segment, read)

    async def _frames(self, wanted: int, needed: int, zero: bool) -> list[Run]:
        """Frames for `wanted` pages if they are available now, else for the `needed` ones, waiting for pageout."""
        physical = self.physical
        take = physical.try_take_zeroed if zero else physical.try_take
        state = State.ACTIVE
        runs = take(wanted, state)
        if runs is None and wanted > needed:
            runs = take(needed, state)
        while runs is None:
            await self.pageout.relieve(needed)
            runs = take(needed, state)
        return runs

    def _own(self, segment: Segment, first: int, runs: list[Run], state: State, flags: int) -> None:
        pfns = self.physical.pfns
        pte = segment.base + first
        for start, count in runs:
            was = State(pfns.words[start * WORDS + STATE])
            pfns.claim(start, count, state, was)
            pfns.fill(start, count, FLAGS, flags)
            if count < SHORT_RUN:
                for i in range(count):
                    pfns.words[(start + i) * WORDS + PTE] = pte + i
            else:
                pfns.table[start : start + count, PTE] = np.arange(pte, pte + count, dtype=np.int32)
            pte += count

    def _set_entries(self, segment: Segment, first: int, runs: list[Run], sign: int) -> None:
        link = self.physical.ram.link
        at = segment.base + first
        if not link[at]:
            segment.used += sum(count for _, count in runs)
        for start, count in runs:
            if count < SHORT_RUN:
                for pfn in range(start, start + count):
                    link[at] = pfn * sign
                    at += 1
            else:
                self.physical.links[at : at + count] = np.arange(start, start + count, dtype=np.int32) * sign
                at += count

    def _give_back(self, runs: list[Run]) -> None:
        self.physical.free([pfn for start, count in runs for pfn in range(start, start + count)], State.ACTIVE)

    def _unread(self, segment: Segment, first: int, runs: list[Run]) -> None:
        """Undoes a page-in that failed."""
        frames = [pfn for start, count in runs for pfn in range(start, start + count)]
        link = self.physical.ram.link
        for i in range(len(frames)):
            link[segment.base + first + i] = 0
        segment.used -= len(frames)
        self.physical.free(frames, State.TRANSITION)

    def _finish(self, segment: Segment, read: Read) -> None:
        segment.reads.remove(read)
        if read.event is not None:
            read.event.signal()
        self.pageout.progress.signal()

    # -- soft and collided faults ---------------------------------------------------------------------------------

    async def _collide(self, segment: Segment, page: int) -> None:
        self.collided += 1
        read = next(r for r in segment.reads if r.first <= page < r.end)
        if read.event is None:
            read.event = Event()
        await read.event.wait()

    def _activate(self, segment: Segment, i: int, pfn: int) -> None:
        self.soft += 1
        physical = self.physical
        words = physical.pfns.words
        state = words[pfn * WORDS + STATE]
        if state == State.STANDBY:
            physical.standby.remove(pfn, State.ACTIVE)
        elif state == State.MODIFIED:
            physical.modified.remove(pfn, State.ACTIVE)
        else:  # in transition: it is being written
            physical.pfns.claim(pfn, 1, State.ACTIVE, State.TRANSITION)
        physical.ram.link[segment.base + i] = pfn

    def statistics(self) -> dict[str, object]:
        """Faults by kind, and page-ins by cluster size in pages."""
        return {
            "hard": self.hard,
            "soft": self.soft,
            "collided": self.collided,
            "new": self.new,
            "page_ins": dict(sorted(self.page_ins.items())),
            "pages_in": sum(size * n for size, n in self.page_ins.items()),
        }

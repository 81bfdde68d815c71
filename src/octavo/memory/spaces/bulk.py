"""Bulk work on address spaces: the executive's side of `octavo.memory.spaces.faultkernels`.

A stock of zeroed frames is taken before a kernel runs, with the standby lists and the places of the
pages of views; after it all is settled: frames that became pages or tables are counted, the policy
learns of them, the rest of the stock goes back to the zeroed list. What a kernel stops at is
resolved one by one (`FaultResolver.touch`, `PrivatePages.share_with`), and the kernel goes on
behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt

from octavo.machine import mmukernels
from octavo.machine.abi import PAGE_SHIFT, PRESENT, SEGMENT_SHIFT, State
from octavo.machine.kernels import compile_kernels
from octavo.machine.mmu import PageFault, References, SoftMmu
from octavo.memory.frames.pfn import runs_of
from octavo.memory.frames.tableframes import TableFrames
from octavo.memory.pages.residency import Residency
from octavo.memory.pages.section import Segment
from octavo.memory.reclaim.conditions import MemoryConditions
from octavo.memory.reclaim.policies import lists
from octavo.memory.reclaim.replacement import Replacement
from octavo.memory.spaces import faultkernels as k
from octavo.memory.spaces.protect import Protect, entry_bits, is_copy, is_held
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.view import View

LEAST_STOCK, MOST_STOCK = 8, 2048  # frames
MOST_SOFT = 4096  # soft faults in one run
WINDOW = 1 << 16  # pages of a view, around the reference, that a kernel is told of: 512 segments
Fill = npt.NDArray[np.int64]


@dataclass
class Offer:
    """What a kernel may resolve: records of spans, what follows them, and the segments that entries
    may be made to, with where they are counted.
    """

    records: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    segments: list[tuple[Segment, int]] = field(default_factory=list)  # index in `sources`


class Bulk:
    """Demand-zero and soft faults and forks by kernels, with the virtual CPUs of `mmu`. Private
    pages are held by `holder`.
    """

    def __init__(
        self,
        residency: Residency,
        mmu: SoftMmu,
        replacement: Replacement,
        conditions: MemoryConditions,
        table_frames: TableFrames,
        holder: int,
    ) -> None:
        self.residency, self.physical = residency, residency.physical
        self.mmu, self.replacement = mmu, replacement
        self.conditions, self.table_frames, self.holder = conditions, table_frames, holder
        self.filled = self.soft = self.shared = 0

    @property
    def kernels(self) -> SimpleNamespace:
        """The compiled kernels."""
        return compile_kernels(lists, mmukernels, k)

    # -- what a kernel is given -------------------------------------------------------------------

    def _offer(self, space: Space, page: int) -> Offer:
        """What a kernel may resolve that begins at a page."""
        offer = Offer()
        count = sum(len(vad.spans) for vad in space.vads.all)
        # where `sources` begins: the records that are not used lie behind their end
        after = k.FIRST_RUN + k.RUN * count
        for vad in space.vads.all:
            for first, end, protect in vad.spans:
                if protect is None or is_held(protect) or vad.written is not None:
                    continue
                bits = space.tables.fit(entry_bits(protect, True)) | PRESENT
                bits = bits - (1 << 64) if bits >> 63 else bits
                if vad.view is None:
                    offer.records += [first, end, bits, 0, 0, 0]
                elif not is_copy(protect):
                    self._offer_view(offer, vad.view, (first, end, bits), page, after)
        offer.records += [0] * (k.RUN * count - len(offer.records))
        return offer

    def _offer_view(
        self, offer: Offer, view: View, span: tuple[int, int, int], page: int, after: int
    ) -> None:
        """Offers pages of a view, unless each needs a look."""
        section = view.object.section
        if view.object.frame or section.pager.traits.gate:
            return
        first, end, bits = span
        # what lies behind its end is the executive's to clear
        end = min(end, view.start + (section.size >> PAGE_SHIFT) - view.first)
        first, end = max(first, page - WINDOW // 2), min(end, page + WINDOW // 2)
        if first >= end:
            return
        owner, external = self.replacement.naming(section)
        offer.records += [first, end, bits, after + len(offer.sources), owner, external]
        number = view.page_at(first)
        self._source(offer, section.segments, number, number + end - first)

    @staticmethod
    def _source(offer: Offer, segments: dict[int, Segment], number: int, end: int) -> None:
        low, high = number >> SEGMENT_SHIFT, (end - 1 >> SEGMENT_SHIFT) + 1
        found = [segments.get(index) for index in range(low, high)]
        bases = [segment.base if segment is not None else 0 for segment in found]
        offer.sources += [number, low, high - low, *bases]
        at = len(offer.sources)
        offer.segments += [(s, at + i) for i, s in enumerate(found) if s is not None]
        offer.sources += [0] * (high - low)

    def _stock(self, offer: Offer, wanted: int) -> Fill:
        """A stock of up to `wanted` frames that can be had now, with what they may serve."""
        physical = self.physical
        free = physical.buddy.free_frames + physical.zeroed.count
        count = min(wanted, free - physical.available // 8)
        frames = self._take(count)
        soft = MOST_SOFT if offer.sources else 0
        start = k.FIRST_RUN + len(offer.records) + len(offer.sources)
        fill = np.zeros(start + 2 * len(frames) + 2 * soft, np.int64)
        used = sum(offer.records[at + k.RUN_END] > 0 for at in range(0, len(offer.records), k.RUN))
        fill[[k.COUNT, k.RUNS, k.OWNER]] = len(frames), used, self.holder
        fill[[k.FRAMES, k.TABLES]] = start, start + len(frames)
        fill[[k.SOFT_MOST, k.SOFT_OUT]] = soft, start + 2 * len(frames)
        fill[k.FIRST_RUN : start] = offer.records + offer.sources
        fill[start : start + len(frames)] = frames
        for i, pages in enumerate(physical.standby.lists):
            at = k.STANDBY + k.LIST * i
            fill[at : at + k.LIST] = pages.head, pages.tail, pages.count
        return fill

    def _take(self, count: int) -> list[int]:
        """So many zeroed frames, or none."""
        taken = self.physical.try_take_zeroed(count, State.ACTIVE) if count > 0 else None
        return [pfn for first, size in taken or [] for pfn in range(first, first + size)]

    # -- what it has done -------------------------------------------------------------------------

    def _settle(self, fill: Fill, space: Space, offer: Offer | None = None) -> None:
        """Counts what a kernel has made for a space, and gives the rest of the stock back."""
        physical = self.physical
        start, used, count = int(fill[k.FRAMES]), int(fill[k.USED]), int(fill[k.COUNT])
        made = fill[fill[k.TABLES] : fill[k.TABLES] + fill[k.MADE]].tolist()
        for frame in made:
            self.table_frames.hold(frame)
        if used > len(made):
            frames = fill[start : start + used]
            self.replacement.enter_private_many(
                frames[~np.isin(frames, made)] if made else frames, space.pages.family
            )
        space.tables.tables += made
        space.pages.resident += int(fill[k.PAGES])
        for first, size in runs_of(sorted(fill[start + used : start + count].tolist())):
            physical.zeroed.append(first, size, State.ACTIVE)
        self.conditions.look(physical.available)
        if offer is not None and fill[k.SOFT]:
            self._settle_soft(fill, space, offer)

    def _settle_soft(self, fill: Fill, space: Space, offer: Offer) -> None:
        physical, soft, out = self.physical, int(fill[k.SOFT]), int(fill[k.SOFT_OUT])
        for i in range(len(physical.standby.lists)):
            head, tail, count = fill[k.STANDBY + k.LIST * i : k.STANDBY + k.LIST * (i + 1)].tolist()
            physical.standby.taken(i, head, tail, count)
        after = k.FIRST_RUN + len(offer.records)
        for segment, at in offer.segments:
            self.residency.count_shares(segment, int(fill[after + at]))
        space.pages.resident += soft
        space.pages.of_sections += soft
        self.soft += soft
        self.replacement.enter_many(fill[out : out + 2 * soft])

    # -- running and forking ----------------------------------------------------------------------

    def run(self, space: Space, cpu: int, refs: References, start: int) -> PageFault | None:
        """Runs references from `start` on until one needs the executive, or all are done."""
        mmu, stock = self.mmu, LEAST_STOCK
        offer = self._offer(space, int(refs[start]) >> PAGE_SHIFT if start < len(refs) else 0)
        while True:
            fill = self._stock(offer, min(len(refs) - start, stock))
            stop = mmu.run_with(cpu, self._with(fill, refs), start, len(refs))
            self._settle(fill, space, offer)
            self.filled += int(fill[k.PAGES]) + int(fill[k.SOFT])
            full = soft_full = False
            if stop is not None:
                full = bool(fill[k.COUNT]) and fill[k.USED] == fill[k.COUNT]
                soft_full = bool(fill[k.SOFT]) and fill[k.SOFT] == fill[k.SOFT_MOST]
            if stop is None or not (full or soft_full):
                return stop
            start, stock = stop.index, min(stock * 4, MOST_STOCK) if full else stock

    def _with(self, fill: Fill, refs: References) -> Callable[..., int]:
        physical, kernel = self.physical, self.kernels.run_references

        def call(tables: object, state: object, start: int, end: int) -> int:
            return int(
                kernel(tables, state, physical.pfns.flat, physical.links, fill, refs, start, end)
            )

        return call

    def share(self, parent: Space, child: Space, first: int, end: int, protect: Protect) -> None:
        """Makes the pages [first, end) of `parent` pages of `child` too. StatusError
        INSUFFICIENT_RESOURCES.
        """
        mmu = self.mmu
        state = mmu.states[0].copy()
        state[mmukernels.ROOT] = parent.tables.root
        at = first
        while at < end:
            fill = self._stock(Offer(), min((end - at >> 9) + 8, MOST_STOCK))
            at = int(
                self.kernels.share_pages(
                    mmu.tables, state, child.tables.root, self.physical.pfns.flat, fill, at, end
                )
            )
            self._settle(fill, child)
            self.shared += int(fill[k.PAGES])
            if at < end:  # held, paged, or no frame for a table
                parent.pages.share_with(
                    child.pages, at << PAGE_SHIFT, at + 1 << PAGE_SHIFT, protect
                )
                at += 1
        mmu.invalidate(first << PAGE_SHIFT, end - first)

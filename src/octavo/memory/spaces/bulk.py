"""Bulk work on address spaces: the executive's side of `octavo.memory.spaces.faultkernels`.

A stock of zeroed frames is taken before a kernel runs, with the standby lists and the places of the
pages of views; after it all is settled: frames that became pages or tables are counted, the policy
learns of them, the rest of the stock goes back to the zeroed list. What a kernel stops at is
resolved one by one (`AddressSpace.touch`, `PrivatePages.share_with`), and the kernel goes on behind
it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octavo.machine import mmukernels
from octavo.machine.abi import PAGE_SHIFT, PRESENT, SEGMENT_SHIFT, State
from octavo.machine.kernels import compile_kernels
from octavo.machine.mmu import PageFault, References
from octavo.memory.frames.pfn import runs_of
from octavo.memory.pages.section import Segment
from octavo.memory.reclaim.policies import lists
from octavo.memory.spaces import faultkernels as k
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.protect import Protect, entry_bits, is_copy, is_held

if TYPE_CHECKING:
    from octavo.memory.spaces.virtual import VirtualMemory

LEAST_STOCK, MOST_STOCK = 8, 2048  # frames
MOST_SOFT = 4096  # soft faults in one run
WINDOW = 1 << 16  # pages of a view, around the reference, that a kernel is told of: 512 segments
Fill = npt.NDArray[np.int64]


@dataclass
class Runs:
    """What a kernel may resolve: run records, what follows them, and the segments that entries may
    be made to, with where they are counted.
    """

    records: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    segments: list[tuple[Segment, int]] = field(default_factory=list)  # index in `sources`


class Bulk:
    """Demand-zero and soft faults and forks of `machine` by kernels."""

    def __init__(self, machine: VirtualMemory) -> None:
        self.machine = machine
        self.filled = self.soft = self.shared = 0

    @property
    def kernels(self) -> SimpleNamespace:
        """The compiled kernels."""
        return compile_kernels(lists, mmukernels, k)

    # -- what a kernel is given -------------------------------------------------------------------

    def _runs(self, space: AddressSpace, page: int) -> Runs:
        """What a kernel may resolve that begins at a page."""
        runs = Runs()
        count = sum(len(vad.runs) for vad in space.vads.all)
        after = (
            k.FIRST_RUN + k.RUN * count
        )  # where `sources` begins: the records that are not used lie behind their end
        for vad in space.vads.all:
            for first, end, protect in vad.runs:
                if protect is None or is_held(protect) or vad.written is not None:
                    continue
                bits = space.tables.fit(entry_bits(protect, True)) | PRESENT
                bits = bits - (1 << 64) if bits >> 63 else bits
                if vad.view is None:
                    runs.records += [first, end, bits, 0, 0, 0]
                elif not (
                    is_copy(protect)
                    or vad.view.object.frame
                    or vad.view.object.section.pager.traits.gate
                ):
                    section = vad.view.object.section
                    end = min(
                        end, vad.start + (section.size >> PAGE_SHIFT) - vad.view.first
                    )  # what lies behind its end is the executive's to clear
                    first, end = max(first, page - WINDOW // 2), min(end, page + WINDOW // 2)
                    number = vad.view.page_at(first)
                    if first < end:
                        owner, external = self.machine.replacement.naming(section)
                        runs.records += [
                            first,
                            end,
                            bits,
                            after + len(runs.sources),
                            owner,
                            external,
                        ]
                        self._source(runs, section.segments, number, number + end - first)
        runs.records += [0] * (k.RUN * count - len(runs.records))
        return runs

    @staticmethod
    def _source(runs: Runs, segments: dict[int, Segment], number: int, end: int) -> None:
        low, high = number >> SEGMENT_SHIFT, (end - 1 >> SEGMENT_SHIFT) + 1
        found = [segments.get(index) for index in range(low, high)]
        runs.sources += [number, low, high - low, *(s.base if s is not None else 0 for s in found)]
        runs.segments += [(s, len(runs.sources) + i) for i, s in enumerate(found) if s is not None]
        runs.sources += [0] * (high - low)

    def _stock(self, runs: Runs, wanted: int) -> Fill:
        """A stock of up to `wanted` frames that can be had now, with what they may serve."""
        physical = self.machine.physical
        count = min(
            wanted, physical.buddy.free_frames + physical.zeroed.count - physical.available // 8
        )
        taken = physical.try_take_zeroed(count, State.ACTIVE) if count > 0 else None
        frames = [pfn for first, size in taken or [] for pfn in range(first, first + size)]
        soft = MOST_SOFT if runs.sources else 0
        start = k.FIRST_RUN + len(runs.records) + len(runs.sources)
        fill = np.zeros(start + 2 * len(frames) + 2 * soft, np.int64)
        used = sum(1 for at in range(0, len(runs.records), k.RUN) if runs.records[at + k.RUN_END])
        fill[[k.COUNT, k.RUNS, k.OWNER, k.FRAMES, k.TABLES]] = (
            len(frames),
            used,
            self.machine.holder,
            start,
            start + len(frames),
        )
        fill[[k.SOFT_MOST, k.SOFT_OUT]] = soft, start + 2 * len(frames)
        fill[k.FIRST_RUN : start] = runs.records + runs.sources
        fill[start : start + len(frames)] = frames
        for i, pages in enumerate(physical.standby.lists):
            fill[k.STANDBY + k.LIST * i : k.STANDBY + k.LIST * (i + 1)] = (
                pages.head,
                pages.tail,
                pages.count,
            )
        return fill

    # -- what it has done -------------------------------------------------------------------------

    def _settle(self, fill: Fill, space: AddressSpace, runs: Runs | None = None) -> None:
        """Counts what a kernel has made for a space, and gives the rest of the stock back."""
        physical = self.machine.physical
        start, used, count = int(fill[k.FRAMES]), int(fill[k.USED]), int(fill[k.COUNT])
        made = fill[fill[k.TABLES] : fill[k.TABLES] + fill[k.MADE]].tolist()
        for frame in made:
            self.machine.table_frames.hold(frame)
        if used > len(made):
            frames = fill[start : start + used]
            self.machine.replacement.private_many(
                frames[~np.isin(frames, made)] if made else frames, space.pages.family
            )
        space.tables.tables += made
        space.pages.resident += int(fill[k.PAGES])
        for first, size in runs_of(sorted(fill[start + used : start + count].tolist())):
            physical.zeroed.append(first, size, State.ACTIVE)
        self.machine.pageout.conditions.look(physical.available)
        if runs is not None and fill[k.SOFT]:
            self._settle_soft(fill, space, runs)

    def _settle_soft(self, fill: Fill, space: AddressSpace, runs: Runs) -> None:
        physical, soft, out = self.machine.physical, int(fill[k.SOFT]), int(fill[k.SOFT_OUT])
        for i in range(len(physical.standby.lists)):
            head, tail, count = fill[k.STANDBY + k.LIST * i : k.STANDBY + k.LIST * (i + 1)].tolist()
            physical.standby.taken(i, head, tail, count)
        after = k.FIRST_RUN + len(runs.records)
        for segment, at in runs.segments:
            self.machine.residency.count_shares(segment, int(fill[after + at]))
        space.pages.resident += soft
        space.pages.shared += soft
        self.soft += soft
        self.machine.replacement.shared_many(fill[out : out + 2 * soft])

    # -- running and forking ----------------------------------------------------------------------

    def run(self, space: AddressSpace, cpu: int, refs: References, start: int) -> PageFault | None:
        """Runs references from `start` on until one needs the executive, or all are done."""
        mmu, stock = self.machine.mmu, LEAST_STOCK
        runs = self._runs(space, int(refs[start]) >> PAGE_SHIFT if start < len(refs) else 0)
        while True:
            fill = self._stock(runs, min(len(refs) - start, stock))
            stop = mmu.run_with(cpu, self._with(fill, refs), start, len(refs))
            self._settle(fill, space, runs)
            self.filled += int(fill[k.PAGES]) + int(fill[k.SOFT])
            full = soft_full = False
            if stop is not None:
                full = bool(fill[k.COUNT]) and fill[k.USED] == fill[k.COUNT]
                soft_full = bool(fill[k.SOFT]) and fill[k.SOFT] == fill[k.SOFT_MOST]
            if stop is None or not (full or soft_full):
                return stop
            start, stock = stop.index, min(stock * 4, MOST_STOCK) if full else stock

    def _with(self, fill: Fill, refs: References) -> Callable[..., int]:
        physical, kernel = self.machine.physical, self.kernels.run_references

        def call(tables: object, state: object, start: int, end: int) -> int:
            return int(
                kernel(tables, state, physical.pfns.flat, physical.links, fill, refs, start, end)
            )

        return call

    def share(
        self, parent: AddressSpace, child: AddressSpace, first: int, end: int, protect: Protect
    ) -> None:
        """Makes the pages [first, end) of `parent` pages of `child` too. StatusError
        INSUFFICIENT_RESOURCES.
        """
        mmu = self.machine.mmu
        state = mmu.states[0].copy()
        state[mmukernels.ROOT] = parent.tables.root
        at = first
        while at < end:
            fill = self._stock(Runs(), min((end - at >> 9) + 8, MOST_STOCK))
            at = int(
                self.kernels.share_pages(
                    mmu.tables,
                    state,
                    child.tables.root,
                    self.machine.physical.pfns.flat,
                    fill,
                    at,
                    end,
                )
            )
            self._settle(fill, child)
            self.shared += int(fill[k.PAGES])
            if at < end:  # held, paged, or no frame for a table
                parent.pages.share_with(child.pages, at << 12, at + 1 << 12, protect)
                at += 1
        mmu.invalidate(first << 12, end - first)

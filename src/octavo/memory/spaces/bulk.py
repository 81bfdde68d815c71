"""Bulk work on address spaces: the executive's side of `octavo.memory.spaces.faultkernels`.

A stock of zeroed frames is taken before a kernel runs, and settled after it: frames that became pages or tables are counted,
the rest goes back to the zeroed list. What a kernel stops at is resolved one by one (`AddressSpace.touch`,
`PrivatePages.share_with`), and the kernel goes on behind it.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octavo.machine import mmukernels
from octavo.machine.kernels import compile_kernels
from octavo.machine.mmu import PageFault, References
from octavo.machine.pagetables import PRESENT
from octavo.memory.pfn import State, runs_of
from octavo.memory.spaces import faultkernels as k
from octavo.memory.spaces.addressspace import AddressSpace
from octavo.memory.spaces.protect import Protect, entry_bits

if TYPE_CHECKING:
    from octavo.memory.spaces.virtual import VirtualMemory

MOST_STOCK = 2048  # frames
Fill = npt.NDArray[np.int64]


class Bulk:
    """Demand-zero faults and forks of `machine` by kernels."""

    def __init__(self, machine: VirtualMemory) -> None:
        self.machine = machine
        self._kernels: SimpleNamespace | None = None
        self.filled = self.shared = 0

    @property
    def kernels(self) -> SimpleNamespace:
        """The compiled kernels, made at their first use."""
        if self._kernels is None:
            self._kernels = compile_kernels(mmukernels, k)
        return self._kernels

    def _stock(self, runs: list[tuple[int, int, int]], wanted: int) -> Fill:
        """A stock of up to `wanted` frames that can be had now, and the runs that they may serve."""
        physical = self.machine.physical
        count = min(wanted, MOST_STOCK, physical.buddy.free_frames + physical.zeroed.count - physical.available // 8)
        taken = physical.try_take_zeroed(count, State.ACTIVE) if count > 0 else None
        frames = [pfn for first, size in taken or [] for pfn in range(first, first + size)]
        fill = np.zeros(k.FIRST_RUN + 3 * len(runs) + 2 * len(frames), np.int64)
        start = k.FIRST_RUN + 3 * len(runs)
        fill[[k.COUNT, k.RUNS, k.HOLDER, k.FRAMES, k.TABLES]] = len(frames), len(runs), self.machine.holder, start, start + len(frames)
        fill[k.FIRST_RUN : start] = np.array(runs, np.int64).reshape(-1)
        fill[start : start + len(frames)] = frames
        return fill

    def _settle(self, fill: Fill, space: AddressSpace) -> None:
        """Counts what a kernel has made for a space, and gives the rest of the stock back."""
        physical = self.machine.physical
        start, used, count = int(fill[k.FRAMES]), int(fill[k.NEXT]), int(fill[k.COUNT])
        made = fill[fill[k.TABLES] : fill[k.TABLES] + fill[k.MADE]].tolist()
        for frame in made:
            self.machine.table_frames.hold(frame)
        if used > len(made):
            frames = fill[start : start + used]
            self.machine.replacement.private_many(frames[~np.isin(frames, made)] if made else frames, space.pages.family)
        space.tables.tables += made
        space.pages.resident += int(fill[k.PAGES])
        for first, size in runs_of(sorted(fill[start + used : start + count].tolist())):
            physical.zeroed.append(first, size, State.ACTIVE)

    def _runs(self, space: AddressSpace) -> list[tuple[int, int, int]]:
        """What of a space a kernel may give pages to: first page, end, bits of an entry as int64 has them."""
        out = []
        for vad in space.vads.all:
            for first, end, protect in vad.runs:
                if vad.view is None and protect is not None and not protect & (Protect.GUARD | Protect.NOACCESS):
                    bits = entry_bits(protect, True) | PRESENT
                    bits = bits & 0xFFF if space.tables.format.entry_size == 4 else bits
                    out.append((first, end, bits - (1 << 64) if bits >> 63 else bits))
        return out

    def run(self, space: AddressSpace, cpu: int, refs: References, start: int) -> PageFault | None:
        """Runs references from `start` on until one needs the executive, or all are done."""
        mmu = self.machine.mmu
        while True:
            fill = self._stock(self._runs(space), len(refs) - start)
            stop = mmu.run_with(cpu, self._with(fill, refs), start, len(refs))
            self._settle(fill, space)
            self.filled += int(fill[k.PAGES])
            if stop is None or not fill[k.COUNT] or fill[k.NEXT] < fill[k.COUNT]:
                return stop
            start = stop.index

    def _with(self, fill: Fill, refs: References) -> Callable[..., int]:
        words, kernel = self.machine.physical.pfns.flat, self.kernels.run_references

        def call(tables: object, state: object, start: int, end: int) -> int:
            return int(kernel(tables, state, words, fill, refs, start, end))

        return call

    def share(self, parent: AddressSpace, child: AddressSpace, first: int, end: int, protect: Protect) -> None:
        """Makes the pages [first, end) of `parent` pages of `child` too. StatusError INSUFFICIENT_RESOURCES."""
        mmu = self.machine.mmu
        state = mmu.states[0].copy()
        state[mmukernels.ROOT] = parent.tables.root
        at = first
        while at < end:
            fill = self._stock([], (end - at >> 9) + 8)
            at = int(self.kernels.share_pages(mmu.tables, state, child.tables.root, self.machine.physical.pfns.flat, fill, at, end))
            self._settle(fill, child)
            self.shared += int(fill[k.PAGES])
            if at < end:  # held, paged, or no frame for a table
                parent.pages.share_with(child.pages, at << 12, at + 1 << 12, protect)
                at += 1
        mmu.invalidate(first << 12, end - first)

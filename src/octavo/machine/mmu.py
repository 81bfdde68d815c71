"""The soft MMU: virtual CPUs that translate references through page tables in RAM, each with a TLB
of its own.

    mmu = SoftMmu(ram, page_table_format("x86-64"), cpus=2)
    mmu.load(0, tables.root)   CR3: flushes what is not global
    stop = mmu.run(0, refs)    millions of references in one call; None, or the first fault
    mmu.invalidate(address)    on every CPU: the shoot-down that follows a change of a present entry

An entry that goes from absent to present needs no flush: TLBs hold no absent pages. Any other
change does, on every CPU that may have used the page, before the frame is used for anything else.
`invalidate` waits for a CPU that is running references on another host thread until it stops.

The algorithm is in `octavo.machine.mmukernels`: interpreted for few references, compiled from
COMPILE_FROM on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from octavo.machine import mmukernels as k
from octavo.machine.kernels import compile_kernels, need_compiler
from octavo.machine.paging import PageTableFormat
from octavo.machine.ram import Ram
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.statistics import MmuStatistics

TLB_SLOTS = 1024
COMPILE_FROM = 20_000

References = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PageFault:
    """Where a run stopped: index of the reference, its address (signed), and the processor's error
    code.
    """

    index: int
    address: int
    error: int


def reference(address: int, kind: int = k.READ) -> int:
    """A reference to the aligned address, as int64 has it. StatusError INVALID_PARAMETER for what
    is no address, or no kind.
    """
    if (
        type(address) is not int
        or type(kind) is not int
        or not 0 <= address < 1 << 64
        or not k.READ <= kind <= k.EXECUTE
    ):
        raise StatusError(
            Status.INVALID_PARAMETER,
            "a reference is made of an address, a whole number of 64 bits from 0 on, and "
            "of READ, WRITE or EXECUTE",
        )
    return _packed(address, kind)


def _packed(address: int, kind: int = k.READ) -> int:
    return (address & ~3 | kind) - ((1 << 64) if address >> 63 else 0)


def _new_state(layout: PageTableFormat, slots: int) -> npt.NDArray[np.int64]:
    """The registers of a CPU, and its empty TLB."""
    state = np.zeros(k.TLB + slots * 2, np.int64)
    state[k.LEVELS] = len(layout.index_bits)
    state[k.BITS] = layout.index_bits[-1]
    state[k.WIDTH] = layout.virtual_bits
    state[k.WP] = 1
    state[k.SLOTS] = slots
    state[k.TLB :: 2] = k.EMPTY
    return state


class SoftMmu:
    """`cpus` virtual CPUs over the tables in `ram`."""

    def __init__(
        self, ram: Ram, layout: PageTableFormat, cpus: int = 1, slots: int = TLB_SLOTS
    ) -> None:
        assert slots & (slots - 1) == 0
        wide = layout.entry_size == 8
        self.format = layout
        self.tables: npt.NDArray[np.int64] | npt.NDArray[np.int32] = (
            ram.array.view(np.int64) if wide else ram.array.view(np.int32)
        )
        self._entries = ram.bytes.cast("q" if wide else "i")
        self.states = [_new_state(layout, slots) for _ in range(cpus)]
        self.views = [memoryview(state.data) for state in self.states]
        self._locks = [threading.Lock() for _ in range(cpus)]
        self.shootdowns = 0

    def load(self, cpu: int, root: int, user: bool = True) -> None:
        """Gives a CPU the tables whose root is in frame `root`, and a mode; its TLB keeps global
        pages only.
        """
        with self._locks[cpu]:
            self.views[cpu][k.ROOT], self.views[cpu][k.USER] = root, user
            k.forget_all(self.views[cpu], 0)

    def switch(self, cpu: int, root: int) -> None:
        """As `load`, unless the CPU has these tables already."""
        if self.views[cpu][k.ROOT] != root:
            self.load(cpu, root)

    def run(self, cpu: int, refs: References | Sequence[int], start: int = 0) -> PageFault | None:
        """Runs references from `start` on; None when all went through, else the first fault.

        StatusError NOT_SUPPORTED for more than the interpreter may have, where Numba is missing.
        """
        end = len(refs)
        need_compiler(end - start, "a run")
        with self._locks[cpu]:
            if end - start >= COMPILE_FROM or isinstance(refs, np.ndarray):
                at = int(
                    self.kernels().references(
                        self.tables, self.states[cpu], np.asarray(refs, np.int64), start, end
                    )
                )
            else:
                # `refs` is only read, and a kernel's Ints are writable
                at = k.references(self._entries, self.views[cpu], refs, start, end)  # type: ignore[arg-type]
            view = self.views[cpu]
            return None if at == end else PageFault(at, view[k.ADDRESS], view[k.ERROR])

    def run_with(
        self, cpu: int, kernel: Callable[..., int], start: int, end: int, *more: object
    ) -> PageFault | None:
        """As `run`, by another kernel: `kernel(tables, state, *more, start, end)` returns the index
        at which it stopped.
        """
        with self._locks[cpu]:
            at = int(kernel(self.tables, self.states[cpu], *more, start, end))
            view = self.views[cpu]
            return None if at == end else PageFault(at, view[k.ADDRESS], view[k.ERROR])

    def translate(self, cpu: int, address: int, kind: int = k.READ) -> int | PageFault:
        """The physical address of one reference, or its fault."""
        with self._locks[cpu]:
            view = self.views[cpu]
            found = k.translate(self._entries, view, _packed(address, kind))
            return (
                found | address & 3 if found >= 0 else PageFault(0, view[k.ADDRESS], view[k.ERROR])
            )

    @staticmethod
    def kernels() -> SimpleNamespace:
        """The compiled kernels."""
        return compile_kernels(k)

    def invalidate(self, address: int, pages: int = 1) -> None:
        """Flushes pages from the TLB of every CPU."""
        first = _packed(address) >> 12
        self.shootdowns += 1
        for lock, view in zip(self._locks, self.views, strict=True):
            with lock:
                if pages > view[k.SLOTS]:
                    k.forget_all(view, 1)
                else:
                    for page in range(first, first + pages):
                        k.forget_page(view, page)

    def invalidate_all(self) -> None:
        """Flushes the TLB of every CPU."""
        self.shootdowns += 1
        for lock, view in zip(self._locks, self.views, strict=True):
            with lock:
                k.forget_all(view, 1)

    def statistics(self) -> MmuStatistics:
        """TLB hits and walks of each CPU, and shoot-downs."""
        from octavo.statistics import MmuStatistics

        return MmuStatistics(
            hits=[v[k.HITS] for v in self.views],
            walks=[v[k.WALKS] for v in self.views],
            shootdowns=self.shootdowns,
        )

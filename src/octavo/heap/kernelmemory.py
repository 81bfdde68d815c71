"""The kernel's own memory on a booted machine: address space, slab caches, pools, system PTEs and
stacks, as one.

It is made when it is first asked for, and takes the nonpaged pool's initial pages then. Under
memory pressure pageout asks it to let go of empty slabs, cached stacks and kept pool pages: before
views are trimmed, but then at most every REAP_SECONDS, and when trimming views was not enough.

The paged pool has the region and the interface of one; its pages are not pageable yet: they come
from `RegionPages` as the nonpaged pool's do. Another `PoolPages` is all that has to change.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from octavo.heap.kernelspace import KernelSpace
from octavo.heap.pool import Pool
from octavo.heap.poolpages import RegionPages
from octavo.heap.slab import SlabCaches
from octavo.heap.specialpool import SpecialPool
from octavo.heap.stacks import KernelStacks
from octavo.heap.systemptes import SystemPtes
from octavo.machine.paging import PageTableFormat
from octavo.memory.manager import MemoryManager
from octavo.memory.reclaim.donors import Turn
from octavo.status import StatusError

if TYPE_CHECKING:
    from octavo.statistics import KernelStatistics

REAP_SECONDS = 5.0  # GNU Mach's
Place = tuple[int, int]  # address, pages


class KernelMemory:
    """`places` has the address and size of "nonpaged pool", "nonpaged expansion", "paged pool" and
    "system PTEs".

    StatusError NO_MEMORY when the nonpaged pool's initial pages are not to be had,
    INVALID_PARAMETER; nothing is kept then.
    """

    def __init__(
        self,
        memory: MemoryManager,
        layout: PageTableFormat,
        places: Mapping[str, Place],
        cpus: int = 1,
    ) -> None:
        self.physical = memory.physical
        self.space = KernelSpace(memory.physical, layout)
        try:
            self._make_parts(layout, places, cpus)
        except StatusError:
            self.space.close()
            raise
        self.caches = SlabCaches(memory.physical, cpus)
        self.stacks = KernelStacks(self.space, self.ptes, places["system PTEs"][0])
        memory.scheduler.share(self.space.lock)
        self._clock = memory.scheduler.clock
        self._reaped = self._clock.now() - REAP_SECONDS
        memory.pageout.add(Turn.SPARE, self._reap_rarely)
        memory.pageout.add(Turn.KEPT, self.reap)

    def _make_parts(self, layout: PageTableFormat, places: Mapping[str, Place], cpus: int) -> None:
        """System PTEs and pools; what takes frames comes last, so that nothing is kept when
        anything fails.
        """
        base, count = places["system PTEs"]
        self.ptes = SystemPtes(count)
        self._paged = RegionPages(
            self.space, places["paged pool"][0], 0, places["paged pool"][1], "paged pool"
        )
        specials = SpecialPool(self.space, self.ptes, base)
        unit = 8 if layout.virtual_bits == 32 else 16
        self.paged = Pool("paged pool", self._paged, unit, cpus, specials)
        start, initial = places["nonpaged pool"]
        expansion, more = places.get("nonpaged expansion", (0, 0))
        self._nonpaged = RegionPages(
            self.space, start, initial, initial + more, "nonpaged pool", expansion
        )
        self.nonpaged = Pool("nonpaged pool", self._nonpaged, unit, cpus, specials)

    def _reap_rarely(self, frames: int) -> int:
        """Before any view is given up, but not each time that files pass through memory: what was
        freed is soon needed again.
        """
        now = self._clock.now()
        if now - self._reaped < REAP_SECONDS:
            return 0
        self._reaped = now
        return self.reap(frames)

    def reap(self, frames: int) -> int:
        """Lets go of about `frames` frames that nobody uses; returns how many. StatusError
        INVALID_PARAMETER.
        """
        done = self.caches.reap(frames)
        for part in (self.stacks, self._nonpaged, self._paged):
            if done < frames:
                done += part.reap(frames - done)
        return done

    def statistics(self) -> KernelStatistics:
        """What each part has and has done."""
        from octavo.statistics import KernelStatistics

        return KernelStatistics(
            page_tables=len(self.space.tables.tables),
            faults=self.space.faults,
            system_ptes=self.ptes.statistics(),
            stacks=self.stacks.statistics(),
            nonpaged=self.nonpaged.statistics(),
            paged=self.paged.statistics(),
            caches={name: cache.statistics() for name, cache in self.caches.caches.items()},
        )

    def check(self) -> None:
        """Every part is right."""
        self.ptes.check()
        self.stacks.check()
        self.nonpaged.check()
        self.paged.check()
        self.caches.check()

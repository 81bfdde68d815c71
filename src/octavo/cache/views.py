"""The views that the cache has mapped, and which of them it lets go of.

A view is a mapped segment: 512 KiB of a section whose resident pages are active. Views are kept in
a ring; the hand takes from its front, and gives a view that was used since it last passed another
round (CLOCK). A view that a thread works on is pinned and stays.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from types import AsyncGeneratorType, CoroutineType

import numpy as np

from octavo.machine.abi import PTE, State
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.residency import try_map, unmap
from octavo.memory.pages.section import Section, Segment


class Views:
    """At most `most` mapped segments; pageout calls `trim`."""

    def __init__(self, memory: MemoryManager) -> None:
        self.memory = memory
        self.most = max(8, memory.physical.available // 4)
        self._mapped: OrderedDict[Segment, None] = OrderedDict()  # the front is next under the hand
        memory.pageout.trimmers.append(self.trim)

    async def get(self, section: Section, index: int) -> Segment:
        """The view of a section, mapped."""
        segment = section.segments.get(index)
        if segment is None or not segment.mapped:
            segment = try_map(self.memory.physical, section, index)
            while segment is None:
                await self.memory.pageout.relieve(1)
                segment = try_map(self.memory.physical, section, index)
            self._mapped[segment] = None
            segment.pins += 1  # it is not to make room for itself
            if len(self._mapped) > self.most:
                self._unmap_oldest()
            self.memory.pageout.poke()
            segment.pins -= 1
        segment.referenced = True
        return segment

    def _unmap_oldest(self) -> int:
        """Unmaps the first view that was not used since the hand last passed; returns the pages
        that it let go of, -1 for no view.
        """
        for _ in range(2 * len(self._mapped)):
            segment, _ = self._mapped.popitem(last=False)
            if segment.pins or segment.referenced:
                segment.referenced = False
                self._mapped[segment] = None
                continue
            return unmap(self.memory.physical, segment)
        return -1

    def trim(self, pages: int) -> int:
        """Lets go of about `pages` active pages; returns how many."""
        moved = 0
        while moved < pages and self._mapped:
            count = self._unmap_oldest()
            if count < 0:
                break
            moved += count
        return moved

    def leave_behind(self, section: Section, index: int) -> None:
        """Frees the frames of a clean view that nobody works on, if they are one run: its reader
        goes on and will not come back.
        """
        segment = section.segments.get(index)
        if (
            segment is None
            or segment not in self._mapped
            or segment.pins
            or segment.shares
            or segment.dirty
            or segment.writing
            or segment.reads
            or not segment.used
        ):
            return
        physical = self.memory.physical
        links = physical.links[segment.base : segment.base + segment.used]
        first, count = int(links[0]), segment.used
        if first <= 0 or not (links == np.arange(first, first + count, dtype=np.int32)).all():
            return
        del self._mapped[segment]
        links[:] = 0
        physical.pfns.table[first : first + count, PTE] = 0
        segment.mapped, segment.used, segment.prefetched = False, 0, 0
        physical.buddy.free(first, count, State.ACTIVE)
        physical.release_if_empty(segment)

    async def drop(self, section: Section) -> None:
        """Lets go of a section that nobody will use again: its pages, dirty or not, and its
        views.
        """
        section.size = 0
        await self.memory.writeback.purge(section, 0)
        for segment in list(section.segments.values()):
            if self._mapped.pop(segment, True) is None:
                unmap(self.memory.physical, segment)
        self.memory.writeback.errors.pop(section, None)

    def __len__(self) -> int:
        return len(self._mapped)

    def check(self) -> None:
        """Exactly the mapped segments are views, and a pinned one is in the hands of a thread that
        is under way: read-ahead, say.
        """
        assert set(self._mapped) == {s for s in self.memory.physical.segments.values() if s.mapped}
        assert all(_is_worked_on(s) for s in self._mapped if s.pins), "a view stayed pinned"


def _is_worked_on(segment: Segment) -> bool:
    """True when a coroutine that waits has the view among its variables, by itself or in a list.

    Found by the garbage collector's books, so that pinning has none to keep; a coroutine that has
    ended has no variables.
    """
    holders = gc.get_referrers(segment)
    lists = [holder for holder in holders if type(holder) is list]
    return any(
        isinstance(h, CoroutineType | AsyncGeneratorType)
        for h in [*holders, *gc.get_referrers(*lists)]
    )

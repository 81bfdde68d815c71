"""The views that the cache has mapped, and which of them it lets go of.

A view is a mapped segment: 512 KiB of a section whose resident pages are active. Views are kept in
a ring; the hand takes from its front, and gives a view that was used since it last passed another
round (CLOCK). A view that a thread works on is pinned and stays.
"""

from __future__ import annotations

import gc
from collections import OrderedDict
from types import AsyncGeneratorType, CoroutineType

from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import Section, Segment
from octavo.memory.reclaim.donors import Turn


class Views:
    """At most `most` mapped segments; pageout calls `trim`."""

    def __init__(self, memory: MemoryManager) -> None:
        self.memory = memory
        self.residency = memory.residency
        self.most = max(8, memory.physical.available // 4)
        self._mapped: OrderedDict[Segment, None] = OrderedDict()  # the front is next under the hand
        memory.pageout.add(Turn.VIEWS, self.trim)

    async def get(self, section: Section, index: int) -> Segment:
        """The view of a section, mapped."""
        segment = section.segments.get(index)
        if segment is None or not segment.mapped:
            segment = self.residency.try_map(section, index)
            while segment is None:
                await self.memory.pageout.relieve(1)
                segment = self.residency.try_map(section, index)
            self._mapped[segment] = None
            with segment.pinned():  # it is not to make room for itself
                if len(self._mapped) > self.most:
                    self._unmap_oldest()
                self.memory.pageout.poke()
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
            return self.residency.unmap(segment)
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
        if segment is not None and self.residency.abandon(segment):
            del self._mapped[segment]

    async def drop(self, section: Section) -> None:
        """Lets go of a section that nobody will use again: its pages, dirty or not, and its
        views.
        """
        section.size = 0
        await self.memory.writeback.purge(section, 0)
        for segment in list(section.segments.values()):
            if self._mapped.pop(segment, True) is None:
                self.residency.unmap(segment)
        self.memory.writeback.errors.forget(section)

    def __len__(self) -> int:
        return len(self._mapped)

    def check(self) -> None:
        """Exactly the mapped segments are views, and a pinned one is in the hands of a thread that
        is under way: read-ahead, say.
        """
        assert set(self._mapped) == {s for s in self.residency.segments.all() if s.mapped}
        assert all(_is_worked_on(s) for s in self._mapped if s.pins), "a view stayed pinned"


def _is_worked_on(segment: Segment) -> bool:
    """True when a coroutine that waits has the view among its variables, by itself or in a list.

    Found by the garbage collector's books, so that pinning has none to keep; a coroutine that has
    ended has no variables.
    """
    holders = gc.get_referrers(segment)
    lists = [holder for holder in holders if isinstance(holder, list)]
    return any(
        isinstance(h, CoroutineType | AsyncGeneratorType)
        for h in [*holders, *gc.get_referrers(*lists)]
    )

"""Advice on memory: kept for the faults to come, or followed at once (WILLNEED, DONTNEED).

Advice never fails for want of memory, and brings no more than half of what is available.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.mmukernels import READ
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.pagers.pagefile import is_paged
from octavo.memory.reclaim.eviction import Eviction
from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.faults import FaultResolver
from octavo.memory.spaces.protect import is_held
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.spans import pages_in
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.viewahead import ViewAhead
from octavo.status import Status, StatusError


class Adviser:
    """Follows advice: private pages come by `faults` and leave by `eviction`, those of sections
    come by `ahead`.
    """

    def __init__(
        self, physical: PhysicalMemory, ahead: ViewAhead, faults: FaultResolver, eviction: Eviction
    ) -> None:
        self.physical, self.ahead = physical, ahead
        self.faults, self.eviction = faults, eviction

    async def advise(self, space: Space, base: int, size: int, advice: int) -> None:
        """See `AddressSpace.advise`."""
        if size < 0:
            raise StatusError(
                Status.INVALID_PARAMETER, f"{size} bytes at {base:#x} are none to advise on"
            )
        if advice not in tuple(Advice):
            raise StatusError(Status.INVALID_PARAMETER, f"{advice} is no advice")
        first, end = pages_in(base, max(size, 1))
        vads = [vad for vad in space.vads.all if vad.start < end and vad.end > first]
        if not vads:
            raise StatusError(Status.MEMORY_NOT_ALLOCATED, f"nothing is allocated at {base:#x}")
        for vad in vads:
            # it may have gone while those before it were attended to
            if space.vads.find(vad.start) is vad:
                pages = max(first, vad.start), min(end, vad.end)
                await self._advise(space, vad, *pages, Advice(advice))

    async def _advise(self, space: Space, vad: Vad, first: int, end: int, advice: Advice) -> None:
        view = vad.view
        if advice not in (Advice.WILLNEED, Advice.DONTNEED):
            vad.advice = advice
            if view is not None:
                view.advice = advice
        elif view is None:
            if advice == Advice.DONTNEED:
                await self.eviction.let_go(space, first, end)
            else:
                await self._bring(space, first, end)
        elif advice == Advice.DONTNEED:
            view.let_go(view.page_at(first), view.page_at(end))
        else:
            await self.ahead.fetch(view, view.page_at(first), view.page_at(end))

    async def _bring(self, space: Space, first: int, end: int) -> None:
        """Brings private pages back from page files."""
        end = min(end, first + self.physical.available // 2)
        entries = list(space.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT))
        try:
            for address, entry in entries:
                if is_paged(entry) and _can_be_read(space, address >> PAGE_SHIFT):
                    await self.faults.touch(space, address, READ)
        except StatusError:
            pass  # whoever needs the page will hear of it


def _can_be_read(space: Space, page: int) -> bool:
    """True for a page that can be touched without anybody noticing."""
    vad = space.vads.find(page)
    protect = vad.span_at(page)[2] if vad is not None else None
    return protect is not None and not is_held(protect)

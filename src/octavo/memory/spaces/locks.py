"""What a space keeps in frames: pages that are locked, until they are unlocked in each way in which
they were locked, and so many of any kind.

Source: NT's NtLockVirtualMemory and NtUnlockVirtualMemory.
"""

from __future__ import annotations

import enum

from octavo.arguments import numbers
from octavo.machine.abi import PAGE_SHIFT
from octavo.machine.mmukernels import READ
from octavo.memory.spaces.commit import Commitment
from octavo.memory.spaces.faults import FaultResolver
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.spans import pages_in
from octavo.printing import counted
from octavo.status import Status, StatusError


class Lock(enum.IntFlag):
    """What `lock` keeps a page in, by NT's values: the space's working set, memory, or both.

    Each is ended by itself, and eviction heeds both.
    """

    PROCESS = 1
    SYSTEM = 2


class Locks:
    """Locks pages of spaces, as far as `commitment` lets them be kept; they are brought in by
    `faults`.
    """

    def __init__(self, commitment: Commitment, faults: FaultResolver) -> None:
        self.commitment, self.faults = commitment, faults

    async def lock(self, space: Space, base: int, size: int, how: int) -> Status:
        """See `AddressSpace.lock`."""
        pages = _pages(space, base, size, how)
        self._check_lockable(space, pages)
        mine: list[tuple[int, int]] = []
        was = False
        try:
            for page in pages:
                if page not in space.locked:
                    await self.faults.touch(space, page << PAGE_SHIFT, READ)
                held = space.locked.get(page, 0)  # now: another thread may have locked it meanwhile
                was |= bool(held & how)
                space.locked[page] = held | how
                mine.append((page, how & ~held))
        except StatusError:
            for page, new in mine:
                _unlock(space, page, new)
            raise
        return Status.WAS_LOCKED if was else Status.SUCCESS

    def unlock(self, space: Space, base: int, size: int, how: int) -> None:
        """See `AddressSpace.unlock`."""
        pages = _pages(space, base, size, how)
        for page in pages:
            if how & ~space.locked.get(page, 0):
                raise StatusError(
                    Status.NOT_LOCKED,
                    f"{space.name}: the page at {page << PAGE_SHIFT:#x} is not locked",
                )
        for page in pages:
            _unlock(space, page, how)

    def set_working_set(self, space: Space, minimum: int, maximum: int | None) -> None:
        """See `AddressSpace.set_working_set`."""
        self.commitment.check_minimum(space, minimum, maximum)
        space.minimum, space.maximum = minimum, maximum

    def _check_lockable(self, space: Space, pages: range) -> None:
        """Refuses what cannot be locked by looking at allocations only, not at pages."""
        space.check_alive()
        page = pages.start
        while page < pages.stop:
            page = _committed_to(space, page)
        more = len(pages)
        if more <= self.commitment.total:
            more = sum(1 for page in pages if page not in space.locked)
        if not self.commitment.keeps(more):
            frames = self.commitment.frames_left
            raise StatusError(
                Status.NO_MEMORY,
                f"{space.name}: {len(pages)} pages cannot be locked with "
                f"{counted(frames, 'frame')} for pages, of which others are kept",
            )


def _committed_to(space: Space, page: int) -> int:
    """Where the span of a page ends. StatusError ACCESS_VIOLATION for one that is not
    committed.
    """
    vad = space.vads.find(page)
    _, end, protect = vad.span_at(page) if vad is not None else (0, 0, None)
    if protect is None:
        raise StatusError(
            Status.ACCESS_VIOLATION, f"{space.name}: {page << PAGE_SHIFT:#x} is not committed"
        )
    return end


def _unlock(space: Space, page: int, how: int) -> None:
    left = space.locked.pop(page, 0) & ~how
    if left:
        space.locked[page] = left


def _pages(space: Space, base: int, size: int, how: int) -> range:
    numbers(base=base, size=size, how=how)
    if size <= 0 or base < 0:
        raise StatusError(
            Status.INVALID_PARAMETER, f"{space.name}: {size} bytes at {base:#x} cannot be locked"
        )
    if not 0 < how <= Lock.PROCESS | Lock.SYSTEM:
        raise StatusError(
            Status.INVALID_PARAMETER,
            f"{space.name}: {how:#x} is no way to lock pages: PROCESS, SYSTEM or both",
        )
    return range(*pages_in(base, size))

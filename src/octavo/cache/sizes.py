"""The three sizes of a section, and what follows from them.

    0 ........... valid ........... size ........... allocation
      its pager has   zeros, and nobody  behind the end:
      it              is asked           the pager has places

    set      cuts, grows, and moves the valid length        nothing is read or written
    reach    makes bytes up to a place valid: zeros that nobody has written are written now
    flushed_valid_data      up to where the medium has what memory has

A format that keeps a valid length (NTFS, exFAT) sets it when it opens a file; others never do, and
all of a section is valid. A section that is mapped into address spaces is valid as a whole: its
pages are written without asking here.

For file systems. Source: NT's CcSetFileSizes, CcGetFileSizes, CcGetFlushedValidData. Departures:
a valid length may be lowered; what is cut while somebody has pinned it is StatusError
USER_MAPPED_FILE, where NT leaves it to the file system.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from octavo.arguments import invalid
from octavo.cache.unbuffered import Unbuffered
from octavo.cache.valid import begin, behind, finish
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, SEGMENT_SHIFT
from octavo.memory.manager import MemoryManager
from octavo.memory.pages.section import UNBOUNDED, VIEW_SHIFT, Section
from octavo.status import Status, StatusError

NOT_CACHED = (1 << 63) - 1  # what is flushed of a section that has no page in memory
PAGE_MASK = PAGE_SIZE - 1


class Sizes(NamedTuple):
    """Of a section, in bytes."""

    allocation: int
    size: int
    valid: int


class SectionSizes:
    """Sets the sizes of sections; `cut` shortens one and drops what is behind its end."""

    def __init__(
        self,
        memory: MemoryManager,
        unbuffered: Unbuffered,
        cut: Callable[[Section, int], Awaitable[None]],
    ) -> None:
        self.memory, self.unbuffered, self.cut = memory, unbuffered, cut

    def get(self, section: Section) -> Sizes:
        """The sizes as they are now."""
        size = section.size
        return Sizes(max(size, section.allocation), size, min(size, section.valid))

    async def set(self, section: Section, allocation: int, size: int, valid: int) -> None:
        """Gives a section new sizes. Nothing is written; what was dirty stays so, unless it is cut
        off.

        A file system's lock keeps writes away that are not behind the valid bytes: those end, or
        wait. StatusError INVALID_PARAMETER, or USER_MAPPED_FILE for a cut through pinned pages: all
        is as it was. The pager's, where a section that is mapped cannot be made valid.
        """
        if not 0 <= valid <= size <= allocation < UNBOUNDED:
            raise invalid(
                f"{section.name}: {valid} valid bytes of {size} in {allocation} are no sizes"
            )
        await begin(section)
        try:
            await self._set(section, allocation, size, valid)
        finally:
            finish(section)

    async def _set(self, section: Section, allocation: int, size: int, valid: int) -> None:
        was = min(section.valid, section.size)
        if valid < was and section.is_locked(valid + PAGE_MASK >> PAGE_SHIFT):
            text = f"{section.name}: pages behind byte {valid} are pinned"
            raise StatusError(Status.USER_MAPPED_FILE, text)
        if size < section.size:
            await self.cut(section, size)
        if valid < min(was, size):
            await self._lower(section, valid)
        elif valid > was:
            await self._raise(section, was, valid)
        section.allocation, section.size, section.valid = allocation, size, valid
        if section.views:
            await self.unbuffered.fill(section, size)

    async def _lower(self, section: Section, valid: int) -> None:
        """What lies behind the valid bytes is zeros from now on, whatever was there."""
        section.valid = valid
        await self.memory.writeback.purge(section, valid + PAGE_MASK >> PAGE_SHIFT)
        segment = section.segments.get(valid >> VIEW_SHIFT)
        if segment is not None:
            self.memory.faults.clear_behind_end(segment)

    async def _raise(self, section: Section, was: int, valid: int) -> None:
        """The pager has more than it had: zeros that stood for that go, but where they were
        written over, or are locked.
        """
        first, end = was + PAGE_MASK >> PAGE_SHIFT, valid + PAGE_MASK >> PAGE_SHIFT
        await self.memory.writeback.purge(section, first, end, dirty=False)

    async def reach(self, section: Section, to: int) -> None:
        """Makes the first `to` bytes valid, as zeros where they were not. StatusError of the
        pager: some of them are valid then.
        """
        async with behind(section, min(to, section.size)):
            await self.unbuffered.fill(section, min(to, section.size))

    def flushed_valid_data(self, section: Section) -> int:
        """The byte up to which the pager has all that is valid; NOT_CACHED when no page is in
        memory.
        """
        if not section.segments:
            return NOT_CACHED
        kept = [
            (s.index << SEGMENT_SHIFT) + ((mask & -mask).bit_length() - 1)
            for s in section.segments.values()
            if (mask := s.dirty | s.writing)
        ]
        valid = min(section.size, section.valid)
        return min(valid, min(kept) << PAGE_SHIFT) if kept else valid

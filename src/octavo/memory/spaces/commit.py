"""The commit limit: for each page that is promised there is a frame or a slot, whatever else takes
frames meanwhile.

    limit = frames that pages can be in
          - frames that somebody has for good: pools, slabs, stacks and page tables of the kernel,
            RAM disks
          - a reserve, and a sixteenth for the spaces' page tables and prototype PTEs
          - what page tables there are, or the committed pages may come to need, beyond that
          + slots of page files

So memory that the kernel takes lowers the limit; where pages are promised already that would not
have frames then, the kernel is refused (`allows`). The cache needs no share: its pages can be
written and dropped.

Source: NT's commit accounting. Departures: nonpaged memory is not charged, it lowers the limit;
page tables for views of files count once they are there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from octavo.machine.abi import SEGMENT_SHIFT
from octavo.memory.frames.physical import RESERVE
from octavo.memory.pages.segmenttable import BASES_IN_FRAME
from octavo.printing import counted
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    from octavo.memory.spaces.vad import Run
    from octavo.memory.spaces.virtual import VirtualMemory


def groups_in(runs: Sequence[Run], shift: int) -> int:
    """Groups of 1 << `shift` pages in which ascending runs have committed pages."""
    found, last = 0, -1
    for first, end, protect in runs:
        if protect is not None:
            found += max(0, (end - 1 >> shift) - max(first >> shift, last + 1) + 1)
            last = end - 1 >> shift
    return found


class Commitment:
    """What is promised on `machine`: `charged` pages. `slots` of page files add to the limit."""

    def __init__(self, machine: VirtualMemory) -> None:
        self.machine, self.physical = machine, machine.physical
        self.segments = machine.residency.segments
        self.charged = 0
        self.slots = 0
        self.frames = machine.total + self.physical.pfns.wired
        self._for_tables = self.frames // 16 + RESERVE // 2
        self._shifts = list(
            accumulate(reversed(machine.format.index_bits[1:]))
        )  # a table of each level below the root has 1 << shift pages
        self.physical.promise = self.allows

    @property
    def limit(self) -> int:
        """Pages."""
        return self._limit(0)

    @property
    def frames_left(self) -> int:
        """Frames for pages, whoever has them now."""
        return max(0, self._left(0))

    def keeps(self, pages: int) -> bool:
        """True when so many pages more can be kept in frames, and the rest has frames to come and
        go.
        """
        return self._kept() + pages <= self.frames_left

    def _kept(self) -> int:
        """Pages that spaces keep in frames, locked or not."""
        return sum(max(s.minimum, len(s.locked)) for s in self.machine.spaces)

    def _limit(self, more: int) -> int:
        """The limit if so many more page tables may be needed. Slots are no use without frames to
        read them into.
        """
        left = self._left(more)
        return self.slots + max(left, 0) if left >= self._kept() else min(self.slots, self.charged)

    def _left(self, more: int) -> int:
        """Frames that are left for pages, if so many more page tables may be needed; negative when
        page tables have too many.
        """
        made = self.segments.frames + sum(len(s.tables.tables) for s in self.machine.spaces)
        over = max(0, self._tables() + more - self._for_tables)
        kernel = self.physical.pfns.wired - made
        return max(0, self.frames - self.frames // 16 - 2 * RESERVE) - kernel - over

    def _tables(self) -> int:
        """Frames of page tables and prototype PTEs that there are or that committed pages may come
        to need.
        """
        spaces, sections = self.machine.spaces, self.machine.sections
        few = sum(
            len(s.tables.tables)
            + (2 * len(s.vads.all) + (s.charge + sections.charge >> 8)) * len(self._shifts)
            for s in spaces
        )
        if self.segments.frames + (sections.charge >> 3) + few <= self._for_tables:
            return 0  # it need not be known
        segments = sum(
            groups_in(made.shape.runs, SEGMENT_SHIFT) for made in sections.all if made.paged
        )
        count = max(self.segments.frames, segments // BASES_IN_FRAME)
        for space in spaces:
            runs = [
                run
                for vad in space.vads.all
                if vad.charge or (vad.view is not None and vad.view.object.paged)
                for run in vad.runs
            ]
            count += max(len(space.tables.tables), 1 + self.tables_for(runs))
        return count

    def tables_for(self, runs: Sequence[Run]) -> int:
        """Page tables, below the root, for the committed pages of ascending runs."""
        return sum(groups_in(runs, shift) for shift in self._shifts)

    def charge(self, pages: int, who: str, tables: int = 0) -> None:
        """Charges pages, for which so many page tables may be needed, or gives charge back where
        they are negative.

        StatusError COMMITMENT_LIMIT with the figures.
        """
        if pages > 0:
            short = self.charged + pages - self._limit(tables)
            if short > 0:
                self.slots += (grown := self.machine.files.grow(short))
                short -= grown
            if short > 0:
                asked = counted(pages, "page")
                if self.charged + pages <= self.limit:  # they would fit alone
                    asked += f", which may need {counted(tables, 'page table')}"
                raise StatusError(
                    Status.COMMITMENT_LIMIT,
                    f"{who} asks for {asked}, and {self.charged} of the limit of "
                    f"{self.limit} are committed",
                )
        self.charged += pages

    def allows(self, frames: int) -> bool:
        """True when so many frames can be taken for good, and all that is promised can be had
        still.
        """
        return self.charged + frames <= self.limit

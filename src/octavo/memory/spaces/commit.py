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

from collections.abc import Collection, Sequence
from itertools import accumulate

from octavo.machine.abi import SEGMENT_SHIFT
from octavo.machine.paging import PageTableFormat
from octavo.memory.frames.physical import RESERVE, PhysicalMemory
from octavo.memory.pagers.pagefile import PageFiles
from octavo.memory.pages.segmenttable import BASES_IN_FRAME, SegmentTable
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.spans import Span, groups_in
from octavo.memory.spaces.view import SectionObject
from octavo.printing import counted
from octavo.status import Status, StatusError


class Commitment:
    """What is promised to `spaces` and `sections`, whose owner changes them as they come and go:
    `charged` pages, `for_sections` of them to sections. Of all frames pages can be in `total`;
    `slots` of page files add to the limit.
    """

    def __init__(
        self,
        physical: PhysicalMemory,
        segments: SegmentTable,
        files: PageFiles,
        layout: PageTableFormat,
        total: int,
        spaces: Sequence[Space],
        sections: Collection[SectionObject],
    ) -> None:
        self.physical, self.segments, self.files = physical, segments, files
        self.spaces, self.sections = spaces, sections
        self.charged = self.for_sections = 0
        self.slots = 0
        self.total = total
        self.frames = total + physical.pfns.wired
        self._for_tables = self.frames // 16 + RESERVE // 2
        # a table of each level below the root has 1 << shift pages
        self._shifts = list(accumulate(reversed(layout.index_bits[1:])))
        physical.promise = self.allows

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
        return sum(max(s.minimum, len(s.locked)) for s in self.spaces)

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
        made = self.segments.frames + sum(len(s.tables.tables) for s in self.spaces)
        over = max(0, self._tables() + more - self._for_tables)
        kernel = self.physical.pfns.wired - made
        return max(0, self.frames - self.frames // 16 - 2 * RESERVE) - kernel - over

    def _tables(self) -> int:
        """Frames of page tables and prototype PTEs that there are or that committed pages may come
        to need.
        """
        few = sum(
            len(s.tables.tables)
            + (2 * len(s.vads.all) + (s.charge + self.for_sections >> 8)) * len(self._shifts)
            for s in self.spaces
        )
        if self.segments.frames + (self.for_sections >> 3) + few <= self._for_tables:
            return 0  # it need not be known
        segments = sum(
            groups_in(made.shape.spans, SEGMENT_SHIFT) for made in self.sections if made.paged
        )
        count = max(self.segments.frames, segments // BASES_IN_FRAME)
        return count + sum(self._tables_of(space) for space in self.spaces)

    def _tables_of(self, space: Space) -> int:
        spans = [
            span
            for vad in space.vads.all
            if vad.charge or (vad.view is not None and vad.view.object.paged)
            for span in vad.spans
        ]
        return max(len(space.tables.tables), 1 + self.tables_for(spans))

    def tables_for(self, spans: Sequence[Span]) -> int:
        """Page tables, below the root, for the committed pages of ascending spans."""
        return sum(groups_in(spans, shift) for shift in self._shifts)

    def charge(self, pages: int, who: str, tables: int = 0) -> None:
        """Charges pages, for which so many page tables may be needed, or gives charge back where
        they are negative.

        StatusError COMMITMENT_LIMIT with the figures.
        """
        if pages > 0:
            short = self.charged + pages - self._limit(tables)
            if short > 0:
                self.slots += (grown := self.files.grow(short))
                short -= grown
            if short > 0:
                raise self._refusal(pages, who, tables)
        self.charged += pages
        assert self.charged >= 0, f"{who} has given back more than was promised"

    def charge_section(self, pages: int, who: str, tables: int = 0) -> None:
        """The same for a section's pages."""
        self.charge(pages, who, tables)
        self.for_sections += pages

    def charge_space(self, space: Space, pages: int, spans: Sequence[Span] = ()) -> None:
        """The same for private pages of a space, which will lie in these spans."""
        self.charge(pages, space.name, self.tables_for(spans))
        space.charge += pages

    def _refusal(self, pages: int, who: str, tables: int) -> StatusError:
        asked = counted(pages, "page")
        if self.charged + pages <= self.limit:  # they would fit alone
            asked += f", which may need {counted(tables, 'page table')}"
        return StatusError(
            Status.COMMITMENT_LIMIT,
            f"{who} asks for {asked}, and {self.charged} of the limit of "
            f"{self.limit} are committed",
        )

    def check_minimum(self, space: Space, minimum: int, maximum: int | None) -> None:
        """StatusError INVALID_PARAMETER where a space cannot be promised that it keeps `minimum`
        pages in frames, or `maximum` is less.
        """
        total = sum(s.minimum for s in self.spaces if s is not space) + minimum
        frames = self.frames_left
        if minimum < 0 or (maximum is not None and maximum < minimum) or total > frames // 2:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{space.name}: a working set of {minimum} to {maximum} pages cannot be "
                f"promised with {counted(frames, 'frame')} for pages",
            )

    def allows(self, frames: int) -> bool:
        """True when so many frames can be taken for good, and all that is promised can be had
        still.
        """
        return self.charged + frames <= self.limit

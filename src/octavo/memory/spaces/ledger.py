"""The ledger of address spaces: what page tables, the PFN database, page files and the replacement
policy say of pages agrees, to the page.

For tests, and for whoever wants to know: it looks at everything, and changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from octavo.machine.abi import HOLDER, PAGE_SHIFT, SEGMENT_PAGES, SEGMENT_SHIFT, USE, WRITABLE
from octavo.memory.frames.physical import PhysicalMemory
from octavo.memory.pagers.pagefile import is_paged
from octavo.memory.spaces.privatepages import is_leaving
from octavo.memory.spaces.space import Space
from octavo.memory.spaces.vad import Vad
from octavo.memory.spaces.view import SectionObject, View


class Ledger:
    """What the spaces that `add` was called with say of pages: by frame, how many entries lead to a
    private page and to a section's; the entries of pages in page files; and the views.
    """

    def __init__(self, physical: PhysicalMemory) -> None:
        self.physical = physical
        self.private: dict[int, int] = {}
        self.of_sections: dict[int, int] = {}
        self.paged: list[int] = []
        self.views: list[View] = []

    def add(self, space: Space) -> None:
        """Every entry of a space lies in a committed span, and its counts are the entries
        counted.
        """
        space.vads.check()
        assert space.charge == sum(vad.charge for vad in space.vads.all)
        entries = [entry for vad in space.vads.all for entry in self._entries(space, vad)]
        there = [entry for entry in entries if not is_paged(entry)]
        away, count = len(entries) - len(there), len(there)
        leaving = sum(map(is_leaving, there))
        assert away == space.pages.paged, (
            f"{space.name}: {away} pages are in page files and {space.pages.paged} are counted"
        )
        assert (count, leaving) == (space.pages.resident, space.pages.leaving), (
            f"{space.name}: {count} pages are there and {space.pages.resident} are counted"
        )

    def _entries(self, space: Space, vad: Vad) -> Iterator[int]:
        """Looks at the entries of one allocation."""
        if vad.view is not None:
            assert (vad.view.start, vad.view.end) == (vad.start, vad.end)
            self.views.append(vad.view)
        for first, end, protect in vad.spans:
            for address, entry in space.tables.entries(first << PAGE_SHIFT, end << PAGE_SHIFT):
                assert protect is not None, (
                    f"{space.name}: {address:#x} has a page and is not committed"
                )
                if is_paged(entry):
                    self.paged.append(entry)
                else:
                    self._add(space, vad, address, entry)
                yield entry

    def _add(self, space: Space, vad: Vad, address: int, entry: int) -> None:
        frame = space.pages.frame_of(entry)
        if not space.pages.is_of_section(entry):
            self.private[frame] = self.private.get(frame, 0) + 1
            return
        assert vad.view is not None, f"{address:#x} has a section's page and is in no view"
        number, section = vad.view.page_at(address >> PAGE_SHIFT), vad.view.object.section
        if vad.view.object.frame:
            assert frame == vad.view.object.frame + number
            return
        self.of_sections[frame] = self.of_sections.get(frame, 0) + 1
        segment = section.segments[number >> SEGMENT_SHIFT]
        assert self.physical.ram.link[segment.base + number % SEGMENT_PAGES] == frame, (
            f"{address:#x} shows another page of {section.name}"
        )
        assert not entry & WRITABLE or segment.dirty >> number % SEGMENT_PAGES & 1, (
            f"{address:#x} can be written unnoticed"
        )

    def check_views(self, sections: Iterable[SectionObject]) -> None:
        """Sections know these views, and no others."""
        known = [id(view) for made in sections for view in made.views]
        assert sorted(map(id, self.views)) == sorted(known), "views are lost"
        assert all(view in view.object.section.views or view.object.frame for view in self.views), (
            "a section does not know its view"
        )

    def check(self, holder: int, known: set[int], writing: set[int]) -> None:
        """The PFN database says the same, where `holder` has private pages; the policy has the
        `known` frames, which are all but those of pages that are being written.
        """
        table = self.physical.pfns.table
        held = table[:, HOLDER] == holder
        assert {int(f): int(table[f, USE]) for f in held.nonzero()[0]} == self.private
        used = (table[:, HOLDER] == 0) & (table[:, USE] != 0)
        assert {int(f): int(table[f, USE]) for f in used.nonzero()[0]} == self.of_sections
        assert known <= set(self.private) | set(self.of_sections), "the policy knows other pages"
        assert set(self.of_sections) <= known, "the policy has lost pages of sections"
        assert set(self.private) - known <= writing, "the policy has lost private pages"

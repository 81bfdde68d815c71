"""A view of a section in an address space: which pages of the section are at which addresses.

    section   | ...  first ................... first + pages ... |
    space            vad.start                 vad.end

Its entries in the page tables lead to the section's own frames, so a byte is in memory once,
whoever looks at it: views, the cache, the device (rule 3). A page is writable in the tables only
after it was marked as modified (`SpaceFaults`), and read-only again once it is being written out;
copies that a copy-on-write view has made are the space's private pages.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, PRESENT, WRITABLE
from octavo.memory.spaces.advice import Advice, Pattern

if TYPE_CHECKING:
    from octavo.memory.spaces.sections import SectionObject
    from octavo.memory.spaces.spaceviews import SpaceViews
    from octavo.memory.spaces.vad import Vad


class Inherit(enum.IntEnum):
    """What a fork makes of an allocation. SHARE, NONE: NT's values (ViewShare, ViewUnmap)."""

    COPY = 0  # the same contents, copied when one side writes
    SHARE = 1  # the same pages
    NONE = 2  # the child has nothing there


class View:
    """Pages of `object` from page `first` on, in `space` at the addresses of `vad`."""

    __slots__ = ("space", "vad", "object", "first", "advice", "pattern", "reading")

    def __init__(self, space: SpaceViews, vad: Vad, section: SectionObject, first: int) -> None:
        self.space, self.vad, self.object, self.first = space, vad, section, first
        self.advice = Advice.NORMAL
        self.pattern = Pattern()
        self.reading = -1  # the cluster of the section's pages in which its latest fault was

    def page_at(self, page: int) -> int:
        """The section's page at a page of the space."""
        return page - self.vad.start + self.first

    def _span(self, first: int, end: int) -> tuple[int, int]:
        """Addresses at which the section's pages [first, end) are seen."""
        low = max(self.vad.start, self.vad.start + first - self.first)
        high = min(self.vad.end, self.vad.start + end - self.first)
        return low << PAGE_SHIFT, max(low, high) << PAGE_SHIFT

    def forget(self, first: int, end: int) -> None:
        """See `octavo.memory.pages.section.Mapped`."""
        self.space.pages.forget_shared(*self._span(first, end))

    def let_go(self, first: int, end: int) -> None:
        """As `forget`, but locked pages stay, and as many as the space keeps in any case."""
        pages, space = self.space.pages, self.space
        for address, _ in list(space.tables.entries(*self._span(first, end))):
            if pages.staying > space.minimum and address >> PAGE_SHIFT not in space.locked:
                pages.forget_shared(address, address + PAGE_SIZE)

    def where(self, number: int) -> str:
        """See `octavo.memory.pages.section.Mapped`."""
        address = number - self.first + self.vad.start << PAGE_SHIFT
        inside = self.vad.start <= address >> PAGE_SHIFT < self.vad.end
        return (
            f"{self.space.name} at {address:#x}"
            if inside and self.space.pages.is_shared(self.space.tables.get(address))
            else ""
        )

    def must_keep(self, number: int) -> bool:
        """See `octavo.memory.pages.section.Mapped`."""
        page = number - self.first + self.vad.start
        space = self.space
        if not self.vad.start <= page < self.vad.end or not space.tables.get(page << PAGE_SHIFT):
            return False
        others = sum(
            1
            for view in self.object.section.views
            if isinstance(view, View) and view.space is space
        )  # may all show it, and leave with it
        return page in space.locked or space.pages.staying < space.minimum + others

    def clean(self, first: int, end: int) -> None:
        """See `octavo.memory.pages.section.Mapped`."""
        pages = self.space.pages
        start, stop = self._span(first, end)
        for address in range(start, stop, 1 << PAGE_SHIFT):
            entry = pages.tables.get(address)
            if entry & PRESENT and entry & WRITABLE and pages.is_shared(entry):
                pages.tables.put(address, entry & ~WRITABLE)
                pages.mmu.invalidate(address)

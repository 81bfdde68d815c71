"""Section objects, and views of them in address spaces: which pages of the section are at which
addresses.

    section   | ...  first ................... first + pages ... |
    space            start                     end

A view's entries in the page tables lead to the section's own frames, so a byte is in memory once,
whoever looks at it: views, the cache, the device (rule 3). A page is writable in the tables only
after it was marked as modified (`octavo.memory.spaces.viewfaults`), and read-only again once it is
being written out; copies that a copy-on-write view has made are the space's private pages.
"""

from __future__ import annotations

import enum
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Protocol

from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE, PRESENT, WRITABLE
from octavo.memory.pagers.external.memoryobject import MemoryObject
from octavo.memory.pages.section import Section
from octavo.memory.spaces.advice import Advice, Pattern
from octavo.memory.spaces.mappable import MappableFile
from octavo.memory.spaces.privatepages import PrivatePages
from octavo.memory.spaces.protect import Protect
from octavo.memory.spaces.spans import Stretch


class Attribute(enum.IntFlag):
    """What a section is made with, by NT's values."""

    BASED = 0x200000
    FILE = 0x800000
    IMAGE = 0x1000000
    RESERVE = 0x4000000
    COMMIT = 0x8000000
    NOCACHE = 0x10000000


class Inherit(enum.IntEnum):
    """What a fork makes of an allocation. SHARE, NONE: NT's values (ViewShare, ViewUnmap)."""

    COPY = 0  # the same contents, copied when one side writes
    SHARE = 1  # the same pages
    NONE = 2  # the child has nothing there


@dataclass(eq=False)
class SectionObject:
    """`size` bytes of `section`. `shape` says which of its pages are committed; `frame` is the
    first of a device section.
    """

    name: str
    section: Section
    size: int
    protect: Protect
    attributes: Attribute
    shape: Stretch
    file: MappableFile | None = None
    frame: int = 0
    memory_object: MemoryObject | None = None
    based_at: int = 0  # page at which a BASED section is, once it is anywhere
    views: list[View] = field(default_factory=list)
    closed: bool = False

    @property
    def paged(self) -> bool:
        """True for a page-file-backed section."""
        return self.file is None and self.memory_object is None and not self.frame


class Viewer(Protocol):
    """The space that a view is in, as far as the view looks at it."""

    name: str
    minimum: int  # pages that it keeps in frames

    @property
    def pages(self) -> PrivatePages: ...
    @property
    def locked(self) -> Container[int]: ...

    def commit_reserved(self, first: int, end: int) -> None:
        """Those of pages [first, end) of a view that are reserved get the protection that it was
        mapped with.
        """


class View:
    """Pages [start, end) of a space, which show those of `object` from page `first` on. The
    section knows the view as long as it is there (`watch`, `leave`).
    """

    __slots__ = ("space", "start", "end", "object", "first", "advice", "pattern", "reading")

    def __init__(
        self, space: Viewer, start: int, end: int, section: SectionObject, first: int
    ) -> None:
        self.space, self.object = space, section
        self.start, self.end, self.first = start, end, first
        self.advice = Advice.NORMAL
        self.pattern = Pattern()
        self.reading = -1  # the cluster of the section's pages in which its latest fault was

    def watch(self) -> None:
        """From now on the section has this view."""
        self.object.views.append(self)
        if not self.object.frame:
            self.object.section.views.append(self)

    def leave(self) -> None:
        """The section has lost this view."""
        self.object.views.remove(self)
        if not self.object.frame:
            self.object.section.views.remove(self)

    def page_at(self, page: int) -> int:
        """The section's page at a page of the space."""
        return page - self.start + self.first

    def pages_of(self, first: int, end: int) -> tuple[int, int]:
        """Pages of the space at which the section's pages [first, end) are seen: first and end,
        which are the same for none.
        """
        low = max(self.start, self.start + first - self.first)
        return low, max(low, min(self.end, self.start + end - self.first))

    def _span(self, first: int, end: int) -> tuple[int, int]:
        """Addresses at which the section's pages [first, end) are seen."""
        low, high = self.pages_of(first, end)
        return low << PAGE_SHIFT, high << PAGE_SHIFT

    def forget(self, first: int, end: int) -> None:
        """See `octavo.memory.pages.section.Mapped`."""
        self.space.pages.forget_sections(*self._span(first, end))

    def let_go(self, first: int, end: int) -> None:
        """As `forget`, but locked pages stay, and as many as the space keeps in any case."""
        pages, space = self.space.pages, self.space
        for address, _ in list(pages.tables.entries(*self._span(first, end))):
            if pages.staying > space.minimum and address >> PAGE_SHIFT not in space.locked:
                pages.forget_sections(address, address + PAGE_SIZE)

    def where(self, number: int) -> str:
        """See `octavo.memory.pages.section.Mapped`."""
        page, pages = number - self.first + self.start, self.space.pages
        address = page << PAGE_SHIFT
        inside = self.start <= page < self.end
        if not inside or not pages.is_of_section(pages.tables.get(address)):
            return ""
        return f"{self.space.name} at {address:#x}"

    def must_keep(self, number: int) -> bool:
        """See `octavo.memory.pages.section.Mapped`."""
        page, space = number - self.first + self.start, self.space
        if not self.start <= page < self.end or not space.pages.tables.get(page << PAGE_SHIFT):
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
        for address in range(start, stop, PAGE_SIZE):
            entry = pages.tables.get(address)
            if entry & PRESENT and entry & WRITABLE and pages.is_of_section(entry):
                pages.tables.put(address, entry & ~WRITABLE)
                pages.mmu.invalidate(address)

"""Working sets: what reclaim looks at in an address space, and what it does to it.

A working set is the pages of a space that are in frames; it has a minimum, which nobody takes, and
may have a maximum, beyond which it is trimmed first. Spaces themselves are above:
`octavo.memory.spaces.space` is one.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Protocol

from octavo.machine.pagetables import PageTables


class Pages(Protocol):
    """The pages of a space."""

    resident: int  # in frames
    of_sections: int  # those of them that are not private
    paged: int  # in page files

    @property
    def staying(self) -> int:
        """Pages in frames that are not on their way out."""

    @staticmethod
    def frame_of(entry: int) -> int:
        """The frame of an entry that is not 0."""

    def leads_to(self, entry: int, frame: int) -> bool:
        """True for an entry, not 0, that leads to a frame."""

    def forget_zeros(self, address: int, entry: int) -> None:
        """Lets go of a page that is all zeros still."""

    def begin_write(self, address: int, entry: int) -> int:
        """Takes a page out of reach while it is written to a page file; returns the entry that says
        so.
        """

    def end_write(self, address: int, marked: int, entry: int) -> None:
        """The page is in the page file now, as `entry` says."""


class WorkingSet(Protocol):
    """An address space, by its working set."""

    name: str
    minimum: int
    maximum: int | None
    protected: bool  # it is not ended for want of memory
    ended: str  # why it was, if it was
    charge: int  # pages that it is promised

    @property
    def tables(self) -> PageTables: ...
    @property
    def pages(self) -> Pages: ...
    @property
    def locked(self) -> Container[int]: ...

    def ranges(self) -> list[tuple[int, int]]:
        """Pages [first, end) that are allocated, ascending."""

    def undo_write(self, address: int, marked: int) -> None:
        """Makes a page that could not be written what it was before `begin_write`."""

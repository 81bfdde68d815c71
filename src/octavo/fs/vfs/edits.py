"""What a format wants changed: edits of pages, and the change that they are parts of.

A format plans: it reads pages, and notes in a Change which bytes are to be put where, and what it
takes and gives back. It writes nothing. The volume's `Writer` applies: it makes all the pages
resident and holds them, then puts every edit into memory without waiting in between. So a change is
there whole or not at all, and nothing has to be undone.

    plan       edits noted, extents and slots taken in the format's books    pages may be read
    put        every byte is in memory, at once                              nothing waits
    applied    the format's books say what the pages say
    dropped    instead of the two above: what was taken is given back        nothing waits or fails

What a change does to the medium, and in which order, is in `octavo.fs.vfs.order`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from octavo.machine.abi import PAGE_SIZE
from octavo.memory.pages.section import Section

PAGE_MASK = PAGE_SIZE - 1
MOST_HELD = 8  # pages that a change holds at once
C = TypeVar("C", bound="Change")


class Phase(IntEnum):
    """The order in which the parts of changes reach the medium; a barrier parts two of them.

    Edits of an operation are in FRESH or, where their section is a directory's, in NAME: the
    section's `leads` says so. Those of the other phases wait in the format's books until
    `Planner.due` is asked for them.
    """

    FRESH = 1  # data, and what nothing on the medium points to yet
    JOIN = 2  # what is there already is joined to it
    NAME = 3  # names, and what they say
    ERASE = 4  # names that were moved away from
    CUT = 5  # what no name claims any more is cut off
    FREE = 6  # and is given back


Edit = tuple[Section, int, bytes]  # bytes for a place in one page of a section


class Change:
    """A plan; a format's own class has the books in it.

    `extents` are what a node gets: (place, units) as its region map has them. `last` are edits that
    are put with the others only while `wants_last` says so: a link whose right to be there at once
    may end while pages are waited for. Use it in a `with` block: what was not applied at its end is
    dropped. Then the first `begun` of the edits that nothing points to may be in memory already: of
    more than MOST_HELD pages, which are not held at once.
    """

    last: Sequence[Edit] = ()
    extents: Sequence[tuple[int, int]] = ()
    begun = 0
    done = False

    def __init__(self) -> None:
        self.edits: list[Edit] = []

    def edit(self, section: Section, offset: int, data: bytes) -> None:
        """Notes bytes for a place of a section, page by page."""
        room = PAGE_SIZE - (offset & PAGE_MASK)
        while len(data) > room:
            self.edits.append((section, offset, data[:room]))
            offset, data, room = offset + room, data[room:], PAGE_SIZE
        self.edits.append((section, offset, data))

    def wants_last(self) -> bool:
        """Whether `last` may be put now."""
        return True

    def settle(self) -> None:
        """All edits are in memory: there is nothing to be dropped any more."""
        self.done = True
        self.applied()

    def applied(self) -> None:
        """All edits are in memory: the books follow."""

    def dropped(self) -> None:
        """It has not come to that: what was taken is given back."""

    def __enter__(self: C) -> C:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.done:
            self.dropped()

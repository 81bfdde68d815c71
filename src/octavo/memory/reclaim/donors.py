"""Who is asked for pages when frames are wanted, in which order: one list, from the cheap ones to
the last resort.

    turn        who                         what he does                             costs
    SPARE       the kernel's memory         lets go of empty slabs, cached stacks    nothing; at
                                            and kept pool pages                      times only
    VIEWS       the cache                   unmaps views not used for longest:       soft faults
                                            clean pages stand by
    KEPT        the kernel's memory         as SPARE, at any time                    allocations
    MODIFIED    the modified list           is written, by clusters                  I/O
    SPACES      address spaces              pages leave as the policy chooses        I/O, faults
    UNDER_WAY   transfers of others         are waited for                           time
    LAST        the balance-set manager     ends a space, if it is told to           a program

The first three are *cheap*: they wait for nothing and are asked ahead of need, too. The list is
gone through from its beginning each time, and left as soon as somebody has let go of a page: what
he did may be enough, or make the cheap ones able to give. When the last one gives nothing there is
no memory.

Source: NT trims working sets, then writes modified pages, and calls low memory at last; Zircon has
one evictor that asks its sources in order.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from octavo.memory.pages.section import Pager
from octavo.status import StatusError


class Turn(enum.IntEnum):
    """The order, as above."""

    SPARE = 0
    VIEWS = 1
    KEPT = 2
    MODIFIED = 3
    SPACES = 4
    UNDER_WAY = 5
    LAST = 6

    @property
    def cheap(self) -> bool:
        """True for those that wait for nothing."""
        return self < Turn.MODIFIED


@dataclass(slots=True, eq=False)
class Need:
    """Somebody who needs `pages` pages, and what he has learnt while he asked for them."""

    pages: int
    failed: dict[Pager, StatusError] = field(default_factory=dict)  # that cannot write
    futile: int = 0  # transfers that ended without a frame for him
    quiet: float = 0.0  # seconds in which no transfer ended


# Lets go of pages, about as many as are needed; says how many he has let go of, or 1 if it is worth
# looking again. A cheap one says so at once.
Ask = Callable[[Need], int | Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Donor:
    """Somebody who can let go of pages."""

    turn: Turn
    ask: Ask


class Donors:
    """The list. Who has the same turn is asked in the order in which they came."""

    def __init__(self) -> None:
        self._all: list[Donor] = []

    def add(self, donor: Donor) -> None:
        """One more, who is asked at his turn."""
        self._all.append(donor)
        self._all.sort(key=lambda s: s.turn)
        assert self._all[0].turn <= donor.turn <= self._all[-1].turn

    def turns(self) -> list[Turn]:
        """Where there is somebody, in the order in which they are asked."""
        return [donor.turn for donor in self._all]

    def trim(self, pages: int) -> int:
        """Asks the cheap ones until they have let go of `pages` pages; returns how many."""
        moved = 0
        for donor in self._all:
            if moved >= pages or not donor.turn.cheap:
                break
            freed = donor.ask(Need(pages - moved))
            assert isinstance(freed, int) and freed >= 0, f"{donor.turn.name} is not cheap"
            moved += freed
        return moved

    async def ask(self, need: Need, has: Callable[[int], bool]) -> bool:
        """Asks the others until one has let go of something, or there is what is needed without
        him, as `has` says; False when nobody has anything.
        """
        for donor in self._all:
            if donor.turn.cheap:
                continue
            freed = donor.ask(need)
            if not isinstance(freed, int):
                freed = await freed
            assert freed >= 0, f"{donor.turn.name} has taken pages"
            if freed or has(need.pages):
                return True
        return False

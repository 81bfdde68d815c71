"""How many pages a fault brings in: by the advice for a view, or by what its faults have looked
like.

    advice      before, after the page      and
    NORMAL      learnt, see `Pattern`
    RANDOM      0, 0
    SEQUENTIAL  0, the rest of a cluster    pages two or three clusters behind leave the page tables
    REVERSE     the rest of a cluster, 0    the same, above

WILLNEED fetches pages now, DONTNEED lets go of them now; neither changes what a view is set to.
Private memory has advice, too: `octavo.memory.spaces.pageins`.

Source: OSF Mach's behaviours of map entries, POSIX madvise. Departure: what is not advised is
learnt.
"""

from __future__ import annotations

import enum

FIRST_WINDOW = 4  # pages, after a jump
MOST_JUMPS = 4  # in a row: from then on only the page itself is read


class Advice(enum.IntEnum):
    """What a view's user says of his references."""

    NORMAL = 0
    RANDOM = 1
    SEQUENTIAL = 2
    REVERSE = 3
    WILLNEED = 4
    DONTNEED = 5


class Pattern:
    """The hard faults of one view: `low` and `high` are the edges of the last window, in pages of
    the section.

    A fault that goes on at an edge doubles the window in that direction, up to a cluster; one
    inside, on a page that was left out for want of frames, goes on as before; any other is a jump.
    """

    __slots__ = ("low", "high", "streak", "jumps")

    def __init__(self) -> None:
        self.low = self.high = -1
        self.streak = 0  # continuations in a row; negative for downward
        self.jumps = 0

    def window(self, page: int, cluster: int) -> tuple[int, int]:
        """The first page and the end of what a fault on `page` shall bring in."""
        inside = self.low <= page < self.high
        if page == self.high or (inside and self.streak >= 0):
            self.streak = max(self.streak, 0) + 1
        elif page == self.low - 1 or inside:
            self.streak = min(self.streak, 0) - 1
        else:
            self.streak = 0
            self.jumps += 1
        if self.streak:
            self.jumps = 0
        pages = min(FIRST_WINDOW << abs(self.streak), cluster) if self.jumps < MOST_JUMPS else 1
        self.low, self.high = (
            (page, page + pages) if self.streak >= 0 else (page - pages + 1, page + 1)
        )
        return self.low, self.high


def window(advice: Advice, pattern: Pattern, page: int, cluster: int) -> tuple[int, int]:
    """What a fault on a page brings in, before it is clipped: first page and end."""
    if advice == Advice.RANDOM:
        return page, page + 1
    if advice == Advice.SEQUENTIAL:
        return page, page + cluster
    if advice == Advice.REVERSE:
        return page - cluster + 1, page + 1
    return pattern.window(page, cluster)

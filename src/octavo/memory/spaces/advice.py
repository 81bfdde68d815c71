"""How many pages a fault brings in: by the advice for a view, or by what its faults have looked
like.

    advice      before, after the page      and
    NORMAL      learnt, see `Pattern`
    RANDOM      0, 0
    SEQUENTIAL  0, the rest of a cluster    pages two or three clusters behind leave the page tables
    REVERSE     the rest of a cluster, 0    the same, above

WILLNEED fetches pages now, DONTNEED lets go of them now; neither changes what a view is set to.
Private memory has advice, too: `octavo.memory.spaces.pageins`.

A steady reader is fetched for ahead of his faults (`octavo.memory.spaces.viewahead`).

Source: OSF Mach's behaviours of map entries, POSIX madvise, the marked page of Linux's readahead.
Departure: what is not advised is learnt.
"""

from __future__ import annotations

import enum

from octavo.machine.abi import SEGMENT_PAGES

FIRST_WINDOW = 4  # pages, after a jump
MOST_JUMPS = 4  # in a row: from then on only the page itself is read
STEADY = 5  # faults that go on, from which on pages are fetched ahead
MOST_PLACES = 8  # of a wide stride
LAST = SEGMENT_PAGES - 1


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
    Three that are one step apart are a stride: one of a cluster at most goes on as if it had come
    to the edge, a wider one reads its page alone.

    After STEADY faults that go on, and in a wide stride, there is something to fetch `ahead`, up to
    `front`; when a page behind `mark` is touched there is more.
    """

    __slots__ = ("low", "high", "streak", "jumps", "last", "step", "steps", "front", "mark", "span")

    def __init__(self) -> None:
        self.low = self.high = self.last = -1
        self.streak = 0  # continuations in a row; negative for downward
        self.jumps = 0
        self.step = 0  # from the fault before the last one
        self.steps = 0  # in a row that were as long
        self.front = self.mark = -1
        self.span = 0  # pages, or places, of the next fetch; 0 before the first one

    def window(self, page: int, cluster: int) -> tuple[int, int]:
        """The first page and the end of what a fault on `page` shall bring in."""
        inside = self.low <= page < self.high
        wide = self._note_step(page, inside, cluster)
        reach = 1 if wide or not self.steps else abs(self.step)
        if self.high <= page < self.high + reach or (inside and self.streak >= 0):
            self.streak = max(self.streak, 0) + 1
        elif self.low - reach <= page < self.low or inside:
            self.streak = min(self.streak, 0) - 1
        elif self.steps and not wide:
            self.streak = 1 if self.step > 0 else -1
        else:
            self.streak = 0
            self.jumps += 1
            self.span = self.span if wide else 0
        if self.streak:
            self.jumps = 0
        pages = min(FIRST_WINDOW << abs(self.streak), cluster) if self.jumps < MOST_JUMPS else 1
        pages = 1 if wide else pages
        self.low, self.high = (
            (page, page + pages) if self.streak >= 0 else (page - pages + 1, page + 1)
        )
        return self.low, self.high

    def _note_step(self, page: int, inside: bool, cluster: int) -> bool:
        """Notes how far it is from the last fault; True in a stride wider than a cluster."""
        step = page - self.last
        at_edge = page in (self.high, self.low - 1) or inside
        if step == self.step and not at_edge:
            self.steps += 1
        elif at_edge or not (self.steps and abs(self.step) <= cluster and not step % self.step):
            self.steps, self.step = 0, step
        self.last = page
        return self.steps > 0 and abs(self.step) > cluster

    def ahead(self, page: int, cluster: int, most: int) -> list[tuple[int, int]]:
        """Ranges of pages to fetch now that `page` was touched, `most` in all."""
        if self.steps and abs(self.step) > cluster:
            return self._places(page, most)
        if abs(self.streak) < STEADY or most < cluster:
            return []
        up = self.streak > 0
        if self.span and (page < self.mark if up else page > self.mark):
            return []
        if not self.span:
            self.front = self.high if up else self.low
        self.span = min(max(self.span * 2, cluster), SEGMENT_PAGES, most)
        # not beyond a segment's end, which would be another request
        first, end = self.front, min(self.front + self.span, (self.front | LAST) + 1)
        if not up:
            first, end = max(self.front - self.span, self.front - 1 & ~LAST), self.front
        self.mark = self.front if up else self.front - 1
        # the next hard fault is where the fetched pages end, if all of them come
        self.front = end if up else first
        self.low, self.high = min(self.low, first), max(self.high, end)
        return [(max(first, 0), end)] if end > 0 else []

    def _places(self, page: int, most: int) -> list[tuple[int, int]]:
        if not self.span:
            self.front = page
        there = (self.front - page) // self.step
        if there > self.span // 2:
            return []
        self.span = min(max(self.span * 2, 1), MOST_PLACES, most)
        places = [page + n * self.step for n in range(max(there, 0) + 1, self.span + 1)]
        self.last, self.front = page, places[-1] if places else self.front
        return [(place, place + 1) for place in places if place >= 0]


def window(advice: Advice, pattern: Pattern, page: int, cluster: int) -> tuple[int, int]:
    """What a fault on a page brings in, before it is clipped: first page and end."""
    learnt = pattern.window(page, cluster)
    if advice == Advice.RANDOM:
        return page, page + 1
    if advice == Advice.SEQUENTIAL:
        return page, page + cluster
    if advice == Advice.REVERSE:
        return page - cluster + 1, page + 1
    return learnt

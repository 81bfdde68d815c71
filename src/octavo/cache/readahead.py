"""Read-ahead: one reader's history, and what to fetch before it asks.

A reader that begins at offset 0, or goes on where it stopped, is sequential: its misses bring in
the rest of the view (128 pages), and views ahead of it are fetched by a kernel thread. Anything
else is random: only the pages asked for are read.

Source: NT's private cache map (history of the last reads). Departures: the window is in views; it
doubles from 1 to MOST_VIEWS while the reader stays sequential, and nothing is fetched before half a
view has been read.
"""

from __future__ import annotations

from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE

MOST_VIEWS = 2


class ReadAhead:
    """The history of one open file: `next` is the offset after the last read, `fetched` the first
    view not asked for yet.
    """

    __slots__ = ("next", "sequential", "window", "fetched", "behind")

    def __init__(self) -> None:
        self.next = 0
        self.sequential = True
        self.window = 1
        self.fetched = 0
        self.behind = 0  # views before this one have been left behind

    def note(self, offset: int, end: int) -> None:
        """A read of [offset, end) bytes is about to be made."""
        if offset == self.next:
            self.sequential = True
        else:
            self.sequential = False
            self.window = 1
            self.fetched = 0
            self.behind = offset >> VIEW_SHIFT
        self.next = end

    def left(self) -> range:
        """The views that a sequential reader has left behind since this was last asked."""
        here = self.next >> VIEW_SHIFT
        gone = range(self.behind, here)
        self.behind = max(here, self.behind)
        return gone

    def wanted(self, size: int) -> range:
        """The views to fetch now for a file of `size` bytes, after a read up to `next`; empty if
        none.
        """
        here = self.next - 1 >> VIEW_SHIFT
        if (
            not self.sequential
            or self.next < VIEW_SIZE // 2
            or here + 1 + self.window // 2 < self.fetched
        ):
            return range(0)
        first = max(here + 1, self.fetched)
        stop = min(here + 1 + self.window, (size - 1 >> VIEW_SHIFT) + 1)
        if first >= stop:
            return range(0)
        self.fetched = stop
        self.window = min(self.window * 2, MOST_VIEWS)
        return range(first, stop)

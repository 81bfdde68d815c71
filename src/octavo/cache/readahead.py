"""Read-ahead: one reader's history, and what to fetch before it asks.

    way        the last reads                       a miss brings in     fetched ahead of it
    FORWARD    go on where the one before ended     the rest of a view   the views behind
    BACKWARD   end where the one before began       the view below       the views before
    STRIDED    are one step apart, three in a row   up to DENSE: as the  beyond DENSE: the places of
                                                    step goes            the next reads
    RANDOM     anything else                        what was asked for   nothing

A reader that begins at offset 0 goes forward. What is fetched ahead doubles while a reader goes on,
to MOST_VIEWS views or MOST_PLACES places; no view is, before half a view has been read.

DENSE is where one request for a view costs less than a request for each place in it, on a hard disk
and on flash alike (`test_readahead.py::test_a_dense_stride_is_read_by_views`).

Source: NT's private cache map (history of the last reads), Linux's readahead (windows that double).
Departures: windows are views.
"""

from __future__ import annotations

from octavo.machine.abi import PAGE_SHIFT, SEGMENT_PAGES
from octavo.memory.pages.section import VIEW_SHIFT, VIEW_SIZE

MOST_VIEWS = 2
MOST_PLACES = 8
REST = 8  # views: a host that has a file at hand is asked ahead for a ninth of it
DENSE = 32 << 10  # bytes from one read to the next
RANDOM, FORWARD, BACKWARD, STRIDED = 0, 1, -1, 2
Pages = tuple[int, int]  # first and end


class ReadAhead:
    """The history of one open file: its last read was [last, next), `step` bytes from the one
    before it, and it goes its `way`.

    `reach` says what a miss brings in: 1 the pages above it, -1 those below, 0 none.
    """

    __slots__ = ("next", "last", "step", "way", "reach", "window", "fetched", "behind", "began")

    def __init__(self) -> None:
        self.next = 0
        self.last = self.step = 0
        self.way = self.reach = FORWARD
        self.window = 1
        self.fetched = 0  # the view up to which it was; where there is no reach, the last place
        self.behind = 0  # views before this one have been left behind
        self.began = 0  # where it has gone this way from

    def note(self, offset: int, end: int) -> None:
        """A read of [offset, end) bytes is about to be made."""
        if offset == self.next:
            if self.way != FORWARD:
                self._turn(FORWARD, FORWARD, offset)
        elif end == self.last:
            if self.way != BACKWARD:
                self._turn(BACKWARD, BACKWARD, end)
        elif offset - self.last == self.step and self.step:
            if self.way != STRIDED:
                dense = FORWARD if self.step > 0 else BACKWARD
                self._turn(STRIDED, dense if abs(self.step) <= DENSE else RANDOM, offset)
        else:
            self.way = self.reach = RANDOM
        self.step = offset - self.last
        self.last = offset
        self.next = end

    def _turn(self, way: int, reach: int, began: int) -> None:
        """It goes another way from now on."""
        self.way, self.reach, self.began = way, reach, began
        self.window = 1
        self.fetched = began >> VIEW_SHIFT if reach else began
        self.behind = began >> VIEW_SHIFT

    def rest(self) -> None:
        """What was wanted last was at hand: nothing is for the next REST views."""
        self.fetched += REST * self.reach

    def left(self) -> range:
        """The views that a reader going forward has left behind since this was last asked."""
        if self.way != FORWARD:
            return range(0)
        here = self.next >> VIEW_SHIFT
        gone = range(self.behind, here)
        self.behind = max(here, self.behind)
        return gone

    def wanted(self, size: int) -> list[Pages]:
        """The pages to fetch now for a file of `size` bytes, after its last read, each range of one
        view.
        """
        if self.way == STRIDED and not self.reach:
            return self._places(size)
        if self.reach == FORWARD:
            return self._views_above(size)
        return self._views_below() if self.reach == BACKWARD else []

    def _views_above(self, size: int) -> list[Pages]:
        here = self.next - 1 >> VIEW_SHIFT
        if self.next - self.began < VIEW_SIZE // 2 or here + 1 + self.window // 2 < self.fetched:
            return []
        first = max(here + 1, self.fetched)
        stop = min(here + 1 + self.window, (size - 1 >> VIEW_SHIFT) + 1)
        if first >= stop:
            return []
        self.fetched = stop
        self.window = min(self.window * 2, MOST_VIEWS)
        return [(i * SEGMENT_PAGES, (i + 1) * SEGMENT_PAGES) for i in range(first, stop)]

    def _views_below(self) -> list[Pages]:
        here = self.last >> VIEW_SHIFT
        if self.began - self.last < VIEW_SIZE // 2 or here - self.window // 2 > self.fetched:
            return []
        last = min(here, self.fetched)
        first = max(here - self.window, 0)
        if first >= last:
            return []
        self.fetched = first
        self.window = min(self.window * 2, MOST_VIEWS)
        return [
            (i * SEGMENT_PAGES, (i + 1) * SEGMENT_PAGES) for i in range(last - 1, first - 1, -1)
        ]

    def _places(self, size: int) -> list[Pages]:
        """Where the next reads will be, as far as nobody was asked for them yet."""
        step, length = self.step, self.next - self.last
        ahead = (self.fetched - self.last) // step
        if ahead > self.window // 2:
            return []
        out: list[Pages] = []
        for number in range(max(ahead, 0) + 1, self.window + 1):
            place = self.last + number * step
            if not 0 <= place <= size - length:
                break
            self.fetched = place
            first, end = place >> PAGE_SHIFT, (place + length - 1 >> PAGE_SHIFT) + 1
            middle = min(end, (first | SEGMENT_PAGES - 1) + 1)
            out += [(first, middle), (middle, end)] if middle < end else [(first, end)]
        self.window = min(self.window * 2, MOST_PLACES)
        return out


class Advised(ReadAhead):
    """Of a reader who has said how he will go: FORWARD, BACKWARD, or RANDOM."""

    __slots__ = ()

    def __init__(self, way: int) -> None:
        super().__init__()
        self.way = self.reach = way

    def note(self, offset: int, end: int) -> None:
        """A read is about to be made; where it is off the way, the way begins anew."""
        if offset != self.next and end != self.last:
            self._turn(self.way, self.reach, offset if self.way == FORWARD else end)
        self.last = offset
        self.next = end

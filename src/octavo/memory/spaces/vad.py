"""Virtual address descriptors: which addresses of a space are allocated, as what, and with which
protection.

A Vad is one allocation, a stretch of pages tiled by spans (`octavo.memory.spaces.spans`).

Source: NT's VADs. Departure: NT notes protections page by page in PTEs where they differ from the
VAD's; 32-bit entries have no room for all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from itertools import pairwise

from octavo.memory.spaces.advice import Advice
from octavo.memory.spaces.protect import Protect, read_only
from octavo.memory.spaces.spans import Stretch
from octavo.memory.spaces.view import Inherit, View


@dataclass(eq=False)
class Vad(Stretch):
    """Pages [start, end), allocated with `protect`. Its `version` changes when it ends, too."""

    view: View | None = None  # for a mapped section: what of it is seen here
    inherit: Inherit = Inherit.COPY
    may_copy: bool = False  # a view of which pages may be copied: all are charged
    advice: Advice = Advice.NORMAL  # for private memory; a view has its own
    image: list[Vad] | None = (
        None  # all allocations of the image that it belongs to, itself among them
    )
    written: set[int] | None = None  # with write watch: the pages written since it was reset

    def effective(self, page: int, protect: Protect) -> Protect:
        """What the page tables may allow now: a watched page is not writable until its first write
        was noticed.
        """
        return protect if self.written is None or page in self.written else read_only(protect)

    @property
    def charge(self) -> int:
        """Pages that are charged to the commit limit: committed private ones, and those of a view
        that may be copied.
        """
        if self.view is None:
            return self.committed(self.start, self.end)
        return self.end - self.start if self.may_copy else 0

    def cut(self, first: int, end: int) -> list[Vad]:
        """What is left of it, which is neither view nor part of an image, without pages [first,
        end): none, one or two.
        """
        rest = ((self.start, first), (end, self.end))
        return [self._part(a, b) for a, b in rest if a < b]

    def _part(self, first: int, end: int) -> Vad:
        part = Vad(first, end, self.protect, self.parts(first, end), inherit=self.inherit)
        part.advice = self.advice
        if self.written is not None:
            part.written = {page for page in self.written if first <= page < end}
        return part


class Vads:
    """The allocations of one space, by address; pages [low, high) may be allocated."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self._starts: list[int] = []
        self._vads: list[Vad] = []

    @property
    def all(self) -> list[Vad]:
        """Every allocation, ascending."""
        return list(self._vads)

    def find(self, page: int) -> Vad | None:
        """The allocation that a page is in."""
        at = bisect_right(self._starts, page) - 1
        return self._vads[at] if at >= 0 and page < self._vads[at].end else None

    def free(self, first: int, end: int) -> bool:
        """True when pages [first, end) may be allocated and none is."""
        at = bisect_right(self._starts, first) - 1
        before = at < 0 or self._vads[at].end <= first
        after = at + 1 >= len(self._vads) or end <= self._starts[at + 1]
        return self.low <= first and end <= self.high and before and after

    def add(self, vad: Vad) -> None:
        """A new allocation, where all is free."""
        at = bisect_right(self._starts, vad.start)
        self._starts.insert(at, vad.start)
        self._vads.insert(at, vad)

    def remove(self, vad: Vad) -> None:
        """Ends an allocation."""
        at = bisect_right(self._starts, vad.start) - 1
        assert self._vads[at] is vad
        vad.version += 1
        del self._starts[at], self._vads[at]

    def gap(self, pages: int, align: int, top_down: bool, below: int) -> int:
        """First page of a free stretch aligned to `align` pages that ends at or below page `below`,
        lowest or highest; -1 for none.
        """
        limit = min(self.high, below)
        edges = [(self.low, self.low), *((v.start, v.end) for v in self._vads), (limit, limit)]
        gaps = [(a[1], min(b[0], limit)) for a, b in pairwise(edges)]
        for low, high in reversed(gaps) if top_down else gaps:
            first = (high - pages) // align * align if top_down else -(-low // align) * align
            if first >= low and first + pages <= high:
                return first
        return -1

    def check(self) -> None:
        """Ascending, disjoint, each tiled by spans that are not to be joined."""
        end = self.low
        for start, vad in zip(self._starts, self._vads, strict=True):
            assert vad.start == start >= end and vad.end <= self.high
            end, at, last = vad.end, vad.start, object()
            for a, b, p in vad.spans:
                assert a == at < b and p != last, f"spans of the allocation at page {start:#x}"
                at, last = b, p
            assert at == vad.end

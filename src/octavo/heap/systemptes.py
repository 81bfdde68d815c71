"""System PTEs: runs of kernel page addresses, to map whatever has no place of its own.

Free entries form clusters. A request is cut off the high end of the smallest cluster that holds it;
a run that is given back merges with the clusters on both sides. Indexes are pages from the region's
start; the first RESERVED are the executive's.

Source: ExectOS's pte.cc (33 reserved, clusters by size, high end). Departure: a cluster of the
exact size is taken without touching its neighbour, which the original got wrong.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

from octavo.arguments import invalid, shown, whole
from octavo.heap.hostlock import locked, make_lock

if TYPE_CHECKING:
    from octavo.statistics import SystemPtesStatistics

RESERVED = 33


class SystemPtes:
    """`count` page addresses, of which the first `reserved` (at least 1) are never given out.
    StatusError INVALID_PARAMETER.
    """

    def __init__(self, count: int, reserved: int = RESERVED) -> None:
        if whole(count, "the number of system PTEs") <= whole(
            reserved, "the number of reserved system PTEs", 1
        ):
            raise invalid(f"{shown(count)} system PTEs are too few: {shown(reserved)} are reserved")
        self.lock = make_lock()
        self.count, self.reserved = count, reserved
        self.free = count - reserved
        self._clusters = {reserved: count - reserved}  # first -> size
        self._ends = {count: reserved}  # end -> first
        self._sizes = [(count - reserved, reserved)]  # ascending
        self.taken: dict[int, int] = {}  # first -> size
        self.failures = 0

    def _add(self, first: int, size: int) -> None:
        self._clusters[first] = size
        self._ends[first + size] = first
        insort(self._sizes, (size, first))

    def _drop(self, first: int) -> int:
        size = self._clusters.pop(first)
        del self._ends[first + size]
        del self._sizes[bisect_left(self._sizes, (size, first))]
        return size

    @locked
    def reserve(self, count: int) -> int:
        """Index of the first of `count` entries in a row; 0 when there are none. StatusError
        INVALID_PARAMETER.
        """
        whole(count, "the number of system PTEs in a row", 1)
        at = bisect_left(self._sizes, (count, 0))
        if at == len(self._sizes):
            self.failures += 1
            return 0
        size, first = self._sizes[at]
        self._drop(first)
        if size > count:
            self._add(first, size - count)
        index = first + size - count
        self.taken[index] = count
        self.free -= count
        return index

    @locked
    def release(self, index: int, count: int = 0) -> int:
        """Gives a run back, whole; returns its size, which is `count` where that is told.

        StatusError INVALID_PARAMETER for an index at which no run begins, and for another size;
        nothing is changed then.
        """
        whole(index, "a system PTE")
        have = self.taken.get(index, 0)
        if not have or whole(count, "the number of system PTEs released", 0) not in (0, have):
            part = f" with {shown(count)} in a row" if count else ""
            raise invalid(f"system PTE {shown(index)} is released{part} and {self._found(index)}")
        count = self.taken.pop(index)
        self.free += count
        first, size = index, count
        if index in self._ends:
            first = self._ends[index]
            size += self._drop(first)
        if index + count in self._clusters:
            size += self._drop(index + count)
        self._add(first, size)
        return count

    def _found(self, index: int) -> str:
        """What lies at an index, for an error."""
        first = next((f for f, size in self.taken.items() if f <= index < f + size), 0)
        if first:
            return f"its run has {self.taken[first]} from {first} on" + (
                "" if first == index else ": no run begins there"
            )
        return "no run begins there" + (
            ": it is free" if self.reserved <= index < self.count else ""
        )

    @locked
    def statistics(self) -> SystemPtesStatistics:
        """Entries in all and free, clusters, the largest of them, and requests that failed."""
        from octavo.statistics import SystemPtesStatistics

        largest = self._sizes[-1][0] if self._sizes else 0
        return SystemPtesStatistics(
            count=self.count,
            free=self.free,
            clusters=len(self._clusters),
            largest=largest,
            failures=self.failures,
        )

    @locked
    def check(self) -> None:
        """Clusters and runs tile the region; no two clusters touch."""
        at, last_free = self.reserved, False
        runs = sorted(
            [(f, s, True) for f, s in self._clusters.items()]
            + [(f, s, False) for f, s in self.taken.items()]
        )
        for first, size, free in runs:
            assert first == at and size > 0, f"system PTE {at} is in no run or in two"
            assert not (free and last_free), f"clusters at {first} are not merged"
            at, last_free = first + size, free
        assert at == self.count and self.free == sum(self._clusters.values())
        assert sorted((s, f) for f, s in self._clusters.items()) == self._sizes and len(
            self._ends
        ) == len(self._clusters)

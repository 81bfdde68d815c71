"""Whole pages for pools: a region of the kernel's address space, its first part backed from the
beginning, the rest on demand.

    start                                    expansion, which may lie elsewhere
    | initial: frames from the beginning |   | runs of addresses, frames when allocated |

Runs of free pages stand on four lists, of 1, 2, 3, and 4 or more pages; a request is cut off the
end of a run and freed runs of the initial part merge with both neighbours. When no run fits, the
expansion gives addresses and frames. A freed expansion run of more than KEPT pages gives both back;
a smaller one stays, whole, for the next request of its size.

Source: ExectOS's pool.cc (four lists, carve from the end, expansion kept up to 3 pages). The
expansion's addresses are `SystemPtes` clusters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from octavo.arguments import hexed, invalid, shown, whole
from octavo.heap.hostlock import locked
from octavo.heap.kernelspace import KernelSpace
from octavo.heap.systemptes import SystemPtes
from octavo.machine.abi import PAGE_SHIFT, PAGE_SIZE
from octavo.status import StatusError
from octavo.threads.workers import HostLock

if TYPE_CHECKING:
    from octavo.statistics import PoolPagesStatistics

LISTS = 4
KEPT = 3


class PoolPages(Protocol):
    """Where a pool's pages come from: the seam at which a paged pool takes a section's pages
    instead.
    """

    space: KernelSpace

    def allocate(self, count: int) -> int:
        """Address of `count` zeroed or old pages in a row, present and writable; 0 when there are
        none.
        """

    def free(self, address: int, count: int) -> None:
        """Gives them back, whole."""

    def statistics(self) -> PoolPagesStatistics:
        """Pages in all, backed and free."""

    def check(self) -> None:
        """Every page is in one run."""


class RegionPages:
    """Pages at `start` for the pool called `name`: `initial` of them backed at once, up to `most`
    in all, at `expansion` (0: behind).

    StatusError NO_MEMORY without frames for the first part, INVALID_PARAMETER.
    """

    def __init__(
        self,
        space: KernelSpace,
        start: int,
        initial: int,
        most: int,
        name: str = "nonpaged pool",
        expansion: int = 0,
    ) -> None:
        whole(start, f"the address of the {name}", 0)
        whole(expansion, f"the address of the {name}'s expansion", 0)
        whole(
            most,
            f"the number of pages of the {name}",
            whole(initial, f"the number of initial pages of the {name}", 0),
        )
        self.space, self.start, self.initial, self.most = space, start, initial, most
        self.lock: HostLock = space.lock
        self.further = (expansion or start + (initial << PAGE_SHIFT)) - (
            initial << PAGE_SHIFT
        )  # where page 0 would be, counted from the expansion
        self.holder = space.physical.pfns.new_holder(name)
        # page 0 of the region is the initial part's; without one it stays unused, since index 0
        # means "none"
        self.expansion = SystemPtes(most, max(initial, 1)) if most > max(initial, 1) else None
        self._free: dict[int, int] = {}  # first page -> pages
        self._ends: dict[int, int] = {}
        self._lists: list[dict[int, None]] = [{} for _ in range(LISTS)]
        if initial:
            self._add(0, initial)
        self.allocated: dict[int, int] = {}
        self.expanded = 0  # pages backed in the expansion
        if initial:
            space.back(start, initial, self.holder)

    def _address(self, page: int) -> int:
        return (self.start if page < self.initial else self.further) + (page << PAGE_SHIFT)

    def _page(self, address: int) -> int:
        inside = self.start <= address < self.start + (self.initial << PAGE_SHIFT)
        return (address - (self.start if inside else self.further)) >> PAGE_SHIFT

    def _add(self, first: int, count: int) -> None:
        self._free[first], self._ends[first + count] = count, first
        self._lists[min(count, LISTS) - 1][first] = None

    def _drop(self, first: int) -> int:
        count = self._free.pop(first)
        del self._ends[first + count]
        del self._lists[min(count, LISTS) - 1][first]
        return count

    @locked
    def allocate(self, count: int) -> int:
        """Address of `count` pages in a row; 0 when there are none. StatusError INVALID_PARAMETER
        for less than one.
        """
        if type(count) is not int or count < 1:
            whole(count, "the number of pool pages", 1)
        for runs in self._lists[min(count, LISTS) - 1 :]:
            first = next(
                (
                    f
                    for f in runs
                    if self._free[f] == count or (self._free[f] > count and f < self.initial)
                ),
                -1,
            )
            if first >= 0:
                size = self._drop(first)
                if size > count:
                    self._add(first, size - count)
                page = first + size - count
                self.allocated[page] = count
                return self._address(page)
        return self._expand(count)

    def _expand(self, count: int) -> int:
        if self.expansion is None or count >= self.space.physical.available:
            return 0
        page = self.expansion.reserve(count)
        if not page:
            return 0
        address = self._address(page)
        try:
            self.space.back(address, count, self.holder)
        except StatusError:
            self.expansion.release(page, count)
            return 0
        self.expanded += count
        self.allocated[page] = count
        return address

    @locked
    def free(self, address: int, count: int) -> None:
        """Gives a run back, whole. StatusError INVALID_PARAMETER for what is none, or not of that
        size.
        """
        if type(address) is not int or type(count) is not int:
            whole(address, "the address of pool pages")
            whole(count, "the number of pool pages")
        page = self._page(address)
        if address % PAGE_SIZE or self.allocated.get(page) != count:
            raise invalid(
                f"{shown(count)} pool pages at {hexed(address)} are freed and were not allocated so"
            )
        del self.allocated[page]
        if page >= self.initial and count > KEPT:
            self._give_back(page, count)
            return
        first, end = page, page + count
        if page < self.initial:
            if end in self._free and end < self.initial:
                end += self._drop(end)
            if first in self._ends:
                first = self._ends[first]
                self._drop(first)
        self._add(first, end - first)

    def _give_back(self, page: int, count: int) -> None:
        assert self.expansion is not None
        self.space.release(self._address(page), count, self.holder)
        self.expansion.release(page, count)
        self.expanded -= count

    @locked
    def reap(self, frames: int = 1 << 30) -> int:
        """Gives kept expansion runs back until `frames` frames are free; returns how many are."""
        whole(frames, "the number of frames", 0)
        done = 0
        for page in [p for p in self._free if p >= self.initial]:
            if done < frames:
                count = self._drop(page)
                self._give_back(page, count)
                done += count
        return done

    @locked
    def statistics(self) -> PoolPagesStatistics:
        """Pages backed in both parts, allocated and free, and the limit."""
        from octavo.statistics import PoolPagesStatistics

        return PoolPagesStatistics(
            initial=self.initial,
            expanded=self.expanded,
            most=self.most,
            allocated=sum(self.allocated.values()),
            free=sum(self._free.values()),
        )

    @locked
    def check(self) -> None:
        """Runs tile what is backed, by as many frames; free runs of the initial part are merged;
        lists agree.
        """
        at, last_free = 0, False
        runs = sorted(
            [(f, c, True) for f, c in self._free.items()]
            + [(f, c, False) for f, c in self.allocated.items()]
        )
        for first, count, free in runs:
            if first < self.initial:
                assert first == at, f"pool page {at} is in no run or in two"
                assert not (free and last_free), f"free pool pages before {first} are not merged"
                at, last_free = first + count, free
        assert at == self.initial
        backed, held = self.initial + self.expanded, self.space.held(self.holder)
        name = self.space.physical.pfns.holders[self.holder]
        assert held == backed, f"{name}: {held} frames are held for {backed} pages"
        beyond = {f: c for f, c, _ in runs if f >= self.initial}
        taken = self.expansion.taken if self.expansion else {}
        assert beyond == taken, "addresses of the expansion are taken, and no run has them"
        assert sum(beyond.values()) == self.expanded
        assert {f: min(c, LISTS) - 1 for f, c in self._free.items()} == {
            f: i for i, runs in enumerate(self._lists) for f in runs
        }

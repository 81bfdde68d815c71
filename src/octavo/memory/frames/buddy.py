"""The buddy allocator of one zone: free frames as blocks of 2^order frames, aligned to their
size.

Callers ask for runs: `take(n)` gives n frames in as few contiguous pieces as there are, since a
piece is one part of an I/O and one copy. Any part of what was taken can be given back.
`take_constrained` is for devices: a run below an address, aligned, that crosses no boundary;
`take_coloured` for caches that are indexed by physical address.

Watermarks, in frames: an ordinary `take_constrained`, `take_coloured` or `take_block` leaves `min`
frames free; a privileged one may have them all. Below `low` pageout should work, up to `high`
again.

The algorithm is in `octavo.memory.frames.buddykernels`, interpreted here on the same arrays that
compiled batches use.

Source: Knowlton 1965; GNU Mach's vm_page (orders 0 to 10, watermarks of 5, 6 and 10 %). Departures:
a request for n frames is not rounded up to a power of two, the tail goes back at once; watermarks
scale down with small zones, where GNU Mach refuses to start below 2000 pages.
"""

from __future__ import annotations

from array import array
from functools import cached_property
from typing import TYPE_CHECKING

from octavo.machine.abi import ORDER as BLOCK_ORDER
from octavo.machine.abi import STATE, State
from octavo.memory.frames.buddykernels import (
    BLOCKS,
    END,
    FIRST,
    FREE,
    HEADS,
    HIGH,
    LOW,
    MIN,
    MOST_ORDER,
    ORDER,
    ZONE_WORDS,
    carve,
    cut,
    release,
    search,
    take_block,
)
from octavo.memory.frames.pfn import PfnDatabase
from octavo.status import Status, StatusError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from octavo.statistics import SegmentStatistics

MAX_ORDER = 10
COLOURS = 64

Run = tuple[int, int]  # (first frame, number of frames)


def watermarks(frames: int) -> tuple[int, int, int]:
    """(min, low, high) of a zone of so many frames: GNU Mach's, and the same shares of a zone
    below 10,000.
    """
    shares = frames // 20, frames * 6 // 100, frames // 10
    return (
        shares
        if frames < 10_000
        else (max(500, shares[0]), max(600, shares[1]), max(1000, shares[2]))
    )


class Buddy:
    """The free frames of `pfns` in [first, end), by default all of them."""

    def __init__(
        self,
        pfns: PfnDatabase,
        max_order: int = MAX_ORDER,
        first: int = 0,
        end: int = 0,
        name: str = "ALL",
    ) -> None:
        if not 0 <= max_order <= MOST_ORDER:
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"a largest order of {max_order} is not possible: 0 to {MOST_ORDER}",
            )
        self.pfns = pfns
        self.name = name
        self.max_order = max_order
        self.frames = 0  # that it was ever given
        self.state = memoryview(array("i", bytes(4 * ZONE_WORDS)))
        self.state[ORDER], self.state[FIRST], self.state[END] = max_order, first, end or pfns.frames

    @cached_property
    def array(self) -> npt.NDArray[np.int32]:
        """`state` for compiled kernels."""
        import numpy as np

        return np.frombuffer(self.state, np.int32)

    @property
    def free_frames(self) -> int:
        """Frames on the free lists."""
        return self.state[FREE]

    @property
    def blocks(self) -> list[int]:
        """Free blocks by order."""
        return self.state[BLOCKS : BLOCKS + self.max_order + 1].tolist()

    def add(self, first: int, count: int) -> None:
        """Gives the allocator frames that were ABSENT until now (boot)."""
        self.pfns.claim(first, count, State.FREE)
        self._add_blocks(first, count)
        self.frames += count
        self.state[MIN], self.state[LOW], self.state[HIGH] = watermarks(self.frames)

    def _add_blocks(self, first: int, count: int) -> None:
        """As `release`, for the many blocks of the largest order at once when the lists of that
        order are empty.
        """
        size = 1 << self.max_order
        start, end = -(-first // size) * size, (first + count) // size * size
        if end - start < 8 * size or self.state[HEADS + self.max_order]:
            release(self.pfns.words, self.state, first, count)
            return
        pfns, heads = self.pfns, array("i", range(start, end, size))
        pfns.order[start:end:size] = array("i", [self.max_order]) * len(heads)
        pfns.next[start:end:size] = heads[1:] + array("i", [0])
        pfns.prev[start:end:size] = array("i", [0]) + heads[:-1]
        self.state[HEADS + self.max_order] = start
        self.state[BLOCKS + self.max_order] = len(heads)
        self.state[FREE] += end - start
        for low, high in ((first, start), (end, first + count)):
            if low < high:
                release(self.pfns.words, self.state, low, high - low)

    def free(self, first: int, count: int, was: State) -> None:
        """Gives back `count` frames from `first` on, all in state `was`, without flags or PTE."""
        self.pfns.claim(first, count, State.FREE, was)
        release(self.pfns.words, self.state, first, count)

    def take(self, count: int, state: State) -> list[Run]:
        """`count` frames in state `state`, as runs in falling size; the caller has seen that
        `free_frames` suffices.
        """
        zone = self.state
        assert 0 < count <= zone[FREE]
        pfns = self.pfns
        words = pfns.words
        out = []
        while count:
            first, size = cut(words, zone, count)
            pfns.claim(first, size, state, State.FREE)
            out.append((first, size))
            count -= size
        return out

    def _admits(self, count: int, privileged: bool) -> bool:
        return self.state[FREE] - count >= (0 if privileged else self.state[MIN])

    def take_block(self, order: int, state: State, privileged: bool = False) -> int:
        """An aligned block of 2^order frames; 0 when there is none above the watermark."""
        if order > self.max_order or not self._admits(1 << order, privileged):
            return 0
        first = take_block(self.pfns.words, self.state, order)
        if first:
            self.pfns.claim(first, 1 << order, state, State.FREE)
        return first

    def take_constrained(
        self,
        count: int,
        state: State,
        below: int = 0,
        align: int = 1,
        boundary: int = 0,
        privileged: bool = False,
    ) -> int:
        """First frame of `count` consecutive ones that end at or below frame `below` (0: anywhere);
        0 when there are none.

        The first is a multiple of `align`, and no multiple of `boundary` lies inside (0: any), both
        powers of two, in frames. The highest such run is taken: low memory is for those who reach
        no higher. StatusError INVALID_PARAMETER.
        """
        if (
            count <= 0
            or align <= 0
            or align & (align - 1)
            or boundary & (boundary - 1)
            or (boundary and count > boundary)
        ):
            raise StatusError(
                Status.INVALID_PARAMETER,
                f"{count} frames aligned to {align} within {boundary} are not possible",
            )
        if not self._admits(count, privileged):
            return 0
        first = search(
            self.pfns.words, self.state, count, below or self.state[END], align, boundary
        )
        if first:
            carve(self.pfns.words, self.state, first, count)
            self.pfns.claim(first, count, state, State.FREE)
        return first

    def take_coloured(self, colour: int, state: State, privileged: bool = False) -> int:
        """One frame whose number is `colour` modulo COLOURS, else any; 0 when there is none above
        the watermark.
        """
        if not self._admits(1, privileged):
            return 0
        pfns, words, zone = self.pfns, self.pfns.words, self.state
        for order in range(self.max_order + 1):
            size = 1 << order
            block = zone[HEADS + order]
            for _ in range(8):  # not the whole of a long list: the next order has it more often
                if not block:
                    break
                frame = block + ((colour - block) % COLOURS)
                if frame < block + size:
                    carve(words, zone, frame, 1)
                    self.pfns.claim(frame, 1, state, State.FREE)
                    return frame
                block = pfns.next[block]
        return self.take_block(0, state, privileged)

    def fragmentation(self, order: int) -> float:
        """Linux's index for a request of 2^order frames that failed: near 0 for lack of memory,
        near 1 for fragmentation; -1 when it would succeed.
        """
        blocks = self.blocks
        if any(blocks[order:]):
            return -1.0
        total = sum(blocks)
        return 0.0 if not total else 1.0 - (1.0 + self.free_frames / (1 << order)) / total

    def statistics(self) -> SegmentStatistics:
        """Free frames, watermarks, free blocks by order (the columns of /proc/buddyinfo); for each
        order, what part of the free memory it can use, and the fragmentation index.
        """
        from octavo.statistics import SegmentStatistics, Watermarks

        free, orders = self.free_frames, range(self.max_order + 1)
        return SegmentStatistics(
            free_frames=free,
            frames=self.frames,
            blocks=self.blocks,
            usable=[
                sum(n << k for k, n in enumerate(self.blocks) if k >= order) / free if free else 0.0
                for order in orders
            ],
            fragmentation=[self.fragmentation(order) for order in orders],
            watermarks=Watermarks(*self.state[MIN : HIGH + 1].tolist()),
        )

    def check(self) -> None:
        """Blocks are aligned, disjoint, free to the last frame, counted, and no two buddies are
        both free.
        """
        import numpy as np

        pfns, zone = self.pfns, self.state
        states, orders = self.pfns.table[:, STATE], self.pfns.table[:, BLOCK_ORDER]
        start, limit = zone[FIRST], zone[END]
        seen = 0
        for order in range(self.max_order + 1):
            pfn, before, length = zone[HEADS + order], 0, 0
            while pfn:
                assert (
                    pfns.order[pfn] == order
                    and pfns.prev[pfn] == before
                    and pfn % (1 << order) == 0
                )
                assert start <= pfn and pfn + (1 << order) <= limit, (
                    f"block {pfn} of order {order} leaves zone {self.name}"
                )
                assert (states[pfn : pfn + (1 << order)] == State.FREE).all(), (
                    f"block {pfn} of order {order} is not free"
                )
                assert (orders[pfn + 1 : pfn + (1 << order)] == -1).all()
                buddy = pfn ^ (1 << order)
                if order < self.max_order and start <= buddy < limit:
                    assert pfns.order[buddy] != order, (
                        f"buddies {pfn} and {buddy} of order {order} are not merged"
                    )
                length += 1
                seen += 1 << order
                before, pfn = pfn, pfns.next[pfn]
            assert length == zone[BLOCKS + order]
        free = int(np.count_nonzero(states[start:limit] == State.FREE))
        assert seen == self.free_frames == free, (seen, self.free_frames, free)

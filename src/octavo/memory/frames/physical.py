"""Physical memory: all frames of the machine, where they come from and where they go.

A frame that is wanted is taken from, in this order: the buddy allocator, the zeroed list, the
standby lists (lowest priority and oldest first; the page is dropped: it is clean and its pager has
it; `forget` tells whose it was). All three together are *available*; when they do not suffice,
`try_take` says None and pageout has to act. The last `RESERVE` available frames are for privileged
callers: those without whom pageout could not finish (rule 7).

What the frames are used for is not known here: pages of sections are those of
`octavo.memory.pages`, other holders say so in the PFN database.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from octavo.machine.abi import FLAGS, PAGE_SHIFT, PAGE_SIZE, PTE, State
from octavo.machine.ram import Ram
from octavo.memory.frames.buddy import Run
from octavo.memory.frames.freeframes import Bounds, FreeFrames
from octavo.memory.frames.pagelists import PageList, StandbyLists
from octavo.memory.frames.pfn import SHORT_RUN, PfnDatabase, runs_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

RESERVE = 16
ZERO_PAGE = bytes(PAGE_SIZE)
_ZEROS = memoryview(bytes(16 * PAGE_SIZE))  # what a host's second cache has place for

# Told of `count` frames from `first` on that were standby and are somebody else's from now on: with
# its return their PTE words are 0, and nobody has them.
Forget = Callable[[int, int], None]


def _nobodys(first: int, count: int) -> None:
    """Where there are no sections, no frame is on a standby list."""
    raise AssertionError(f"{count} standby frames from {first:#x} on, and nobody to own them")


class PhysicalMemory:
    """The frames of `ram` as far as `pfns` describes them; `standby_usable` is False when pageout
    is turned off.
    """

    def __init__(self, ram: Ram, pfns: PfnDatabase, zones: Sequence[Bounds] = ()) -> None:
        self.ram = ram
        self.pfns = pfns
        self.buddy = FreeFrames(pfns, zones)
        self.zeroed = PageList(pfns, State.ZEROED)
        self.standby = StandbyLists(pfns)
        self.modified = PageList(pfns, State.MODIFIED)
        self.standby_usable = True
        self.repurposed = 0
        self.forget: Forget = _nobodys
        self.lowest_available = 1 << 30
        self.promise: Callable[[int], bool] = lambda frames: (
            True
        )  # asked before somebody takes so many frames for good

    @cached_property
    def links(self) -> npt.NDArray[np.int32]:
        """`Ram.link` for compiled kernels."""
        import numpy as np

        return np.zeros(0, np.int32) if self.ram.paper else self.ram.array.view(np.int32)

    @property
    def available(self) -> int:
        """Frames that can be had without any I/O."""
        return (
            self.buddy.free_frames
            + self.zeroed.count
            + (self.standby.count if self.standby_usable else 0)
        )

    def try_take(self, count: int, state: State, privileged: bool = False) -> list[Run] | None:
        """`count` frames in `state`, with any contents; None when they are not to be had."""
        left = self.available - count
        if left < (0 if privileged else RESERVE):
            return None
        if left < self.lowest_available:
            self.lowest_available = left
        free = self.buddy.free_frames
        if count <= free:
            return self.buddy.take(count, state)
        out = self.buddy.take(free, state) if free else []
        count -= free
        zeroed = min(count, self.zeroed.count)
        if zeroed:
            out += self.zeroed.pop(zeroed, state)
        if count > zeroed:
            runs = self.standby.pop(count - zeroed, state)
            for run in runs:
                self._reuse(*run)
            out += runs
        return out

    def try_take_zeroed(
        self, count: int, state: State, privileged: bool = False
    ) -> list[Run] | None:
        """As `try_take`, with all bytes zero."""
        left = self.available - count
        if left < (0 if privileged else RESERVE):
            return None
        out = self.zeroed.pop(count, state)
        count -= sum(size for _, size in out)
        if count:
            rest = self.try_take(count, state, privileged)
            assert rest is not None
            for first, size in rest:
                self.clear(first, size)
            out += rest
        return out

    def clear(self, first: int, count: int) -> None:
        """Fills frames with zeros."""
        if count == 1:
            self.ram.bytes[first << PAGE_SHIFT : (first + 1) << PAGE_SHIFT] = ZERO_PAGE
            return
        end, size = (first + count) << PAGE_SHIFT, len(_ZEROS)
        for at in range(first << PAGE_SHIFT, end, size):
            self.ram.bytes[at : min(at + size, end)] = _ZEROS[: end - at]

    def drop_standby(self, pfn: int) -> None:
        """Frees one standby frame at once."""
        self.standby.remove(pfn, State.ACTIVE)
        self._reuse(pfn, 1)
        self.buddy.free(pfn, 1, State.ACTIVE)

    def clear_tail(self, pfn: int, start: int) -> None:
        """Fills a frame with zeros from byte `start` on."""
        self.ram.bytes[(pfn << PAGE_SHIFT) + start : (pfn + 1) << PAGE_SHIFT] = ZERO_PAGE[start:]

    def free(self, frames: list[int], was: State) -> None:
        """Gives back frames, all in state `was`; their entries lose PTE and flags."""
        pfns = self.pfns
        for first, count in runs_of(frames):
            if count < SHORT_RUN:
                for pfn in range(first, first + count):
                    pfns.pte[pfn] = pfns.flags[pfn] = 0
            else:
                pfns.fill(first, count, PTE, 0)
                pfns.fill(first, count, FLAGS, 0)
            self.buddy.free(first, count, was)

    def reclaim(self, count: int) -> int:
        """Moves up to `count` zeroed and standby frames to the free lists, for those who need them
        in blocks; returns how many.
        """
        done = 0
        for first, size in self.zeroed.pop(count, State.ACTIVE):
            self.buddy.free(first, size, State.ACTIVE)
            done += size
        if self.standby_usable:
            for first, size in self.standby.pop(count - done, State.ACTIVE):
                self._reuse(first, size)
                self.buddy.free(first, size, State.ACTIVE)
                done += size
        return done

    def zero_some(self, count: int) -> int:
        """Moves up to `count` free frames to the zeroed list; returns how many."""
        count = max(0, min(count, self.buddy.free_frames))
        if count:
            for first, size in self.buddy.take(count, State.TRANSITION):
                self.clear(first, size)
                self.zeroed.append(first, size, State.TRANSITION)
        return count

    def _reuse(self, first: int, count: int) -> None:
        """Frames that were standby go to somebody else: whose they were forgets them."""
        self.repurposed += count
        self.forget(first, count)
        pte = self.pfns.pte
        assert not pte[first] and not pte[first + count - 1], "a reused frame has an owner still"

    def check(self) -> None:
        """Frames, lists and blocks agree with one another, to the frame."""
        self.pfns.check()
        self.buddy.check()
        for pages in (self.zeroed, self.standby, self.modified):
            pages.check()
